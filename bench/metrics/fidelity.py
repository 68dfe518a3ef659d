"""PSNR and SSIM as papers on real-world super-resolution report them: studio-range Y, no crop.

They equal pyiqa's with `test_y_channel=True, color_space="ycbcr"`, MS-SSIM its `ms_ssim` as it is.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from bench.base.types import MetricSpec
from bench.metrics.filters import FullReference, correlate, gaussian_taps, ycbcr_y, yiq_y

_WINDOW = gaussian_taps(11, 1.5)
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_MSE_FLOOR = 1e-8
"""Added to the mean squared error, as pyiqa does: identical images score 80 dB."""


class Psnr(FullReference):
    """PSNR in dB on RGB or unrounded Y, at most 80."""

    _channels = "rgb"

    def seen(self, image: Tensor) -> Tensor:
        """(1, C, H, W) float64 in [0, 1]."""
        return _planes(self.spec, self._channels, image).double() / 255

    def compared(self, own: Tensor, reference: Tensor) -> Tensor:
        return -10 * torch.log10((own - reference).square_().mean() + _MSE_FLOOR)


class PsnrY(Psnr):
    """PSNR on unrounded Y."""

    _channels = "y"


class LrPsnr(Psnr):
    """PSNR on RGB of both images shrunk again: bicubic, antialiased, rounded to 8 bits."""

    def seen(self, image: Tensor) -> Tensor:
        """(1, 3, H / scale, W / scale) float64 in [0, 1]."""
        size = [side // int(self.spec.options.get("scale", 4)) for side in image.shape[-2:]]
        small = torch.nn.functional.interpolate(image, size, mode="bicubic", antialias=True)
        return super().seen(small.mul(255).round().clamp(0, 255) / 255)


class _Local(NamedTuple):
    """An image and its local statistics, float64: y (1, C, H, W) in units of 1/255; mean and
    variance under the window (1, C, H-10, W-10)."""

    y: Tensor
    mean: Tensor
    variance: Tensor


class Ssim(FullReference):
    """Mean SSIM on RGB or rounded Y, contrast clamped as pyiqa does; in [0, 1]."""

    _channels = "rgb"

    def seen(self, image: Tensor) -> _Local:
        return _local(_planes(self.spec, self._channels, image).round().double())

    def compared(self, own: _Local, reference: _Local) -> Tensor:
        return (_contrast(own, reference) * _luminance(own, reference)).mean()


class SsimY(Ssim):
    """SSIM on rounded Y."""

    _channels = "y"


class MsSsim(FullReference):
    """SSIM over five scales on rounded full-range Y: the product of the powers of the mean
    contrast terms and of the coarsest SSIM, in [0, 1]."""

    def seen(self, image: Tensor) -> list[_Local]:
        """Local statistics at each scale."""
        y = yiq_y(image).round().double()
        scales = [_local(y)]
        for _ in _SCALE_WEIGHTS[1:]:
            odd = (y.shape[2] % 2, y.shape[3] % 2)
            y = torch.nn.functional.avg_pool2d(y, kernel_size=2, padding=odd)
            scales.append(_local(y))
        return scales

    def compared(self, own: list[_Local], reference: list[_Local]) -> float:
        scales = list(zip(own, reference, strict=True))
        contrasts = [_contrast(*pair) for pair in scales]
        means = [contrast.mean() for contrast in contrasts[:-1]]
        means.append((contrasts[-1] * _luminance(*scales[-1])).mean())
        return math.prod(float(m) ** w for m, w in zip(means, _SCALE_WEIGHTS, strict=True))


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
