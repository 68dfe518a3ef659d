"""`cassr-bench score` against the `pyiqa` command and the loop of a typical paper's script.

    python benchmarks/scoring.py --images 100 --methods 1,5,10
    python benchmarks/scoring.py --grow 200,400,800,1600,3200 --metrics psnr_y,ssim_y

Golden RealSR and DRealSR pairs (CASSR_SHARED, or ../shared beside the checkout) and their mirror
images are used, all different; without them, synthetic pictures. Further methods are the first one
with a little noise, over the same HR set. Everything starts cold, in processes of its own, one
after the other, with the same cores; the ratio of the times is the result. The command and the
script know one method at a time and share nothing between two of them: they are timed on one, at
4 and at `--their-images` images, and what that gives for all images is counted once per method.
They run on `--their-threads` threads; where other work keeps the cores busy, one is faster than
two. Our values are compared with those of the script.

`--grow` scores folders of small synthetic pairs of these sizes instead, cold and warm, and samples
the resident memory of the process and of its largest worker all the while.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

ROOT = Path(__file__).parents[1]
NIQE_FILE = "niqe_modelparameters.mat"
THEIRS = {"psnr_y": "psnr", "ssim_y": "ssim", "niqe": "niqe", "fsim": "fsim", "gmsd": "gmsd"}
TOLERANCE = 1e-4
FEW = 4
PERIOD = 0.1
MEGABYTE = 1e6

Row = dict[str, float]
Pair = tuple[np.ndarray, np.ndarray]
"""SR and HR, (H, W, 3) uint8."""
Values = dict[tuple[str, str], float]
"""(image, metric) -> score."""


def show(rows: Iterable[Row]) -> list[Row]:
    """Print rows as they come, under the names of their values."""
    kept: list[Row] = []
    for row in rows:
        widths = [max(len(name), 9) for name in row]
        if not kept:
            print("  ".join(f"{name:>{width}}" for name, width in zip(row, widths, strict=True)))
        values = zip(row.values(), widths, strict=True)
        print("  ".join(f"{value:{width}.4g}" for value, width in values), flush=True)
        kept.append(row)
    return kept


def write(path: Path | None, runs: list[Row], **about: Any) -> None:
    if path:
        path.write_text(json.dumps({**about, "runs": runs}), encoding="utf-8")


# -- pictures ------------------------------------------------------------------------------------


def shared() -> Path | None:
    folder = Path(os.environ.get("CASSR_SHARED", ROOT.parent / "shared"))
    return folder if (folder / "golden").is_dir() else None


def golden_pairs(folder: Path) -> Iterator[Pair]:
    """The golden pairs, then their mirror images."""
    names = [
        (folder / "golden" / d / "osediff" / path.name, path)
        for d in ("realsr", "drealsr")
        for path in sorted((folder / "golden" / d / "hr").iterdir())
    ]
    for flip in (lambda x: x, np.fliplr, np.flipud, lambda x: np.flipud(np.fliplr(x))):
        for sr, hr in names:
            yield tuple(flip(np.asarray(Image.open(path).convert("RGB"))) for path in (sr, hr))  # type: ignore[misc]


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
        Image.fromarray(y).save(hr / f"{index:05}.png", compress_level=1)
        for place, sr in enumerate(srs):
            noise = rng.integers(-place, place + 1, x.shape)
            noisy = Image.fromarray((x + noise).clip(0, 255).astype(np.uint8))
            noisy.save(sr / f"{index:05}.png", compress_level=1)
    return srs, hr


# -- runs ----------------------------------------------------------------------------------------


def environment(work: Path) -> dict[str, str]:
    """Clean caches, with NIQE's parameters in them where they are at hand."""
    home = work / "torch"
    values = {"TORCH_HOME": str(home), "CASSR_BENCH_CACHE": str(work / "cache")}
    places = [Path(os.environ.get("TORCH_HOME", "~/.cache/torch")).expanduser() / "hub" / "pyiqa"]
    folder = shared()
    places += [folder / "weights"] if folder else []
    for place in places:
        if (place / NIQE_FILE).is_file():
            (home / "hub" / "pyiqa").mkdir(parents=True, exist_ok=True)
            shutil.copy(place / NIQE_FILE, home / "hub" / "pyiqa")
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


# -- the race ------------------------------------------------------------------------------------


def first_images(folder: Path, count: int) -> Path:
    """A folder of links to the first files of a folder."""
    links = folder.with_name(f"{folder.name}-{count}")
    links.mkdir()
    for path in sorted(folder.iterdir())[:count]:
        (links / path.name).symlink_to(path)
    return links


def rivals(
    sr: Path, hr: Path, metrics: list[str], most: int, env: dict[str, str]
) -> tuple[list[float], Values]:
    """The pyiqa command and the script over one method, on a few images and some more.

    Returns:
        Seconds of each for all images, as the two times let expect, and what the script printed.
    """
    own = [THEIRS[name] for name in metrics]
    images = len(list(hr.iterdir()))
    sizes = sorted({min(FEW, most, images), min(most, images)})
    times, printed = [], ""
    for size in sizes:
        x, y = (str(first_images(folder, size)) for folder in (sr, hr))
        program = str(Path(sys.executable).with_name("pyiqa"))
        command, _ = timed([program, *own, "-t", x, "-r", y, "--device", "cpu"], env)
        loop = [sys.executable, str(ROOT / "benchmarks/paper_loop.py"), x, y, *own]
        script, printed = timed(loop, env)
        times.append(np.array([command, script]))
    slope = (times[-1] - times[0]) / max(sizes[-1] - sizes[0], 1)
    names = {theirs: name for name, theirs in THEIRS.items()}
    rows = [line.split() for line in printed.splitlines()]
    values = {(image, names[metric]): float(value) for image, metric, value in rows}
    return (times[-1] + slope * (images - sizes[-1])).tolist(), values


def race(
    commands: dict[int, list[str]], env: dict[str, str], their_seconds: list[float]
) -> Iterator[Row]:
    """For each number of methods: ours cold and warm; the others for one method, times methods."""
    for count, own in commands.items():
        load = os.getloadavg()[0]
        cold, warm = (timed(own, env)[0] for _ in range(2))
        command, script = (count * seconds for seconds in their_seconds)
        yield {
            "methods": count,
            "ours": cold,
            "warm": warm,
            "command": command,
            "script": script,
            "x command": command / cold,
            "x script": script / cold,
            "load": load,
        }


def agree(first: Path, theirs: Values) -> bool:
    """Whether our values of the first method are the script's, as far as it has some."""
    with first.open(encoding="utf-8") as file:
        own = {(row["image"], row["metric"]): float(row["value"]) for row in csv.DictReader(file)}
    worst: Row = {}
    for (image, metric), value in theirs.items():
        worst[metric] = max(abs(value - own[image, metric]), worst.get(metric, 0))
    print("largest differences:")
    show([worst])
    return max(worst.values()) <= TOLERANCE


def run_race(options: argparse.Namespace, work: Path) -> int:
    env = environment(work)
    metrics = [name for name in THEIRS if name != "niqe" or (work / "torch").is_dir()]
    if "niqe" not in metrics:
        print(f"niqe is left out: {NIQE_FILE} is not at hand (cassr-bench fetch niqe)")
    counts = sorted({1, *map(int, options.methods.split(","))})
    folder = shared()
    pairs = golden_pairs(folder) if folder else synthetic_pairs(512)
    srs, hr = write_pairs(work, pairs, options.images, max(counts))
    what = "golden pairs and their mirror images" if folder else "synthetic pairs"
    print(f"{options.images} {what}, {', '.join(metrics)}, {os.cpu_count()} cores, cold\n")
    threads = str(options.their_threads)
    their_env = {**env, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    seconds, values = rivals(srs[0], hr, metrics, options.their_images, their_env)
    commands = {n: ours(srs[:n], hr, metrics, work / f"{n}.csv") for n in counts}
    runs = show(race(commands, env, seconds))
    write(options.json, runs, metrics=metrics, images=options.images)
    same = agree(work / "1.csv", values)
    if not same:
        print(f"values differ by more than {TOLERANCE}")
    return 0 if same else 1


# -- growth --------------------------------------------------------------------------------------


def watch(command: list[str], env: dict[str, str]) -> tuple[float, np.ndarray]:
    """Seconds of a command, and samples: seconds, resident megabytes of it and of its largest
    worker, (n, 3)."""
    start = time.perf_counter()
    samples = []
    job = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    parent = psutil.Process(job.pid)
    while job.poll() is None:
        with suppress(psutil.NoSuchProcess):
            own = parent.memory_info().rss / MEGABYTE
            workers = [each.memory_info().rss for each in parent.children(recursive=True)]
            samples.append((time.perf_counter() - start, own, max(workers, default=0) / MEGABYTE))
        time.sleep(PERIOD)
    if job.returncode:
        sys.exit(f"{' '.join(command)} failed")
    return time.perf_counter() - start, np.array(samples)


def bytes_per_image(samples: np.ndarray, images: int) -> float:
    """By which the parent grows while the workers work."""
    busy = samples[samples[:, 2] > 0]
    middle = busy[len(busy) // 4 : -len(busy) // 10 or None]
    if len(middle) < 4:
        return float("nan")
    slope = np.polyfit(middle[:, 0], middle[:, 1], 1)[0]
    return float(slope * (busy[-1, 0] - busy[0, 0]) * MEGABYTE / images)


def grow(counts: list[int], side: int, metrics: list[str]) -> Iterator[Row]:
    """For each number of images: seconds cold and warm, peaks in megabytes."""
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            env = environment(work)
            srs, hr = write_pairs(work, synthetic_pairs(side), count)
            load = os.getloadavg()[0]
            command = [*ours(srs, hr, metrics, work / "out.csv"), "--workers", "2"]
            cold, samples = watch(command, env)
            warm, _ = watch(command, env)
        yield {
            "images": count,
            "cold": cold,
            "warm": warm,
            "ms/image": cold / count * 1e3,
            "parent": samples[:, 1].max(),
            "worker": samples[:, 2].max(),
            "parent_per_image": bytes_per_image(samples, count),
            "load": load,
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--methods", default="1,5,10", help="numbers of methods")
    parser.add_argument("--their-images", type=int, default=16)
    parser.add_argument("--their-threads", type=int, default=os.cpu_count())
    parser.add_argument("--grow", help="sizes of folders; instead of the race")
    parser.add_argument("--side", type=int, default=64, help="pixels, of --grow")
    parser.add_argument("--metrics", default="psnr_y,ssim_y", help="of --grow")
    parser.add_argument("--json", type=Path, help="write the results here")
    options = parser.parse_args()
    if options.grow:
        counts = [int(count) for count in options.grow.split(",")]
        runs = show(grow(counts, options.side, options.metrics.split(",")))
        write(options.json, runs, metrics=options.metrics)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        return run_race(options, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
