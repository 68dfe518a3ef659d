"""What metrics look at images through: size and border, luma and chroma, windows.

Separable filters are made of shifted sums: exact in float64, many times faster than conv2d.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.base.errors import ImageError
from bench.base.types import CROP_BORDER, Metric, MetricSpec

_SEED = 123

YCBCR = (65.481, 128.553, 24.966)
"""ITU-R BT.601 weights of the studio-range Y (16 to 235), as papers on super-resolution use it."""
YIQ = (0.299, 0.587, 0.114)
"""BT.601 weights of the full-range Y (0 to 255), which pyiqa takes unless told otherwise."""

YIQ_CHROMA = ((0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
"""Weights of I and Q."""


def ycbcr_y(image: Tensor) -> Tensor:
    """RGB (B, 3, H, W) in [0, 1] -> unrounded studio-range Y of BT.601 (B, 1, H, W), 16 to 235."""
    return _weighted(image, YCBCR) + 16


def yiq_y(image: Tensor) -> Tensor:
    """RGB (B, 3, H, W) in [0, 1] -> unrounded full-range Y of BT.601 (B, 1, H, W), 0 to 255."""
    return _weighted(image, YIQ) * 255


def to_yiq(image: Tensor) -> Tensor:
    """RGB -> Y, I and Q in its range, (B, 3, H, W) float32 both."""
    rows = torch.tensor((YIQ, *YIQ_CHROMA), dtype=image.dtype, device=image.device)
    return torch.nn.functional.conv2d(image, rows.view(3, 3, 1, 1))


def _weighted(image: Tensor, weights: tuple[float, float, float]) -> Tensor:
    kernel = torch.tensor(weights, dtype=image.dtype, device=image.device).view(1, 3, 1, 1)
    return torch.nn.functional.conv2d(image, kernel)


def check_image(spec: MetricSpec, image: Tensor) -> None:
    """Raise ImageError for an image (B, 3, H, W) smaller than the metric is defined for."""
    height, width = image.shape[-2:]
    if min(width, height) < spec.min_size:
        raise ImageError(
            f"{width}x{height} px is too small for {spec.name}, which needs "
            f"{spec.min_size} px on the shorter side"
        )


class FullReference(ABC):
    """A metric that compares what it sees of an image with what it sees of its HR image; an
    implementation of `bench.base.types.Metric`. What that is, each says itself."""

    def __init__(self, spec: MetricSpec, device: str) -> None:
        self.spec, self.device = spec, device

    def prepare(self, hr: Tensor) -> Any:
        """What is seen of an image (1, 3, H, W) in [0, 1]; ImageError where it is too small."""
        check_image(self.spec, hr)
        return self.seen(hr.to(self.device))

    def score(self, sr: Tensor, hr: Tensor | None, prepared: Any) -> float:
        """The comparison with what was seen of the HR image."""
        return float(self.compared(self.prepare(sr), prepared))

    @abstractmethod
    def seen(self, image: Tensor) -> Any:
        """What a comparison needs of an image (1, 3, H, W) float32 in [0, 1]."""

    @abstractmethod
    def compared(self, own: Any, reference: Any) -> Tensor | float:
        """The score, of what was seen of the SR and of the HR image."""


class Cropped:
    """A metric of images without their border; a `bench.base.types.Metric`."""

    def __init__(self, metric: Metric, spec: MetricSpec) -> None:
        self._metric, self._border = metric, int(spec.options[CROP_BORDER])
        self._spec = replace(spec, min_size=spec.min_size + 2 * self._border)

    def prepare(self, hr: Tensor) -> Any:
        """As the metric's own, of the HR image (1, 3, H, W) without its border."""
        return self._metric.prepare(self._inside(hr))

    def score(self, sr: Tensor, hr: Tensor | None, prepared: Any) -> float:
        """As the metric's own, of images (1, 3, H, W) without their border."""
        inner = None if hr is None else self._inside(hr)
        return self._metric.score(self._inside(sr), inner, prepared)

    def _inside(self, image: Tensor) -> Tensor:
        check_image(self._spec, image)
        side = slice(self._border, -self._border)
        return image[..., side, side]


@contextmanager
def exact() -> Iterator[None]:
    """No gradients, no TF32, deterministic kernels, the same random numbers for each image."""
    state = np.random.get_state()
    flags = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    try:
        with torch.inference_mode(), flags, torch.random.fork_rng():
            torch.manual_seed(_SEED)
            np.random.seed(_SEED)
            yield
    finally:
        np.random.set_state(state)


@cache
def gaussian_taps(size: int, sigma: float) -> tuple[float, ...]:
    """An odd number of taps of a Gaussian window, sigma in pixels, scaled to pyiqa's sum.

    pyiqa rounds its 2-D window to float32, so its sum differs from 1 by about 1e-8; in a flat
    area the sign of `x - mean` hangs on that difference, so it is kept.
    """
    half = (size - 1) // 2
    line = [math.exp(-(k * k) / (2.0 * sigma * sigma)) for k in range(-half, half + 1)]
    window = torch.tensor(line, dtype=torch.float64)
    window = window[:, None] * window[None, :]
    rounded = (window / window.sum()).float().double().sum().item()
    scale = math.sqrt(rounded) / math.fsum(line)
    return tuple(tap * scale for tap in line)


def correlate(x: Tensor, taps: tuple[float, ...]) -> Tensor:
    """Filter rows and columns with k symmetric taps, k odd, only where the window fits:
    (..., H, W) -> (..., H-k+1, W-k+1) float64."""
    return _along(_along(x, taps, -2), taps, -1)


def _along(x: Tensor, taps: tuple[float, ...], dim: int) -> Tensor:
    size = x.shape[dim] - len(taps) + 1
    middle = len(taps) // 2
    out = x.narrow(dim, middle, size) * taps[middle]
    for k in range(middle):
        out.add_(x.narrow(dim, k, size), alpha=taps[k])
        out.add_(x.narrow(dim, len(taps) - 1 - k, size), alpha=taps[k])
    return out
