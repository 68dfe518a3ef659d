"""Whether a mean difference is zero: Student's t that holds its level where differences are skewed.

Where the long tail is on the far side of zero t gives way to Hall's monotone transformation
(Journal of the Royal Statistical Society B 54, 1992),

    h = t - b t^2 + b^2 t^3 / 3 - b / 2,    b = skewness / (3 sqrt(n)),

with the sample's skewness and what a sample of n hides of it; the interval inverts this test.
Differences that have but one size (+1, -1 and 0) get the sign test. docs/statistics.md says why.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from bench.results.bootstrap import CONFIDENCE, too_few

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

HIDDEN = 3.0
"""Over n: skewness that a sample of n is taken to hide. Smaller, and log-normal differences of
sigma 1 are called different in more than 7 % at 6 to 12 images; larger costs power."""
FLAT = 1e-9
"""Sizes that vary by less than this part of the largest are equal but for rounding."""


@dataclass(frozen=True)
class Paired:
    """k columns of n differences; each array (k,): how many of them are not zero, and above it; the
    largest without its sign, and whether all that are not zero have that size; their mean, its
    standard error, and their skewness."""

    n: int
    other: NDArray[np.int64]
    above: NDArray[np.int64]
    size: Array
    one_size: Flags
    mean: Array
    error: Array
    skew: Array

    def p(self) -> Array:
        """(k,) two-sided p-values of "the mean is zero"; NaN where too few images differ."""
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.nan_to_num(np.abs(self.mean) / self.error, posinf=0.0)
        b = self._slope(-np.sign(self.mean))
        far = t - b * t**2 + b**2 * t**3 / 3 - b / 2
        p = 2 * special.stdtr(self.n - 1, -np.clip(far, 0, t))
        if self.one_size.any():
            from scipy import stats  # heavy, and rarely needed

            fewer = np.minimum(self.above, self.other - self.above)
            sign = np.minimum(1.0, 2 * stats.binom.cdf(fewer, self.other, 0.5))
            p = np.where(self.one_size, sign, p)
        return np.where(too_few(self.other), np.nan, p)

    def interval(self, confidence: float | Array = CONFIDENCE) -> tuple[Array, Array]:
        """(k,) ends of the intervals of the means, without zero exactly where p < 1 - confidence;
        infinite where the differences bound none, NaN where too few of them are not zero."""
        edge = (1 - np.asarray(confidence)) / 2
        with np.errstate(over="ignore"):
            needed = np.abs(special.stdtrit(self.n - 1, edge))
            low = self.mean - self.error * _inverse(needed, self._slope(-1.0))
            high = self.mean + self.error * _inverse(needed, self._slope(1.0))
        below = self.other - self.above
        scale = self.size * self.other / self.n
        least = np.nan_to_num(special.betaincinv(self.above, below + 1, edge))
        most = np.nan_to_num(special.betainccinv(self.above + 1, below, edge), nan=1.0)
        low = np.where(self.one_size, scale * (2 * least - 1), low)
        high = np.where(self.one_size, scale * (2 * most - 1), high)
        few = too_few(self.other)
        return np.where(few, np.nan, low), np.where(few, np.nan, high)

    def _slope(self, tail: float | Array) -> Array:
        """(k,) b for a tail above (1) or below (-1) the mean."""
        skew = np.maximum(0.0, tail * self.skew + HIDDEN / self.n)
        return np.asarray(skew / (3 * np.sqrt(self.n)))


def _inverse(h: Array, b: Array) -> Array:
    """The t at which both t and its transformation are h or more."""
    steep = np.maximum(b, 1e-9)
    return np.maximum(h, (1 - np.cbrt(1 - 3 * steep * (h + b / 2))) / steep)


def paired(differences: Array) -> Paired:
    """What a test of means needs of finite differences, (n, k), n >= 3: a row per image, or per
    photograph (`by_group`)."""
    n = len(differences)
    size = np.abs(differences).max(axis=0)
    nothing = differences == 0
    one_size = (nothing | (np.abs(differences) >= size * (1 - FLAT))).all(axis=0)
    mean, spread = differences.mean(axis=0), differences.std(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        skew = (((differences - mean) / spread) ** 3).mean(axis=0)
    skew = np.nan_to_num(skew) * np.sqrt(n * (n - 1)) / (n - 2)
    return Paired(
        n=n,
        other=(~nothing).sum(axis=0),
        above=(differences > 0).sum(axis=0),
        size=size,
        one_size=one_size,
        mean=mean,
        error=spread / np.sqrt(n - 1),
        skew=skew,
    )


def by_group(values: Array, groups: NDArray[np.int64] | None) -> Array:
    """(G, k) a row per group, 0 .. G - 1, for (n, k) rows of images, with the same means.

    Images of one photograph are not independent, photographs are: the spread of these rows is that
    of a mean over other photographs. Where groups are of equal size a row is its images' mean;
    else it is linearised, mean + G / n * sum(value - mean), so that large groups count for more.
    """
    if groups is None:
        return values
    count = int(groups.max()) + 1
    even = len(set(np.bincount(groups).tolist())) == 1
    centre = np.zeros(values.shape[1]) if even else values.mean(axis=0)
    sums = np.zeros((count, values.shape[1]))
    np.add.at(sums, groups, values - centre)
    return centre + sums * (count / len(values))


def numbered(images: Iterable[str], photographs: Mapping[str, str]) -> NDArray[np.int64] | None:
    """The groups of `by_group` for images, of which some name their photograph."""
    keys = [(image in photographs, photographs.get(image, image)) for image in images]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return None if len(numbers) == len(keys) else np.array([numbers[key] for key in keys])


def of_photographs(images: int, groups: int) -> str:
    """What follows a number of images where they are from fewer photographs."""
    return f" of {groups} photographs" if groups < images else ""
