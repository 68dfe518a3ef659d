"""Intervals cover what they promise, tests err as often as they may, tables stay honest."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from bench.reports import get_report
from bench.results.bootstrap import (
    MIN_IMAGES,
    _weights,
    bootstrap,
    corrected,
    holm_confidence,
    rank_probabilities,
    wilcoxon,
)
from bench.results.paired import paired
from bench.results.results import SET_METRIC, Results
from bench.results.table_stats import mean_rank_intervals, statistics

from . import results_example as ex

SHAPES = {
    "normal": (lambda rng, size: rng.normal(size=size), 0.0),
    "skewed": (lambda rng, size: rng.lognormal(0, 0.5, size), math.exp(0.125)),
    "heavy": (lambda rng, size: rng.standard_t(5, size), 0.0),
    "two groups": (lambda rng, size: rng.normal(size=size) + 4 * (rng.random(size) < 0.3), 1.2),
}


def simulate(shape: str, n: int, repeats: int, seed: int) -> tuple[np.ndarray, float]:
    draw, mean = SHAPES[shape]
    return draw(np.random.default_rng(seed), (n, repeats)), mean


def error_rate(shape: str, n: int, repeats: int) -> float:
    """How often the 95 % interval misses the true mean, in per cent.

    The resamples are drawn anew for every thousand tables, so that they are no part of the error.
    """
    missed = 0
    for seed in range(repeats // 1000):
        values, mean = simulate(shape, n, 1000, seed)
        found = bootstrap(values, seed, resamples=2000)
        missed += int((np.abs(found.mean - mean) > found.half_width()).sum())
    return 100 * missed / repeats


@pytest.mark.parametrize("n", [20, 50, 100])
@pytest.mark.parametrize("shape", ["normal", "skewed"])
def test_intervals_cover_the_true_mean(shape: str, n: int) -> None:
    assert error_rate(shape, n, 4000) == pytest.approx(5, abs=1.5)


@pytest.mark.slow
@pytest.mark.parametrize("n", [20, 50, 100, 500])
@pytest.mark.parametrize("shape", list(SHAPES))
def test_intervals_cover_the_true_mean_of_many_shapes(shape: str, n: int) -> None:
    assert error_rate(shape, n, 20_000) == pytest.approx(5, abs=1.5)


def false_positives(n: int, repeats: int) -> tuple[float, float]:
    """Per cent of equally good pairs that the paired test and Wilcoxon call different."""
    found = np.zeros(2)
    for seed in range(repeats // 1000):
        rng = np.random.default_rng(seed)
        difficulty = rng.normal(25, 3, (n, 1000))
        a, b = (difficulty + rng.normal(0, 0.5, (n, 1000)) for _ in range(2))
        found[0] += (paired(a - b).p() < 0.05).sum()
        found[1] += (wilcoxon(a - b) < 0.05).sum()
    first, second = 100 * found / repeats
    return float(first), float(second)


@pytest.mark.parametrize("n", [20, 100])
def test_paired_tests_err_as_often_as_they_may(n: int) -> None:
    assert false_positives(n, 5000) == pytest.approx((5, 5), abs=1.5)


@pytest.mark.slow
@pytest.mark.parametrize("n", [15, 20, 50, 93, 100, 300])
def test_paired_tests_err_as_often_as_they_may_in_large(n: int) -> None:
    assert false_positives(n, 20_000) == pytest.approx((5, 5), abs=1.5)


def test_wilcoxon_alone_would_mistake_skew_for_a_better_mean() -> None:
    """Equal means, skewed differences: why the test of the mean decides."""
    rng = np.random.default_rng(0)
    differences = rng.lognormal(0, 0.5, (100, 2000)) - math.exp(0.125)
    assert (wilcoxon(differences) < 0.05).mean() > 0.15
    assert (paired(differences).p() < 0.05).mean() < 0.065


def test_pairing_finds_what_unpaired_intervals_hide() -> None:
    rng = np.random.default_rng(0)
    difficulty = rng.normal(25, 3, 100)
    a, b = difficulty + 0.2, difficulty + rng.normal(0, 0.3, 100)
    found = ex.compare(a, b)
    unpaired = bootstrap(np.column_stack([a, b])).half_width()
    assert found.p < 0.001
    assert found.wilcoxon_p < 0.001
    assert 0 < found.low < found.difference < found.high < unpaired.min()


def test_intervals_agree_with_students_t_on_normal_data() -> None:
    values = np.random.default_rng(0).normal(3, 2, (400, 1))
    expected = scipy_stats.t.ppf(0.975, 399) * scipy_stats.sem(values)[0]
    assert bootstrap(values, resamples=50_000).half_width()[0] == pytest.approx(expected, rel=0.02)


def test_each_resample_has_its_own_mean_and_t() -> None:
    values = np.random.default_rng(7).normal(3, 1, (8, 3))
    found = bootstrap(values, seed=5, resamples=100)
    (shares,) = _weights(8, 100, 5)
    for i, counts in enumerate(np.rint(8 * shares).astype(int)):
        drawn = np.repeat(values, counts, axis=0)
        t = np.abs(drawn.mean(axis=0) - values.mean(axis=0)) / scipy_stats.sem(drawn)
        np.testing.assert_allclose(found.means[i], drawn.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(found.t[i], t, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.error, scipy_stats.sem(values))
    assert bootstrap(np.full((8, 1), 0.1)).half_width() == 0


def test_paired_p_agrees_with_students_t_on_normal_data() -> None:
    rng = np.random.default_rng(3)
    a = rng.normal(0, 1, 200)
    b = a + rng.normal(0.05, 0.5, 200)
    expected = scipy_stats.ttest_rel(a, b).pvalue
    assert ex.compare(a, b).p == pytest.approx(expected, abs=0.02)


def test_p_is_halls_where_the_long_tail_is_on_the_far_side_of_zero() -> None:
    n = 12
    values = np.random.default_rng(6).lognormal(0, 1, (n, 400)) - 1.7
    t = values.mean(axis=0) / scipy_stats.sem(values)
    skew = -np.sign(t) * scipy_stats.skew(values, bias=False) + 3 / n
    b, t = np.maximum(0, skew) / (3 * math.sqrt(n)), np.abs(t)
    transformed = t - b * t**2 + b**2 * t**3 / 3 - b / 2
    assert ((transformed < t) & (transformed > 0)).any() and (transformed < 0).any()
    expected = 2 * scipy_stats.t.sf(np.clip(transformed, 0, t), n - 1)
    np.testing.assert_allclose(paired(values).p(), expected)


def test_equal_methods_are_not_different() -> None:
    scores = np.random.default_rng(0).normal(size=20)
    same = ex.compare(scores, scores)
    assert (same.difference, same.low, same.high, same.p, same.wilcoxon_p) == (0, 0, 0, 1, 1)


@pytest.mark.parametrize("differing", [1, 5])
def test_few_differing_images_are_too_few_for_a_test(differing: int) -> None:
    scores = np.random.default_rng(0).normal(size=50)
    other = scores.copy()
    other[:differing] += 1 + scores[:differing] ** 2
    found = ex.compare(other, scores)
    assert math.isnan(found.p) and math.isnan(found.wilcoxon_p)
    assert math.isnan(found.low) and math.isnan(found.high)


def test_a_width_that_the_images_do_not_bound_is_infinite() -> None:
    values = np.zeros((10, 2))
    values[0, 0] = 1
    values[:, 1] = np.arange(10)
    found = bootstrap(values).half_width()
    assert found[0] == math.inf and math.isfinite(found[1])


def outlying(n: int) -> np.ndarray:
    """(n, 1) scores of which the last is far off: resamples without it have hardly any spread."""
    return np.array([[*np.linspace(5.0, 5.2, n - 1), 20.0]]).T


@pytest.mark.parametrize("n", [6, 8, 29])
def test_intervals_of_few_are_bounded_by_students(n: int) -> None:
    values = outlying(n)
    found = bootstrap(values)
    students = scipy_stats.t.ppf(0.975, n - 1) * scipy_stats.sem(values)[0]
    assert found.half_width()[0] == pytest.approx(2 * students)
    assert np.quantile(found.t, 0.95) * found.error[0] > 2.5 * students


def test_intervals_of_many_and_ordinary_ones_are_left_alone() -> None:
    normal = np.random.default_rng(1).normal(size=(12, 4))
    for values in (outlying(30), normal):
        found = bootstrap(values)
        assert (found.half_width() == np.quantile(found.t, 0.95, axis=0) * found.error).all()


def sparse(share: float) -> object:
    return lambda rng, size: rng.normal(size=size) * (rng.random(size) < share)


DIFFERENCES = {
    "normal": lambda rng, size: rng.normal(size=size),
    "skewed": lambda rng, size: rng.lognormal(0, 0.5, size) - math.exp(0.125),
    "very skewed": lambda rng, size: rng.lognormal(0, 1, size) - math.exp(0.5),
    "very skewed down": lambda rng, size: math.exp(0.5) - rng.lognormal(0, 1, size),
    "exponential": lambda rng, size: rng.exponential(size=size) - 1,
    "plus or minus one": lambda rng, size: rng.choice([-1.0, 1.0], size),
    "one of three": lambda rng, size: rng.choice([-1.0, 0.0, 1.0], size),
    "one image in ten": sparse(0.1),
    "one image in five": sparse(0.2),
    "clipped": lambda rng, size: np.maximum(rng.normal(size=size), 0) - (2 * math.pi) ** -0.5,
    "all alike": lambda rng, size: np.zeros(size),
}


@pytest.mark.parametrize("n", [6, 10, 20, 50, 100])
@pytest.mark.parametrize("shape", list(DIFFERENCES))
def test_equal_means_are_called_different_no_more_often_than_they_may(shape: str, n: int) -> None:
    values = DIFFERENCES[shape](np.random.default_rng(1), (n, 10_000))
    assert 100 * (paired(values).p() < 0.05).mean() < 7


@pytest.mark.parametrize("n", [10, 20, 50, 100])
@pytest.mark.parametrize("shape", ["normal", "skewed", "very skewed"])
def test_the_test_is_no_refusal_to_decide(shape: str, n: int) -> None:
    values = DIFFERENCES[shape](np.random.default_rng(2), (n, 10_000))
    assert 100 * (paired(values).p() < 0.05).mean() > 3


@pytest.mark.parametrize("confidence", [0.95, 0.9995])
@pytest.mark.parametrize("shape", list(DIFFERENCES))
def test_the_interval_leaves_out_zero_exactly_where_the_test_rejects(
    shape: str, confidence: float
) -> None:
    rng = np.random.default_rng(3)
    for n, shift in ((6, 0.0), (12, 1.5), (40, 0.0), (40, 0.4)):
        found = paired(DIFFERENCES[shape](rng, (n, 1000)) + shift)
        (low, high), p = found.interval(confidence), found.p()
        assert (np.isnan(low) == np.isnan(p)).all()
        known = ~np.isnan(p)
        apart = (low > 0) | (high < 0)
        np.testing.assert_array_equal(apart[known], (p < 1 - confidence)[known])
        assert (low[known] <= found.mean[known] + 1e-9).all()
        assert (found.mean[known] <= high[known] + 1e-9).all()


def test_corrected_intervals_leave_out_zero_exactly_where_holm_rejects() -> None:
    rng = np.random.default_rng(4)
    for _ in range(50):
        found = paired(rng.normal(size=(12, 20)) + rng.normal(size=20))
        p = found.p()
        low, high = found.interval(holm_confidence(p, 0.05))
        np.testing.assert_array_equal((low > 0) | (high < 0), corrected(p) < 0.05)
    assert holm_confidence(np.array([0.001, math.nan, 0.9]), 0.05)[0] == 1 - 0.05 / 3


def test_the_interval_is_longer_towards_a_long_tail() -> None:
    values = np.random.default_rng(5).lognormal(0, 1, (20, 500))
    found = paired(values)
    low, high = found.interval()
    students = scipy_stats.t.isf(0.025, 19) * found.error
    assert ((high - found.mean) > 1.2 * students).mean() > 0.9
    np.testing.assert_allclose((found.mean - low)[found.skew > 0.5], students[found.skew > 0.5])


@pytest.mark.parametrize("n", [6, 10, 40])
def test_equal_differences_have_the_p_of_the_sign_test(n: int) -> None:
    scores = np.random.default_rng(0).normal(size=n)
    exact, rounded = ex.compare(np.ones(n), np.zeros(n)), ex.compare(scores + 0.3, scores)
    assert exact.p == rounded.p == 2.0 ** (1 - n)


def test_small_p_values_are_those_of_students_tail() -> None:
    """Where nothing is skewed: no resamples bound them from below."""
    half = np.random.default_rng(0).normal(0, 1, (200, 40))
    values = np.concatenate([half, -half]) + 0.3
    found, expected = paired(values).p(), scipy_stats.ttest_1samp(values, 0).pvalue
    assert found.max() < 1e-6
    assert np.abs(np.log10(found / expected)).max() < 0.1 * np.abs(np.log10(expected)).max()


def test_holm() -> None:
    p = np.array([0.01, math.nan, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(corrected(p[[0, 2, 3, 4]]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(corrected(p), [0.04, math.nan, 0.09, 0.09, 0.025])
    assert (corrected(np.array([0.6, 0.7])) <= 1).all()


def test_a_comparison_without_a_test_counts() -> None:
    np.testing.assert_allclose(corrected(np.array([0.01, math.nan, 0.04])), [0.03, math.nan, 0.08])


def test_ties_of_one_pair_do_not_change_the_wilcoxon_p_of_another() -> None:
    plain = np.random.default_rng(0).normal(0.3, 1, (20, 1))
    equal, zero = np.round(plain, 1) + 0.05, plain.copy()
    zero[0] = 0
    for tied in (equal, zero, np.round(zero, 1)):
        both = wilcoxon(np.column_stack([plain, tied]))
        assert both.tolist() == [wilcoxon(plain)[0], wilcoxon(tied)[0]]
        assert both[0] == scipy_stats.wilcoxon(plain[:, 0], method="exact").pvalue


@pytest.mark.parametrize("images", [6, 13, 14, 37, 50, 51])
def test_wilcoxon_is_scipys_bit_for_bit(images: int) -> None:
    """Exact where scipy's is, by its import or without."""
    rng = np.random.default_rng(images)
    plain = rng.normal(0.3, 1, (images, 70))
    tied = rng.integers(-3, 4, (images, 5)).astype(float)
    both = np.concatenate([plain, tied], axis=1)
    expected = [scipy_stats.wilcoxon(column).pvalue for column in both.T]
    enough = (both != 0).sum(axis=0) >= MIN_IMAGES
    np.testing.assert_array_equal(wilcoxon(both)[enough], np.array(expected)[enough])


def test_wilcoxon_with_ties_is_scipys() -> None:
    for n in (7, 9, 14, 60):
        tied = np.round(np.random.default_rng(n).normal(0.3, 1, (n, 3)), 1)
        tied[0] = 0
        expected = [scipy_stats.wilcoxon(column).pvalue for column in tied.T]
        assert wilcoxon(tied).tolist() == expected


def test_holm_bounds_the_error_over_all_comparisons() -> None:
    rng = np.random.default_rng(0)
    wrong = [(corrected(rng.random(30)) < 0.05).any() for _ in range(2000)]
    assert np.mean(wrong) == pytest.approx(0.05, abs=0.015)


def test_rank_probabilities() -> None:
    means = np.array([[1.0, 2.0, 3.0], [2.0, 1.0, 3.0], [1.0, 1.0, 3.0], [1.0, 2.0, 3.0]])
    higher = rank_probabilities(means, "higher")
    assert higher[2].tolist() == [1, 0, 0]
    assert higher[0].tolist() == [0, 0.5, 0.5]
    lower = rank_probabilities(means, "lower")
    assert lower[0].tolist() == [0.75, 0.25, 0]


def table(n: int, gaps: dict[str, float], *, seed: int = 0, noise: float = 0.2) -> Results:
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(25, 3, n)
    values: dict[tuple[str, str, str, str], float | str] = {}
    for method, gap in gaps.items():
        for i, score in enumerate(difficulty + gap + rng.normal(0, noise, n)):
            values["d", method, f"i{i:03}", "psnr_y"] = float(score)
        values["d", method, "", "fid"] = 100.0 + gap
    return ex.results(values, (ex.PSNR, ex.FID))


def test_best_group_is_the_best_and_all_not_worse() -> None:
    found = statistics(table(60, {"bad": -5, "good": 0, "twin": 0.001, "near": -0.6}))
    assert found.groups == {("d", "psnr_y"): frozenset({"good", "twin"})}
    assert found.comparisons == {("d", "psnr_y"): 6}
    assert found.pairs["comparisons"].dropna().unique().tolist() == [6]
    psnr = found.cells[found.cells["metric"] == "psnr_y"].set_index("method")
    assert psnr["against_best"][["bad", "near"]].tolist() == ["worse", "worse"]
    assert sorted(psnr["against_best"][["good", "twin"]]) == ["best", "not told apart"]
    assert psnr["rank_low"]["bad"] == psnr["rank_high"]["bad"] == 4
    assert psnr["best_probability"][["good", "twin"]].sum() == pytest.approx(1)
    assert (psnr["low"] < psnr["mean"]).all() and (psnr["mean"] < psnr["high"]).all()


@pytest.mark.parametrize(
    ("chances", "low", "high"),
    [
        ((0.02, 0.95, 0.03), 2, 3),  # 2 % below is left out, 3 % above is not
        ((0.03, 0.95, 0.02), 1, 2),
        ((0.2, 0.6, 0.2), 1, 3),
        ((0.0, 1.0, 0.0), 2, 2),
    ],
)
def test_the_range_of_ranks_leaves_out_a_fortieth_on_each_side(
    chances: tuple[float, ...], low: int, high: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "bench.results.table_stats.rank_probabilities"
    monkeypatch.setattr(name, lambda *_: np.array([chances] * 3))
    cells = statistics(table(8, {"a": 0.1, "b": 0.2, "c": 0.3})).cells.dropna(subset="low")
    assert set(cells["rank_low"]) == {low} and set(cells["rank_high"]) == {high}


def test_what_else_is_in_the_table_changes_no_verdict() -> None:
    """The same scores alone and beside six other metrics."""
    alone = table(20, {f"m{i}": i / 10 for i in range(12)})
    scores = [alone.scores[alone.scores["metric"] == "psnr_y"]]
    more = [ex.metric(f"x{i}", f"X{i}") for i in range(6)]
    scores += [scores[0].assign(metric=metric.name) for metric in more]
    large = statistics(
        Results("T", alone.datasets, alone.methods, (ex.PSNR, *more), pd.concat(scores))
    )
    for name in ("cells", "pairs"):
        frame, small = getattr(large, name), getattr(statistics(alone), name)
        own, expected = (f[f["metric"] == "psnr_y"].reset_index(drop=True) for f in (frame, small))
        pd.testing.assert_frame_equal(own, expected, check_dtype=False)
    verdicts = large.pairs["verdict"].value_counts()
    assert verdicts["worse"] > 200 and verdicts["not told apart"] > 50


def test_many_methods_on_few_images_are_still_told_apart() -> None:
    """A clear difference among 40 methods (780 comparisons), far below 1 in 10,000 resamples."""
    found = statistics(table(30, {"bad": -5} | {f"m{i}": 0.0 for i in range(39)}))
    assert found.pairs.query("a == 'bad'")["verdict"].value_counts()["worse"] == 39
    assert "bad" not in found.groups["d", "psnr_y"] and len(found.groups["d", "psnr_y"]) > 30


def test_methods_that_differ_on_few_images_are_not_told_apart(tmp_path: Path) -> None:
    values = {("d", m, f"i{i:02}", "psnr_y"): 20.0 + i for m in "ab" for i in range(20)}
    values |= {("d", "b", f"i{i:02}", "psnr_y"): 30.0 + i for i in range(3)}
    results = ex.results(values, (ex.PSNR,))
    found = statistics(results)
    (pair,) = found.pairs.to_dict("records")
    assert pair["verdict"] == "too few images" and math.isnan(pair["holm_p"])
    assert pair["reason"].startswith("3 of n = 20 images differ: too few")
    assert found.groups == {("d", "psnr_y"): {"a", "b"}}
    assert found.cells["against_best"].tolist() == ["too few images", "best"]
    page = get_report("statistics").load()(results, tmp_path)[2].read_text()
    assert "| a † |" in page and "| too few images |" in page


def test_verdicts_know_which_direction_is_better() -> None:
    pairs = statistics(table(30, {"a": 0, "b": 3})).pairs
    assert pairs[pairs["metric"] == "psnr_y"]["verdict"].tolist() == ["worse"]
    scores = {(*key, f"i{i}", "lpips"): v + i / 100 for i in range(30) for key, v in LPIPS.items()}
    pairs = statistics(ex.results(scores, (ex.LPIPS,))).pairs
    assert pairs["verdict"].tolist() == ["better"]


LPIPS = {("d", "a"): 0.1, ("d", "b"): 0.4}


def test_metrics_of_a_set_are_left_out_with_the_reason() -> None:
    found = statistics(table(30, {"a": 0, "b": 3}))
    fid = found.pairs[found.pairs["metric"] == "fid"]
    assert fid["verdict"].tolist() == ["no test"]
    assert fid["reason"].tolist() == [SET_METRIC]
    cells = found.cells[found.cells["metric"] == "fid"]
    assert cells["low"].isna().all() and cells["mean"].notna().all()
    assert ("d", "fid") not in found.groups


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_images_claim_nothing(n: int) -> None:
    found = statistics(table(n, {"a": 0, "b": 50}))
    assert found.comparisons == {}
    assert found.groups == {}
    assert found.cells["low"].isna().all()
    assert "too few images" in found.cells["reason"][0]
    psnr = found.pairs["metric"] == "psnr_y"
    assert found.pairs["verdict"][psnr].tolist() == ["too few images"]
    assert found.pairs["verdict"][~psnr].tolist() == ["no test"]


def test_infinite_and_missing_scores_claim_nothing() -> None:
    values: dict[tuple[str, str, str, str], float | str] = {}
    for i in range(10):
        values["d", "perfect", f"i{i}", "psnr_y"] = math.inf
        values["d", "usual", f"i{i}", "psnr_y"] = 25.0 + i
        values["d", "broken", f"i{i}", "psnr_y"] = "out of memory"
    found = statistics(ex.results(values, (ex.PSNR,)))
    assert found.cells["low"].isna().all()
    assert dict(zip(found.cells["method"], found.cells["reason"], strict=True)) == {
        "perfect": "a score is infinite",
        "usual": "a score is infinite",
        "broken": "out of memory",
    }


def test_a_metric_without_any_score_is_passed_over() -> None:
    values = {("d", "a", f"i{i}", "lpips"): "no weights" for i in range(10)}
    found = statistics(ex.results(values, (ex.LPIPS,)))
    assert found.cells["reason"].tolist() == ["no weights"]
    assert len(found.pairs) == len(found.comparisons) == 0
    assert found.groups == {}


def test_only_common_images_count() -> None:
    results = table(30, {"a": 0, "b": 1})
    scores = results.scores.copy()
    gone = (scores["method"] == "b") & (scores["image"] < "i010") & (scores["image"] != "")
    scores.loc[gone, "value"] = math.nan
    scores.loc[gone, "reason"] = "failed"
    found = statistics(ex.results(_values(scores), (ex.PSNR,)))
    assert found.cells["n"].tolist() == [20, 20]
    common = scores[(scores["image"] >= "i010") & (scores["method"] == "a")]
    assert found.cells["mean"][0] == pytest.approx(common["value"].mean())
    assert found.pairs["n"].tolist() == [20]


def _values(scores: pd.DataFrame) -> dict[tuple[str, str, str, str], float | str]:
    own = scores[scores["metric"] == "psnr_y"]
    return {
        (r["dataset"], r["method"], r["image"], r["metric"]): r["reason"] or r["value"]
        for r in own.to_dict("records")
    }


def test_statistics_do_not_depend_on_the_order_of_rows() -> None:
    results = table(30, {"a": 0, "b": 0.1, "c": 0.2})
    shuffled = results.scores.sample(frac=1, random_state=0)
    again = Results(results.title, results.datasets, results.methods, results.metrics, shuffled)
    pd.testing.assert_frame_equal(statistics(results).cells, statistics(again).cells)
    pd.testing.assert_frame_equal(statistics(results).pairs, statistics(again).pairs)


def test_mean_ranks_are_as_sure_as_their_images() -> None:
    results = table(30, {"bad": -5, "good": 0, "twin": 0.01})
    bad, good, twin = mean_rank_intervals(results, "d")
    # By FID, one value for the whole set, their ranks are 1, 2 and 3 whatever is drawn.
    assert bad == (2.0, 2.0), "last by PSNR in every resample"
    assert good == (1.5, 2.0) and twin == (2.0, 2.5), "each before the other by PSNR at times"
    assert mean_rank_intervals(results, "d") == [bad, good, twin]
    assert mean_rank_intervals(table(3, {"a": 0, "b": 1}), "d") == [None, None]


def test_report_can_be_read(tmp_path: Path) -> None:
    results = table(40, {"good": 0, "twin": 0.01, "bad": -5})
    cells, pairs, page = get_report("statistics").load()(results, tmp_path)
    text = page.read_text()
    assert "| **good** |" in text and "| twin † |" in text and "| bad |" in text
    assert "n = 40, Holm over 3\n" in text
    assert "† is not told apart from the best" in text
    assert "Holm over 3 comparisons per dataset and metric" in text
    assert SET_METRIC in text
    written = pd.read_csv(cells)
    assert written["mean"][0] == pytest.approx(results.scores["value"][:40].mean(), rel=1e-6)
    assert pd.read_csv(pairs)["verdict"].tolist().count("better") == 2
