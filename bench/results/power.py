"""Which difference a test set can tell apart: known before a run, from a pilot or published scores.

With the standard deviation s of the differences per image, a paired t test over k comparisons
rejects one of (t[1 - alpha / 2k] + t[POWER]) s / sqrt(n) with probability POWER.
"""

import math
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from bench.results.bootstrap import CONFIDENCE, MIN_IMAGES
from bench.results.published import noise_floor, plain
from bench.results.results import Results
from bench.results.table_stats import common_scores

POWER = 0.8
ALPHA = 1 - CONFIDENCE


def least_difference(spread: float, n: int, comparisons: int = 1) -> float:
    """The difference that n images tell apart whose differences have this standard deviation."""
    needed = special.stdtrit(n - 1, POWER) - special.stdtrit(n - 1, ALPHA / 2 / max(1, comparisons))
    return float(needed * spread / math.sqrt(n))


def typical_spread(differences: NDArray[np.float64]) -> float:
    """The median standard deviation of (n, pairs) differences; NaN where all of them are alike."""
    spreads = differences.std(axis=0, ddof=1)
    moved = spreads[spreads > 0]
    return float(np.median(moved)) if len(moved) else math.nan


def detectable(results: Results, sizes: dict[str, int]) -> list[dict[str, Any]]:
    """By dataset and metric, all per image: the difference that `n` independent images, of `sizes`,
    tell apart with probability `power`, None unknown, over every two methods; `source` says by
    which spread. `results` are the pilot, what the store knows."""
    pairs = math.comb(len(results.methods), 2)
    rows = []
    for dataset, metric in product(results.datasets, results.metrics):
        row, n = common_scores(results, dataset.name, metric), sizes[dataset.name]
        source = f"from {row.images} images of {len(row.methods)} methods in the store"
        differences = row.differences if row.tested else np.empty((2, 0))
        spread, source = known_spread(dataset.name, metric.name, differences, source)
        least = least_difference(spread, n, pairs) if n >= MIN_IMAGES else math.nan
        found = {"detectable": None if math.isnan(least) else least, "source": source}
        about = {"dataset": dataset.name, "metric": metric.name, "n": n, "power": POWER}
        rows.append(about | found)
    return rows


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
