"""Distances between two sets of features, Frechet (FID) and kernel (KID), and how far they overlap;
which scores of sets may be compared.

Features are numpy (n, d) float64, a row per image in any order; DataError where a set has fewer
than two, or the sets different d.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.base.errors import DataError
from bench.base.types import MetricSpec

Features = NDArray[np.float64]

_ROWS = 2048
"""Rows of a kernel matrix that are held at once."""


def frechet_distance(x: Features, y: Features) -> float:
    """Squared Frechet distance between the Gaussians fitted to two sets, at least 0.

    The trace of sqrt(S1 S2) is the nuclear norm of the cross-Gram matrix of the centred features
    over sqrt((n1 - 1)(n2 - 1)). With fewer images than dimensions that is a small SVD, exact
    where the covariances are singular and a matrix square root is not.
    """
    x, y = _checked(x, y)
    shift = x.mean(0) - y.mean(0)
    a, b = _factor(x), _factor(y)
    cross = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return max(0.0, float(shift @ shift + np.square(a).sum() + np.square(b).sum() - 2 * cross))


def kernel_distance(x: Features, y: Features) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (u.v / d + 1)^3 over all pairs.

    Equals clean-fid's KID where its random subsets are the whole sets. Around 0 for equal
    distributions, slightly negative by chance.
    """
    x, y = _checked(x, y)
    return _mean_within(x) + _mean_within(y) - 2 * _kernel_sum(x, y) / (len(x) * len(y))


def covered(x: Features, by: Features, k: int = 3) -> float:
    """The share of x that is no further from some row of `by` than its k-th nearest neighbour is.

    Precision of x with reference `by`, recall the other way round (Kynkaanniemi et al., NeurIPS
    2019); DataError for k rows or fewer.
    """
    from scipy.spatial.distance import cdist

    x, by = _checked(x, by)
    if len(by) <= k:
        raise DataError(f"precision and recall need {k + 1} images on each side, got {len(by)}")
    radii = np.partition(cdist(by, by), k, axis=1)[:, k]
    return float((cdist(x, by) <= radii).any(axis=1).mean())


def _checked(x: Features, y: Features) -> tuple[Features, Features]:
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise DataError(f"feature sets must be (n, d) with one d, got {x.shape} and {y.shape}")
    if min(len(x), len(y)) < 2:
        raise DataError(f"a distance of sets needs 2 images on each side, got {len(x)}, {len(y)}")
    return x, y


def _factor(x: Features) -> Features:
    """F with F^T F = covariance of x and at most d rows: (min(n, d), d).

    QR instead of an eigendecomposition of the covariance: cheaper, and nothing is squared.
    """
    centred = (x - x.mean(0)) / np.sqrt(len(x) - 1)
    if len(x) <= x.shape[1]:
        return centred
    return np.asarray(np.linalg.qr(centred, mode="r"))


def _mean_within(x: Features) -> float:
    """Mean of the kernel over all ordered pairs of different rows."""
    diagonal = np.power(np.square(x).sum(1) / x.shape[1] + 1, 3).sum()
    return (_kernel_sum(x, x) - float(diagonal)) / (len(x) * (len(x) - 1))


def _kernel_sum(x: Features, y: Features) -> float:
    parts = (x[start : start + _ROWS] @ y.T for start in range(0, len(x), _ROWS))
    return float(sum(np.power(part / x.shape[1] + 1, 3).sum() for part in parts))


@dataclass(frozen=True)
class SetSize:
    """What each of the two sets held: images, and feature vectors, one per image or patch."""

    images: int
    rows: int


def incomparable(spec: MetricSpec, here: int | None, there: int | None) -> str:
    """Why two scores of whole sets of so many images, or patches, may not be compared; "" when
    they may; None where a number is not stated."""
    if spec.kind != "set" or spec.unbiased or (here is not None and here == there):
        return ""
    if here is None or there is None:
        known = f" (n = {here or there} {'there' if here is None else 'here'})"
        unknown = "here" if here is None else "there"
        return f"{spec.title} depends on n, which is not stated {unknown}{known}"
    return f"{spec.title} depends on n: {here} here, {there} there"


def stacked(sets: Sequence[Sequence[Features]]) -> tuple[list[Features], SetSize]:
    """(rows, d) of features for each of two sets, from its images' (d,) or (k, d), and their size;
    DataError where they have different numbers of rows."""
    arrays = [np.concatenate([np.atleast_2d(rows) for rows in features]) for features in sets]
    sizes = {SetSize(len(features), len(a)) for features, a in zip(sets, arrays, strict=True)}
    if len(sizes) != 1:
        counts = " and ".join(str(len(array)) for array in arrays)
        raise DataError(f"the SR and the HR set have different numbers of features: {counts}")
    return arrays, sizes.pop()
