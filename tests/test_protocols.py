"""Protocols: the cards, and numbers by them against scripts of a few lines."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyiqa
import pytest
import torch
from conftest import Cli
from pictures import photo
from PIL import Image

from bench import metrics
from bench.reports.tables.markdown import markdown
from bench.results.results import Item, Results
from bench.results.table_stats import statistics
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
        assert [metrics.find(name).name for name in protocol.metrics] == protocol.metrics
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


METRICS = ("lpips", "dists", "clipiqa", "pyiqa:maniqa", "musiq", "niqe")


def scored(niqe: float) -> Results:
    """Twelve images of two methods by the metrics of NTIRE's score; B's NIQE is about `niqe`."""
    rng = np.random.default_rng(0)
    rows = []
    for method, mean in (("a", 5.0), ("b", niqe)):
        for i in range(12):
            values = [*rng.uniform(0, 1, 4), rng.uniform(40, 70), mean + rng.uniform(-1, 1)]
            rows += [("d", method, f"i{i}", m, v, "") for m, v in zip(METRICS, values, strict=True)]
    scores = pd.DataFrame(rows, columns=["dataset", "method", "image", "metric", "value", "reason"])
    composite = protocols().find("ntire2025").composite
    assert composite is not None
    return Results(
        title="t",
        datasets=(Item("d", "D"),),
        methods=(Item("a", "A"), Item("b", "B")),
        metrics=(*map(metrics.find, METRICS), composite.spec),
        scores=composite.added(scores),
    )


@pytest.mark.parametrize("niqe", [6.0, 12.0])
def test_ntires_score_is_that_of_a_few_lines_with_an_interval(niqe: float) -> None:
    results = scored(niqe)
    cells = statistics(results).cells.set_index(["metric", "method"])
    for method in ("a", "b"):
        lpips, dists, clipiqa, maniqa, musiq, niqe = (cells["mean"][m, method] for m in METRICS)
        theirs = (1 - lpips) + (1 - dists) + clipiqa + maniqa + musiq / 100
        theirs += max(0, (10 - niqe) / 10)
        row = cells.loc[("ntire_perceptual", method)]
        assert row["mean"] == pytest.approx(theirs, abs=1e-9)
        assert row["low"] < row["mean"] < row["high"]
    assert "NTIRE perceptual score" in markdown(results)


def test_ntires_score_is_missing_where_one_of_its_metrics_is() -> None:
    scores = scored(6.0).scores
    scores = scores[scores["metric"] != "ntire_perceptual"].reset_index(drop=True)
    scores.loc[3, ["value", "reason"]] = [float("nan"), "too small"]
    composite = protocols().find("ntire2025").composite
    assert composite is not None
    made = composite.added(scores)
    assert list(made["metric"][:7]) == [*METRICS, "ntire_perceptual"]
    own = made[made["metric"] == "ntire_perceptual"]
    assert own["value"].isna().sum() == 1 and own["reason"].iloc[0] == "pyiqa:maniqa: too small"


def test_a_folder_is_scored_by_the_protocols_own_score_or_told_why_not(
    cli: Cli, folders: dict[str, list[np.ndarray]], tmp_path: Path
) -> None:
    where = ("--sr", tmp_path / "sr", "--hr", tmp_path / "hr", "--csv", tmp_path / "s.csv")
    done = cli("score", *where, "--protocol", "ntire2025", "--json")
    *_, last = json.loads(done.stdout)["means"]
    assert (last["metric"], last["mean"]) == ("ntire_perceptual", None)
    assert last["reason"].startswith("lpips: ")
    assert "0.png,ntire_perceptual,," in (tmp_path / "s.csv").read_text()


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
