"""FSIMc, equal to pyiqa's `fsim`, and consistency with the LR image.

Phase congruency, where Fourier components agree in phase, is that of Kovesi, "Image features from
phase congruency", Videre 1999, with the constants of Zhang et al., "FSIM", IEEE TIP 2011.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from bench.base.errors import ImageError
from bench.metrics.filters import YIQ, FullReference

_SCHARR = (3 / 16, 10 / 16)
"""Taps beside and in the middle, across the direction of a difference."""
_PHASE, _GRADIENT, _CHROMA = 0.85, 160, 200
_CHROMA_POWER = 0.03
_YIQ_CHROMA = ((0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
"""Weights of I and Q."""
_SCALES = 4
_ORIENTATIONS = 4
_SHORTEST_WAVE = 6
_BANDWIDTH = 0.55
_ANGULAR_WIDTH = math.pi / (_ORIENTATIONS * 1.2)
_CUTOFF, _ORDER = 0.45, 15
_DEVIATIONS = 2.0
_OVERESTIMATE = 1.7
_SIZES_KEPT = 4
_TINY = torch.finfo(torch.float32).eps

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


class LrPsnr(FullReference):
    """PSNR on RGB of both images shrunk again: bicubic, antialiased, rounded to 8 bits."""

    sees_pixels = False

    def seen(self, image: Tensor) -> Tensor:
        """(1, 3, H / scale, W / scale) float64 in [0, 1]."""
        scale = int(self.spec.options.get("scale", 4))
        size = [side // scale for side in image.shape[-2:]]
        if 0 in size:
            raise ImageError(f"lr_psnr needs sides of {scale} pixels at least, to shrink by that")
        small = torch.nn.functional.interpolate(image, size, mode="bicubic", antialias=True)
        return small.mul(255).round().clamp(0, 255).double() / 255

    def compared(self, own: Tensor, reference: Tensor) -> Tensor:
        return -10 * torch.log10((own - reference).square().mean() + 1e-8)


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


class _Bank(NamedTuple):
    """Log-Gabor filters of one image size: (4, 4, H, W) complex64 with no imaginary part,
    orientation then scale, zero frequency first. The real part of a response is the even-symmetric
    filter's, the imaginary part the odd one's. `noise` (4,) float is the threshold of an
    orientation over the median amplitude of its finest scale."""

    filters: Tensor
    noise: tuple[float, ...]


def phase_congruency(y: Tensor) -> Tensor:
    """Luma (H, W) float32 in [0, 255] -> its phase congruency (H, W) float32 in [0, 1]."""
    height, width = y.shape
    bank = _bank(height, width, str(y.device))
    spectrum = torch.fft.fft2(y)
    energy = torch.zeros_like(y)
    amplitude = torch.zeros_like(y)
    for filters, noise in zip(bank.filters, bank.noise, strict=True):
        response = torch.fft.ifft2(spectrum * filters)
        even, odd = response.real.contiguous(), response.imag.contiguous()
        magnitudes = (even * even).addcmul_(odd, odd).sqrt_()
        amplitude += magnitudes.sum(0)
        threshold = noise * magnitudes[0].median()
        energy += _energy(even, odd).sub_(threshold).clamp_(min=0)
    return energy.add_(_TINY).div_(amplitude.add_(_TINY))


def _energy(even: Tensor, odd: Tensor) -> Tensor:
    """(4, H, W) responses of the scales of one orientation -> (H, W): the length of their sum less
    what points away from its direction."""
    x, y = even.sum(0), odd.sum(0)
    length = (x * x).addcmul_(y, y).sqrt_()
    across = (even * y).sub_(odd * x).abs_().sum(0)
    return length.sub_(across.div_(length + _TINY))


@lru_cache(_SIZES_KEPT)
def _bank(height: int, width: int, device: str) -> _Bank:
    filters = _angular(height, width)[:, None] * _radial(height, width)[None]
    return _Bank(filters.to(torch.complex64).to(device), tuple(_noise(filters).tolist()))


def _noise(filters: Tensor) -> Tensor:
    """(4, 4, H, W) -> (4,): expected noise energy plus two deviations, per median amplitude.

    The squared amplitude of noise is exponentially distributed: its mean is median / ln 2. Its
    power is that mean over the filter's own; what all scales pass of it is Rayleigh distributed.
    """
    mirrored = filters.flip(-2, -1).roll((1, 1), (-2, -1))
    even = (filters + mirrored) / 2
    finest = filters[:, 0].square().sum((-2, -1))
    passed = even.sum(1).square().sum((-2, -1))
    rayleigh = (passed / (finest * math.log(2))).sqrt()
    spread = math.sqrt(math.pi / 2) + _DEVIATIONS * math.sqrt(2 - math.pi / 2)
    return rayleigh * spread / _OVERESTIMATE


def _radial(height: int, width: int) -> Tensor:
    """(4, H, W) float64: log-Gabor bands, from fine to coarse, none at the corners."""
    rows, columns = _frequencies(height), _frequencies(width)
    radius = (rows[:, None].square() + columns[None].square()).sqrt()
    low_pass = 1 / (1 + (radius / _CUTOFF) ** (2 * _ORDER))
    waves = [_SHORTEST_WAVE * 2**scale for scale in range(_SCALES)]
    octaves = torch.stack([(radius * wave).clamp(min=1e-12).log() for wave in waves])
    bands = torch.exp(-octaves.square() / (2 * math.log(_BANDWIDTH) ** 2)) * low_pass
    bands[:, 0, 0] = 0
    return bands


def _angular(height: int, width: int) -> Tensor:
    """(4, H, W) float64: Gaussians of the angle to each orientation."""
    rows, columns = _frequencies(height), _frequencies(width)
    angle = torch.atan2(-columns[None].expand(height, -1), rows[:, None].expand(-1, width))
    wanted = torch.arange(_ORIENTATIONS, dtype=torch.float64) * math.pi / _ORIENTATIONS
    away = angle[None] - wanted[:, None, None]
    away = torch.atan2(away.sin(), away.cos())
    return torch.exp(-away.square() / (2 * _ANGULAR_WIDTH**2))


def _frequencies(size: int) -> Tensor:
    """(size,) float64, zero first; an odd size is divided by size - 1, as in Kovesi's code."""
    half = size // 2
    line = torch.arange(size, dtype=torch.float64) - half
    return line.roll(-half) / (size - size % 2)
