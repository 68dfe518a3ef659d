"""NIQE with the official parameters, equal to pyiqa's `niqe` and about seven times as fast.

Mittal, Soundararajan, Bovik, "Making a completely blind image quality analyzer", IEEE SPL 2013.
The luma is the full-range one (pyiqa's choice, which published Real-ISR numbers share).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.io import loadmat
from torch import Tensor

from bench.base.errors import ImageError
from bench.base.types import MetricSpec
from bench.metrics.filters import check_image, correlate, gaussian_taps, yiq_y
from bench.remote import weights

_BLOCK = 96
_WINDOW = gaussian_taps(7, 7 / 6)
_SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))
_HALVING = (-0.01171875, -0.03515625, 0.11328125, 0.43359375)
"""Half of MATLAB's antialiased cubic kernel at scale 1/2; its eight taps sum to 1."""


class Niqe:
    """No-reference quality of one image; a `bench.base.types.Metric`."""

    def __init__(self, spec: MetricSpec, device: str) -> None:
        self.spec, self.device = spec, device
        mean, covariance = _parameters(weights.locate(spec.weights[0]))
        self._mean = self._tensor(np.ravel(mean))
        self._covariance = self._tensor(covariance)

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64)).to(self.device)

    def prepare(self, hr: Tensor) -> None:
        """Nothing: NIQE looks at no reference."""

    def score(self, sr: Tensor, hr: Tensor | None, prepared: None) -> float:
        """Distance from the statistics of natural images; ImageError for one without texture."""
        check_image(self.spec, sr)
        features = niqe_features(yiq_y(sr.to(self.device)).round().double())
        known = ~features.isnan()
        rows = features[known.all(dim=1)]
        if len(rows) == 0:
            raise ImageError("niqe is not defined: no 96x96 block of the image has any texture")
        mean = torch.where(known, features, 0).sum(0) / known.sum(0)
        covariance = torch.cov(rows.T, correction=int(len(rows) > 1))
        inverse = torch.linalg.pinv((self._covariance + covariance) / 2)
        offset = self._mean - mean
        return float((offset @ inverse @ offset).sqrt())


def _parameters(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Mean (1, 36) and covariance (36, 36) of natural images' features, float64."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as held:
            return held["mu_pris_param"], held["cov_pris_param"]
    model = loadmat(str(path))
    return model["mu_prisparam"], model["cov_prisparam"]


def niqe_features(y: Tensor) -> Tensor:
    """Rounded luma (1, 1, H, W) float64 in [0, 255], H and W at least 96 -> (blocks, 36) float64:
    features of every 96x96 block, 18 at each of two scales; NaN where one is flat."""
    rows, columns = (side // _BLOCK for side in y.shape[-2:])
    y = y[0, 0, : rows * _BLOCK, : columns * _BLOCK]
    fine = _block_features(_normalized(y), _BLOCK)
    coarse = _block_features(_normalized(_halved(y)), _BLOCK // 2)
    return torch.cat((fine, coarse), dim=1)


def _normalized(y: Tensor) -> Tensor:
    """(H, W) luma -> (H, W) luma less its local mean, over its local deviation plus 1."""
    padded = torch.nn.functional.pad(y[None, None], (3, 3, 3, 3), mode="replicate")[0, 0]
    mean = correlate(padded, _WINDOW)
    variance = correlate(padded * padded, _WINDOW).sub_(mean.square()).abs_()
    deviation = variance.add_(torch.finfo(torch.float64).eps).sqrt_().add_(1)
    return (y - mean).div_(deviation)


def _halved(y: Tensor) -> Tensor:
    """(H, W) -> (H/2, W/2) by MATLAB's imresize, in float32 as pyiqa computes it."""
    return _halved_along(_halved_along((y / 255).float(), 0), 1).double() * 255


def _halved_along(x: Tensor, dim: int) -> Tensor:
    """Cubic antialiased halving; borders are mirrored, the border pixel included."""
    size = x.shape[dim]
    x = torch.cat((x.narrow(dim, 0, 3).flip(dim), x, x.narrow(dim, size - 3, 3).flip(dim)), dim)
    taps = _HALVING + _HALVING[::-1]
    every_other = [x.narrow(dim, k, size - 1) for k in range(len(taps))]
    picked = [part[::2] if dim == 0 else part[:, ::2] for part in every_other]
    out = picked[0] * taps[0]
    for part, tap in zip(picked[1:], taps[1:], strict=True):
        out = out + part * tap
    return out


def _block_features(normalized: Tensor, size: int) -> Tensor:
    """(H, W) -> (blocks, 18): the fits of the values and of four products of neighbours."""
    blocks = _blocks(normalized, size)
    fit = _fit(blocks)
    features = [fit.shape, (fit.left + fit.right) / 2]
    for shift in _SHIFTS:
        fit = _fit(blocks * torch.roll(blocks, shift, dims=(1, 2)))
        features += [fit.shape, (fit.right - fit.left) * fit.tilt, fit.left, fit.right]
    return torch.stack(features, dim=1)


def _blocks(x: Tensor, size: int) -> Tensor:
    """(H, W) -> (blocks, size, size), column by column as MATLAB's blockproc."""
    rows, columns = x.shape[0] // size, x.shape[1] // size
    tiles = x.reshape(rows, size, columns, size).permute(2, 0, 1, 3)
    return tiles.reshape(rows * columns, size, size)


class _Fit(NamedTuple):
    """Asymmetric generalized Gaussians, each field (n,): shape alpha, the scales left and right
    of zero, and Gamma(2/alpha) / Gamma(1/alpha) for Eq. 8."""

    shape: Tensor
    left: Tensor
    right: Tensor
    tilt: Tensor


def _fit(blocks: Tensor) -> _Fit:
    """Fit each block, (n, s, s) float64, by its moments (Eq. 7); NaN where all have one sign."""
    values = blocks.flatten(1)
    squares = values * values
    negative, positive = values < 0, values > 0
    left = ((squares * negative).sum(1) / negative.sum(1)).sqrt()
    right = ((squares * positive).sum(1) / positive.sum(1)).sqrt()
    ratio = left / right
    rhat = values.abs().mean(1).square() / squares.mean(1)
    target = rhat * (ratio**3 + 1) * (ratio + 1) / (ratio.square() + 1).square()
    gammas, ratios, spreads, tilts = _gamma_tables(str(blocks.device))
    nearest = _nearest(ratios, target)
    spread = spreads[nearest]
    return _Fit(gammas[nearest], left * spread, right * spread, tilts[nearest])


def _nearest(table: Tensor, values: Tensor) -> Tensor:
    """Index in `table`, (m,) ascending, of the entry nearest to each value, (n,); 0 for NaN."""
    above = torch.searchsorted(table, values).clamp_(1, len(table) - 1)
    below = above - 1
    nearest = torch.where(values - table[below] <= table[above] - values, below, above)
    return torch.where(values.isnan(), 0, nearest)


@cache
def _gamma_tables(device: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Shapes from 0.2 to 10 by 0.001; per shape a: G(2/a)^2 / (G(1/a) G(3/a)),
    sqrt(G(1/a) / G(3/a)) and G(2/a) / G(1/a). Each (9801,) float64; the shapes are float32
    numbers, as in pyiqa."""
    gammas = torch.arange(0.2, 10 + 0.001, 0.001, dtype=torch.float32).double().to(device)
    one, two, three = (torch.lgamma(k / gammas) for k in (1, 2, 3))
    ratios = (2 * two - (one + three)).exp()
    return gammas, ratios, (one - three).exp().sqrt(), (two - one).exp()
