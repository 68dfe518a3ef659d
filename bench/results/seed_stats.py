"""Statistics of trainings that are repeated with other seeds: is a difference more than noise?

Methods that are told apart by nothing but the heading "Training seed" are one configuration. Two
configurations a and b are compared on two kinds of noise. Which images were drawn: the scores per
image, averaged over the seeds, go through the paired test of `bench.results.paired`.
Which seed the training had: with m_a, m_b the means of each seed,

    spread = max(max m_a - min m_a, max m_b - min m_b),

one is called better only when Holm's p (over every two configurations of the dataset and metric,
for the reasons of `bench.results.table_stats`) is below alpha, all of m_a lie on one side of all
of m_b, and |mean m_a - mean m_b| > spread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np

from bench.base.errors import DataError
from bench.base.text import printable
from bench.base.types import TRAINING_SEED, MetricSpec
from bench.results.bootstrap import bootstrap, corrected, holm_confidence
from bench.results.paired import paired
from bench.results.results import Item, Results, summarize
from bench.results.table_stats import CommonScores, common_scores, few_differ

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
    """Methods that differ in their training seed only.

    Attributes:
        label: the settings in which the configurations of a table differ.
        settings: heading -> value, without the training seed.
        methods: training seed -> method.
    """

    label: str
    settings: Mapping[str, str]
    methods: Mapping[str, Item]


@dataclass(frozen=True)
class SeedCell:
    """One configuration's scores of one dataset and metric, on the images that all methods share.

    Attributes:
        n: images; None for a metric of the whole set.
        seed_means: a mean per training seed that has scores.
        half: of the 95 % interval over images of the mean over seeds; NaN where there is none.
        reason: why scores or the interval are missing.
    """

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
    """Two configurations compared on one dataset and metric.

    Attributes:
        difference: mean of a - b.
        low, high: its interval over images, without zero exactly where `holm_p` is below alpha.
        p, holm_p: of "no difference", over images; NaN without a test.
        verdict: whether a is better than b; `reason` says why neither is.
    """

    a: SeedCell
    b: SeedCell
    difference: float
    low: float = float("nan")
    high: float = float("nan")
    p: float = float("nan")
    holm_p: float = float("nan")
    verdict: SeedVerdict = "none"
    reason: str = ""

    @property
    def spread(self) -> float:
        """The larger of both; NaN where one has a single seed."""
        return float(np.max([self.a.spread, self.b.spread]))


@dataclass(frozen=True)
class SeedStatistics:
    """All that repeated trainings allow to say.

    Attributes:
        configurations: in the order of their first methods.
        cells: a row per dataset, metric and configuration.
        pairs: a row per dataset, metric and two configurations.
        comparisons: by dataset and metric that has a test, how many tests Holm corrects for.
        alpha: a Holm-corrected p below it is more than image noise.
    """

    configurations: tuple[Configuration, ...]
    cells: tuple[SeedCell, ...]
    pairs: tuple[SeedPair, ...]
    comparisons: Mapping[tuple[str, str], int]
    alpha: float


def configurations(results: Results) -> tuple[Configuration, ...]:
    """The configurations of the methods that name a training seed.

    Raises:
        DataError: two methods have the same settings and the same training seed.
    """
    groups: dict[frozenset[tuple[str, str]], list[Item]] = {}
    for method in results.methods:
        if TRAINING_SEED in method.variant:
            groups.setdefault(frozenset(_settings(method).items()), []).append(method)
    settings = [_settings(items[0]) for items in groups.values()]
    return tuple(
        Configuration(_label(own, settings) or items[0].title, own, _by_seed(items))
        for own, items in zip(settings, groups.values(), strict=True)
    )


def _settings(method: Item) -> dict[str, str]:
    return {head: value for head, value in method.variant.items() if head != TRAINING_SEED}


def _label(own: Mapping[str, str], every: Sequence[Mapping[str, str]]) -> str:
    differ = [head for head in own if len({other.get(head) for other in every}) > 1]
    return ", ".join(f"{head} {own[head]}" for head in differ or own)


def _by_seed(items: Sequence[Item]) -> dict[str, Item]:
    methods: dict[str, Item] = {}
    for item in items:
        seed = item.variant[TRAINING_SEED]
        if seed in methods:
            raise DataError(
                f"methods '{printable(methods[seed].name)}' and '{printable(item.name)}': expected "
                f"another setting or training seed, found '{printable(seed)}' and equal settings"
            )
        methods[seed] = item
    return methods


@dataclass(frozen=True)
class _Row:
    """The scores of one dataset and metric, and which of their columns each configuration has."""

    scores: CommonScores
    configurations: tuple[Configuration, ...]
    reasons: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def columns(self) -> list[list[int]]:
        """Of the configurations that have scores' columns, one per training seed."""
        place = {name: i for i, name in enumerate(self.scores.methods)}
        return [
            [place[method.name] for method in own.methods.values() if method.name in place]
            if len(self.scores.values)
            else []
            for own in self.configurations
        ]

    @cached_property
    def averaged(self) -> list[Array | None]:
        """Per configuration (n,) scores averaged over its seeds, None where it has none."""
        values = self.scores.values
        return [values[:, own].mean(axis=1) if own else None for own in self.columns]

    @cached_property
    def scored(self) -> list[int]:
        return [i for i, values in enumerate(self.averaged) if values is not None]

    @cached_property
    def pairs(self) -> list[tuple[int, int]]:
        return list(combinations(range(len(self.configurations)), 2))

    @cached_property
    def tested(self) -> list[tuple[int, int]]:
        return [] if self.scores.reason else list(combinations(self.scored, 2))

    @property
    def differences(self) -> Array:
        """(n, tested) differences of the scores averaged over seeds."""
        known = [np.empty(0) if values is None else values for values in self.averaged]
        return np.column_stack([known[i] - known[j] for i, j in self.tested])


def seed_statistics(results: Results, alpha: float = 0.05) -> SeedStatistics:
    """Intervals over images, spreads over training seeds, and what both allow to say.

    Images and resamples are those of `bench.results.table_stats.statistics`: shared by all
    methods with any score, seeded by their ids, so that equal scores give equal statistics.

    Args:
        alpha: level of the verdicts, after Holm's correction over the family of comparisons.

    Raises:
        DataError: two methods have the same settings and the same training seed.
    """
    known = configurations(results)
    rows = _rows(results, known) if known else []
    cells: list[SeedCell] = []
    pairs: list[SeedPair] = []
    for row in rows:
        own = _cells(row)
        cells += own
        pairs += _pairs(row, own, alpha)
    comparisons = {
        (row.scores.dataset, row.scores.metric.name): len(row.tested) for row in rows if row.tested
    }
    return SeedStatistics(known, tuple(cells), tuple(pairs), comparisons, alpha)


def _rows(results: Results, known: tuple[Configuration, ...]) -> list[_Row]:
    reasons: dict[tuple[str, str], dict[str, str]] = {}
    for row in summarize(results).to_dict("records"):
        own = reasons.setdefault((row["dataset"], row["metric"]), {})
        some = f"no score for {row['missing']} of {row['images']} images: " if row["n"] else ""
        own[row["method"]] = f"{some}{row['reason']}" if row["reason"] else ""
    return [
        _Row(common_scores(results, d.name, metric), known, reasons[d.name, metric.name])
        for d in results.datasets
        for metric in results.metrics
    ]


def _cells(row: _Row) -> list[SeedCell]:
    scores, half = row.scores, {}
    if row.scored and not scores.reason:
        averaged = np.column_stack([values for values in row.averaged if values is not None])
        half = dict(zip(row.scored, bootstrap(averaged, scores.seed).half_width(), strict=True))
    return [
        SeedCell(
            scores.dataset,
            scores.metric,
            own,
            n=None if scores.metric.kind == "set" else scores.images if columns else 0,
            seed_means=tuple(float(scores.values[:, column].mean()) for column in columns),
            half=float(half.get(i, np.nan)),
            reason=_cell_reason(row, own, len(columns)),
        )
        for i, (own, columns) in enumerate(zip(row.configurations, row.columns, strict=True))
    ]


def _cell_reason(row: _Row, own: Configuration, seeds: int) -> str:
    """The reasons of its methods' missing scores; else why there is no interval or spread."""
    reasons = dict.fromkeys(row.reasons.get(method.name, "") for method in own.methods.values())
    missing = "; ".join(reason for reason in reasons if reason)
    if missing or not seeds:
        return missing or NO_SCORES
    untested = ONE_VALUE if row.scores.metric.kind == "set" else row.scores.reason
    return untested or (NO_SECOND_SEED if seeds < MIN_SEEDS else "")


def _pairs(row: _Row, cells: Sequence[SeedCell], alpha: float) -> list[SeedPair]:
    pairs = [
        SeedPair(
            cells[i],
            cells[j],
            difference=_difference(row.averaged[i], row.averaged[j]),
            reason=_why_none(row, i, j),
        )
        for i, j in row.pairs
    ]
    if not row.tested:
        return pairs
    tested = paired(row.differences)
    p = tested.p()
    numbers = np.column_stack([*tested.interval(holm_confidence(p, alpha)), p, corrected(p)])
    number = {pair: k for k, pair in enumerate(row.tested)}
    return [
        _judged(
            _tested(pair, *map(float, numbers[k])),
            few_differ(int(tested.other[k]), row.scores),
            alpha,
        )
        if (k := number.get(key)) is not None
        else pair
        for key, pair in zip(row.pairs, pairs, strict=True)
    ]


def _tested(pair: SeedPair, low: float, high: float, p: float, holm_p: float) -> SeedPair:
    return replace(pair, low=low, high=high, p=p, holm_p=holm_p)


def _difference(a: Array | None, b: Array | None) -> float:
    if a is None or b is None:
        return float("nan")
    with np.errstate(invalid="ignore"):
        return float((a - b).mean())


def _why_none(row: _Row, i: int, j: int) -> str:
    """Why no verdict can be given, whatever the test says ("" where one can)."""
    a, b = row.averaged[i], row.averaged[j]
    if a is None or b is None:
        return NO_SCORES
    if row.scores.metric.kind == "set":
        return ONE_VALUE
    if row.scores.reason:
        return row.scores.reason
    if min(len(row.columns[i]), len(row.columns[j])) < MIN_SEEDS:
        return NO_SECOND_SEED
    return IDENTICAL if (a == b).all() else ""


def _judged(pair: SeedPair, too_few: str, alpha: float) -> SeedPair:
    """The pair with its verdict, or with the noise that may explain the difference."""
    if pair.reason or too_few:
        return replace(pair, reason=pair.reason or too_few)
    noise = [] if pair.holm_p < alpha else [IMAGE_NOISE]
    if not seeds_differ(pair.a.seed_means, pair.b.seed_means):
        noise.append(SEED_NOISE)
    if noise:
        return replace(pair, reason=" and ".join(noise))
    higher = pair.a.metric.better == "higher"
    verdict: SeedVerdict = "better" if (pair.difference > 0) == higher else "worse"
    return replace(pair, verdict=verdict)


def seeds_differ(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether all means of a lie on one side of all of b, further away than either spreads."""
    apart = min(a) > max(b) or max(a) < min(b)
    spread = max(max(a) - min(a), max(b) - min(b))
    return apart and abs(float(np.mean(a)) - float(np.mean(b))) > spread
