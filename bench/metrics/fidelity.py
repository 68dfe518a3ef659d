"""PSNR and SSIM as papers on real-world super-resolution report them: studio-range Y, no crop.

Both equal pyiqa's `psnr` and `ssim` with `test_y_channel=True, color_space="ycbcr"`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.metrics import fingerprint
from bench.metrics.filters import correlate, gaussian_taps
from bench.metrics.luma import ycbcr_y
from bench.types import Fingerprint, MetricSpec

_WINDOW = gaussian_taps(11, 1.5)
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_MSE_FLOOR = 1e-8
"""Added to the mean squared error, as pyiqa does: identical images score 80 dB."""


class PsnrY:
    """PSNR on unrounded Y; an implementation of `bench.types.Metric`."""

    def __init__(self, spec: MetricSpec, device: str) -> None:
        self.spec, self.device = spec, device

    def fingerprint(self) -> Fingerprint:
        return fingerprint(self.spec, self.device)

    def prepare(self, hr: Tensor) -> Tensor:
        """(1, 1, H, W) float64 in [16/255, 235/255]: Y of the HR image."""
        return ycbcr_y(hr.to(self.device)).double() / 255

    def score(self, sr: Tensor, hr: Tensor | None, prepared: Tensor) -> float:
        """PSNR in dB; at most 80."""
        y = ycbcr_y(sr.to(self.device)).double() / 255
        mse = (y - prepared).square_().mean()
        return float(-10 * torch.log10(mse + _MSE_FLOOR))


@dataclass(frozen=True)
class _Reference:
    """What SSIM needs of the HR image: y (1, 1, H, W); mean, variance (1, 1, H-10, W-10)."""

    y: Tensor
    mean: Tensor
    variance: Tensor


class SsimY:
    """SSIM on rounded Y with pyiqa's clamped contrast term; a `bench.types.Metric`."""

    def __init__(self, spec: MetricSpec, device: str) -> None:
        self.spec, self.device = spec, device

    def fingerprint(self) -> Fingerprint:
        return fingerprint(self.spec, self.device)

    def prepare(self, hr: Tensor) -> _Reference:
        """Local means and variances of the HR image, float64 in units of 1/255."""
        return self._statistics(hr)

    def score(self, sr: Tensor, hr: Tensor | None, prepared: _Reference) -> float:
        """Mean SSIM in [0, 1]."""
        own = self._statistics(sr)
        covariance = correlate(own.y * prepared.y, _WINDOW) - own.mean * prepared.mean
        contrast = (2 * covariance + _C2) / (own.variance + prepared.variance + _C2)
        mean_squares = own.mean.square() + prepared.mean.square()
        luminance = (2 * own.mean * prepared.mean + _C1) / (mean_squares + _C1)
        return float((luminance * contrast.clamp_(min=0)).mean())

    def _statistics(self, image: Tensor) -> _Reference:
        y = ycbcr_y(image.to(self.device)).round().double()
        mean = correlate(y, _WINDOW)
        return _Reference(y, mean, correlate(y * y, _WINDOW) - mean.square())
