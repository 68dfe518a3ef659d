"""NIQE (Mittal, Soundararajan, Bovik, IEEE SPL 2013) with the official parameters and full-range
luma, equal to pyiqa's `niqe` and many times as fast."""

import math
import zlib
from contextlib import suppress
from functools import cache, reduce
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from bench.base.errors import ImageError
from bench.base.types import MetricSpec
from bench.metrics.filters import Pixels, check_image, correlate, gaussian_taps
from bench.remote import weights

if TYPE_CHECKING:
    from torch import Tensor

_BLOCK = 96
_WINDOW = gaussian_taps(7, 7 / 6)
_AT_ONCE = 5 * _BLOCK**2
"""Values whose products with their neighbours stay in a core's cache."""
_SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))
_HALVING = (-0.01171875, -0.03515625, 0.11328125, 0.43359375)
"""Half of MATLAB's antialiased cubic kernel at scale 1/2; its eight taps sum to 1."""


class Niqe:
    """No-reference quality of one image; a `bench.base.types.Metric`, which takes `Pixels` too."""

    sees_pixels = True

    def __init__(self, spec: MetricSpec, device: str) -> None:
        self.spec = spec
        mean, self._covariance = _parameters(weights.locate(spec.weights[0]))
        self._mean = np.ravel(mean)

    def prepare(self, hr: "Tensor | Pixels") -> None:
        """Nothing: NIQE looks at no reference."""

    def score(self, sr: "Tensor | Pixels", hr: None, prepared: None) -> float:
        """Distance from the statistics of natural images; ImageError for one without texture."""
        check_image(self.spec, sr)
        features = niqe_features(Pixels.of(sr).yiq_y.astype(np.float64))
        known = ~np.isnan(features)
        rows = features[known.all(axis=1)]
        if len(rows) == 0:
            raise ImageError("niqe is not defined: no 96x96 block of the image has any texture")
        mean = np.where(known, features, 0).sum(0) / known.sum(0)
        covariance = np.cov(rows, rowvar=False, ddof=int(len(rows) > 1))
        inverse = np.linalg.pinv((self._covariance + covariance) / 2)
        offset = self._mean - mean
        return float(np.sqrt(offset @ inverse @ offset))


def _parameters(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Mean (1, 36) and covariance (36, 36) of natural images' features, float64."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as held:
            return held["mu_pris_param"], held["cov_pris_param"]
    first = zlib.decompressobj()
    with suppress(zlib.error, ValueError):  # laid out otherwise than the published file
        held = first.decompress(path.read_bytes()[136:]), zlib.decompress(first.unused_data[8:])
        if [part[48:64].rstrip(b"\0") for part in held] == [b"mu_prisparam", b"cov_prisparam"]:
            mean, covariance = (np.frombuffer(part, "<f8", offset=72) for part in held)
            return mean.reshape(1, 36), covariance.reshape(36, 36).T
    from scipy.io import loadmat  # heavy

    model = loadmat(str(path))
    return model["mu_prisparam"], model["cov_prisparam"]


def niqe_features(y: np.ndarray) -> np.ndarray:
    """Rounded luma (H, W) float64 in [0, 255], H and W at least 96 -> (blocks, 36) float64:
    features of every 96x96 block, 18 at each of two scales; NaN where one is flat."""
    rows, columns = (side // _BLOCK for side in y.shape)
    y = y[: rows * _BLOCK, : columns * _BLOCK]
    with np.errstate(divide="ignore", invalid="ignore"):
        fine = _block_features(_normalized(y), _BLOCK)
        coarse = _block_features(_normalized(_halved(y)), _BLOCK // 2)
    return np.concatenate((fine, coarse), axis=1)


def _normalized(y: np.ndarray) -> np.ndarray:
    """(H, W) luma -> (H, W) luma less its local mean, over its local deviation plus 1."""
    mean, spread = (correlate(x, _WINDOW, border=cv2.BORDER_REPLICATE) for x in (y, y * y))
    spread -= mean * mean
    np.abs(spread, out=spread)
    spread += np.finfo(np.float64).eps
    np.sqrt(spread, out=spread)
    spread += 1
    np.subtract(y, mean, out=mean)
    mean /= spread
    return mean


def _halved(y: np.ndarray) -> np.ndarray:
    """(H, W) -> (H/2, W/2) by MATLAB's imresize, cubic and antialiased, in float32 as pyiqa
    computes it; borders are mirrored, the border pixel included."""
    taps = np.array(_HALVING + _HALVING[::-1], np.float32)
    half = (y / 255).astype(np.float32)
    for _ in ("rows", "columns"):  # in this order, tap by tap: flat areas hang on the last digits
        padded = cv2.copyMakeBorder(half, 3, 3, 0, 0, cv2.BORDER_REFLECT)
        every_other = [padded[k : len(half) - 1 + k : 2] for k in range(len(taps))]
        parts = [part * tap for part, tap in zip(every_other, taps, strict=True)]
        half = np.ascontiguousarray(reduce(np.add, parts).T)
    return half.astype(np.float64) * 255


def _block_features(normalized: np.ndarray, size: int) -> np.ndarray:
    """(H, W) -> (blocks, 18): the fits of the values and of four products of neighbours."""
    blocks = _blocks(normalized, size)
    count = max(1, blocks.size // _AT_ONCE)
    parts = [_moments(part) for part in np.array_split(blocks, count)]
    values, *products = np.concatenate(parts, axis=2)
    shape, left, right, _ = _fit(values, size * size)
    features = [shape, (left + right) / 2]
    for moments in products:
        shape, left, right, tilt = _fit(moments, size * size)
        features += [shape, (right - left) * tilt, left, right]
    return np.stack(features, axis=1)


def _blocks(x: np.ndarray, size: int) -> np.ndarray:
    """(H, W) -> (blocks, size, size), column by column as MATLAB's blockproc."""
    rows, columns = x.shape[0] // size, x.shape[1] // size
    tiles = x.reshape(rows, size, columns, size).transpose(2, 0, 1, 3)
    return tiles.reshape(rows * columns, size, size)


def _moments(blocks: np.ndarray) -> np.ndarray:
    """(n, s, s) float64 -> (5, 5, n): of the values and of four products of neighbours, the sums of
    the squares of negative and of positive ones, how many each are, and the sum of magnitudes."""
    found = []
    for x in (blocks, *(blocks * np.roll(blocks, shift, axis=(1, 2)) for shift in _SHIFTS)):
        values = x.reshape(len(x), -1)
        low, high = np.minimum(values, 0), np.maximum(values, 0)
        squares = [np.einsum("ij,ij->i", part, part) for part in (low, high)]
        counts = [[np.count_nonzero(row) for row in signs] for signs in (low < 0, high > 0)]
        found.append([*squares, *counts, high.sum(1) - low.sum(1)])
    return np.array(found)


def _fit(moments: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Asymmetric generalized Gaussians of blocks of `size` values by their moments (5, n) (Eq. 7),
    each (n,): shape alpha, the scales left and right of zero, and Gamma(2/alpha) / Gamma(1/alpha)
    for Eq. 8; scales are NaN where all values have one sign."""
    lows, highs, below, above, magnitudes = moments
    left, right = np.sqrt(lows / below), np.sqrt(highs / above)
    ratio = left / right
    rhat = np.square(magnitudes) / (lows + highs) / size
    target = rhat * (ratio**3 + 1) * (ratio + 1) / np.square(ratio * ratio + 1)
    gammas, ratios, spreads, tilts = _gamma_tables()
    nearest = _nearest(ratios, target)
    spread = spreads[nearest]
    return gammas[nearest], left * spread, right * spread, tilts[nearest]


def _nearest(table: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Index in `table`, (m,) ascending, of the entry nearest to each value, (n,); 0 for NaN."""
    above = np.searchsorted(table, values).clip(1, len(table) - 1)
    below = above - 1
    nearest = np.where(values - table[below] <= table[above] - values, below, above)
    return np.where(np.isnan(values), 0, nearest)


@cache
def _gamma_tables() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Shapes from 0.2 to 10 by 0.001; per shape a: G(2/a)^2 / (G(1/a) G(3/a)),
    sqrt(G(1/a) / G(3/a)) and G(2/a) / G(1/a). Each (9801,) float64; the shapes are float32
    numbers, as in pyiqa, rounded as torch does, which counts on from every eighth."""
    eighths, rest = np.divmod(np.arange(9801, dtype=np.float32), 8)
    gammas = (0.2 + 0.008 * eighths.astype(float)).astype(np.float32) + np.float32(0.001) * rest
    one, two, three = (np.array([*map(math.lgamma, k / gammas.astype(float))]) for k in (1, 2, 3))
    spreads = np.exp((one - three) / 2)
    return gammas.astype(float), np.exp(2 * two - (one + three)), spreads, np.exp(two - one)
