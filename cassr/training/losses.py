"""Losses between images, for a sampler of one step that is trained on the image that it makes."""

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = 8
LUMA = (0.299, 0.587, 0.114)


def gradient_difference(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of the finite differences of (B, C, H, W) along both axes."""
    difference = a - b
    vertical = difference[:, :, 1:] - difference[:, :, :-1]
    horizontal = difference[..., 1:] - difference[..., :-1]
    return vertical.abs().mean() + horizontal.abs().mean()


def amplitude_difference(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of local Fourier amplitudes of luma, of (B, 3, H, W) in [0, 1]."""
    return (_amplitudes(a) - _amplitudes(b)).abs().mean()


def _amplitudes(image: Tensor) -> Tensor:
    """(B, windows, 8, 5) amplitudes in Hann windows of 8x8 pixels, half overlapping."""
    weights = torch.tensor(LUMA, device=image.device, dtype=image.dtype).view(1, 3, 1, 1)
    patches = F.unfold((image * weights).sum(1, keepdim=True), WINDOW, stride=WINDOW // 2)
    squares = patches.transpose(1, 2).unflatten(2, (WINDOW, WINDOW))
    hann = torch.hann_window(WINDOW, periodic=False).to(squares)
    spectrum = torch.fft.rfft2(squares * torch.outer(hann, hann), norm="ortho")
    # The derivative of an absolute value has no limit at zero.
    return (spectrum.real.square() + spectrum.imag.square() + 1e-8).sqrt()


def grid_difference(a: Tensor, b: Tensor, period: int) -> Tensor:
    """Mean absolute size of a pattern that repeats in all cells of all images (B, C, H, W).

    A network that makes an image cell by cell leaves one, fainter than the other distances see.
    `period` is a cell's side in pixels; H and W are multiples of it.
    """
    cells = (a - b).unflatten(3, (-1, period)).unflatten(2, (-1, period))
    inside = cells - cells.mean((3, 5), keepdim=True)
    return inside.mean((0, 2, 4)).abs().mean()


def image_loss(
    image: Tensor,
    target: Tensor,
    gradient: float,
    amplitude: float,
    grid: float = 0.0,
    period: int = 1,
    photograph: Tensor | None = None,
) -> dict[str, Tensor]:
    """Weighted sum and its parts.

    Args:
        image, target: (B, 3, H, W) in [0, 1]; the image not clamped.
        gradient, amplitude, grid: weights beside 1 of the L1 distance.
        period: of the grid, pixels.
        photograph: (B, 3, H, W), whose pattern is right; None: the target's is.

    Returns "loss" to be minimised; "l1", "gradient", "amplitude" and, where it has a weight, "grid"
    as they are, before weighting.
    """
    parts = {
        "l1": F.l1_loss(image, target),
        "gradient": gradient_difference(image, target),
        "amplitude": amplitude_difference(image, target),
    }
    loss = parts["l1"] + gradient * parts["gradient"] + amplitude * parts["amplitude"]
    if grid:
        parts["grid"] = grid_difference(image, target if photograph is None else photograph, period)
        loss = loss + grid * parts["grid"]
    return {"loss": loss} | {name: part.detach() for name, part in parts.items()}
