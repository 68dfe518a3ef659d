"""The steps of the degradation on pixels, exactly: what test sets are made by.

numpy and scipy in double precision on one thread, in a fixed order of operations: see
docs/degradation.md. Images are planes: `(C, H, W) float64 in [0, 1]`.
"""

import io
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft, sparse, special

from cassr.degradation.parameters import (
    RESIZE_MODES,
    USM_KERNEL,
    NoiseParameters,
    Pixels,
    Planes,
    ResizeMode,
)

CUBIC_A = -0.75
HALF = 0.5 + 2.0**-20
GREY_WEIGHTS = (0.2989, 0.587, 0.114)
USM_WEIGHT, USM_THRESHOLD = 0.5, 10.0


def blur(image: Planes, kernel: Planes) -> Planes:
    """Convolve every plane with one kernel; borders are mirrored about the edge pixel.

    image: (C, H, W), of any size. kernel: (K, K), K odd, symmetric about its centre.
    """
    height, width = image.shape[-2:]
    size = kernel.shape[0]
    margin = size - 1
    padded = np.pad(image, ((0, 0), (margin // 2,) * 2, (margin // 2,) * 2), mode="reflect")
    shape = tuple(fft.next_fast_len(n, real=True) for n in padded.shape[-2:])
    spectrum = fft.rfft2(padded, shape)
    spectrum *= fft.fft(fft.rfft(kernel, shape[1]), shape[0], axis=0)
    out = fft.irfft2(spectrum, shape, overwrite_x=True)
    return out[:, margin : margin + height, margin : margin + width]


def usm_sharpen(image: Any, blur: Callable[[Any, Planes], Any] = blur) -> Any:
    """Unsharp masking where the detail is strong, as Real-ESRGAN sharpens its ground truth.

    Where the residual of `USM_KERNEL` exceeds `USM_THRESHOLD` levels of 255, `USM_WEIGHT` of it is
    added through a mask softened by the same blur.

    image: in [0, 1], as `blur`, of whatever module, takes it; returns the same, up to rounding.
    """
    kernel = USM_KERNEL.weights()
    residual = image - blur(image, kernel)
    mask = blur(abs(residual) * 255 > USM_THRESHOLD, kernel)
    # In place: new memory for every intermediate would take longer than the arithmetic.
    residual *= USM_WEIGHT
    residual += image
    sharp = residual.clip(0, 1)
    sharp *= mask
    mask = 1 - mask
    mask *= image
    sharp += mask
    return sharp


def _area_taps(source: int, target: int) -> tuple[NDArray[np.int64], Planes]:
    index = np.arange(target)
    first = index * source // target
    count = -(-(index + 1) * source // target) - first
    taps = first[:, None] + np.arange(count.max())
    weights = np.where(np.arange(count.max()) < count[:, None], 1.0 / count[:, None], 0.0)
    return taps, weights


def _linear_taps(source: int, target: int, step: float) -> tuple[NDArray[np.int64], Planes]:
    position = np.maximum((np.arange(target) + 0.5) * step - 0.5, 0.0)
    first = np.floor(position).astype(np.int64)
    fraction = position - first
    return first[:, None] + np.arange(2), np.stack([1 - fraction, fraction], axis=1)


def _cubic_taps(source: int, target: int, step: float) -> tuple[NDArray[np.int64], Planes]:
    position = (np.arange(target) + 0.5) * step - 0.5
    first = np.floor(position).astype(np.int64)
    distance = np.abs((position - first)[:, None] - np.arange(-1, 3))
    near = ((CUBIC_A + 2) * distance - (CUBIC_A + 3)) * distance**2 + 1
    far = CUBIC_A * (((distance - 5) * distance + 8) * distance - 4)
    return first[:, None] + np.arange(-1, 3), np.where(distance <= 1, near, far)


@lru_cache(maxsize=64)
def _resize_matrix(source: int, target: int, mode: ResizeMode, step: float) -> sparse.csr_array:
    if mode == "area":
        taps, weights = _area_taps(source, target)
    elif mode == "bilinear":
        taps, weights = _linear_taps(source, target, step)
    elif mode == "bicubic":
        taps, weights = _cubic_taps(source, target, step)
    else:
        raise ValueError(f"resize mode: expected one of {', '.join(RESIZE_MODES)}, found {mode!r}")
    rows = np.repeat(np.arange(target), taps.shape[1])
    columns = np.clip(taps, 0, source - 1).ravel()
    return sparse.csr_array((weights.ravel(), (rows, columns)), shape=(target, source))


def resize(
    image: Planes, size: tuple[int, int], mode: ResizeMode, factor: float | None = None
) -> Planes:
    """Resize without antialiasing, as torch.nn.functional.interpolate does.

    image: (C, H, W). size: (H', W'), both above 0. mode: "area" averages the covered pixels,
    "bilinear" and "bicubic" (a = -0.75) sample at pixel centres. factor: the exact factor that
    `size` was rounded from, which then sets the sampling step; without it the sizes' ratio does.
    """
    planes, height, width = image.shape
    if (height, width) == tuple(size) and factor in (None, 1.0):
        return image
    vertical, horizontal = (
        _resize_matrix(
            source, target, mode, source / target if factor is None else 1 / factor
        ).astype(image.dtype, copy=False)
        for source, target in zip((height, width), size, strict=True)
    )
    rows = vertical @ image.transpose(1, 0, 2).reshape(height, -1)
    columns = rows.reshape(-1, width).T
    out = (horizontal @ np.ascontiguousarray(columns)).reshape(size[1], size[0], planes)
    return np.ascontiguousarray(out.transpose(2, 1, 0))


def _levels(image: Planes) -> Pixels:
    """The nearest of 256 levels, halves upwards.

    Averages of 8-bit levels often lie exactly halfway, give or take the last bit of a double;
    `HALF` is above that bit, so that no machine rounds them down.
    """
    return np.floor(np.clip(image, 0, 1) * 255 + HALF).astype(np.uint8)


def to_pixels(image: Planes) -> Pixels:
    """(C, H, W) float64 -> (H, W, C) uint8: clipped to [0, 1], rounded to the nearest level."""
    return np.ascontiguousarray(_levels(image).transpose(1, 2, 0))


def load(pixels: Pixels) -> Planes:
    """(H, W, C) uint8 -> (C, H, W) float64 in [0, 1]."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)) / 255.0


def poisson_counts(levels: Pixels, peak: int, quantiles: Planes) -> Planes:
    """Poisson variates of mean levels / 255 * peak, each the inverse CDF at its own quantile."""
    counts = np.empty(levels.shape)
    k = np.arange(peak + 10 * math.isqrt(peak) + 30)
    order = np.argsort(levels, kind="stable")
    present, starts = np.unique(levels[order], return_index=True)
    for level, at in zip(present, np.split(order, starts[1:]), strict=True):
        mean = level / 255.0 * peak
        cdf = np.cumsum(np.exp(special.xlogy(k, mean) - mean - special.gammaln(k + 1)))
        counts[at] = np.searchsorted(cdf, quantiles[at], side="right")
    return counts


def poisson_peak(levels: Pixels) -> int:
    """Quanta at white: the number of distinct levels, rounded up to a power of two."""
    return 2 ** math.ceil(math.log2(np.count_nonzero(np.bincount(levels.ravel()))))


def _poisson_noise(image: Planes, quantiles: Planes) -> Planes:
    """Shot noise of an image on 8-bit levels: (C, H, W), zero mean."""
    levels = _levels(image).ravel()
    peak = poisson_peak(levels)
    counts = poisson_counts(levels, peak, quantiles.ravel())
    return (counts / peak - levels / 255.0).reshape(image.shape)


def add_noise(image: Planes, noise: NoiseParameters) -> Planes:
    """Add noise drawn from `noise.seed`; the result is clipped to [0, 1].

    image: (3, H, W) in [0, 1]. Each variate is the quantile function at one uniform double of
    the seed's stream, so a pixel's noise never depends on another pixel. Grey noise is one
    plane added to all three; for Poisson it is the shot noise of the luma.
    """
    generator = np.random.Generator(np.random.PCG64(noise.seed))
    quantiles = generator.random((1, *image.shape[1:]) if noise.grey else image.shape)
    if noise.kind == "gaussian":
        disturbance = special.ndtri(quantiles + 2.0**-54) * (noise.strength / 255)
    else:
        red, green, blue = (w * p for w, p in zip(GREY_WEIGHTS, image, strict=True))
        source = (red + green + blue)[None] if noise.grey else image
        disturbance = _poisson_noise(source, quantiles) * noise.strength
    return np.clip(image + disturbance, 0, 1)


def jpeg(image: Planes, quality: int) -> Planes:
    """Through a real baseline JPEG file, 4:2:0: (3, H, W) in [0, 1] -> same, on 8-bit levels."""
    buffer = io.BytesIO()
    Image.fromarray(to_pixels(image)).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    with Image.open(buffer) as decoded:
        return load(np.asarray(decoded))
