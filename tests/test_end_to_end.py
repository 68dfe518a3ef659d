"""Baselines on real crops to a complete table, in two parts, killed on the way."""

import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT

from bench.methods.entry import Entry
from bench.methods.find import method_cards

FEW, MANY = "psnr_y", "psnr_y,ssim_y,gmsd,niqe"
SETS = ("realsr", "drealsr")
INTERPOLATED = ["bicubic", "lanczos"]
SMALL = "realesr-animevideov3-x4.fp16.safetensors"
NETWORKS = [SMALL, "RealESRGAN_x4plus.fp16.safetensors", "CRAFT_x4_ntire2024.pth"]
OURS = "cassr-mini"


def few(weights: Path) -> list[str]:
    """The fastest methods."""
    return [*INTERPOLATED, f"spandrel:{weights / SMALL}"]


def every(weights: Path) -> list[str]:
    """All methods whose real weights can be at hand on a machine without a network."""
    cards = method_cards()
    reason = Entry("dat-light", cards["dat-light"]).unavailable()
    if reason:
        pytest.skip(f"dat-light: {reason}")
    ours = [OURS] if OURS in cards and not Entry(OURS, cards[OURS]).unavailable() else []
    return [*INTERPOLATED, "dat-light", *(f"spandrel:{weights / name}" for name in NETWORKS), *ours]


class Runs:
    """`cassr-bench run` over the golden crops, in processes that can be killed.

    Args:
        methods: as typed; OSEDiff's published images join them as a folder.
        limit: pairs of each set.
    """

    def __init__(
        self,
        golden: Path,
        weights: Path,
        folder: Path,
        methods: list[str],
        limit: int,
        metrics: str,
    ) -> None:
        finished = folder / "osediff"
        finished.mkdir()
        for name in SETS:
            for image in (golden / name / "osediff").iterdir():
                shutil.copy(image, finished)
        self.methods = [*methods, f"folder:{finished}@OSEDiff"]
        self.metrics = metrics.split(",")
        sizes = (len(list((golden / name / "lr").iterdir())) for name in SETS)
        self.pairs = sum(min(limit, size) for size in sizes)
        self.made = len(methods) * self.pairs
        self.arguments = [
            *("run", "quick", "--no-fetch", "--offline", "--workers", "1"),
            *("--methods", ",".join(self.methods)),
            *("--datasets", ",".join(f"folder:{golden / name}" for name in SETS)),
            *("--metrics", metrics, "--limit", str(limit)),
        ]
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "CASSR_BENCH_MIRROR": str(weights),
        }

    def start(self, store: Path, out: Path, *more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "bench", *self.arguments, *more),
                *("--store", str(store), "--out", str(out)),
            ],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def parts(self, store: Path, folder: Path) -> list[subprocess.Popen[str]]:
        """Both halves at once."""
        return [self.start(store, folder / f"part{i}", "--shard", f"{i}/2") for i in (1, 2)]

    def finish(self, store: Path, out: Path, *more: str) -> str:
        return finished(self.start(store, out, *more))


def finished(process: subprocess.Popen[str]) -> str:
    """What a run that must succeed wrote."""
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    return output


def kill_when(
    processes: list[subprocess.Popen[str]], store: Path, images: int, delay: float = 0
) -> None:
    """Kill runs, without warning, `delay` seconds after the store holds so many images."""
    deadline = time.monotonic() + 3600
    while any(p.poll() is None for p in processes) and time.monotonic() < deadline:
        if len(list(store.glob("images/**/*.png"))) >= images:
            time.sleep(delay)
            break
        time.sleep(0.02)
    for process in processes:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def scores(out: Path) -> list[dict[str, str]]:
    with (out / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def require_complete(runs: Runs, out: Path) -> None:
    found = scores(out)
    assert len(found) == len(runs.methods) * runs.pairs * len(runs.metrics)
    assert [row for row in found if not row["value"]] == []
    table = (out / "table.md").read_text()
    assert "OSEDiff" in table and "Bicubic" in table


def require_equal(one: Path, other: Path) -> None:
    for file in ("scores.csv", "table.md", "table.tex", "summary.csv"):
        assert (one / file).read_bytes() == (other / file).read_bytes(), file


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "metrics"), [(2, FEW), (20, MANY)])
def test_a_table_from_parts_that_were_killed(
    golden: Path, real_weights: Path, clean_home: Path, tmp_path: Path, limit: int, metrics: str
) -> None:
    runs = Runs(golden, real_weights, tmp_path, few(real_weights), limit, metrics)
    interrupted, whole = tmp_path / "interrupted", tmp_path / "whole"
    first, second = runs.parts(interrupted, tmp_path)
    kill_when([first], interrupted, limit)
    kill_when([second], interrupted, 2 * limit)
    for part in ("1/2", "2/2"):
        runs.finish(interrupted, tmp_path / "part", "--shard", part)
    runs.finish(interrupted, tmp_path / "out")
    require_complete(runs, tmp_path / "out")
    runs.finish(whole, tmp_path / "reference")
    require_equal(tmp_path / "out", tmp_path / "reference")


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "metrics"), [(2, FEW), (20, MANY)])
def test_every_method_at_hand_from_parts_that_were_killed_twice(
    golden: Path, real_weights: Path, clean_home: Path, tmp_path: Path, limit: int, metrics: str
) -> None:
    """Two processes, killed at two random instants, end with the table of an undisturbed run.

    The larger case takes about an hour of one core, so the undisturbed run is left to the
    smaller one; CASSR_TEST_SEED chooses the instants again.
    """
    seed = int(os.environ.get("CASSR_TEST_SEED") or random.randrange(1 << 32))
    print(f"CASSR_TEST_SEED={seed}")
    instants = random.Random(seed)
    runs = Runs(golden, real_weights, tmp_path, every(real_weights), limit, metrics)
    store = tmp_path / "store"
    for images in sorted(instants.sample(range(runs.made), 2)):
        kill_when(runs.parts(store, tmp_path), store, images, delay=instants.uniform(0, 3))
    for process in runs.parts(store, tmp_path):
        finished(process)
    runs.finish(store, tmp_path / "out")
    require_complete(runs, tmp_path / "out")
    if limit == 2:
        runs.finish(tmp_path / "whole", tmp_path / "reference")
        require_equal(tmp_path / "out", tmp_path / "reference")


@pytest.mark.slow
def test_our_own_model_takes_part(real_weights: Path) -> None:
    card = method_cards().get(OURS)
    if card is None or Entry(OURS, card).unavailable():
        reason = Entry(OURS, card).unavailable() if card else "no such method is registered"
        pytest.skip(f"{OURS}: {reason}")
    assert OURS in every(real_weights)
