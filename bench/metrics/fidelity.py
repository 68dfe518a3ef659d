"""PSNR and SSIM as papers on real-world super-resolution report them: studio-range Y, no crop.

They equal pyiqa's `psnr` and `ssim` with `test_y_channel=True, color_space="ycbcr"`; MS-SSIM
equals pyiqa's `ms_ssim` as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.base.types import Fingerprint, MetricSpec
from bench.metrics import check_image, fingerprint
from bench.metrics.filters import correlate, gaussian_taps
from bench.metrics.luma import ycbcr_y, yiq_y

_WINDOW = gaussian_taps(11, 1.5)
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_MSE_FLOOR = 1e-8
"""Added to the mean squared error, as pyiqa does: identical images score 80 dB."""


class PsnrY:
    """PSNR on unrounded Y; an implementation of `bench.base.types.Metric`."""

    def __init__(self, spec: MetricSpec, device: str) -> None:
        self.spec, self.device = spec, device

    def fingerprint(self) -> Fingerprint:
        return fingerprint(self.spec, self.device)

    def prepare(self, hr: Tensor) -> Tensor:
        """(1, 1, H, W) float64 in [16/255, 235/255]: Y of the HR image."""
        check_image(self.spec, hr)
        return ycbcr_y(hr.to(self.device)).double() / 255

    def score(self, sr: Tensor, hr: Tensor | None, prepared: Tensor) -> float:
        """PSNR in dB; at most 80."""
        y = ycbcr_y(sr.to(self.device)).double() / 255
        mse = (y - prepared).square_().mean()
        return float(-10 * torch.log10(mse + _MSE_FLOOR))


@dataclass(frozen=True)
class _Local:
    """An image and its local statistics, float64: y (1, 1, H, W) in units of 1/255; mean and
    variance under the window (1, 1, H-10, W-10)."""

    y: Tensor
    mean: Tensor
    variance: Tensor


class SsimY:
    """SSIM on rounded Y with pyiqa's clamped contrast term; a `bench.base.types.Metric`."""

    def __init__(self, spec: MetricSpec, device: str) -> None:
        self.spec, self.device = spec, device

    def fingerprint(self) -> Fingerprint:
        return fingerprint(self.spec, self.device)

    def prepare(self, hr: Tensor) -> _Local:
        """Local statistics of the HR image."""
        check_image(self.spec, hr)
        return _local(ycbcr_y(hr.to(self.device)).round().double())

    def score(self, sr: Tensor, hr: Tensor | None, prepared: _Local) -> float:
        """Mean SSIM in [0, 1]."""
        check_image(self.spec, sr)
        own = _local(ycbcr_y(sr.to(self.device)).round().double())
        return float((_contrast(own, prepared) * _luminance(own, prepared)).mean())


class MsSsim:
    """SSIM over five scales on rounded full-range Y; a `bench.base.types.Metric`."""

    def __init__(self, spec: MetricSpec, device: str) -> None:
        self.spec, self.device = spec, device

    def fingerprint(self) -> Fingerprint:
        return fingerprint(self.spec, self.device)

    def prepare(self, hr: Tensor) -> list[_Local]:
        """Local statistics of the HR image at each scale."""
        check_image(self.spec, hr)
        return self._pyramid(hr)

    def score(self, sr: Tensor, hr: Tensor | None, prepared: list[_Local]) -> float:
        """Product of the powers of the mean contrast terms and of the coarsest SSIM, in [0, 1]."""
        check_image(self.spec, sr)
        scales = list(zip(self._pyramid(sr), prepared, strict=True))
        contrasts = [_contrast(own, reference) for own, reference in scales]
        means = [contrast.mean() for contrast in contrasts[:-1]]
        means.append((contrasts[-1] * _luminance(*scales[-1])).mean())
        return math.prod(float(m) ** w for m, w in zip(means, _SCALE_WEIGHTS, strict=True))

    def _pyramid(self, image: Tensor) -> list[_Local]:
        y = yiq_y(image.to(self.device)).round().double()
        scales = [_local(y)]
        for _ in _SCALE_WEIGHTS[1:]:
            odd = (y.shape[2] % 2, y.shape[3] % 2)
            y = torch.nn.functional.avg_pool2d(y, kernel_size=2, padding=odd)
            scales.append(_local(y))
        return scales


def _local(y: Tensor) -> _Local:
    mean = correlate(y, _WINDOW)
    return _Local(y, mean, correlate(y * y, _WINDOW).sub_(mean.square()))


def _contrast(own: _Local, reference: _Local) -> Tensor:
    """Contrast and structure term, negative values set to 0."""
    covariance = correlate(own.y * reference.y, _WINDOW).sub_(own.mean * reference.mean)
    return covariance.mul_(2).add_(_C2).div_(own.variance + reference.variance + _C2).clamp_(min=0)


def _luminance(own: _Local, reference: _Local) -> Tensor:
    squares = own.mean.square() + reference.mean.square()
    return (own.mean * reference.mean).mul_(2).add_(_C1).div_(squares.add_(_C1))
