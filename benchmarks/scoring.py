"""`cassr-bench score` against the `pyiqa` command and the loop of a typical paper's script.

    python benchmarks/scoring.py --images 100 --methods 1,5,10

Golden RealSR and DRealSR pairs (CASSR_SHARED, or ../shared beside the checkout) and their mirror
images are used, all different; without them, synthetic pictures. Further methods are the first one
with a little noise. Everything starts cold, in processes of its own, one after the other, with the
same cores. The command and the script know one method at a time: they are timed on one, at 4 and at
`--their-images` images, and what that gives for all images is counted once per method. Our values
are compared with those of the script.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from PIL import Image

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("CASSR_SHARED", ROOT.parent / "shared"))
NIQE_FILE = "niqe_modelparameters.mat"
THEIRS = {"psnr_y": "psnr", "ssim_y": "ssim", "niqe": "niqe", "fsim": "fsim", "gmsd": "gmsd"}
TOLERANCE = 1e-4
FEW = 4

Row = dict[str, float]
Pair = tuple[np.ndarray, np.ndarray]
"""SR and HR, (H, W, 3) uint8."""
Values = dict[tuple[str, str], float]
"""(image, metric) -> score."""


def show(rows: Iterable[Row]) -> None:
    """Print rows as they come."""
    for row in rows:
        print(pd.DataFrame([row]).to_string(index=False, float_format="{:.4g}".format), flush=True)


def numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def golden_pairs() -> Iterator[Pair]:
    """The golden pairs, then their mirror images."""
    files = sorted(SHARED.glob("golden/*realsr/hr/*"), key=lambda hr: (hr.parts[-3][0] == "d", hr))
    for rows, columns in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        for hr in files:
            both = hr.parents[1] / "osediff" / hr.name, hr
            sr, own = (np.asarray(Image.open(path).convert("RGB")) for path in both)
            yield sr[::rows, ::columns], own[::rows, ::columns]


def synthetic_pairs(side: int) -> Iterator[Pair]:
    rng = np.random.default_rng(0)
    while True:
        coarse = Image.fromarray(rng.integers(0, 256, (side // 8, side // 8, 3), np.uint8))
        hr = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)).astype(int)
        hr = hr + rng.integers(-12, 13, hr.shape)
        sr = hr + rng.integers(-6, 7, hr.shape)
        yield sr.clip(0, 255).astype(np.uint8), hr.clip(0, 255).astype(np.uint8)


def write_pairs(
    work: Path, pairs: Iterator[Pair], count: int, methods: int = 1
) -> tuple[list[Path], Path]:
    """SR folders, one per method, and the HR folder."""
    rng = np.random.default_rng(0)
    srs, hr = [work / f"sr{index}" for index in range(methods)], work / "hr"
    for made in (*srs, hr):
        made.mkdir()
    for index, (x, y) in zip(range(count), pairs, strict=False):
        noisy = [x + rng.integers(-place, place + 1, x.shape) for place in range(methods)]
        for folder, image in zip((*srs, hr), (*noisy, y), strict=True):
            picture = Image.fromarray(image.clip(0, 255).astype(np.uint8))
            picture.save(folder / f"{index:05}.png", compress_level=1)
    return srs, hr


def environment(work: Path) -> dict[str, str]:
    """Clean caches, with NIQE's parameters in them where they are at hand."""
    home = work / "torch" / "hub" / "pyiqa"
    home.mkdir(parents=True)
    torch_home = Path(os.environ.get("TORCH_HOME", "~/.cache/torch")).expanduser()
    for place in (torch_home / "hub" / "pyiqa", SHARED / "weights"):
        if (place / NIQE_FILE).is_file():
            shutil.copy(place / NIQE_FILE, home)
    values = {"TORCH_HOME": str(work / "torch"), "CASSR_BENCH_CACHE": str(work / "cache")}
    return {**os.environ, **values, "PYTHONPATH": str(ROOT)}


def ours(srs: list[Path], hr: Path, metrics: list[str], out: Path) -> list[str]:
    command = [sys.executable, "-m", "bench", "score", "--hr", str(hr), "--csv", str(out)]
    command += ["--metrics", ",".join(metrics), "--store", str(out.with_suffix(""))]
    return command + [word for sr in srs for word in ("--sr", str(sr))]


def timed(command: list[str], env: dict[str, str]) -> tuple[float, str]:
    """Seconds of a command, and what it printed."""
    start = time.perf_counter()
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr or done.stdout}")
    return seconds, done.stdout


def first_images(folder: Path, count: int) -> str:
    """A folder of links to the first files of a folder."""
    links = folder.with_name(f"{folder.name}-{count}")
    links.mkdir()
    for path in sorted(folder.iterdir())[:count]:
        (links / path.name).symlink_to(path)
    return str(links)


def rivals(
    sr: Path, hr: Path, metrics: list[str], most: int, env: dict[str, str]
) -> tuple[list[float], Values]:
    """Seconds of the pyiqa command and of the script over one method for all images, as those for a
    few and some more let expect, and what the script printed."""
    own = [THEIRS[name] for name in metrics]
    images = len(list(hr.iterdir()))
    sizes = sorted({min(FEW, most, images), min(most, images)})
    times, printed = [], ""
    for size in sizes:
        x, y = (first_images(folder, size) for folder in (sr, hr))
        program = str(Path(sys.executable).with_name("pyiqa"))
        command, _ = timed([program, *own, "-t", x, "-r", y, "--device", "cpu"], env)
        loop = [sys.executable, str(ROOT / "benchmarks/paper_loop.py"), x, y, *own]
        script, printed = timed(loop, env)
        times.append(np.array([command, script]))
    slope = (times[-1] - times[0]) / max(sizes[-1] - sizes[0], 1)
    rows = [line.split() for line in printed.splitlines()]
    values = {(image, metric): float(value) for image, metric, value in rows}
    return (times[-1] + slope * (images - sizes[-1])).tolist(), values


def race(
    work: Path, images: int, counts: list[int], theirs: int, threads: int, wanted: Iterable[str]
) -> Iterator[Row]:
    """For each number of methods, seconds of ours cold and warm, and of the others: those for one
    method, times methods. Exits where values differ."""
    env = environment(work)
    metrics = [m for m in wanted if m != "niqe" or [*work.glob(f"torch/hub/pyiqa/{NIQE_FILE}")]]
    pairs = golden_pairs() if (SHARED / "golden").is_dir() else synthetic_pairs(512)
    srs, hr = write_pairs(work, pairs, images, max(counts))
    single = {**env, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    seconds, values = rivals(srs[0], hr, metrics, theirs, single)
    for count in counts:
        load = os.getloadavg()[0]
        out = work / f"{count}.csv"
        cold, warm = (timed(ours(srs[:count], hr, metrics, out), env)[0] for _ in range(2))
        command, script = (count * each for each in seconds)
        yield {"methods": count, "ours": cold, "warm": warm, "command": command, "script": script,
               "x command": command / cold, "x script": script / cold, "load": load}  # fmt: skip
    own = pd.read_csv(work / f"{counts[0]}.csv", dtype={"image": str})
    own = own.assign(metric=own["metric"].map(THEIRS)).set_index(["image", "metric"])["value"]
    apart = max(abs(value - own[key]) for key, value in values.items())
    print(f"{', '.join(metrics)} of {images} images; largest difference {apart:.1e}")
    if apart > TOLERANCE:
        sys.exit(f"values differ by more than {TOLERANCE}")


def main(
    images: int = 100,
    methods: Annotated[str, typer.Option(help="Numbers of methods.")] = "1,5,10",
    their_images: int = 16,
    their_threads: int = os.cpu_count() or 1,
    metrics: str = ",".join(THEIRS),
) -> None:
    """Race against both."""
    counts = sorted({1, *numbers(methods)})
    with tempfile.TemporaryDirectory() as folder:
        show(race(Path(folder), images, counts, their_images, their_threads, metrics.split(",")))


if __name__ == "__main__":
    typer.run(main)
