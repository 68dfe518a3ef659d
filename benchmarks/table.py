"""What we are compared with, in one table: seconds of both, their ratio, and its limit.

    python benchmarks/table.py             # some minutes on a quiet machine
    python benchmarks/table.py --record    # keep the ratios as those of this kind of machine

The limit is three quarters of the ratio that was last recorded on the same kind of machine
(recorded.json); what falls below it is pointed out. Nothing fails by time.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import degradation
import fid
import pandas as pd
import scoring
import torch
import typer

from bench.base.metering import machine_name
from cassr.degradation import PRESETS

RECORDED = Path(__file__).with_name("recorded.json")
FELL = 0.75
COLUMNS = ["work", "peer", "their seconds", "our seconds"]
Measured = tuple[str, str, float, float]
"""Work, peer, and seconds of the peer and of ours."""


def measured(images: int, wrong: list[object]) -> Iterator[Measured]:
    """What is measured; `wrong` gets why, where values differ from the peer's."""
    torch.set_num_threads(1)
    metrics = ("psnr_y", "ssim_y", "niqe", "gmsd")
    with tempfile.TemporaryDirectory() as folder:
        cores = os.cpu_count() or 1
        try:
            for run in scoring.race(Path(folder), images, [1, 10], 12, cores, metrics):
                work = f"score {images} images of {run['methods']:.0f} methods"
                yield work, "pyiqa command", run["command"], run["ours"]
                yield work, "loop over pyiqa", run["script"], run["ours"]
        except SystemExit as differs:  # after all of it is measured
            wrong.append(differs.code)
    run = fid.race(1000, 1024)
    yield "FID of 1000 x 1024 features", "clean-fid", run["clean_fid"], run["ours"]
    ours, plain = degradation.compared(degradation.crops(12, 512), PRESETS["full"])
    yield "degrade 12 images", "plain torch", plain, ours


def table(rows: list[Measured], recorded: dict[str, float]) -> pd.DataFrame:
    """With ratio and limit; `fell` where the one is below the other, NaN where none is known."""
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame["ratio"] = frame["their seconds"] / frame["our seconds"]
    frame["limit"] = FELL * (frame["work"] + ", " + frame["peer"]).map(recorded).astype(float)
    return frame.assign(fell=frame["ratio"] < frame["limit"])


def main(images: int = 40, record: bool = False) -> None:
    """Measure everything; with --record keep the ratios."""
    known = json.loads(RECORDED.read_text()) if RECORDED.is_file() else {}
    kind = f"{machine_name('cpu')}, {os.cpu_count()} cores"
    wrong: list[object] = []
    found = table(list(measured(images, wrong)), known.get(kind, {}))
    print(f"{kind}, load {os.getloadavg()[0]:.1f}")
    print(found.drop(columns="fell").to_string(index=False, float_format="{:.3g}".format))
    for row in found[found["fell"]].itertuples():
        print(f"SLOWER: {row.work}, {row.peer}: {row.ratio:.2g}, expected {row.limit:.2g} or more")
    if record:
        ratios = {f"{row.work}, {row.peer}": round(row.ratio, 2) for row in found.itertuples()}
        RECORDED.write_text(json.dumps({**known, kind: ratios}, indent=1, ensure_ascii=False))
    if wrong:
        raise SystemExit(wrong[0])


if __name__ == "__main__":
    typer.run(main)
