"""Methods that draw noise, run with several seeds: their spread, and whether it changes ranks.

The square of an interval is that of the bootstrap over images, which holds each image's own noise,
plus that of what all images of a seed share. G-STD and L-STD are CCSR's (arXiv 2401.00877).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, groupby, product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from bench.base.types import MetricSpec
from bench.results.bootstrap import CONFIDENCE, MIN_IMAGES, bootstrap
from bench.results.paired import by_group, numbered
from bench.results.results import KEYS, Repeats, Results, common_set

Array = NDArray[np.float64]


def over_seeds(
    runs: Mapping[int, Results], local_std: Mapping[tuple[str, str, str], float]
) -> Results:
    """The results of runs that differ in their seed alone, averaged; an image that one of them has
    no score for has none, for that run's reason."""
    first, *_ = runs.values()
    values = np.column_stack([run.scores["value"] for run in runs.values()])
    scores = first.scores.copy()
    for run in runs.values():
        lost = scores["value"].notna() & run.scores["value"].isna()
        scores[lost] = run.scores[lost]
    scores["value"] = values.mean(axis=1)
    table = first.scores[KEYS].assign(**{str(s): values[:, i] for i, s in enumerate(runs)})
    return replace(
        first,
        scores=scores,
        provenance={**first.provenance, "seeds": list(runs)},
        notes=(*first.notes, f"Means over the seeds {', '.join(map(str, runs))}."),
        repeats=Repeats(tuple(runs), table, local_std),
    )


@dataclass(frozen=True)
class Spread:
    """One method on one dataset and metric, on the images that all methods share: `values` (n,
    seeds), (1, seeds) of a metric of the whole set, and `half` of the 95 % interval of the mean
    over images and seeds, NaN where there is none."""

    dataset: str
    metric: MetricSpec
    method: str
    values: Array
    half: float

    @property
    def seed_means(self) -> Array:
        return np.asarray(self.values.mean(axis=0))

    @property
    def global_std(self) -> float:
        """G-STD: the standard deviation of an image's score over the seeds, mean over images."""
        return float(spread(self.values).mean())


def spread(values: Array, ddof: int = 0) -> Array:
    """Standard deviations over the last axis, the seeds; exactly 0 where these are equal."""
    return np.where(np.ptp(values, axis=-1) == 0, 0.0, values.std(axis=-1, ddof=ddof))


def spreads(results: Results, repeats: Repeats) -> list[Spread]:
    """Those of every dataset, metric and method that has scores."""
    found = []
    columns = list(map(str, repeats.seeds))
    groups = dict(list(repeats.scores.groupby(["dataset", "metric", "method"])))
    for dataset, metric in product(results.datasets, results.metrics):
        common = common_set(results, dataset.name, metric.name)
        rows = numbered(common.index, results.photographs(dataset.name))
        for method in (m.name for m in results.methods if m.name in common and len(common)):
            own = groups[dataset.name, metric.name, method].set_index("image")
            values = own.loc[common.index, columns].to_numpy(float)
            found.append(Spread(dataset.name, metric, method, values, _half(values, rows)))
    return found


def _half(values: Array, groups: NDArray[np.int64] | None) -> float:
    images = by_group(values.mean(axis=1)[:, None], groups)
    if len(images) < MIN_IMAGES or not np.isfinite(values).all():
        return float("nan")
    n, seeds = values.shape
    means = values.mean(axis=0)
    rest = values - values.mean(axis=1, keepdims=True) - means + means.mean()
    common = means.var(ddof=1) - (rest**2).sum() / ((n - 1) * (seeds - 1)) / n
    drawn = special.stdtrit(seeds - 1, (1 - CONFIDENCE) / 2) ** 2 * max(0.0, common) / seeds
    return float(np.sqrt(bootstrap(images).half_width()[0] ** 2 + drawn))


def rank_changes(found: Sequence[Spread]) -> list[dict[str, Any]]:
    """By dataset, metric and two methods: how often single seeds rank them unlike their means.

    `changes` is the share of all choices of a seed of each; equal means count as changed.
    """
    rows = []
    for (dataset, metric), own in groupby(found, lambda one: (one.dataset, one.metric.name)):
        for a, b in combinations(own, 2):
            difference = float(a.seed_means.mean() - b.seed_means.mean())
            single = np.subtract.outer(a.seed_means, b.seed_means)
            changes = float((np.sign(single) != np.sign(difference)).mean())
            pair = {"a": a.method, "b": b.method, "difference": difference, "changes": changes}
            rows.append({"dataset": dataset, "metric": metric, **pair})
    return rows
