"""`cassr-bench score` against the `pyiqa` command and the loop of a typical paper's script.

    python benchmarks/scoring.py --images 100 --methods 1,5,10

Golden RealSR and DRealSR pairs (CASSR_SHARED, or ../shared beside the checkout) and their mirror
images are used, all different; without them, synthetic pictures. Further methods are the first one
with a little noise, over the same HR set. Everything starts cold, in processes of its own, one
after the other, with the same cores; the ratio of the times is the result. The command and the
script know one method at a time and share nothing between two of them: they are timed on one, at
4 and at `--their-images` images, and what that gives for all images is counted once per method.
They run on `--their-threads` threads; where other work keeps the cores busy, one is faster than
two. Values are compared with pyiqa called directly under the same convention.
`--parts` adds the seconds per image of every metric on one thread and the time its imports take.
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
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
NIQE_FILE = "niqe_modelparameters.mat"
THEIRS = {"psnr_y": "psnr", "ssim_y": "ssim", "niqe": "niqe", "fsim": "fsim", "gmsd": "gmsd"}
TOLERANCE = 1e-4
FEW = 4


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


def write_pairs(work: Path, count: int, methods: int) -> tuple[list[Path], Path]:
    """SR folders, one per method, and the HR folder."""
    folder = shared()
    print("images: golden pairs and their mirror images" if folder else "images: synthetic pairs")
    pairs = golden_pairs(folder) if folder else synthetic_pairs()
    rng = np.random.default_rng(0)
    srs, hr = [work / f"sr{index}" for index in range(methods)], work / "hr"
    for made in (*srs, hr):
        made.mkdir()
    for index, (x, y) in zip(range(count), pairs, strict=False):
        Image.fromarray(y).save(hr / f"{index:04}.png", compress_level=1)
        for place, sr in enumerate(srs):
            noise = rng.integers(-place, place + 1, x.shape)
            noisy = Image.fromarray((x + noise).clip(0, 255).astype(np.uint8))
            noisy.save(sr / f"{index:04}.png", compress_level=1)
    return srs, hr


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
    values |= {"PYTHONPATH": str(ROOT)}
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


@dataclass(frozen=True)
class Times:
    """Seconds for a number of methods over one HR set; load of the machine before."""

    methods: int
    images: int
    ours: float
    warm: float
    command: float
    script: float
    load: float

    def line(self) -> str:
        ratios = f"{self.command / self.ours:8.1f}x {self.script / self.ours:8.1f}x"
        seconds = f"{self.ours:8.1f} {self.warm:7.1f} {self.command:8.1f} {self.script:8.1f}"
        return f"{self.methods:7} {seconds} {ratios} {self.load:6.1f}"


HEADING = "methods  ours s  warm s  pyiqa s script s    pyiqa    script   load"


def ours(srs: list[Path], hr: Path, metrics: list[str], out: Path) -> list[str]:
    command = [sys.executable, "-m", "bench", "score", "--hr", str(hr), "--csv", str(out)]
    command += ["--metrics", ",".join(metrics), "--store", str(out.with_suffix(""))]
    return command + [word for sr in srs for word in ("--sr", str(sr))]


def theirs(sr: Path, hr: Path, metrics: list[str]) -> tuple[list[str], list[str]]:
    """The pyiqa command and the script."""
    own = [THEIRS[name] for name in metrics]
    command = [str(Path(sys.executable).with_name("pyiqa")), *own, "-t", str(sr), "-r", str(hr)]
    script = [sys.executable, str(ROOT / "benchmarks/paper_loop.py"), str(sr), str(hr), *own]
    return [*command, "--device", "cpu"], script


@dataclass(frozen=True)
class Rivals:
    """How the command and the script are run: on how many images, in which environment."""

    images: int
    env: dict[str, str]


def first_images(folder: Path, count: int) -> Path:
    """A folder of links to the first files of a folder."""
    links = folder.with_name(f"{folder.name}-{count}")
    links.mkdir(exist_ok=True)
    for path in sorted(folder.iterdir())[:count]:
        link = links / path.name
        if not link.exists():
            link.symlink_to(path)
    return links


def their_seconds(sr: Path, hr: Path, metrics: list[str], rivals: Rivals) -> list[float]:
    """Seconds of the command and of the script for all images, from a few and some more."""
    sizes = sorted({min(FEW, rivals.images), rivals.images})
    folders = [(first_images(sr, size), first_images(hr, size)) for size in sizes]
    commands = [theirs(*pair, metrics) for pair in folders]
    found = []
    for same in zip(*commands, strict=True):
        times = [timed(command, rivals.env) for command in same]
        slope = (times[-1] - times[0]) / max(sizes[-1] - sizes[0], 1)
        found.append(times[-1] + slope * (len(list(hr.iterdir())) - sizes[-1]))
    return found


def race(
    counts: list[int],
    srs: list[Path],
    hr: Path,
    env: dict[str, str],
    metrics: list[str],
    rivals: Rivals,
) -> Iterator[Times]:
    """For each number of methods: ours cold and warm; the others for one method, times methods."""
    images = len(list(hr.iterdir()))
    seconds: list[float] = []
    for count in counts:
        load = os.getloadavg()[0]
        own = ours(srs[:count], hr, metrics, hr.parent / f"{count}.csv")
        cold, warm = timed(own, env), timed(own, env)
        seconds = seconds or their_seconds(srs[0], hr, metrics, rivals)
        yield Times(count, images, cold, warm, count * seconds[0], count * seconds[1], load)


def agree(first: Path, sr: Path, hr: Path, metrics: list[str], check: int) -> bool:
    """Whether the values of the first method are pyiqa's."""
    worst = largest_differences(read(first), sr, hr, metrics, check)
    for name, difference in worst.items():
        print(f"  {name:8} differs from pyiqa by {difference:.1e} at most ({check} images)")
    return all(difference <= TOLERANCE for difference in worst.values())


def print_parts(sr: Path, hr: Path, env: dict[str, str]) -> None:
    """Seconds per image of each metric on one thread, and of imports."""
    for module in ("torch", "bench.metrics.fidelity", "bench.metrics.niqe", "pyiqa"):
        seconds = median(timed([sys.executable, "-c", f"import {module}"], env) for _ in range(3))
        print(f"  import {module:24} {seconds:6.2f} s")
    os.environ["CASSR_BENCH_CACHE"] = env["CASSR_BENCH_CACHE"]
    import torch

    from bench import metrics
    from bench.files import images

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
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--methods", default="1,5,10", help="numbers of methods")
    parser.add_argument("--their-images", type=int, default=16)
    parser.add_argument("--their-threads", type=int, default=os.cpu_count())
    parser.add_argument("--check", type=int, default=5, help="images whose values are compared")
    parser.add_argument("--parts", action="store_true", help="seconds per metric and per import")
    parser.add_argument("--json", type=Path, help="write the times here")
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    counts = sorted({1, *map(int, options.methods.split(","))})
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        srs, hr = write_pairs(work, options.images, max(counts))
        env, metrics = environment(work)
        os.environ["TORCH_HOME"] = env["TORCH_HOME"]
        threads = str(options.their_threads)
        rivals = Rivals(
            min(options.their_images, options.images),
            {**env, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
        )
        print(f"{options.images} pairs, {', '.join(metrics)}, {os.cpu_count()} cores, cold\n")
        print(HEADING)
        found = []
        for times in race(counts, srs, hr, env, metrics, rivals):
            print(times.line())
            found.append(asdict(times))
        if options.json:
            options.json.write_text(json.dumps({"metrics": metrics, "runs": found}))
        same = agree(work / "1.csv", srs[0], hr, metrics, min(options.check, options.images))
        if options.parts:
            print_parts(srs[0], hr, env)
    if not same:
        print(f"values differ by more than {TOLERANCE}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
