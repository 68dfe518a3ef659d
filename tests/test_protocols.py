"""Protocols: the cards, and numbers by them against scripts of a few lines."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyiqa
import pytest
import torch
from conftest import Cli
from pictures import photo
from PIL import Image
from scipy.signal import fftconvolve

from bench import metrics
from bench.reports.tables.markdown import markdown
from bench.results.published import plain
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
    named = {"cassr", "osediff", "seesr", "stablesr", "s3diff", "invsr", "faithdiff", "ntire2025"}
    assert named <= set(protocols())
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


def y_of(picture: np.ndarray) -> np.ndarray:
    """Studio-range Y in double precision, without a border of 4 pixels."""
    y = picture.astype(np.float64) @ [65.481, 128.553, 24.966] / 255 + 16
    return y[4:-4, 4:-4]


def psnr_of(a: np.ndarray, b: np.ndarray) -> float:
    return -10 * math.log10(((a - b) ** 2).mean() / 255**2 + 1e-8)


def ssim_of(a: np.ndarray, b: np.ndarray) -> float:
    """Of rounded Y under a Gaussian window of 11 x 11 pixels, only where it fits."""
    side = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(side, side) / side.sum() ** 2

    def mean(x: np.ndarray) -> np.ndarray:
        return fftconvolve(x, window, mode="valid")

    a, b = a.round(), b.round()
    over, under = mean(a * b) - mean(a) * mean(b), mean(a * a + b * b) - mean(a) ** 2 - mean(b) ** 2
    contrast = (2 * over + 58.5225) / (under + 58.5225)
    light = (2 * mean(a) * mean(b) + 6.5025) / (mean(a) ** 2 + mean(b) ** 2 + 6.5025)
    return float((np.maximum(contrast, 0) * light).mean())


def test_seesrs_protocol_on_real_crops_is_exact_to_a_millionth(
    cli: Cli, golden: Path, tmp_path: Path
) -> None:
    """pyiqa's own PSNR, which is of single precision, is further away: 2.4e-6 on these sets."""
    expected = {}
    for dataset in ("realsr", "drealsr"):
        for sr in sorted((golden / dataset / "osediff").glob("*.png"))[:6]:
            pair = sr, golden / dataset / "hr" / sr.name
            for path, folder in zip(pair, ("sr", "hr"), strict=True):
                (tmp_path / folder).mkdir(exist_ok=True)
                (tmp_path / folder / sr.name).write_bytes(path.read_bytes())
            ys = [y_of(np.asarray(Image.open(path).convert("RGB"))) for path in pair]
            expected[sr.name, "psnr_y(crop_border=4)"] = psnr_of(*ys)
            expected[sr.name, "ssim_y(crop_border=4)"] = ssim_of(*ys)
    assert len(expected) == 24
    where = ("--sr", tmp_path / "sr", "--hr", tmp_path / "hr", "--csv", tmp_path / "s.csv")
    cli("score", *where, "--protocol", "seesr", "--device", "cpu")
    rows = csv.DictReader((tmp_path / "s.csv").read_text().splitlines())
    found = {(row["image"], row["metric"]): row["value"] for row in rows}
    for key, value in expected.items():
        assert float(found[key]) == pytest.approx(value, abs=1e-6, rel=0), key


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


def test_ntires_score_of_published_scores_is_that_of_its_script(golden: Path) -> None:
    """Its eval.py means each metric first; ours is of each image and meaned."""
    names = dict(
        zip(("lpips", "dists", "clipiqa", "maniqa", "musiq", "niqe"), METRICS, strict=True)
    )
    known = pd.read_csv(golden / "osediff_scores.csv")
    known["metric"] = known["metric"].map(lambda name: names.get(plain(name)))
    known = known.dropna(subset="metric").assign(method="m", reason="", kind="")
    composite = protocols().find("ntire2025").composite
    assert composite is not None and len(known) == 39 * 6
    made = composite.added(known)
    for dataset, own in known.groupby("dataset"):
        mean = own.groupby("metric")["value"].mean()
        total = 2 - mean["lpips"] - mean["dists"] + mean["clipiqa"] + mean["pyiqa:maniqa"]
        total += mean["musiq"] / 100 + max(0, (10 - mean["niqe"]) / 10)
        found = made[(made["dataset"] == dataset) & (made["metric"] == composite.name)]["value"]
        assert len(found) > 18 and found.mean() == pytest.approx(total, abs=1e-12)


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
