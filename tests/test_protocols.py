"""Protocols: the cards, and numbers by them against scripts of a few lines."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyiqa
import pytest
import torch
from conftest import Cli
from pictures import photo
from PIL import Image

from bench import metrics
from bench.suites.protocols import protocols


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, list[np.ndarray]]:
    """SR and HR images, written to folders `sr` and `hr`."""
    made = {"sr": [photo(96, 128, 1), photo(128, 96, 2)], "hr": [photo(96, 128, 3)] * 2}
    made["hr"][1] = photo(128, 96, 4)
    for name, pictures in made.items():
        (tmp_path / name).mkdir()
        for i, picture in enumerate(pictures):
            Image.fromarray(picture).save(tmp_path / name / f"{i}.png")
    return made


def test_every_protocol_names_metrics_that_there_are_and_where_it_is_from() -> None:
    assert {"cassr", "osediff", "seesr", "s3diff", "invsr", "ntire2025"} <= set(protocols())
    for protocol in protocols().values():
        assert [metrics.get(name).name for name in protocol.metrics] == protocol.metrics
        assert protocol.paper or protocol.sources, protocol.name
        assert all(source.commit or "issues/" in source.path for source in protocol.sources)


def test_seesrs_protocol_is_that_of_a_few_lines(
    cli: Cli, folders: dict[str, list[np.ndarray]], tmp_path: Path
) -> None:
    where = ("--sr", tmp_path / "sr", "--hr", tmp_path / "hr", "--csv", tmp_path / "s.csv")
    done = cli("score", *where, "--protocol", "seesr")
    assert "lpips" in done.stdout  # missing here, and said so
    rows = csv.DictReader((tmp_path / "s.csv").read_text().splitlines())
    values = {(row["image"], row["metric"]): row["value"] for row in rows}
    y_of_ycbcr = {"test_y_channel": True, "color_space": "ycbcr", "crop_border": 4}
    for name in ("psnr", "ssim"):
        theirs = pyiqa.create_metric(name, **y_of_ycbcr)
        for i, pair in enumerate(zip(*folders.values(), strict=True)):
            sr, hr = (torch.from_numpy(x).permute(2, 0, 1)[None] / 255 for x in pair)
            ours = float(values[f"{i}.png", f"{name}_y(crop_border=4)"])
            assert ours == pytest.approx(float(theirs(sr, hr)), abs=1e-6)


@pytest.mark.usefixtures("quick_sets")
def test_a_run_says_by_which_protocol(cli: Cli, tmp_path: Path) -> None:
    words = ("--methods", "nearest", "--datasets", "quick-bicubic", "--limit", "1", "--offline")
    done = cli(
        "run",
        "quick",
        *words,
        "--protocol",
        "ccsr",
        "--out",
        tmp_path / "out",
        "--reports",
        "markdown",
    )
    assert done.returncode == 0, done.stderr
    assert "PSNR-Y (crop_border=4)" in done.stdout
    assert "Protocol CCSR, version 1: " in (tmp_path / "out" / "table.md").read_text()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("--protocol", "osedif"), "osediff"),
        (("--protocol", "osediff", "--metrics", "psnr_y"), "--protocol"),
    ],
)
def test_what_is_no_protocol_is_refused(cli: Cli, words: tuple[str, ...], found: str) -> None:
    done = cli("run", "quick", *words, "--dry-run")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and found in done.stderr
