"""Losses between images, for training in pixel space.

Eq. 3 compares noise. A sampler of one step can also be trained on the image that it makes: `L1` for
fidelity, gradients for edges, and the amplitudes of short Fourier transforms for the amount of
texture, which a mean over possible images would lose.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = 8
LUMA = (0.299, 0.587, 0.114)


def gradient_difference(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of the finite differences along both axes.

    Args:
        a, b: (B, C, H, W).
    """
    difference = a - b
    vertical = difference[:, :, 1:] - difference[:, :, :-1]
    horizontal = difference[..., 1:] - difference[..., :-1]
    return vertical.abs().mean() + horizontal.abs().mean()


def amplitude_difference(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of local Fourier amplitudes of luma, phases left aside.

    Args:
        a, b: (B, 3, H, W) in [0, 1].
    """
    return (_amplitudes(a) - _amplitudes(b)).abs().mean()


def _amplitudes(image: Tensor) -> Tensor:
    """(B, windows, 8, 5) amplitudes in Hann windows of 8x8 pixels, half overlapping."""
    weights = torch.tensor(LUMA, device=image.device, dtype=image.dtype).view(1, 3, 1, 1)
    patches = F.unfold((image * weights).sum(1, keepdim=True), WINDOW, stride=WINDOW // 2)
    squares = patches.transpose(1, 2).unflatten(2, (WINDOW, WINDOW))
    spectrum = torch.fft.rfft2(squares * _hann().to(squares), norm="ortho")
    # The derivative of an absolute value has no limit at zero.
    return (spectrum.real.square() + spectrum.imag.square() + 1e-8).sqrt()


@lru_cache(maxsize=1)
def _hann() -> Tensor:
    window = torch.hann_window(WINDOW, periodic=False)
    return window[:, None] * window


def image_loss(
    image: Tensor, target: Tensor, gradient: float, amplitude: float
) -> dict[str, Tensor]:
    """Weighted sum and its parts.

    Args:
        image, target: (B, 3, H, W) in [0, 1]; the image not clamped.
        gradient, amplitude: weights beside 1 of the L1 distance.

    Returns:
        "loss" to be minimised; "l1", "gradient", "amplitude" as they are, before weighting.
    """
    parts = {
        "l1": F.l1_loss(image, target),
        "gradient": gradient_difference(image, target),
        "amplitude": amplitude_difference(image, target),
    }
    loss = parts["l1"] + gradient * parts["gradient"] + amplitude * parts["amplitude"]
    return {"loss": loss} | {name: part.detach() for name, part in parts.items()}
