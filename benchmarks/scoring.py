"""`cassr-bench score` against the `pyiqa` command line, cold start, on the same images.

    python benchmarks/scoring.py --images 80

Golden RealSR and DRealSR pairs (CASSR_SHARED, or ../shared beside the checkout) and their mirror
images are used, all different; without them, synthetic pictures. Both commands run in processes of
their own, one after the other, with the same number of cores; the ratio of their times is the
result. Values are compared with pyiqa called directly under the same convention. `--parts` adds
the seconds per image of every metric on one thread and the time its imports take.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
NIQE_FILE = "niqe_modelparameters.mat"
THEIRS = {"psnr_y": "psnr", "ssim_y": "ssim", "niqe": "niqe", "pyiqa:gmsd": "gmsd"}
TOLERANCE = 1e-4


def shared() -> Path | None:
    folder = Path(os.environ.get("CASSR_SHARED", ROOT.parent / "shared"))
    return folder if (folder / "golden").is_dir() else None


def golden_pairs(folder: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """SR and HR (H, W, 3) uint8: the golden pairs, then their mirror images."""
    names = [
        (folder / "golden" / d / "osediff" / path.name, path)
        for d in ("realsr", "drealsr")
        for path in sorted((folder / "golden" / d / "hr").iterdir())
    ]
    for flip in (lambda x: x, np.fliplr, np.flipud, lambda x: np.flipud(np.fliplr(x))):
        for sr, hr in names:
            yield tuple(flip(np.asarray(Image.open(path).convert("RGB"))) for path in (sr, hr))  # type: ignore[misc]


def synthetic_pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    while True:
        coarse = Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8))
        hr = np.asarray(coarse.resize((512, 512), Image.Resampling.BICUBIC)).astype(int)
        hr = hr + rng.integers(-12, 13, hr.shape)
        sr = hr + rng.integers(-6, 7, hr.shape)
        yield sr.clip(0, 255).astype(np.uint8), hr.clip(0, 255).astype(np.uint8)


def write_pairs(work: Path, count: int) -> tuple[Path, Path]:
    folder = shared()
    print("images: golden pairs and their mirror images" if folder else "images: synthetic pairs")
    pairs = golden_pairs(folder) if folder else synthetic_pairs()
    sr, hr = work / "sr", work / "hr"
    sr.mkdir(), hr.mkdir()
    for index, (x, y) in zip(range(count), pairs, strict=False):
        Image.fromarray(x).save(sr / f"{index:04}.png")
        Image.fromarray(y).save(hr / f"{index:04}.png")
    return sr, hr


def environment(work: Path) -> tuple[dict[str, str], list[str]]:
    """Clean caches with NIQE's parameters in them, and the metrics that can run."""
    home = work / "torch"
    target = home / "hub" / "pyiqa" / NIQE_FILE
    target.parent.mkdir(parents=True)
    candidates = [Path(os.environ.get("TORCH_HOME", "~/.cache/torch")) / "hub" / "pyiqa"]
    folder = shared()
    candidates += [folder / "weights"] if folder else []
    found = next(
        (c / NIQE_FILE for c in candidates if (c.expanduser() / NIQE_FILE).is_file()), None
    )
    metrics = list(THEIRS)
    if found:
        shutil.copy(found, target)
    else:
        metrics.remove("niqe")
        print(f"niqe is left out: {NIQE_FILE} is not at hand (cassr-bench fetch niqe)")
    values = {"TORCH_HOME": str(home), "CASSR_BENCH_CACHE": str(work / "cache")}
    values |= {"PYTHONPATH": str(ROOT), "CASSR_BENCH_STORE": str(work / "store")}
    return {**os.environ, **values}, metrics


def timed(command: list[str], env: dict[str, str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr or done.stdout}")
    return seconds


def read(path: Path) -> dict[tuple[str, str], float]:
    with path.open() as file:
        return {(row["image"], row["metric"]): float(row["value"]) for row in csv.DictReader(file)}


def largest_differences(
    scores: dict[tuple[str, str], float], sr: Path, hr: Path, metrics: list[str], count: int
) -> dict[str, float]:
    """Against pyiqa called directly with the published convention, on the first images."""
    import pyiqa
    import torch

    torch.set_num_threads(1)
    worst = {}
    for name in metrics:
        options: dict[str, Any] = {}
        if name in ("psnr_y", "ssim_y"):
            options = {"test_y_channel": True, "color_space": "ycbcr"}
        metric = pyiqa.create_metric(THEIRS[name], device=torch.device("cpu"), **options)
        images = sorted(path.name for path in sr.iterdir())[:count]
        values = [float(metric(str(sr / image), str(hr / image))) for image in images]
        pairs = zip(images, values, strict=True)
        worst[name] = max(abs(value - scores[image, name]) for image, value in pairs)
    return worst


def compare(sr: Path, hr: Path, env: dict[str, str], metrics: list[str], check: int) -> bool:
    """Run both, print the ratio; whether the values agree."""
    out = sr.parent / "ours.csv"
    own = [THEIRS[name] for name in metrics]
    theirs = ["pyiqa", *own, "-t", str(sr), "-r", str(hr), "--device", "cpu"]
    ours = [sys.executable, "-m", "bench", "score", "--sr", str(sr), "--hr", str(hr)]
    ours += ["--metrics", ",".join(metrics), "--csv", str(out)]
    bin_folder = str(Path(sys.executable).parent)
    env = {**env, "PATH": f"{bin_folder}{os.pathsep}{env.get('PATH', '')}"}
    count = len(list(sr.iterdir()))
    print(f"\n{count} pairs, {', '.join(metrics)}, {os.cpu_count()} cores, cold start")
    our_seconds = timed(ours, env)
    print(f"  cassr-bench score   {our_seconds:7.1f} s")
    their_seconds = timed(theirs, env)
    print(f"  pyiqa command       {their_seconds:7.1f} s")
    print(f"  ratio               {their_seconds / our_seconds:7.1f}")
    os.environ["TORCH_HOME"] = env["TORCH_HOME"]
    worst = largest_differences(read(out), sr, hr, metrics, check)
    for name, difference in worst.items():
        print(f"  {name:12} differs from pyiqa by {difference:.1e} at most ({check} images)")
    return all(difference <= TOLERANCE for difference in worst.values())


def print_parts(sr: Path, hr: Path, env: dict[str, str]) -> None:
    """Seconds per image of each metric on one thread, and of imports."""
    for module in ("torch", "bench.metrics.fidelity", "bench.metrics.niqe", "pyiqa"):
        seconds = median(timed([sys.executable, "-c", f"import {module}"], env) for _ in range(3))
        print(f"  import {module:24} {seconds:6.2f} s")
    os.environ |= {name: env[name] for name in ("TORCH_HOME", "CASSR_BENCH_CACHE")}
    import torch

    from bench import images, metrics

    torch.set_num_threads(1)
    names = sorted(path.name for path in sr.iterdir())[:5]
    pairs = [[images.to_tensor(images.read_rgb(f / name)) for f in (sr, hr)] for name in names]
    for spec in metrics.METRICS:
        if spec.kind == "set" or metrics.unavailable(spec):
            continue
        metric: Any = metrics.load(spec)
        prepare, score = [], []
        for x, y in pairs:
            start = time.perf_counter()
            prepared = metric.prepare(y)
            prepare.append(time.perf_counter() - start)
            metric.score(x, y, prepared)
            score.append(time.perf_counter() - start - prepare[-1])
        print(f"  {spec.name:10} prepare {median(prepare):7.4f} s, score {median(score):7.4f} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=80)
    parser.add_argument("--check", type=int, default=5, help="images whose values are compared")
    parser.add_argument("--parts", action="store_true", help="seconds per metric and per import")
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        sr, hr = write_pairs(work, options.images)
        env, metrics = environment(work)
        agree = compare(sr, hr, env, metrics, min(options.check, options.images))
        if options.parts:
            print_parts(sr, hr, env)
    if not agree:
        print(f"values differ by more than {TOLERANCE}")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
