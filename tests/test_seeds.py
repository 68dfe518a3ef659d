"""Several seeds of one suite: means, spreads, ranks, and which difference a set can tell apart."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from conftest import Cli, plant_quick_sets
from PIL import Image
from scipy import stats

from bench.base.types import Missing
from bench.reports import get_report
from bench.results.folder_scores import FolderScores, as_csv
from bench.results.paired import paired
from bench.results.power import detectable, least_difference
from bench.results.published import noise_floor
from bench.results.repeats import over_seeds, rank_changes, spreads
from bench.results.results import Item, Results, summarize

from . import results_example as ex

METHOD = """
import torch

def upscale(lr, *, scale, seeds):
    noise = torch.rand(lr.shape, generator=torch.Generator().manual_seed(seeds[0]))
    return torch.nn.functional.interpolate(0.9 * lr + 0.1 * noise, scale_factor=scale)
"""


def runs(
    common: float, own: float, n: int = 60, seeds: int = 5, seed: int = 0
) -> dict[int, Results]:
    """A method whose seeds move all images (`common`) and single ones (`own`), and a fixed one."""
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(25, 1, n)
    found = {}
    for number in range(seeds):
        noisy = difficulty + 0.1 + rng.normal(0, common) + rng.normal(0, own, n)
        values = {("d", "fixed", f"i{i:02}", "psnr_y"): float(v) for i, v in enumerate(difficulty)}
        values |= {("d", "noisy", f"i{i:02}", "psnr_y"): float(v) for i, v in enumerate(noisy)}
        values |= {("d", m, "", "fid"): 50.0 + number * (m == "noisy") for m in ("fixed", "noisy")}
        found[number] = ex.results(values, (ex.PSNR, ex.FID))
    return found


def noisy(results: Results, metric: str = "psnr_y") -> object:
    assert results.repeats is not None
    known = spreads(results, results.repeats)
    return next(s for s in known if (s.method, s.metric.name) == ("noisy", metric))


def test_scores_are_means_over_seeds_and_a_lost_image_has_its_reason() -> None:
    known = runs(0.3, 0.3)
    scores = known[3].scores
    row = scores.index[(scores["method"] == "noisy") & (scores["image"] == "i07")][0]
    scores.loc[row, ["value", "reason"]] = [math.nan, "out of memory"]
    found = over_seeds(known, {})
    assert found.scores.loc[row, "reason"] == "out of memory"
    assert math.isnan(found.scores.loc[row, "value"])
    expected = np.mean([run.scores["value"][80] for run in known.values()])
    assert found.scores["value"][80] == pytest.approx(expected)
    assert summarize(found)["n"].tolist()[:2] == [59, 59]
    assert found.provenance["seeds"] == [0, 1, 2, 3, 4]
    assert "Means over the seeds 0, 1, 2, 3, 4." in found.notes


def test_global_std_is_that_of_ccsr() -> None:
    known = runs(0.3, 0.3)
    values = np.array([run.scores["value"][60:120] for run in known.values()])
    spread = noisy(over_seeds(known, {}))
    assert spread.global_std == pytest.approx(np.std(values, axis=0).mean())
    assert noisy(over_seeds(known, {}), "fid").global_std == pytest.approx(np.std(range(5)))
    assert math.isnan(noisy(over_seeds(known, {}), "fid").half)


def test_intervals_cover_new_images_and_new_seeds() -> None:
    missed = {"both": 0, "images alone": 0}
    for seed in range(60):
        found = over_seeds(runs(0.5, 0.2, n=30, seeds=4, seed=seed), {})
        spread = noisy(found)
        off = abs(spread.seed_means.mean() - 25.1)
        images = spread.values.mean(axis=1)
        missed["both"] += off > spread.half
        missed["images alone"] += off > 1.96 * images.std(ddof=1) / math.sqrt(30)
    assert missed["both"] <= 6 < missed["images alone"]


def test_rank_changes_count_choices_of_seeds(tmp_path: Path) -> None:
    known = runs(0.5, 0.2)
    found = over_seeds(known, {("d", "noisy", "i00"): 0.02, ("d", "noisy", "i01"): 0.04})
    psnr, fid = rank_changes(spreads(found, found.repeats))
    means = noisy(found).seed_means
    fixed = known[0].scores["value"][:60].mean()
    assert psnr["changes"] == np.mean((means > fixed) != (means.mean() > fixed))
    assert 0 < psnr["changes"] < 1 and fid["changes"] == pytest.approx(0.2)
    files = get_report("seeds").load()(found, tmp_path)
    assert [path.name for path in files][-1] == "seeds.md"
    page = files[-1].read_text()
    assert "| d | L-STD | noisy | 2 | 0.0300 | – | – |" in page
    assert (
        "2 of 2 pairs are ranked otherwise by single seeds:" in page
        and "| d | FID | fixed | noisy |" in page
    )
    assert get_report("seeds").load()(known[0], tmp_path) == []


def test_a_method_without_noise_has_no_spread_and_no_interval_is_explained(tmp_path: Path) -> None:
    """The standard deviation of three equal numbers is but nearly 0."""
    values = {("d", "fixed", f"i{i}", "psnr_y"): 27.1 + i / 3 for i in range(2)}
    runs = {seed: ex.results(values, (ex.PSNR,)) for seed in range(3)}
    files = get_report("seeds").load()(over_seeds(runs, {}), tmp_path)
    tables = {path.name: path.read_text() for path in files}
    (row,) = csv.DictReader(tables["seeds.csv"].splitlines())
    assert row["std_of_means"] == row["g_std"] == "0"
    images = list(csv.DictReader(tables["seeds_images.csv"].splitlines()))
    assert [image["std"] for image in images] == ["0", "0"]
    assert "±" not in tables["seeds.md"] and "No interval below 6 images" in tables["seeds.md"]


def test_a_run_with_seeds_draws_each_and_measures_pixels(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(METHOD)
    store, out = tmp_path / "store", tmp_path / "out"
    run = ("run", "quick", "--methods", f"bicubic,{tmp_path / 'noisy.py'}", "--metrics", "psnr_y")
    run = (*run, "--datasets", "quick-bicubic", "--limit", 2, "--store", store, "--seeds", 3)
    plant_quick_sets(store)
    done = cli(*run, "--workers", 1, "--reports", "seeds", "--out", out)
    assert done.returncode == 0, done.stderr
    drawn: dict[str, list[np.ndarray]] = {}
    for path in sorted(store.glob("images/noisy-*/*/*.png")):
        pixels = np.asarray(Image.open(path), float)[4:-4, 4:-4] / 255
        drawn.setdefault(path.name.rsplit("-", 1)[0], []).append(pixels)
    assert [len(one) for one in drawn.values()] == [3, 3]
    records = store.glob("images/bicubic-*/*/records/*.jsonl")
    assert sum(len(path.read_text().splitlines()) for path in records) == 2  # without noise: once
    expected = np.mean([np.std(one, axis=0).mean() for one in drawn.values()])
    rows = list(csv.DictReader((out / "seeds.csv").read_text().splitlines()))
    local = next(row for row in rows if row["metric"] == "l_std")
    assert float(local["mean"]) == pytest.approx(expected, rel=1e-5)
    plan = cli(*run, "--dry-run", "--seed", 1)
    assert "noisy: 2 of 6 images to upscale on quick-bicubic" in plan.stdout
    assert "psnr_y on quick-bicubic: unknown at n = 2" in plan.stdout


# -- which difference is told apart --------------------------------------------------------------


@pytest.mark.parametrize(("n", "comparisons"), [(20, 1), (100, 1), (100, 10)])
def test_the_least_difference_is_found_as_often_as_said(n: int, comparisons: int) -> None:
    least = least_difference(2.0, n, comparisons)
    drawn = np.random.default_rng(0).normal(least, 2.0, (n, 4000))
    found = paired(drawn).p() < 0.05 / comparisons
    assert 100 * found.mean() == pytest.approx(80, abs=6)


def test_a_pilot_tells_what_the_whole_set_will_find() -> None:
    values = {
        ("d", m, f"i{i:02}", "psnr_y"): 25.0 + j * float(np.sin(i))
        for j, m in enumerate(("a", "b"))
        for i in range(12)
    }
    (own,) = detectable(ex.results(values, (ex.PSNR,)), {"d": 100})
    spread = np.std(np.sin(np.arange(12)), ddof=1)
    needed = stats.t.ppf(0.975, 99) + stats.t.ppf(0.8, 99)
    assert own["detectable"] == pytest.approx(needed * spread / 10) and own["n"] == 100
    (none,) = detectable(ex.results({("d", "a", "i", "psnr_y"): 1.0}, (ex.PSNR,)), {"d": 100})
    assert none["detectable"] is None and none["source"].startswith("no spread is known")


def needed(n: int, comparisons: int) -> float:
    """t quantiles of a two-sided test at 5 % / comparisons that finds 80 %."""
    return float(stats.t.ppf(1 - 0.025 / comparisons, n - 1) + stats.t.ppf(0.8, n - 1))


def test_the_least_difference_is_that_of_students_t() -> None:
    assert least_difference(2.0, 20) == pytest.approx(needed(20, 1) * 2 / math.sqrt(20))
    assert least_difference(2.0, 20, 10) == pytest.approx(needed(20, 10) * 2 / math.sqrt(20))
    assert least_difference(2.0, 20, 0) == least_difference(2.0, 20)


def test_without_a_pilot_published_intervals_bound_the_spread() -> None:
    """Of a mean over n images; a difference of two unlike methods has twice the variance."""
    half, images = noise_floor()["RealSR", "psnr_y"]
    empty = ex.results(
        {}, (ex.PSNR,), datasets=[Item("realsr", "RealSR")], methods=[Item(m, m) for m in "abc"]
    )
    (own,) = detectable(empty, {"realsr": 50})
    deviation = half * math.sqrt(images) / stats.t.ppf(0.975, images - 1)
    assert own["detectable"] == pytest.approx(needed(50, 3) * math.sqrt(2 / 50) * deviation)
    assert own["source"] == f"at most, from published scores of {images} images"
    for n, known in ((6, True), (5, False)):
        assert (detectable(empty, {"realsr": n})[0]["detectable"] is not None) == known


def test_sets_have_rows_in_the_csv_and_one_header() -> None:
    missing = Missing("absent", "needs HR images")
    own = [
        FolderScores(Path(name), (("i.png", "psnr_y", 25.5, ""),), means, (), ())
        for name, means in (
            ("a", ((ex.PSNR, 25.5, 1, ""), (ex.FID, 12.345678901234, 3, ""))),
            ("b", ((ex.PSNR, 25.5, 1, ""), (ex.FID, None, 0, missing.text))),
        )
    ]
    lines = as_csv(own).decode().splitlines()
    assert lines[:3] == [
        "image,metric,value,folder",
        "i.png,psnr_y,25.5,a",
        ",fid,12.345678901234,a",
    ]
    assert lines[4] == ",fid,,b"
    assert as_csv(own[:1]).decode().splitlines() == lines[:3]
