"""FSIMc, equal to pyiqa's `fsim`, with the HR image's side computed once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from bench.metrics.filters import YIQ, FullReference
from bench.metrics.phase_congruency import phase_congruency

_SCHARR = (3 / 16, 10 / 16)
"""Taps beside and in the middle, across the direction of a difference."""
_PHASE, _GRADIENT, _CHROMA = 0.85, 160, 200
_CHROMA_POWER = 0.03
_YIQ_CHROMA = ((0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
"""Weights of I and Q."""
_FSIM_SIDE = 256
"""FSIM looks at an image whose shorter side is shrunk to about this many pixels."""


class _Features(NamedTuple):
    """What FSIMc compares, each (h, w) float32: phase congruency, gradient, chroma I and Q."""

    phase: Tensor
    gradient: Tensor
    i: Tensor
    q: Tensor


class Fsim(FullReference):
    """Feature similarity with chroma, weighted by phase congruency; 1 for equal images."""

    sees_pixels = False

    def seen(self, image: Tensor) -> _Features:
        shrink = max(1, round(min(image.shape[-2:]) / _FSIM_SIDE))
        y, i, q = _yiq(avg_pool2d(image * 255, shrink))[0]
        gradient = _squared_gradient(y).add_(torch.finfo(y.dtype).eps).sqrt_()
        return _Features(phase_congruency(y), gradient, i, q)

    def compared(self, own: _Features, reference: _Features) -> Tensor:
        weight = torch.maximum(own.phase, reference.phase).double()
        chroma = _alike(own.i, reference.i, _CHROMA) * _alike(own.q, reference.q, _CHROMA)
        similarity = _alike(own.phase, reference.phase, _PHASE)
        similarity *= _alike(own.gradient, reference.gradient, _GRADIENT)
        similarity *= chroma.abs_().pow_(_CHROMA_POWER)
        return (similarity * weight).sum() / weight.sum()


def _yiq(image: Tensor) -> Tensor:
    """RGB -> Y, I and Q in its range, (1, 3, H, W) float32 both."""
    rows = torch.tensor((YIQ, *_YIQ_CHROMA), dtype=image.dtype, device=image.device)
    return torch.nn.functional.conv2d(image, rows.view(3, 3, 1, 1))


def _squared_gradient(y: Tensor) -> Tensor:
    """(H, W) float32 -> (H, W): squared gradient magnitude by Scharr's 3x3 filter; outside the
    image is black."""
    padded = pad(y, (1, 1, 1, 1))
    down = padded[2:] - padded[:-2]
    right = padded[:, 2:] - padded[:, :-2]
    side, middle = _SCHARR
    vertical = (down[:, :-2] + down[:, 2:]).mul_(side).add_(down[:, 1:-1], alpha=middle)
    horizontal = (right[:-2] + right[2:]).mul_(side).add_(right[1:-1], alpha=middle)
    return vertical.square_().addcmul_(horizontal, horizontal)


def _alike(x: Tensor, y: Tensor, constant: float) -> Tensor:
    """2xy + c over x^2 + y^2 + c; 1 where x equals y."""
    return (x * y).mul_(2).add_(constant).div_((x * x).addcmul_(y, y).add_(constant))
