"""Baselines on real crops to a complete table, in two parts, killed on the way."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT

FEW, MANY = "psnr_y", "psnr_y,ssim_y,gmsd,niqe"


class Runs:
    """`cassr-bench run` over the golden crops, in processes that can be killed."""

    def __init__(self, golden: Path, weights: Path, folder: Path, limit: int, metrics: str) -> None:
        finished = folder / "osediff"
        finished.mkdir()
        for name in ("realsr", "drealsr"):
            for image in (golden / name / "osediff").iterdir():
                shutil.copy(image, finished)
        network = f"spandrel:{weights / 'realesr-animevideov3-x4.fp16.safetensors'}"
        self.arguments = [
            *("run", "quick", "--no-fetch", "--offline", "--workers", "1"),
            *("--methods", f"bicubic,lanczos,{network},folder:{finished}@OSEDiff"),
            *("--datasets", f"folder:{golden / 'realsr'},folder:{golden / 'drealsr'}"),
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

    def finish(self, store: Path, out: Path, *more: str) -> str:
        process = self.start(store, out, *more)
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        assert "Traceback" not in errors
        return output


def kill_when(process: subprocess.Popen[str], store: Path, images: int) -> None:
    """Kill a run, without warning, as soon as the store holds so many images."""
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        if len(list(store.glob("images/**/*.png"))) >= images:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.02)
    process.communicate()


def scores(out: Path) -> list[dict[str, str]]:
    with (out / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def complete(golden: Path, weights: Path, folder: Path, limit: int, metrics: str) -> None:
    runs = Runs(golden, weights, folder, limit, metrics)
    interrupted, whole = folder / "interrupted", folder / "whole"
    first = runs.start(interrupted, folder / "one", "--shard", "1/2")
    second = runs.start(interrupted, folder / "two", "--shard", "2/2")
    kill_when(first, interrupted, limit)
    kill_when(second, interrupted, 2 * limit)
    for part in ("1/2", "2/2"):
        runs.finish(interrupted, folder / "part", "--shard", part)
    shown = runs.finish(interrupted, folder / "out")
    assert "OSEDiff" in shown and "Bicubic" in shown

    found = scores(folder / "out")
    pairs = sum(min(limit, len(list((golden / d / "lr").iterdir()))) for d in ("realsr", "drealsr"))
    assert len(found) == 4 * pairs * len(metrics.split(","))
    missing = [row for row in found if not row["value"]]
    assert missing == []

    runs.finish(whole, folder / "reference")
    for file in ("scores.csv", "table.md", "table.tex", "summary.csv"):
        assert (folder / "out" / file).read_bytes() == (folder / "reference" / file).read_bytes()


@pytest.mark.slow
def test_a_table_from_parts_that_were_killed(
    golden: Path, real_weights: Path, clean_home: Path, tmp_path: Path
) -> None:
    complete(golden, real_weights, tmp_path, limit=2, metrics=FEW)


@pytest.mark.slow
def test_all_real_crops_to_a_complete_table(
    golden: Path, real_weights: Path, clean_home: Path, tmp_path: Path
) -> None:
    complete(golden, real_weights, tmp_path, limit=20, metrics=MANY)
