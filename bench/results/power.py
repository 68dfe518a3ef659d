"""Which difference a test set can tell apart: known before a run, from a pilot or published scores.

With the standard deviation s of the differences per image, a paired t test over k comparisons
rejects one of (t[1 - alpha / 2k] + t[POWER]) s / sqrt(n) with probability POWER.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from bench.base.types import MetricSpec
from bench.results.bootstrap import CONFIDENCE, MIN_IMAGES
from bench.results.published import noise_floor, plain
from bench.results.results import Results
from bench.results.table_stats import CommonScores, common_scores

POWER = 0.8
ALPHA = 1 - CONFIDENCE


@dataclass(frozen=True)
class Detectable:
    """The difference that n photographs tell apart with probability `POWER`, by the spread of
    `source`; NaN where none is known."""

    dataset: str
    metric: MetricSpec
    difference: float
    n: int
    source: str


def least_difference(spread: float, n: int, comparisons: int = 1) -> float:
    """The difference that n images tell apart whose differences have this standard deviation."""
    needed = special.stdtrit(n - 1, POWER) - special.stdtrit(n - 1, ALPHA / 2 / max(1, comparisons))
    return float(needed * spread / math.sqrt(n))


def typical_spread(differences: NDArray[np.float64]) -> float:
    """The median standard deviation of (n, pairs) differences; NaN where all of them are alike."""
    spreads = differences.std(axis=0, ddof=1)
    moved = spreads[spreads > 0]
    return float(np.median(moved)) if len(moved) else math.nan


def detectable(results: Results, sizes: dict[str, int]) -> list[Detectable]:
    """Of each dataset and metric per image, over every two methods: `results` are the pilot, what
    the store knows, `sizes` the independent images of each dataset."""
    pairs = math.comb(len(results.methods), 2)
    return [
        _one(common_scores(results, dataset.name, metric), sizes[dataset.name], pairs)
        for dataset in results.datasets
        for metric in results.metrics
        if metric.kind == "image"
    ]


def _one(row: CommonScores, n: int, comparisons: int) -> Detectable:
    source = f"from {row.images} images of {len(row.methods)} methods in the store"
    differences = row.differences if row.tested else np.empty((n, 0))
    spread, source = known_spread(row.dataset, row.metric.name, differences, source)
    difference = least_difference(spread, n, comparisons) if n >= MIN_IMAGES else math.nan
    return Detectable(row.dataset, row.metric, difference, n, source)


def known_spread(
    dataset: str, metric: str, differences: NDArray[np.float64], source: str
) -> tuple[float, str]:
    """The spread of the (n, pairs) differences of this source, else of published scores, and where
    it is from; NaN where none is known."""
    spread = typical_spread(differences)
    if not math.isnan(spread):
        return spread, source
    floor = {(plain(name), metric): known for (name, metric), known in noise_floor().items()}
    if (plain(dataset), metric) not in floor:
        return math.nan, "no spread is known: nothing stored, nothing published"
    half, images = floor[plain(dataset), metric]
    spread = half * math.sqrt(2 * images) / -special.stdtrit(images - 1, ALPHA / 2)
    return spread, f"at most, from published scores of {images} images"
