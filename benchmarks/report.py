"""Seconds of every report of a whole benchmark, made of synthetic scores and pictures.

    python benchmarks/report.py --images 193 --methods 8

Wall and CPU seconds of each report. As a scale the same pictures are read and written once as
plain copies.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from PIL import Image

from bench.base.types import MetricSpec
from bench.reports import REPORTS, render_all
from bench.results.results import KEYS, Item, PictureSet, Results

TITLES = ("PSNR-Y", "SSIM-Y", "LPIPS", "DISTS", "NIQE", "MUSIQ", "MANIQA", "CLIPIQA")


def picture(path: Path, side: int, rng: np.random.Generator) -> Path:
    """A PNG about as large as that of a photograph: smooth colours under fine noise."""
    coarse = Image.fromarray(rng.integers(0, 256, (side // 32, side // 32, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)).astype(int)
    noisy = (smooth + rng.normal(0, 3, smooth.shape)).clip(0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noisy).save(path, compress_level=1)
    return path


def synthetic(root: Path, images: int, methods: int, side: int) -> Results:
    rng = np.random.default_rng(0)
    names = [f"method {i}" for i in range(methods)]
    files = {f"image {i:04d}": root / f"{i:04d}" for i in range(images)}
    sets = [
        PictureSet("set", image, 4, picture(folder / "lr.png", side // 4, rng),
                   picture(folder / "hr.png", side, rng),
                   {name: picture(folder / f"{name}.png", side, rng) for name in names})
        for image, folder in files.items() if side
    ]  # fmt: skip
    specs = [
        MetricSpec(name=title.lower(), title=title, better="higher", reference=place < 4, means="",
                   source="", factory="none:none")
        for place, title in enumerate(TITLES)
    ]  # fmt: skip
    levels = [["set"], names, list(files), [spec.name for spec in specs]]
    scores = pd.MultiIndex.from_product(levels, names=KEYS).to_frame(index=False)
    scores["value"], scores["reason"] = rng.normal(0, 3, len(scores)), ""
    items = tuple(Item(name, name) for name in names)
    return Results("Synthetic", (Item("set", "Set"),), items, tuple(specs), scores, tuple(sets))


def timed(what: str, work: Callable[[], object]) -> None:
    wall, cpu = perf_counter(), process_time()
    work()
    print(f"{what:12} {perf_counter() - wall:7.1f} s, CPU {process_time() - cpu:7.1f} s")


def main(
    images: int = 193,
    methods: int = 8,
    size: Annotated[int, typer.Option(help="Side of HR; 0 for no pictures.")] = 512,
) -> None:
    """Time every report."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        results = synthetic(root, images, methods, size)
        copy = root / "copy"
        os.environ["CASSR_BENCH_CACHE"] = str(root / "cache")
        timed("copies", lambda: [copy.write_bytes(f.read_bytes()) for f in results.files()])
        for name in [report.name for report in REPORTS if report.repeats]:
            timed(name, lambda: render_all(results, root / "out", [name]))  # noqa: B023


if __name__ == "__main__":
    typer.run(main)
