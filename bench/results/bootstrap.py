"""How sure a mean and a rank are: bootstrap over images; Wilcoxon's test and Holm's correction.

Intervals of means come from the symmetric bootstrap-t (Hall, Annals of Statistics 1988; see
docs/statistics.md), mean +- q95(|t*|) sd / sqrt(n) with t* = (mean* - mean) / (sd* / sqrt(n)); of
few values at most `LONGEST` times Student's.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bench.base.hashing import json_sha256
from bench.base.types import Better

Array = NDArray[np.float64]

MIN_IMAGES = 6
"""With fewer images that differ no two-sided rank test reaches 0.05, so nothing is claimed."""
CONFIDENCE = 0.95
ALPHA = 0.05
"""A p below it, after Holm, is a difference."""
RESAMPLES = 10_000
FEW = 30
LONGEST = 2.0
"""Of fewer than `FEW` values no half-width is more than `LONGEST` times Student's: resamples that
hold hardly a spread make it tens of times as long, and such intervals miss as often as these."""
CHUNK = (4096, 4_000_000)
COLUMNS = 64
UNTIED_EXACT, TIED_EXACT = 50, 13


@dataclass(frozen=True)
class Bootstrap:
    """Means of k columns of n values, (k,), their standard errors, and (R, k) of R resamples:
    means and |t*|, infinite where a resample holds one value n times."""

    n: int
    mean: Array
    error: Array
    means: NDArray[np.float32]
    t: NDArray[np.float32]

    def half_width(self) -> Array:
        """(k,) half-widths of the intervals of the means; infinite where the values bound none."""
        with np.errstate(invalid="ignore"):
            quantile = np.quantile(self.t, CONFIDENCE, axis=0)
            if self.n < FEW:
                from scipy import special  # heavy

                longest = -LONGEST * special.stdtrit(self.n - 1, (1 - CONFIDENCE) / 2)
                quantile = np.where(quantile < np.inf, np.minimum(quantile, longest), quantile)
            width = np.where(np.isnan(quantile), np.inf, quantile) * self.error
        return np.where(self.error > 0, width, 0.0)


def too_few(other: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether some images differ, but too few: so many do."""
    return (other > 0) & (other < MIN_IMAGES)


def seed_of(images: Iterable[str]) -> int:
    """Of the resamples of these images, in this order: equal wherever they are looked at."""
    return int(json_sha256(list(images))[:15], 16)


def bootstrap(values: Array, seed: int = 0, resamples: int = RESAMPLES) -> Bootstrap:
    """Resample the rows of finite values, (n, k), n > 1; equal seeds and n give equal resamples."""
    centre = values.mean(axis=0)
    deviations = values - centre
    count, columns = values.shape
    means = np.empty((resamples, columns), np.float32)
    t = np.empty_like(means)
    done = 0
    for weights in _weights(count, resamples, seed):
        shift = weights @ deviations
        variance = weights @ deviations**2 - shift**2
        unknown = variance <= 1e-12 * deviations.var(axis=0)
        variance[unknown] = 1.0
        rows = slice(done, done + len(weights))
        means[rows] = centre + shift
        t[rows] = np.where(unknown, np.inf, np.abs(shift) * np.sqrt((count - 1) / variance))
        done += len(weights)
    return Bootstrap(count, centre, values.std(axis=0, ddof=1) / np.sqrt(count), means, t)


def _weights(count: int, resamples: int, seed: int) -> Iterable[Array]:
    """Resamples as (r, n) shares of every image, in chunks of bounded memory; of few images they
    are kept, since other scores of the same images come next."""
    few = count * resamples <= CHUNK[1]
    return (_kept if few else _drawn)(count, resamples, seed)


@lru_cache(maxsize=2)
def _kept(count: int, resamples: int, seed: int) -> list[Array]:
    return list(_drawn(count, resamples, seed))


def _drawn(count: int, resamples: int, seed: int) -> Iterator[Array]:
    rng = np.random.default_rng(seed)
    rows_at_once, shares_at_once = CHUNK
    step = max(1, min(rows_at_once, shares_at_once // count))
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = rng.integers(count, size=(rows, count)) + np.arange(rows)[:, None] * count
        counts = np.bincount(drawn.ravel(), minlength=rows * count)
        yield counts.reshape(rows, count) / count


def wilcoxon(differences: Array) -> Array:
    """(k,) two-sided p-values of the signed-rank test of (n, k) differences.

    Exact up to `UNTIED_EXACT` images, with ties or zeros up to `TIED_EXACT`; normal above, where
    scipy chooses one method for all columns given. NaN where some images differ, but too few.
    """
    sizes = np.sort(np.abs(differences), axis=0)
    some = sizes[-1] > 0
    tied = some & ((sizes[0] == 0) | (np.diff(sizes, axis=0) == 0).any(axis=0))
    p = np.ones(differences.shape[1])
    for kind, most in ((some & ~tied, UNTIED_EXACT), (tied, TIED_EXACT)):
        if len(differences) <= most:
            p[kind] = [_signed_rank(column) for column in differences.T[kind]]
        elif kind.any():
            from scipy import stats

            for part in np.split(np.flatnonzero(kind), range(COLUMNS, kind.sum(), COLUMNS)):
                p[part] = stats.wilcoxon(differences[:, part], axis=0).pvalue
    return np.where(too_few((differences != 0).sum(axis=0)), np.nan, p)


def _signed_rank(differences: Array) -> float:
    """The test of (n,) over all 2^n signs, whose shares are sums of 2^-n and so without rounding;
    scipy's has the same bits, but takes long to import and seconds where there are ties."""
    signed = differences[differences != 0]
    sizes = np.abs(signed)
    twice = (sizes[:, None] > sizes).sum(axis=1) + (sizes[:, None] >= sizes).sum(axis=1) + 1
    null, seen = _sums(tuple(sorted(twice.tolist()))), int(twice[signed > 0].sum())
    return min(1.0, 2 * float(min(null[: seen + 1].sum(), null[seen:].sum())))


@lru_cache(maxsize=64)
def _sums(ranks: tuple[int, ...]) -> Array:
    """By sum, from 0 on: in which share of all choices of some of `ranks` they add up to it."""
    shares = np.ones(1)
    for rank in ranks:
        shares = (np.pad(shares, (0, rank)) + np.pad(shares, (rank, 0))) / 2
    return shares


def corrected(p: Array) -> Array:
    """Holm's step-down p-values of a family (Scandinavian Journal of Statistics 1979); a comparison
    without a test is NaN, counts, and stays NaN."""
    untested = np.isnan(p)
    order = np.argsort(np.where(untested, 1.0, p), kind="stable")
    adjusted = np.empty(len(p))
    stepped = np.where(untested, 1.0, p)[order] * np.arange(len(p), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(stepped))
    return np.where(untested, np.nan, adjusted)


def holm_confidence(p: Array, alpha: float) -> Array:
    """Confidence of each interval of a family that leaves out zero exactly where Holm rejects: a
    rejected p has the level that it was held against, all others that of the first of them; NaN, a
    comparison without a test, counts."""
    order = np.argsort(np.where(np.isnan(p), 1.0, p), kind="stable")
    factors = np.arange(len(p), 0, -1)
    kept = ~(p[order] * factors < alpha)
    first = int(np.argmax(kept)) if kept.any() else len(p) - 1
    level = np.empty(len(p))
    level[order] = alpha / np.maximum(factors, factors[first])
    return 1 - level


def ranks(means: Array | NDArray[np.float32], better: Better) -> NDArray[np.int64]:
    """(R, k), from 1 on, of (R, k) means of k methods; equal means share the better rank."""
    signed = means if better == "lower" else -means
    return 1 + np.sum(signed[:, None, :] < signed[:, :, None], axis=2)


def rank_probabilities(means: Array | NDArray[np.float32], better: Better) -> Array:
    """(k, k) of (R, k) resampled means: row i holds method i's probabilities of rank 1, 2, ..."""
    size, places = means.shape[1], ranks(means, better) - 1
    return np.stack([np.bincount(own, minlength=size) for own in places.T]) / len(means)
