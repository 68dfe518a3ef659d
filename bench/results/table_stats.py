"""Statistics of a whole table: intervals, paired tests with Holm, ranks, who is told apart.

A family of comparisons is every two methods on one dataset and metric: what else is in the table
changes no verdict. Every two, not each against the best: the best is known only after the look at
the scores, so any two methods might have been the pair that is spoken of.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.base.types import MetricSpec
from bench.results.bootstrap import (
    ALPHA,
    CONFIDENCE,
    MIN_IMAGES,
    bootstrap,
    corrected,
    holm_confidence,
    rank_probabilities,
    ranks,
    seed_of,
    too_few,
    wilcoxon,
)
from bench.results.paired import by_group, numbered, of_photographs, paired
from bench.results.results import SET_METRIC, Results, common_set, summarize

Row = dict[str, Any]
PairVerdict = Literal["better", "worse", "not told apart", "too few images", "no test"]
NOT_TOLD_APART: tuple[PairVerdict, ...] = ("not told apart", "too few images")
MEAN_RANK_RESAMPLES = 2_000
TOO_FEW = f"too few images for a claim, {MIN_IMAGES} are needed"
CELL_COLUMNS = [
    *("dataset", "metric", "method", "mean", "n", "low", "high"),
    *("rank", "best_probability", "rank_low", "rank_high", "against_best", "reason"),
    "groups",
]
PAIR_COLUMNS = [
    *("dataset", "metric", "a", "b", "n", "difference", "low", "high"),
    *("p", "holm_p", "wilcoxon_p", "wilcoxon_holm_p", "comparisons", "verdict", "reason"),
    *("holm_low", "holm_high", "groups"),
]
SHOWN_OF_CELLS = ["dataset", "metric", "method", "mean", "low", "high", "rank", "against_best"]
SHOWN_OF_PAIRS = ["dataset", "metric", "a", "b", "difference", "low", "high", "holm_p", "verdict"]
"""Columns that a notebook shows."""
NUMBERS = [
    *("low", "high", "holm_low", "holm_high"),
    *("p", "holm_p", "wilcoxon_p", "wilcoxon_holm_p", "comparisons"),
]
"""Columns of pairs that are empty without a test."""


@dataclass(frozen=True, repr=False)
class Statistics:
    """All that the scores of a table allow to say.

    Attributes:
        cells: a row per dataset, metric and method: rank_low to rank_high hold 95 % of the ranks
            when the images are drawn again; NaN with a reason where nothing can be said.
        pairs: a row per dataset, metric and two methods that have scores: mean of a - b, whether a
            is better or worse, and both tests with and without Holm. `low` to `high` goes with `p`;
            `holm_low` to `holm_high` leaves out zero exactly where the verdict is better or worse.
        comparisons: by dataset and metric that has a test, how many tests Holm corrects for.
    """

    cells: pd.DataFrame
    pairs: pd.DataFrame
    comparisons: Mapping[tuple[str, str], int]

    @cached_property
    def groups(self) -> dict[tuple[str, str], frozenset[str]]:
        """By dataset and metric that has a test: the best mean, and all not told apart from it."""
        ours = self.cells[self.cells["against_best"].isin(["best", *NOT_TOLD_APART])]
        methods = ours.groupby(["dataset", "metric"])["method"].agg(frozenset).to_dict()
        return {key: methods[key] for key in self.comparisons}

    @cached_property
    def half_widths(self) -> dict[tuple[str, str, str], float]:
        """Half of the 95 % interval by dataset, metric and method, where there is one."""
        known = self.cells.dropna(subset=["low", "high"])
        keys = zip(known["dataset"], known["metric"], known["method"], strict=True)
        return dict(zip(keys, (known["high"] - known["low"]) / 2, strict=True))

    def _shown(self) -> dict[str, pd.DataFrame]:
        return {"cells": self.cells[SHOWN_OF_CELLS], "pairs": self.pairs[SHOWN_OF_PAIRS]}

    def __repr__(self) -> str:
        return "\n\n".join(f"{n}\n{f.to_string(index=False)}" for n, f in self._shown().items())

    def _repr_html_(self) -> str:
        return "".join(f"<p>{n}</p>{f.to_html(index=False)}" for n, f in self._shown().items())


@dataclass(frozen=True)
class CommonScores:
    """Scores of one dataset and metric on the images that all methods with any score share.

    `values` are (n, k), a row per image in the order of their ids, or per photograph where several
    images are from one (`bench.results.paired.by_group`); `seed` is that of the resamples, equal
    for equal images, `reason` why there is no test ("" where there is one).
    """

    dataset: str
    metric: MetricSpec
    methods: tuple[str, ...]
    values: NDArray[np.float64]
    images: int
    seed: int
    reason: str

    @property
    def rows_are(self) -> str:
        return "images" if len(self.values) == self.images else "photographs"

    @property
    def pairs(self) -> list[tuple[int, int]]:
        return list(combinations(range(len(self.methods)), 2))

    @property
    def groups(self) -> float:
        """How many rows there are, NaN for a metric of the whole set."""
        return len(self.values) if self.metric.kind == "image" else np.nan

    @property
    def tested(self) -> bool:
        return bool(self.pairs) and not self.reason

    @property
    def differences(self) -> NDArray[np.float64]:
        """(n, pairs) scores of a - b."""
        i, j = np.array(self.pairs, int).reshape(-1, 2).T
        return self.values[:, i] - self.values[:, j]


def statistics(results: Results) -> Statistics:
    """Intervals, paired tests and ranks of every cell, verdicts at the level `ALPHA` after Holm, of
    images that all methods with any score share; their ids seed the resamples."""
    return results.once("statistics", lambda: _statistics(results))


def _statistics(results: Results) -> Statistics:
    places = product(results.datasets, results.metrics)
    rows = [common_scores(results, dataset.name, metric) for dataset, metric in places]
    cells: list[Row] = []
    pairs: list[Row] = []
    for row in rows:
        compared = compare_all(row)
        pairs += compared
        cells += _beside_best(_cells(row), compared)
    columns = [*(c for c in CELL_COLUMNS if c not in ("mean", "n", "reason")), "untested"]
    own = pd.DataFrame(cells, columns=columns)
    merged = summarize(results).merge(own, how="left", on=["dataset", "metric", "method"])
    untested = merged["untested"].fillna("")
    merged["reason"] = untested.where(untested != "", merged["reason"])
    merged["against_best"] = merged["against_best"].fillna("")
    return Statistics(
        merged[CELL_COLUMNS],
        pd.DataFrame(pairs, columns=PAIR_COLUMNS).astype(dict.fromkeys(NUMBERS, float)),
        {(row.dataset, row.metric.name): len(row.pairs) for row in rows if row.tested},
    )


def common_scores(results: Results, dataset: str, metric: MetricSpec) -> CommonScores:
    """What statistics of one dataset and metric are made from."""
    common = common_set(results, dataset, metric.name)
    methods = tuple(m.name for m in results.methods if m.name in common.columns)
    groups = numbered(common.index, results.photographs(dataset))
    values = by_group(common[list(methods)].to_numpy(), groups)
    seed = seed_of(common.index)
    reason = _why_no_test(metric, values, len(common))
    return CommonScores(dataset, metric, methods, values, len(common), seed, reason)


def _why_no_test(metric: MetricSpec, values: NDArray[np.float64], images: int) -> str:
    if metric.kind == "set":
        return SET_METRIC
    if not values.size:
        return "no scores"
    if len(values) < MIN_IMAGES:
        return f"n = {counted(images, len(values))}: {TOO_FEW}"
    return "" if np.isfinite(values).all() else "a score is infinite"


def counted(images: int, groups: int) -> str:
    """n in words: images, and of how many photographs where these are fewer."""
    photographs = of_photographs(images, groups)
    return f"{images} images{photographs}" if photographs else str(images)


def _cells(row: CommonScores) -> list[Row]:
    about = {"dataset": row.dataset, "metric": row.metric.name, "groups": row.groups}
    keys = [{**about, "method": method, "untested": row.reason} for method in row.methods]
    if row.reason:
        return keys
    found = bootstrap(row.values, row.seed)
    means, half = found.mean, found.half_width()
    places = ranks(means[None], row.metric.better)[0]
    chances = rank_probabilities(found.means, row.metric.better)
    below = np.cumsum(chances, axis=1)
    edge = (1 - CONFIDENCE) / 2
    return [
        {
            **key,
            "low": means[i] - half[i],
            "high": means[i] + half[i],
            "rank": int(places[i]),
            "best_probability": chances[i, 0],
            "rank_low": 1 + int(np.argmax(below[i] > edge)),
            "rank_high": 1 + int(np.argmax(below[i] >= 1 - edge)),
        }
        for i, key in enumerate(keys)
    ]


@np.errstate(invalid="ignore")  # of two infinite scores
def compare_all(row: CommonScores) -> list[Row]:
    """Rows of `PAIR_COLUMNS` for every two methods of one row, one family of comparisons."""
    untested: PairVerdict = "too few images" if row.reason.endswith(TOO_FEW) else "no test"
    n = row.images if row.metric.kind == "image" else np.nan
    about = {"dataset": row.dataset, "metric": row.metric.name, "n": n, "groups": row.groups}
    rows: list[Row] = [
        {**about, "a": row.methods[i], "b": row.methods[j], "verdict": untested}
        | {"difference": (row.values[:, i] - row.values[:, j]).mean(), "reason": row.reason}
        for i, j in row.pairs
        if len(row.values)
    ]
    if row.reason or not rows:
        return rows
    tested = paired(row.differences)
    p, signed_rank = tested.p(), wilcoxon(row.differences)
    numbers = {"p": p, "holm_p": corrected(p)}
    numbers |= {"wilcoxon_p": signed_rank, "wilcoxon_holm_p": corrected(signed_rank)}
    numbers["low"], numbers["high"] = tested.interval()
    sure = holm_confidence(p, ALPHA)
    numbers["holm_low"], numbers["holm_high"] = tested.interval(sure)
    for i, pair in enumerate(rows):
        better = (pair["difference"] > 0) == (row.metric.better == "higher")
        pair |= {name: values[i] for name, values in numbers.items()}
        pair |= {"comparisons": len(rows), "reason": _few_differ(int(tested.other[i]), row)}
        pair["verdict"] = _verdict(pair["holm_p"], better)
    return rows


def _few_differ(other: int, row: CommonScores) -> str:
    """Why two methods cannot be told apart that differ on some images, "" where they can."""
    few = too_few(np.array(other))
    return f"{other} of n = {len(row.values)} {row.rows_are} differ: {TOO_FEW}" if few else ""


def _verdict(holm_p: float, a_is_better: bool) -> PairVerdict:
    if np.isnan(holm_p):
        return "too few images"
    if holm_p >= ALPHA:
        return "not told apart"
    return "better" if a_is_better else "worse"


def _beside_best(cells: list[Row], pairs: Sequence[Row]) -> list[Row]:
    """The cells of a row, each with its verdict against the best."""
    best = next((cell["method"] for cell in cells if cell.get("rank") == 1), None)
    verdicts = {frozenset((pair["a"], pair["b"])): pair["verdict"] for pair in pairs}
    for cell in cells:
        if not pairs or best is None:
            cell["against_best"] = pairs[0]["verdict"] if pairs else ""
        elif cell["rank"] == 1:
            cell["against_best"] = "best"
        else:
            verdict = verdicts[frozenset((cell["method"], best))]
            cell["against_best"] = verdict if verdict in NOT_TOLD_APART else "worse"
    return cells


def mean_rank_intervals(results: Results, dataset: str) -> list[tuple[float, float] | None]:
    """By method, the 95 % percentile interval of its mean rank over all metrics; None for a method
    without any rank, and for all where no metric has a test. Equal means share the better rank; a
    metric without a test (of a whole set, too few images) keeps its ranks."""
    names = [method.name for method in results.methods]
    sums, counts = np.zeros((MEAN_RANK_RESAMPLES, len(names))), np.zeros(len(names))
    rows = [common_scores(results, dataset, metric) for metric in results.metrics]
    for row in (row for row in rows if row.pairs and len(row.values)):
        means = row.values.mean(axis=0, keepdims=True)
        if row.tested:
            means = bootstrap(row.values, row.seed, MEAN_RANK_RESAMPLES).means
        columns = [names.index(method) for method in row.methods]
        sums[:, columns] += ranks(means, row.metric.better)
        counts[columns] += 1
    edge = (1 - CONFIDENCE) / 2
    low, high = np.quantile(sums, (edge, 1 - edge), axis=0) / np.maximum(counts, 1)
    known = (counts > 0) & any(row.tested for row in rows)
    return [(low[i], high[i]) if known[i] else None for i in range(len(names))]
