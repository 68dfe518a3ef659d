"""Repeated trainings: planted differences are found, noise of images or of seeds is none."""

import csv
import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from bench.base.errors import DataError
from bench.base.types import TRAINING_SEED
from bench.reports import get_report, render_all
from bench.results.bootstrap import corrected
from bench.results.results import Item, Results
from bench.results.seed_stats import (
    IDENTICAL,
    IMAGE_NOISE,
    NO_SCORES,
    NO_SECOND_SEED,
    ONE_VALUE,
    SEED_NOISE,
    SeedPair,
    configurations,
    seed_statistics,
    seeds_differ,
)

from . import results_example as ex

Values = dict[tuple[str, str, str, str], float | str]


def items(seeds: Mapping[str, Sequence[str]], note: str = "") -> tuple[Item, ...]:
    """A method per reference and training seed."""
    return tuple(
        Item(f"{name}-{seed}", f"{name} {seed}", note, {"Reference": name, TRAINING_SEED: seed})
        for name, own in seeds.items()
        for seed in own
    )


def trained(
    gaps: Mapping[str, Sequence[float]], *, n: int = 30, noise: float = 0.2, dataset: str = "d"
) -> Results:
    """PSNR of n images and FID of configurations; `gaps` has the shift of each training seed."""
    rng = np.random.default_rng(0)
    difficulty = rng.normal(25, 3, n)
    values: Values = {}
    for name, shifts in gaps.items():
        for seed, shift in enumerate(shifts):
            for i, score in enumerate(difficulty + shift + rng.normal(0, noise, n)):
                values[dataset, f"{name}-{seed}", f"i{i:03}", "psnr_y"] = float(score)
            values[dataset, f"{name}-{seed}", "", "fid"] = 100.0 + shift
    methods = items({name: [str(i) for i in range(len(own))] for name, own in gaps.items()})
    return ex.results(values, (ex.PSNR, ex.FID), methods=methods)


def without(results: Results, method: str, count: int | None = None) -> Results:
    """The results without a method's scores of its first images, or without all of them."""
    scores = results.scores.copy()
    own = scores["method"] == method
    if count is not None:
        own &= (scores["image"] < f"i{count:03}") & (scores["image"] != "")
    scores.loc[own, "value"] = math.nan
    scores.loc[own, "reason"] = "not trained"
    return dataclasses.replace(results, scores=scores)


def verdicts(results: Results, metric: str = "psnr_y") -> dict[tuple[str, str], tuple[str, str]]:
    return {
        (pair.a.configuration.settings["Reference"], pair.b.configuration.settings["Reference"]): (
            pair.verdict,
            pair.reason,
        )
        for pair in seed_statistics(results).pairs
        if pair.a.metric.name == metric
    }


def only_pair(results: Results) -> SeedPair:
    (pair,) = [p for p in seed_statistics(results).pairs if p.a.metric.name == "psnr_y"]
    return pair


def test_planted_differences_are_found() -> None:
    results = trained({"lr": [0, 0.05], "controlnet": [1, 1.1], "scedit": [1.02, 1.08]})
    found = verdicts(results)
    assert found["lr", "controlnet"] == found["lr", "scedit"] == ("worse", "")
    assert found["controlnet", "scedit"][0] == "none"


def test_verdicts_know_which_direction_is_better() -> None:
    values: Values = {
        ("d", f"{name}-{seed}", f"i{i}", "lpips"): base + seed / 100 + i / 50 + (i * seed) / 999
        for name, base in (("good", 0.1), ("bad", 0.4))
        for seed in (0, 1)
        for i in range(12)
    }
    methods = items({"good": "01", "bad": "01"})
    found = verdicts(ex.results(values, (ex.LPIPS,), methods=methods), "lpips")
    assert found == {("good", "bad"): ("better", "")}


def test_a_difference_smaller_than_the_seed_spread_is_none() -> None:
    pair = only_pair(trained({"a": [0, 2], "b": [2.5, 3]}, noise=0.01))
    assert pair.holm_p < 0.05 and pair.a.spread == pytest.approx(2, abs=0.02)
    assert pair.spread == pair.a.spread and abs(pair.difference) == pytest.approx(1.75, abs=0.02)
    assert (pair.verdict, pair.reason) == ("none", SEED_NOISE)


def test_seeds_that_overlap_are_none_however_far_the_means_are() -> None:
    a, b = [0.0, 0.0, 0.0, 0.0, 5.0], [4.9, 6.9, 6.9, 6.9, 6.9]
    assert abs(np.mean(a) - np.mean(b)) > 5
    assert not seeds_differ(a, b) and not seeds_differ(b, a)
    assert seeds_differ([0, 1], [3, 4]) and seeds_differ([3, 4], [0, 1])
    assert not seeds_differ([0, 1], [1.3, 1.4]), "apart, but not by more than the spread"


def swinging(seed_step: float) -> Results:
    """b is 0.1 better than a on average: 2.1 better and 1.9 worse on every other image."""
    values: Values = {}
    for seed in (0, 1):
        for i in range(10):
            score = 20.0 + i + seed * seed_step
            values["d", f"a-{seed}", f"i{i}", "psnr_y"] = score
            values["d", f"b-{seed}", f"i{i}", "psnr_y"] = score + 0.1 + (-2 if i % 2 else 2)
    return ex.results(values, (ex.PSNR,), methods=items({"a": "01", "b": "01"}))


def test_a_difference_within_image_noise_is_none() -> None:
    pair = only_pair(swinging(seed_step=0.01))
    assert (pair.verdict, pair.reason) == ("none", IMAGE_NOISE)
    assert pair.difference == pytest.approx(-0.1) and pair.holm_p > 0.5
    both = only_pair(swinging(seed_step=1))
    assert (both.verdict, both.reason) == ("none", f"{IMAGE_NOISE} and {SEED_NOISE}")


def test_identical_scores_are_none() -> None:
    values = {
        ("d", f"{name}-{seed}", f"i{i}", "psnr_y"): 20.0 + i + seed / 3
        for name in "ab"
        for seed in (0, 1)
        for i in range(10)
    }
    pair = only_pair(ex.results(values, (ex.PSNR,), methods=items({"a": "01", "b": "01"})))
    assert (pair.difference, pair.p, pair.holm_p) == (0, 1, 1)
    assert (pair.verdict, pair.reason) == ("none", IDENTICAL)


def test_one_training_seed_claims_nothing_but_keeps_its_interval() -> None:
    pair = only_pair(trained({"a": [0], "b": [5, 5.1]}))
    assert (pair.verdict, pair.reason) == ("none", NO_SECOND_SEED)
    assert math.isnan(pair.spread) and pair.a.reason == NO_SECOND_SEED
    assert pair.holm_p < 0.05 and pair.low < pair.high < 0


def test_a_set_metric_has_a_spread_and_no_verdict() -> None:
    found = seed_statistics(trained({"a": [0, 0.5], "b": [5, 5.25]}))
    (pair,) = [pair for pair in found.pairs if pair.a.metric.name == "fid"]
    assert (pair.verdict, pair.reason) == ("none", ONE_VALUE)
    assert (pair.difference, pair.spread, pair.b.spread) == (-4.875, 0.5, 0.25)
    assert math.isnan(pair.low) and math.isnan(pair.p) and pair.a.n is None
    assert found.comparisons == {("d", "psnr_y"): 1}


def test_missing_scores() -> None:
    full = trained({"a": [0, 0.1], "b": [2, 2.1], "c": [4, 4.1]})
    some = seed_statistics(without(full, "b-1", 12))
    cells = [cell for cell in some.cells if cell.metric.name == "psnr_y"]
    assert [cell.n for cell in cells] == [18, 18, 18]
    assert cells[1].reason == "no score for 12 of 30 images: not trained"
    common = full.scores[(full.scores["method"] == "a-0") & (full.scores["image"] >= "i012")]
    assert cells[0].seed_means[0] == pytest.approx(common["value"].mean())
    one = verdicts(without(full, "b-1"))
    assert one["a", "b"] == one["b", "c"] == ("none", NO_SECOND_SEED)
    assert one["a", "c"] == ("worse", "")
    none = without(without(full, "b-0"), "b-1")
    assert verdicts(none)["a", "b"] == ("none", NO_SCORES)
    assert verdicts(none, "fid") == {
        ("a", "b"): ("none", NO_SCORES),
        ("a", "c"): ("none", ONE_VALUE),
        ("b", "c"): ("none", NO_SCORES),
    }
    empty = seed_statistics(none).cells[1]
    assert (empty.n, empty.reason) == (0, "not trained") and math.isnan(empty.mean)


@pytest.mark.parametrize("n", [1, 5])
def test_few_images_claim_nothing(n: int) -> None:
    pair = only_pair(trained({"a": [0, 0.1], "b": [50, 50.1]}, n=n))
    assert pair.verdict == "none" and "too few images" in pair.reason
    assert math.isnan(pair.holm_p) and math.isnan(pair.a.half)


def test_infinite_scores_claim_nothing() -> None:
    results = trained({"a": [0, 0.1], "b": [5, 5.1]})
    results.scores.loc[results.scores["method"] == "a-0", "value"] = math.inf
    pair = only_pair(results)
    assert (pair.verdict, pair.reason) == ("none", "a score is infinite")
    assert math.isnan(pair.spread)


def test_the_test_is_that_of_the_averaged_scores_with_holm_over_the_family() -> None:
    results = trained({"a": [0, 0.1], "b": [0.1, 0.2], "c": [0.3, 0.1]})
    found = seed_statistics(results)
    pairs = [pair for pair in found.pairs if pair.a.metric.name == "psnr_y"]
    own = results.scores[results.scores["metric"] == "psnr_y"]
    table = own.pivot(index="image", columns="method", values="value")
    a, b = ((table[f"{name}-0"] + table[f"{name}-1"]).to_numpy() / 2 for name in "ab")
    expected = ex.compare(a, b)
    assert pairs[0].difference == pytest.approx(expected.difference)
    assert pairs[0].low < expected.low < expected.high < pairs[0].high
    assert pairs[0].p == pytest.approx(expected.p)
    assert [pair.holm_p for pair in pairs] == corrected(
        np.array([pair.p for pair in pairs])
    ).tolist()
    assert found.comparisons == {("d", "psnr_y"): 3}


def test_training_noise_alone_passes_the_check_on_seeds_as_often_as_documented() -> None:
    rng = np.random.default_rng(0)
    for seeds, share in ((2, 0.215), (3, 0.047)):
        drawn = rng.normal(size=(8000, 2, seeds))
        passed = np.mean([seeds_differ(list(a), list(b)) for a, b in drawn])
        assert passed == pytest.approx(share, abs=0.02)


def test_configurations_are_methods_equal_but_for_the_seed() -> None:
    methods = (
        Item("s0", "s0", variant={"CFG": "✓", "Caption": "×", TRAINING_SEED: "0"}),
        Item("other", "Bicubic"),
        Item("t0", "t0", variant={TRAINING_SEED: "0", "CFG": "×", "Caption": "×"}),
        Item("s1", "s1", variant={"Caption": "×", "CFG": "✓", TRAINING_SEED: "1"}),
    )
    values = {("d", method.name, "i", "psnr_y"): 1.0 for method in methods}
    known = configurations(ex.results(values, (ex.PSNR,), methods=methods))
    assert [own.label for own in known] == ["CFG ✓", "CFG ×"]
    assert [[item.name for item in own.methods.values()] for own in known] == [["s0", "s1"], ["t0"]]


def test_the_same_settings_and_seed_twice_are_refused() -> None:
    methods = tuple(Item(name, name, variant={"CFG": "✓", TRAINING_SEED: "0"}) for name in "ab")
    values = {("d", name, "i", "psnr_y"): 1.0 for name in "ab"}
    with pytest.raises(DataError, match="expected another setting or training seed"):
        configurations(ex.results(values, (ex.PSNR,), methods=methods))


# -- the report ----------------------------------------------------------------------------------


def written(results: Results, out: Path) -> tuple[list[dict[str, str]], str]:
    rows, page = get_report("ablation").load()(results, out)
    return list(csv.DictReader(rows.read_text().splitlines())), page.read_text()


def test_nothing_is_written_where_no_method_names_its_seed(tmp_path: Path) -> None:
    assert get_report("ablation").load()(ex.example(), tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_the_report_can_be_read(tmp_path: Path) -> None:
    rows, page = written(trained({"lr": [0, 0.05], "scedit": [1, 1.1]}), tmp_path)
    assert "| Reference | PSNR-Y ↑ | FID ↓ |" in page
    assert "| PSNR-Y ↑ | Reference lr | Reference scedit | 30 |" in page and "**worse**" in page
    assert "| FID ↓ | Reference lr | Reference scedit | – | -1.02 | – | 0.10 | none: one" in page
    assert "How to read it" in page and "two seeds are a coarse check" in page
    assert [row["against"] for row in rows].count("") == 4
    pair = next(row for row in rows if row["against"] and row["metric"] == "psnr_y")
    assert float(pair["low"]) < float(pair["value"]) < float(pair["high"]) < 0
    assert (pair["n"], pair["seeds"], pair["verdict"]) == ("30", "2", "worse")
    cell = next(row for row in rows if row["metric"] == "fid")
    assert (cell["n"], cell["low"], cell["value"]) == ("", "", "100.025")


def test_notes_reasons_and_methods_left_out_are_shown(tmp_path: Path) -> None:
    note = "miniature: says nothing about the paper's model"
    results = without(trained({"lr": [0, 0.1], "scedit": [1, 1.1]}), "scedit-1")
    methods = (*items({"lr": "01", "scedit": "01"}, note), Item("cubic", "Bicubic"))
    results = Results(
        "T", results.datasets, methods, results.metrics, results.scores, notes=("N.",)
    )
    _, page = written(results, tmp_path)
    assert f"\n- {note}" in page and "\n- N." in page
    assert "PSNR-Y, FID (Reference scedit): not trained" in page
    assert "none: no second training seed" in page
    assert "no training seed: Bicubic" in page


def test_a_note_of_one_configuration_names_it(tmp_path: Path) -> None:
    results = trained({"lr": [0, 0.1], "scedit": [1, 1.1]})
    methods = (*items({"lr": "01"}, "LR alone."), *items({"scedit": "01"}))
    _, page = written(dataclasses.replace(results, methods=methods), tmp_path)
    assert "- Reference lr: LR alone." in page


def test_one_configuration_has_nothing_to_compare(tmp_path: Path) -> None:
    _, page = written(trained({"lr": [0, 0.1]}), tmp_path)
    assert "No two configurations have scores" in page


def test_reports_are_equal_byte_for_byte_whatever_the_order_of_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASSR_BENCH_CACHE", str(tmp_path / "cache"))
    results = trained({"lr": [0, 0.05], "scedit": [1, 1.1]})
    shuffled = results.scores.sample(frac=1, random_state=0)
    other = dataclasses.replace(results, scores=shuffled)
    one = [path.read_bytes() for path in render_all(results, tmp_path / "one", ["ablation"])]
    again = [path.read_bytes() for path in render_all(results, tmp_path / "two", ["ablation"])]
    mixed = [path.read_bytes() for path in render_all(other, tmp_path / "three", ["ablation"])]
    assert one == again == mixed and len(one) == 3


def test_hostile_names_are_text(tmp_path: Path) -> None:
    names = (*ex.HOSTILE, "=1+1")
    values: Values = {
        (ex.HOSTILE[1], f"{name}{seed}", f"{image}{i}", "psnr_y"): 20.0 + place + seed / 9 + i
        for place, name in enumerate(names)
        for seed in (0, 1)
        for i, image in enumerate(ex.HOSTILE[:7])
    }
    methods = tuple(
        Item(f"{name}{seed}", name, name, {name: name, TRAINING_SEED: str(seed)})
        for name in names
        for seed in (0, 1)
    )
    results = ex.results(values, (ex.PSNR,), methods=methods, notes=ex.HOSTILE)
    rows, page = written(results, tmp_path)
    assert "<script>" not in page and "\x1b" not in page and "**bold**" not in page
    assert not any(value.startswith("=") for row in rows for value in row.values())
