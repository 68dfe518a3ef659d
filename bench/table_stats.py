"""Statistics of a whole table: intervals, paired tests with Holm, ranks, groups of equally good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from bench.hashing import json_sha256
from bench.results import Results, summarize
from bench.stats import (
    CONFIDENCE,
    MIN_IMAGES,
    RESAMPLES,
    Bootstrap,
    bootstrap,
    holm,
    rank_probabilities,
    wilcoxon,
)
from bench.types import MetricSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

Verdict = Literal["better", "worse", "not different", "no test"]
SET_METRIC = "one value for the whole set: there are no scores per image to resample"
MAX_RESAMPLES = 100_000
CELL_COLUMNS = [
    *("dataset", "metric", "method", "mean", "n", "low", "high"),
    *("rank", "best_probability", "rank_low", "rank_high", "reason"),
]
PAIR_COLUMNS = [
    *("dataset", "metric", "a", "b", "n", "difference", "low", "high"),
    *("p", "holm_p", "wilcoxon_p", "wilcoxon_holm_p", "verdict", "reason"),
]


@dataclass(frozen=True)
class Statistics:
    """All that the scores of a table allow to say.

    Attributes:
        cells: a row per dataset, metric and method: mean over the common images, n, interval,
            rank, the probability to be best and the range of 95 % of the ranks when the images
            are drawn again; NaN with a reason where nothing can be said.
        pairs: a row per dataset, metric and two methods that have scores: mean of a - b with its
            interval, both tests with and without Holm, and whether a is better or worse.
        comparisons: how many tests Holm corrects for: all of the table.
        resamples: how many times the images were drawn again.
        alpha: a Holm-corrected p below it is a difference.
    """

    cells: pd.DataFrame
    pairs: pd.DataFrame
    comparisons: int
    resamples: int
    alpha: float

    @cached_property
    def groups(self) -> dict[tuple[str, str], frozenset[str]]:
        """By dataset and metric: the best mean and all not significantly worse than it.

        Rows without a test (metrics of a set, too few images, one method) have no group.
        """
        ranks = {
            (row["dataset"], row["metric"], row["method"]): row["rank"]
            for row in self.cells.to_dict("records")
        }
        groups: dict[tuple[str, str], list[dict[Any, Any]]] = {}
        for pair in self.pairs.to_dict("records"):
            if pair["verdict"] != "no test":
                groups.setdefault((pair["dataset"], pair["metric"]), []).append(pair)
        return {key: _group(pairs, ranks) for key, pairs in groups.items()}


def _group(
    pairs: Sequence[Mapping[Any, Any]], ranks: Mapping[tuple[str, str, str], float]
) -> frozenset[str]:
    """The best of the methods of one row's pairs, and those not different from it."""
    dataset, metric = pairs[0]["dataset"], pairs[0]["metric"]
    methods = dict.fromkeys(name for pair in pairs for name in (pair["a"], pair["b"]))
    best = min(methods, key=lambda name: ranks[dataset, metric, name])
    equal = [{p["a"], p["b"]} for p in pairs if p["verdict"] == "not different"]
    return frozenset({best}.union(*(pair for pair in equal if best in pair)))


@dataclass(frozen=True)
class CommonScores:
    """Scores of one dataset and metric on the images that all methods with any score share.

    Attributes:
        methods: k methods that have a score.
        values: (n, k), a row per image in the order of their ids.
        seed: of the resamples; equal images give equal seeds.
        reason: why there is no test ("" where there is one).
    """

    dataset: str
    metric: MetricSpec
    methods: tuple[str, ...]
    values: NDArray[np.float64]
    seed: int
    reason: str

    @property
    def pairs(self) -> list[tuple[int, int]]:
        return list(combinations(range(len(self.methods)), 2))


def statistics(results: Results, alpha: float = 0.05) -> Statistics:
    """Intervals, paired tests and ranks of every cell of a table.

    Only images that all methods with any score share count. Equal scores give equal statistics:
    the resamples are seeded by the ids of these images, and methods share them.

    Args:
        alpha: level of the verdicts, after Holm's correction over all comparisons.
    """
    summary = summarize(results)
    rows = [
        common_scores(results, d.name, metric)
        for d in results.datasets
        for metric in results.metrics
    ]
    comparisons = sum(len(row.pairs) for row in rows if not row.reason)
    resamples = resamples_for(comparisons, alpha)
    cells: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    for row in rows:
        found = None if row.reason else _bootstrap(row, resamples)
        cells += _cells(row, found)
        pairs += _pairs(row, found)
    return Statistics(
        _with_summary(pd.DataFrame(cells, columns=_OWN_COLUMNS), summary),
        _judged(pd.DataFrame(pairs, columns=PAIR_COLUMNS), rows, alpha),
        comparisons,
        resamples,
        alpha,
    )


def resamples_for(comparisons: int, alpha: float) -> int:
    """How many resamples the smallest of Holm's thresholds needs."""
    return int(np.clip(2 * comparisons / alpha, RESAMPLES, MAX_RESAMPLES))


def common_scores(results: Results, dataset: str, metric: MetricSpec) -> CommonScores:
    """What statistics of one dataset and metric are made from."""
    own = results.scores[
        (results.scores["dataset"] == dataset) & (results.scores["metric"] == metric.name)
    ]
    table = own.pivot(index="image", columns="method", values="value").astype(float)
    common = table.loc[:, table.notna().any()].dropna().sort_index()
    methods = tuple(m.name for m in results.methods if m.name in common.columns)
    values = common[list(methods)].to_numpy()
    seed = int(json_sha256(list(common.index))[:15], 16)
    return CommonScores(dataset, metric, methods, values, seed, _why_no_test(metric, values))


def _why_no_test(metric: MetricSpec, values: NDArray[np.float64]) -> str:
    if metric.kind == "set":
        return SET_METRIC
    if not values.size:
        return "no scores"
    if len(values) < MIN_IMAGES:
        return f"n = {len(values)}: too few images for a claim, {MIN_IMAGES} are needed"
    return "" if np.isfinite(values).all() else "a score is infinite"


def _bootstrap(row: CommonScores, resamples: int) -> Bootstrap:
    """Of the methods' scores, then of the differences of all pairs."""
    differences = [row.values[:, i] - row.values[:, j] for i, j in row.pairs]
    return bootstrap(np.column_stack([row.values, *differences]), row.seed, resamples)


_OWN_COLUMNS = [
    *("dataset", "metric", "method", "low", "high", "rank"),
    *("best_probability", "rank_low", "rank_high", "untested"),
]


def _cells(row: CommonScores, found: Bootstrap | None) -> list[dict[str, Any]]:
    keys = [
        {"dataset": row.dataset, "metric": row.metric.name, "method": m, "untested": row.reason}
        for m in row.methods
    ]
    if found is None:
        return keys
    size = len(row.methods)
    means, half = found.mean[:size], found.half_width()[:size]
    chances = rank_probabilities(found.means[:, :size], row.metric.better)
    below = np.cumsum(chances, axis=1)
    edge = (1 - CONFIDENCE) / 2
    signed = means if row.metric.better == "lower" else -means
    return [
        {
            **key,
            "low": means[i] - half[i],
            "high": means[i] + half[i],
            "rank": 1 + int((signed < signed[i]).sum()),
            "best_probability": chances[i, 0],
            "rank_low": 1 + int(np.argmax(below[i] > edge)),
            "rank_high": 1 + int(np.argmax(below[i] >= 1 - edge)),
        }
        for i, key in enumerate(keys)
    ]


def _pairs(row: CommonScores, found: Bootstrap | None) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {
            "dataset": row.dataset,
            "metric": row.metric.name,
            "a": row.methods[i],
            "b": row.methods[j],
            "n": len(row.values) if row.metric.kind == "image" else np.nan,
            "difference": float((row.values[:, i] - row.values[:, j]).mean()),
            "reason": row.reason,
        }
        for i, j in row.pairs
        if len(row.values)
    ]
    if found is None or not rows:
        return rows
    size = len(row.methods)
    half, p = found.half_width()[size:], found.p()[size:]
    signed_rank = wilcoxon(
        np.column_stack([row.values[:, i] - row.values[:, j] for i, j in row.pairs])
    )
    for i, pair in enumerate(rows):
        pair["low"] = pair["difference"] - half[i]
        pair["high"] = pair["difference"] + half[i]
        pair["p"], pair["wilcoxon_p"] = p[i], signed_rank[i]
    return rows


def _with_summary(cells: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """Cells with their means as tables print them, in the order of the tables."""
    merged = summary.merge(cells, how="left", on=["dataset", "metric", "method"])
    untested = merged["untested"].fillna("")
    merged["reason"] = untested.where(untested != "", merged["reason"])
    return merged[CELL_COLUMNS]


def _judged(pairs: pd.DataFrame, rows: Sequence[CommonScores], alpha: float) -> pd.DataFrame:
    """Pairs with Holm's p-values over the whole table and a verdict each."""
    higher = {row.metric.name: row.metric.better == "higher" for row in rows}
    numbers = ["low", "high", "p", "wilcoxon_p"]
    pairs[numbers] = pairs[numbers].astype(float)
    pairs["holm_p"] = holm(pairs["p"].to_numpy())
    pairs["wilcoxon_holm_p"] = holm(pairs["wilcoxon_p"].to_numpy())
    pairs["verdict"] = [
        _verdict(p, (difference > 0) == higher[metric], alpha)
        for p, difference, metric in zip(
            pairs["holm_p"], pairs["difference"], pairs["metric"], strict=True
        )
    ]
    return pairs


def _verdict(p: float, a_is_better: bool, alpha: float) -> Verdict:
    if np.isnan(p):
        return "no test"
    if p >= alpha:
        return "not different"
    return "better" if a_is_better else "worse"
