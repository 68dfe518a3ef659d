"""How the time and the memory of `cassr-bench score` grow with the number of images.

    python benchmarks/scoring_growth.py --images 200,400,800,1600,3200
    python benchmarks/scoring_growth.py --images 10000 --metrics psnr_y --json growth.json

Small synthetic pairs are scored cold, in a process of its own; the resident memory of that process
and of its largest worker is sampled all the while. Then the same command runs again, warm. Linux
only (/proc).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
PERIOD = 0.1
PAGE = os.sysconf("SC_PAGE_SIZE")
MEGABYTE = 1e6


@dataclass(frozen=True)
class Sample:
    """Seconds since the start, and resident megabytes."""

    seconds: float
    parent: float
    worker: float


@dataclass(frozen=True)
class Growth:
    """One size of folder: seconds cold and warm; peaks in megabytes; machine load before."""

    images: int
    cold: float
    warm: float
    parent: float
    worker: float
    parent_per_image: float
    worker_first_half: float
    load: float


def write_pairs(work: Path, count: int, side: int) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    sr, hr = work / "sr", work / "hr"
    for folder in (sr, hr):
        folder.mkdir(parents=True)
    for index in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
        pixels = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))
        noisy = (pixels + rng.integers(-6, 7, pixels.shape)).clip(0, 255).astype(np.uint8)
        for folder, picture in ((hr, pixels), (sr, noisy)):
            Image.fromarray(picture).save(folder / f"{index:05}.png", compress_level=1)
    return sr, hr


def resident(pid: int) -> float:
    """Resident megabytes of a process; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / MEGABYTE
    except (OSError, IndexError):
        return 0.0


def descendants(pid: int) -> list[int]:
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            direct = [int(child) for child in children.read_text().split()]
        except OSError:
            continue
        for child in direct:
            found += [child, *descendants(child)]
    return found


def watch(command: list[str], env: dict[str, str]) -> tuple[float, list[Sample]]:
    """Run a command; its seconds and samples of its memory."""
    start = time.perf_counter()
    samples = []
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as job:
        while job.poll() is None:
            workers = max(map(resident, descendants(job.pid)), default=0.0)
            now = time.perf_counter() - start
            samples.append(Sample(now, resident(job.pid), workers))
            time.sleep(PERIOD)
        seconds = time.perf_counter() - start
        output = job.stdout.read() if job.stdout else b""
    if job.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{output.decode()}")
    return seconds, samples


def per_image(samples: list[Sample], images: int) -> float:
    """Bytes by which the parent grows per image while the workers work."""
    busy = [sample for sample in samples if sample.worker > 0]
    middle = busy[len(busy) // 4 : -len(busy) // 10 or None]
    if len(middle) < 4:
        return float("nan")
    x = np.array([sample.seconds for sample in middle])
    slope = np.polyfit(x, [sample.parent for sample in middle], 1)[0]
    return float(slope * (busy[-1].seconds - busy[0].seconds) * MEGABYTE / images)


def measure(count: int, side: int, metrics: str, workers: int) -> tuple[Growth, list[Sample]]:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        sr, hr = write_pairs(work, count, side)
        caches = {"CASSR_BENCH_STORE": work / "store", "CASSR_BENCH_CACHE": work / "cache"}
        env = {**os.environ, **{k: str(v) for k, v in caches.items()}, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "bench", "score", "--sr", str(sr), "--hr", str(hr)]
        command += ["--metrics", metrics, "--workers", str(workers)]
        load = os.getloadavg()[0]
        cold, samples = watch(command, env)
        warm, _ = watch(command, env)
    workers_memory = [sample.worker for sample in samples]
    growth = Growth(
        images=count,
        cold=cold,
        warm=warm,
        parent=max(sample.parent for sample in samples),
        worker=max(workers_memory),
        parent_per_image=per_image(samples, count),
        worker_first_half=max(workers_memory[: len(workers_memory) // 2], default=0.0),
        load=load,
    )
    return growth, samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", default="200,400,800,1600,3200", help="folder sizes")
    parser.add_argument("--side", type=int, default=64, help="pixels")
    parser.add_argument("--metrics", default="psnr_y,ssim_y")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write results and samples here")
    options = parser.parse_args()
    print(f"{options.metrics}, {options.side} px, {options.workers} workers")
    print("images    cold s   warm s   ms/image   parent MB   worker MB   load before")
    kept: list[dict[str, Any]] = []
    for count in map(int, options.images.split(",")):
        found, samples = measure(count, options.side, options.metrics, options.workers)
        print(
            f"{count:6} {found.cold:9.1f} {found.warm:8.1f} {found.cold / count * 1e3:10.2f} "
            f"{found.parent:11.0f} {found.worker:11.0f} {found.load:13.1f}   "
            f"parent grows by {found.parent_per_image:.0f} bytes/image",
            flush=True,
        )
        kept.append({**asdict(found), "samples": [list(asdict(s).values()) for s in samples]})
    if options.json:
        options.json.write_text(json.dumps({"metrics": options.metrics, "runs": kept}))


if __name__ == "__main__":
    main()
