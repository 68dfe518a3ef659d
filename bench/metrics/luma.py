"""The luma and chroma channels that image quality metrics use."""

from __future__ import annotations

import torch
from torch import Tensor

YCBCR = (65.481, 128.553, 24.966)
"""ITU-R BT.601 weights of the studio-range Y (16 to 235), as papers on super-resolution use it."""
YIQ = (0.299, 0.587, 0.114)
"""BT.601 weights of the full-range Y (0 to 255), which pyiqa takes unless told otherwise."""

YIQ_CHROMA = ((0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
"""Weights of I and Q."""


def ycbcr_y(image: Tensor) -> Tensor:
    """Studio-range Y of BT.601, unrounded.

    Args:
        image: (B, 3, H, W) float32 in [0, 1], RGB.

    Returns:
        (B, 1, H, W) float32 in [16, 235].
    """
    return _weighted(image, YCBCR) + 16


def yiq_y(image: Tensor) -> Tensor:
    """Full-range Y of BT.601, unrounded.

    Args:
        image: (B, 3, H, W) float32 in [0, 1], RGB.

    Returns:
        (B, 1, H, W) float32 in [0, 255].
    """
    return _weighted(image, YIQ) * 255


def to_yiq(image: Tensor) -> Tensor:
    """Y, I and Q in the range of the input.

    Args:
        image: (B, 3, H, W) float32, RGB.

    Returns:
        (B, 3, H, W) float32.
    """
    rows = torch.tensor((YIQ, *YIQ_CHROMA), dtype=image.dtype, device=image.device)
    return torch.nn.functional.conv2d(image, rows.view(3, 3, 1, 1))


def _weighted(image: Tensor, weights: tuple[float, float, float]) -> Tensor:
    kernel = torch.tensor(weights, dtype=image.dtype, device=image.device).view(1, 3, 1, 1)
    return torch.nn.functional.conv2d(image, kernel)
