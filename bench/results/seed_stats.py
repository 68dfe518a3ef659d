"""Trainings that are repeated with other seeds: is a difference more than noise?

One configuration is called better only when the paired test of `bench.results.table_stats` says so
of the scores averaged over the seeds, and `seeds_differ` of the means of each seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench.base.errors import DataError
from bench.base.text import printable
from bench.base.types import TRAINING_SEED, MetricSpec
from bench.results.bootstrap import ALPHA, bootstrap
from bench.results.results import Item, Results, summarize
from bench.results.table_stats import CommonScores, common_scores, compare_all

Array = NDArray[np.float64]
MIN_SEEDS = 2
NO_SCORES = "no scores"
NO_SECOND_SEED = "no second training seed"
ONE_VALUE = "one value per set"
IDENTICAL = "identical scores"
IMAGE_NOISE = "within image noise"
SEED_NOISE = "within training-seed noise"

SeedVerdict = Literal["better", "worse", "none"]


@dataclass(frozen=True)
class Configuration:
    """Methods, by training seed, that differ in nothing else; `settings` are heading -> value,
    `label` says those in which a table's configurations differ."""

    label: str
    settings: Mapping[str, str]
    methods: Mapping[str, Item]


@dataclass(frozen=True)
class SeedCell:
    """One configuration's scores of one dataset and metric, on the `n` images that all methods
    share (None: of the whole set); `half` is that of the 95 % interval over images of the mean over
    seeds, NaN with its reason."""

    dataset: str
    metric: MetricSpec
    configuration: Configuration
    n: int | None
    seed_means: tuple[float, ...]
    half: float = float("nan")
    reason: str = ""

    @property
    def mean(self) -> float:
        return float(np.mean(self.seed_means)) if self.seed_means else float("nan")

    @property
    def spread(self) -> float:
        """Largest less smallest mean of a seed; NaN below two seeds."""
        if len(self.seed_means) < MIN_SEEDS or not np.isfinite(self.seed_means).all():
            return float("nan")
        return max(self.seed_means) - min(self.seed_means)


@dataclass(frozen=True)
class SeedPair:
    """Whether a is better than b on one dataset and metric; `reason` says why neither is.

    `difference` is the mean of a - b, `low` to `high` its interval over images, without zero
    exactly where `holm_p` is below `ALPHA`; `p` is of "no difference", NaN without a test.
    """

    a: SeedCell
    b: SeedCell
    difference: float
    low: float
    high: float
    p: float
    holm_p: float
    verdict: SeedVerdict = "none"
    reason: str = ""

    @property
    def spread(self) -> float:
        """The larger of both; NaN where one has a single seed."""
        return float(np.max([self.a.spread, self.b.spread]))


@dataclass(frozen=True)
class SeedStatistics:
    """All that repeated trainings allow to say; fields as of `table_stats.Statistics`."""

    configurations: tuple[Configuration, ...]
    cells: tuple[SeedCell, ...]
    pairs: tuple[SeedPair, ...]
    comparisons: Mapping[tuple[str, str], int]


def configurations(results: Results) -> tuple[Configuration, ...]:
    """The configurations of the methods that name a training seed; DataError where two methods
    have the same settings and seed."""
    groups: dict[frozenset[tuple[str, str]], list[Item]] = {}
    for method in results.methods:
        if TRAINING_SEED in method.variant:
            groups.setdefault(frozenset(_settings(method).items()), []).append(method)
    settings = [_settings(items[0]) for items in groups.values()]
    found = []
    for own, items in zip(settings, groups.values(), strict=True):
        differ = [head for head in own if len({other.get(head) for other in settings}) > 1]
        label = ", ".join(f"{head} {own[head]}" for head in differ or own)
        found.append(Configuration(label or items[0].title, own, _by_seed(items)))
    return tuple(found)


def _settings(method: Item) -> dict[str, str]:
    return {head: value for head, value in method.variant.items() if head != TRAINING_SEED}


def _by_seed(items: Sequence[Item]) -> dict[str, Item]:
    methods: dict[str, Item] = {}
    for item in items:
        seed = item.variant[TRAINING_SEED]
        other = methods.setdefault(seed, item)
        if other is not item:
            raise DataError(
                f"methods '{printable(other.name)}' and '{printable(item.name)}': expected "
                f"another setting or training seed, found '{printable(seed)}' and equal settings"
            )
    return methods


def seed_statistics(results: Results) -> SeedStatistics:
    """Intervals over images, spreads over training seeds, and what both allow to say; images as of
    `bench.results.table_stats.statistics`, raises as `configurations`."""
    known = configurations(results)
    reasons = _reasons(results)
    cells: list[SeedCell] = []
    pairs: list[SeedPair] = []
    comparisons = {}
    for dataset, metric in product(results.datasets, results.metrics if known else ()):
        averaged, seeds = _averaged(common_scores(results, dataset.name, metric), known)
        own = _cells(averaged, seeds, known, reasons)
        cells += own
        pairs += _pairs(own, averaged)
        if averaged.tested:
            comparisons[dataset.name, metric.name] = len(averaged.pairs)
    return SeedStatistics(known, tuple(cells), tuple(pairs), comparisons)


def _reasons(results: Results) -> dict[tuple[str, str, str], str]:
    """By dataset, metric and method: why it has no or fewer scores, "" where it has all."""
    reasons = {}
    for row in summarize(results).to_dict("records"):
        some = f"no score for {row['missing']} of {row['images']} images: " if row["n"] else ""
        key = (row["dataset"], row["metric"], row["method"])
        reasons[key] = f"{some}{row['reason']}" if row["reason"] else ""
    return reasons


def _averaged(
    scores: CommonScores, known: Sequence[Configuration]
) -> tuple[CommonScores, dict[int, Array]]:
    """The scores averaged over the seeds, and each seed's, (n, seeds), by the numbers of those
    configurations that have any."""
    place = {name: i for i, name in enumerate(scores.methods) if len(scores.values)}
    seeds = {}
    for i, own in enumerate(known):
        columns = [place[method.name] for method in own.methods.values() if method.name in place]
        if columns:
            seeds[i] = scores.values[:, columns]
    means = [values.mean(axis=1) for values in seeds.values()]
    values = np.column_stack(means) if means else np.empty((0, 0))
    return replace(scores, methods=tuple(map(str, seeds)), values=values), seeds


def _cells(
    averaged: CommonScores,
    seeds: Mapping[int, Array],
    known: Sequence[Configuration],
    reasons: Mapping[tuple[str, str, str], str],
) -> list[SeedCell]:
    dataset, metric = averaged.dataset, averaged.metric
    half = {}
    if seeds and not averaged.reason:
        widths = bootstrap(averaged.values, averaged.seed).half_width()
        half = dict(zip(seeds, widths.tolist(), strict=True))
    cells = []
    for i, own in enumerate(known):
        means = tuple(float(seed.mean()) for seed in seeds[i].T) if i in seeds else ()
        n = None if metric.kind == "set" else averaged.images if means else 0
        missing = dict.fromkeys(reasons[dataset, metric.name, m.name] for m in own.methods.values())
        untested = ONE_VALUE if metric.kind == "set" else averaged.reason
        one_seed = NO_SECOND_SEED if len(means) < MIN_SEEDS else ""
        why_less = (untested or one_seed) if means else NO_SCORES
        reason = "; ".join(filter(None, missing)) or why_less
        cells.append(SeedCell(dataset, metric, own, n, means, half.get(i, float("nan")), reason))
    return cells


def _pairs(cells: Sequence[SeedCell], averaged: CommonScores) -> list[SeedPair]:
    """Every two configurations, as the table's test of the averaged scores and the seeds judge."""
    compared = {(pair["a"], pair["b"]): pair for pair in compare_all(averaged)}
    names = ("difference", "holm_low", "holm_high", "p", "holm_p")
    pairs = []
    for (i, a), (j, b) in combinations(enumerate(cells), 2):
        found: Mapping[str, Any] = compared.get((str(i), str(j)), {})
        difference, low, high, p, holm_p = (float(found.get(name, np.nan)) for name in names)
        pair = SeedPair(a, b, difference, low, high, p, holm_p)
        reason = _why_none(pair, found["reason"]) if found else NO_SCORES
        pairs.append(replace(pair, reason=reason, verdict="none" if reason else found["verdict"]))
    return pairs


def _why_none(pair: SeedPair, untested: str) -> str:
    """Why neither is better: no test, or noise that may explain the difference; "" if one is."""
    if pair.a.metric.kind == "set":
        return ONE_VALUE
    if untested:
        return untested
    if min(len(pair.a.seed_means), len(pair.b.seed_means)) < MIN_SEEDS:
        return NO_SECOND_SEED
    if pair.low == pair.high:  # only differences that are all zero have an interval of no width
        return IDENTICAL
    noise = [] if pair.holm_p < ALPHA else [IMAGE_NOISE]
    if not seeds_differ(pair.a.seed_means, pair.b.seed_means):
        noise.append(SEED_NOISE)
    return " and ".join(noise)


def seeds_differ(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether all means of a lie on one side of all of b, further away than either spreads."""
    apart = min(a) > max(b) or max(a) < min(b)
    spread = max(max(a) - min(a), max(b) - min(b))
    return apart and abs(float(np.mean(a)) - float(np.mean(b))) > spread
