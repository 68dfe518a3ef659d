"""Colour correction of a sampled image against the upscaled LR image.

AdaIN moves mean and standard deviation of each channel; the wavelet correction takes the lowest
frequency band from the LR image (five levels of the a-trous transform, as StableSR does).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

WAVELET_LEVELS = 5


def adain(sr: Tensor, lr: Tensor) -> Tensor:
    """Give each channel of sr the mean and standard deviation it has in lr.

    Args:
        sr: (B, 3, H, W) in [0, 1]; overwritten.
        lr: the same shape.

    Returns:
        sr, not clamped.
    """
    sr_std, sr_mean = torch.std_mean(sr, dim=(2, 3), keepdim=True, correction=0)
    lr_std, lr_mean = torch.std_mean(lr, dim=(2, 3), keepdim=True, correction=0)
    return sr.sub_(sr_mean).mul_(lr_std / sr_std.clamp(min=1e-4)).add_(lr_mean)


def wavelet(sr: Tensor, lr: Tensor) -> Tensor:
    """High bands of sr, lowest band of lr.

    The transform is linear, so this is sr plus the low band of their difference. Channel by
    channel and in place, since the images of a large output are what memory goes to.

    Args:
        sr: (B, 3, H, W) in [0, 1]; overwritten.
        lr: the same shape.

    Returns:
        sr, not clamped.
    """
    for channel in range(sr.shape[1]):
        one = slice(channel, channel + 1)
        sr[:, one] += low_band(lr[:, one] - sr[:, one])
    return sr


def low_band(x: Tensor, levels: int = WAVELET_LEVELS) -> Tensor:
    """What is left of x after `levels` blurs by [1 2 1]/4 with spacing 1, 2, 4, ...

    Args:
        x: (B, C, H, W).
    """
    for level in range(levels):
        radius = 2**level
        for dim in (2, 3):
            x = _blur(x, radius, dim)
    return x


def _blur(x: Tensor, radius: int, dim: int) -> Tensor:
    length = x.shape[dim]
    pad = (0, 0, radius, radius) if dim == 2 else (radius, radius, 0, 0)
    padded = F.pad(x, pad, mode="replicate")
    before, after = padded.narrow(dim, 0, length), padded.narrow(dim, 2 * radius, length)
    return torch.lerp(x, (before + after) / 2, 0.5)


def _none(sr: Tensor, lr: Tensor) -> Tensor:
    return sr


CORRECTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "none": _none,
    "adain": adain,
    "wavelet": wavelet,
}
