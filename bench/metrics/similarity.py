"""GMSD and FSIMc, equal to pyiqa's `gmsd` and `fsim`, with the HR image's side computed once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from bench.metrics.filters import FullReference, to_yiq, yiq_y
from bench.metrics.phase_congruency import phase_congruency

_GMSD_CONSTANT = 170
_PREWITT = (1 / 3, 1 / 3, 1 / 3)
_SCHARR = (3 / 16, 10 / 16, 3 / 16)
_PHASE, _GRADIENT, _CHROMA = 0.85, 160, 200
_CHROMA_POWER = 0.03
_FSIM_SIDE = 256
"""FSIM looks at an image whose shorter side is shrunk to about this many pixels."""


class Gmsd(FullReference):
    """Gradient magnitude similarity deviation over the image; 0 for equal images."""

    def seen(self, image: Tensor) -> Tensor:
        """(H//2, W//2) float32: squared gradient magnitude of the halved image."""
        y = yiq_y(image).round()
        return squared_gradient(avg_pool2d(y, 2)[0, 0], _PREWITT).add_(1e-12)

    def compared(self, own: Tensor, reference: Tensor) -> Tensor:
        similarity = (own * reference).sqrt_().mul_(2).add_(_GMSD_CONSTANT)
        return similarity.div_(own + reference + _GMSD_CONSTANT).double().std()


class _Features(NamedTuple):
    """What FSIMc compares, each (h, w) float32: phase congruency, gradient, chroma I and Q."""

    phase: Tensor
    gradient: Tensor
    i: Tensor
    q: Tensor


class Fsim(FullReference):
    """Feature similarity with chroma, weighted by phase congruency; 1 for equal images."""

    def seen(self, image: Tensor) -> _Features:
        shrink = max(1, round(min(image.shape[-2:]) / _FSIM_SIDE))
        y, i, q = to_yiq(avg_pool2d(image * 255, shrink))[0]
        gradient = squared_gradient(y, _SCHARR).add_(torch.finfo(y.dtype).eps).sqrt_()
        return _Features(phase_congruency(y), gradient, i, q)

    def compared(self, own: _Features, reference: _Features) -> Tensor:
        weight = torch.maximum(own.phase, reference.phase).double()
        chroma = _alike(own.i, reference.i, _CHROMA) * _alike(own.q, reference.q, _CHROMA)
        similarity = _alike(own.phase, reference.phase, _PHASE)
        similarity *= _alike(own.gradient, reference.gradient, _GRADIENT)
        similarity *= chroma.abs_().pow_(_CHROMA_POWER)
        return (similarity * weight).sum() / weight.sum()


def squared_gradient(y: Tensor, smooth: tuple[float, float, float]) -> Tensor:
    """(H, W) float32 -> (H, W): squared gradient magnitude by a separable 3x3 filter.

    `smooth` are the taps across the direction of the difference; outside the image is black.
    """
    padded = pad(y, (1, 1, 1, 1))
    down = padded[2:] - padded[:-2]
    right = padded[:, 2:] - padded[:, :-2]
    side, middle, _ = smooth
    vertical = (down[:, :-2] + down[:, 2:]).mul_(side).add_(down[:, 1:-1], alpha=middle)
    horizontal = (right[:-2] + right[2:]).mul_(side).add_(right[1:-1], alpha=middle)
    return vertical.square_().addcmul_(horizontal, horizontal)


def _alike(x: Tensor, y: Tensor, constant: float) -> Tensor:
    """2xy + c over x^2 + y^2 + c; 1 where x equals y."""
    return (x * y).mul_(2).add_(constant).div_((x * x).addcmul_(y, y).add_(constant))
