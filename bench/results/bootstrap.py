"""How sure a mean, a difference and a rank are: bootstrap over images, paired tests, Holm.

Images are resampled with replacement, all methods on the same resamples. Intervals and p-values
come from the symmetric bootstrap-t: every resampled mean is measured in its own standard errors,

    t* = (mean* - mean) / (sd* / sqrt(n)),   interval = mean +- q95(|t*|) sd / sqrt(n),
    p = share of resamples with |t*| >= |mean| sqrt(n) / sd     (of a paired difference),

since percentile and BCa intervals are too short below some fifty images (Hall, Annals of
Statistics 1988; docs/statistics.md shows the measured coverage). A resample of one value drawn n
times knows no standard error: its |t*| is infinite, so that it speaks against a difference and
widens the interval. A p that fewer than `RESOLVED` resamples would decide is read off Student's
tail instead. Wilcoxon's signed-rank test stands beside it as a check that asks another question:
about most images, not about the mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

MIN_IMAGES = 6
"""With fewer images that differ no two-sided rank test reaches 0.05, so nothing is claimed."""
CONFIDENCE = 0.95
RESAMPLES = 10_000
RESOLVED = 20
"""A p-value is counted where as many resamples lie beyond, and extrapolated where fewer do."""
FLAT = 1e-9
"""Differences that vary by less than this part of their mean are equal but for rounding."""
CHUNK = (4096, 4_000_000)
COLUMNS = 64
TIED_EXACT = 13


@dataclass(frozen=True)
class Bootstrap:
    """Resampled means of k columns of n values.

    Attributes:
        n: values per column.
        other: (k,) how many of them are not zero.
        mean, error: (k,) means and their standard errors.
        means: (R, k) float32 resampled means.
        t: (R, k) float32 |t*|; infinite where a resample holds one value n times.
    """

    n: int
    other: NDArray[np.int64]
    mean: Array
    error: Array
    means: NDArray[np.float32]
    t: NDArray[np.float32]

    def half_width(self, confidence: float = CONFIDENCE) -> Array:
        """(k,) half-widths of the intervals of the means; infinite where the values bound none."""
        with np.errstate(invalid="ignore"):
            quantile = np.quantile(self.t, confidence, axis=0)
            width = np.where(np.isnan(quantile), np.inf, quantile) * self.error
        return np.where(self.error > 0, width, 0.0)

    def p(self) -> Array:
        """(k,) two-sided p-values of "the mean is zero".

        Values that are all alike have no spread to measure the mean in, and get the sign test's.
        NaN where some values are not zero, but fewer than `MIN_IMAGES`: too few for any test.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            seen = np.abs(self.mean) / self.error
        beyond = (self.t >= seen).sum(axis=0)
        p = (beyond + 1) / (len(self.t) + 1)
        rare = beyond < RESOLVED
        p[rare] = self._tail(seen, rare)
        flat = self.error * np.sqrt(self.n) <= FLAT * np.abs(self.mean)
        p[flat] = 2.0 ** (1 - self.n)
        p[self.mean == 0] = 1.0
        return np.where(too_few(self.other), np.nan, p)

    def _tail(self, seen: Array, rare: NDArray[np.bool_]) -> Array:
        """p of |t| that fewer than `RESOLVED` resamples reach: Student's, stretched to meet them.

        The stretched tail leaves the share RESOLVED / (R + 1) beyond the |t*| that it is beyond.
        """
        last = len(self.t) - RESOLVED
        reached = np.partition(self.t[:, rare], last, axis=0)[last]
        share = RESOLVED / (len(self.t) + 1)
        stretch = reached / stats.t.isf(share / 2, self.n - 1)
        return 2 * np.asarray(stats.t.sf(seen[rare] / stretch, self.n - 1))


def too_few(other: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether differences, of which so many are not zero, are neither all zero nor enough."""
    return (other > 0) & (other < MIN_IMAGES)


def bootstrap(values: Array, seed: int = 0, resamples: int = RESAMPLES) -> Bootstrap:
    """Resample the rows of values.

    Args:
        values: (n, k), finite, n > 1: one row per image, one column per method or difference.
        seed: equal seeds and n give equal resamples.
        resamples: R.
    """
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
    error = values.std(axis=0, ddof=1) / np.sqrt(count)
    return Bootstrap(count, (values != 0).sum(axis=0), centre, error, means, t)


def _weights(count: int, resamples: int, seed: int) -> Iterator[Array]:
    """Resamples as (r, n) shares of every image, in chunks of bounded memory."""
    rng = np.random.default_rng(seed)
    rows_at_once, shares_at_once = CHUNK
    step = max(1, min(rows_at_once, shares_at_once // count))
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = rng.integers(count, size=(rows, count)) + np.arange(rows)[:, None] * count
        counts = np.bincount(drawn.ravel(), minlength=rows * count)
        yield counts.reshape(rows, count) / count


@dataclass(frozen=True)
class Comparison:
    """A paired comparison: mean of a - b, its 95 % interval, and two tests of "no difference".

    Both p are NaN where fewer than `MIN_IMAGES` images differ, unless none does.
    """

    difference: float
    low: float
    high: float
    p: float
    wilcoxon_p: float


def compare(a: Array, b: Array, seed: int = 0, resamples: int = RESAMPLES) -> Comparison:
    """Compare two methods on the same images.

    Args:
        a, b: (n,) scores of the same images in the same order, n >= MIN_IMAGES, finite.

    Raises:
        ValueError: another length, fewer images, or a score that is not finite.
    """
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"compare: expected two rows of equal length, found {a.shape}, {b.shape}")
    differences = (a - b)[:, None]
    if len(a) < MIN_IMAGES or not np.isfinite(differences).all():
        raise ValueError(f"compare: expected {MIN_IMAGES} or more finite scores, found {len(a)}")
    found = bootstrap(differences, seed, resamples)
    mean, half = float(found.mean[0]), float(found.half_width()[0])
    signed_rank = float(wilcoxon(differences)[0])
    return Comparison(mean, mean - half, mean + half, float(found.p()[0]), signed_rank)


def wilcoxon(differences: Array) -> Array:
    """(k,) two-sided p-values of the signed-rank test of (n, k) differences.

    Exact up to 50 images, with ties or zeros up to `TIED_EXACT`; normal above. scipy chooses one
    method for all columns that it is given, so columns with ties are given apart from those
    without. NaN as in `Bootstrap.p`.
    """
    sizes = np.sort(np.abs(differences), axis=0)
    some = sizes[-1] > 0
    tied = some & ((sizes[0] == 0) | (np.diff(sizes, axis=0) == 0).any(axis=0))
    p = np.ones(differences.shape[1])
    for kind in (np.flatnonzero(some & ~tied), np.flatnonzero(tied)):
        exact = tied[kind].any() and len(differences) <= TIED_EXACT
        for part in np.split(kind, range(COLUMNS, len(kind), COLUMNS)) if len(kind) else ():
            own = differences[:, part]
            p[part] = _tied_signed_rank(own) if exact else stats.wilcoxon(own, axis=0).pvalue
    return np.where(too_few((differences != 0).sum(axis=0)), np.nan, p)


def _tied_signed_rank(differences: Array) -> Array:
    """The test over all 2^n signs, as scipy's permutations, which take seconds for a column."""
    sizes = np.where(differences == 0, np.nan, np.abs(differences))
    ranks = np.nan_to_num(stats.rankdata(sizes, axis=0, nan_policy="omit"))
    count = len(differences)
    signs = np.arange(2**count)[:, None] >> np.arange(count) & 1
    null, seen = signs @ ranks, ((differences > 0) * ranks).sum(axis=0)
    tails = np.minimum((null >= seen).mean(axis=0), (null <= seen).mean(axis=0))
    return np.minimum(1.0, 2 * tails)


def holm(p: Array) -> Array:
    """Holm's step-down p-values (Scandinavian Journal of Statistics 1979); NaN stays NaN."""
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return adjusted


def corrected(p: Array) -> Array:
    """Holm over a family: a comparison without a test is NaN, counts, and stays NaN."""
    untested = np.isnan(p)
    return np.where(untested, np.nan, holm(np.where(untested, 1.0, p)))


def rank_probabilities(
    means: Array | NDArray[np.float32], better: Literal["higher", "lower"]
) -> Array:
    """How often each method takes each rank.

    Args:
        means: (R, k) resampled means of k methods.

    Returns:
        (k, k): row i holds method i's probabilities of rank 1, 2, ...; equal means share the
        better rank.
    """
    signed = means if better == "lower" else -means
    ranks = (signed[:, None, :] < signed[:, :, None]).sum(axis=2)
    size = means.shape[1]
    return np.stack([np.bincount(ranks[:, i], minlength=size) for i in range(size)]) / len(means)
