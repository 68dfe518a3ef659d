"""PSNR and SSIM as papers on real-world super-resolution report them: studio-range Y, no crop.

They equal pyiqa's `psnr` and `ssim` with `test_y_channel=True, color_space="ycbcr"`; MS-SSIM
equals pyiqa's `ms_ssim` as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.base.types import MetricSpec
from bench.metrics.filters import check_image, correlate, gaussian_taps, ycbcr_y, yiq_y

_WINDOW = gaussian_taps(11, 1.5)
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_MSE_FLOOR = 1e-8
"""Added to the mean squared error, as pyiqa does: identical images score 80 dB."""


class Psnr:
    """PSNR on RGB or unrounded Y; an implementation of `bench.base.types.Metric`."""

    _channels = "rgb"

    def __init__(self, spec: MetricSpec, device: str) -> None:
        self.spec, self.device = spec, device

    def prepare(self, hr: Tensor) -> Tensor:
        """(1, C, H, W) float64 in [0, 1]: the HR image's channels."""
        check_image(self.spec, hr)
        return self._planes(hr)

    def score(self, sr: Tensor, hr: Tensor | None, prepared: Tensor) -> float:
        """PSNR in dB; at most 80."""
        mse = (self._planes(sr) - prepared).square_().mean()
        return float(-10 * torch.log10(mse + _MSE_FLOOR))

    def _planes(self, image: Tensor) -> Tensor:
        return _planes(self.spec, self._channels, image.to(self.device)).double() / 255


class PsnrY(Psnr):
    """PSNR on unrounded Y."""

    _channels = "y"


@dataclass(frozen=True)
class _Local:
    """An image and its local statistics, float64: y (1, C, H, W) in units of 1/255; mean and
    variance under the window (1, C, H-10, W-10)."""

    y: Tensor
    mean: Tensor
    variance: Tensor


class Ssim:
    """SSIM on RGB or rounded Y, contrast clamped as pyiqa does; a `bench.base.types.Metric`."""

    _channels = "rgb"

    def __init__(self, spec: MetricSpec, device: str) -> None:
        self.spec, self.device = spec, device

    def prepare(self, hr: Tensor) -> _Local:
        """Local statistics of the HR image."""
        check_image(self.spec, hr)
        return self._local(hr)

    def score(self, sr: Tensor, hr: Tensor | None, prepared: _Local) -> float:
        """Mean SSIM in [0, 1]."""
        check_image(self.spec, sr)
        own = self._local(sr)
        return float((_contrast(own, prepared) * _luminance(own, prepared)).mean())

    def _local(self, image: Tensor) -> _Local:
        planes = _planes(self.spec, self._channels, image.to(self.device))
        return _local(planes.round().double())


class SsimY(Ssim):
    """SSIM on rounded Y."""

    _channels = "y"


class MsSsim:
    """SSIM over five scales on rounded full-range Y; a `bench.base.types.Metric`."""

    def __init__(self, spec: MetricSpec, device: str) -> None:
        self.spec, self.device = spec, device

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


def _planes(spec: MetricSpec, channels: str, image: Tensor) -> Tensor:
    """(B, 3, H, W) in [0, 1] -> (B, C, H, W) in 0 to 255: RGB, or studio-range Y."""
    chosen = spec.options.get("channels", channels)
    return ycbcr_y(image) if chosen == "y" else image * 255


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
