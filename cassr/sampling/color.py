"""Colour correction of a sampled image against the upscaled LR image.

The wavelet correction is five levels of the a-trous transform, as StableSR does.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

WAVELET_LEVELS = 5


def adain(sr: Tensor, lr: Tensor) -> Tensor:
    """Give each channel of sr the mean and standard deviation it has in lr; see `CORRECTIONS`."""
    sr_std, sr_mean = torch.std_mean(sr, dim=(2, 3), keepdim=True, correction=0)
    lr_std, lr_mean = torch.std_mean(lr, dim=(2, 3), keepdim=True, correction=0)
    return sr.sub_(sr_mean).mul_(lr_std / sr_std.clamp(min=1e-4)).add_(lr_mean)


def wavelet(sr: Tensor, lr: Tensor) -> Tensor:
    """High bands of sr, lowest band of lr.

    The transform is linear, so this is sr plus the low band of their difference. Channel by
    channel and in place, since the images of a large output are what memory goes to; see
    `CORRECTIONS`.
    """
    for channel in range(sr.shape[1]):
        one = slice(channel, channel + 1)
        sr[:, one] += low_band(lr[:, one] - sr[:, one])
    return sr


def low_band(x: Tensor) -> Tensor:
    """What is left of x (B, C, H, W) after blurs by [1 2 1]/4 with spacing 1, 2, 4, ..."""
    for level in range(WAVELET_LEVELS):
        radius = 2**level
        for dim, pad in ((2, (0, 0, radius, radius)), (3, (radius, radius, 0, 0))):
            length, padded = x.shape[dim], F.pad(x, pad, mode="replicate")
            before, after = padded.narrow(dim, 0, length), padded.narrow(dim, 2 * radius, length)
            x = torch.lerp(x, (before + after) / 2, 0.5)
    return x


CORRECTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "none": lambda sr, lr: sr,
    "adain": adain,
    "wavelet": wavelet,
}
"""Each takes images (B, 3, H, W) in [0, 1] and the upscaled LR images of the same shape; the first
are overwritten and returned, not clamped."""
