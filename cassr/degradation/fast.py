"""The steps in single precision by OpenCV, for training: equal to `steps` in distribution.

Images are (H, W, 3) float32 in [0, 1]. Filters, resizes and JPEG differ from `steps` by rounding;
noise is drawn by the same quantile functions, at one of 2^14 or 2^16 quantiles.
"""

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from scipy import special

from cassr.degradation import steps
from cassr.degradation.parameters import NoiseParameters, Pixels, Planes, ResizeMode

cv2.setNumThreads(1)  # a pool of threads survives no fork, by which data loaders start workers

Image = Any  # OpenCV's types do not tell arrays apart

BORDER = cv2.BORDER_REFLECT_101
INTERPOLATIONS = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}
LEFT_OUT = 1e-3
"""Sum of absolute weights that separable filters may miss of a kernel: a quarter of a level."""
SMALL = 11
"""Side of the largest kernel that OpenCV applies tap by tap; larger ones by Fourier transforms."""
POISSON_QUANTILES = 2**14


def load(pixels: Pixels) -> Image:
    return pixels.astype(np.float32) / 255


def to_pixels(image: Image) -> Pixels:
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def blur(image: Image, kernel: Planes) -> Image:
    """As `steps.blur`, by few separable filters where the kernel is their sum."""
    image = image.view(np.uint8) if image.dtype == bool else image
    parts = _separable(kernel.tobytes(), len(kernel))
    if not parts:
        return cv2.filter2D(image, cv2.CV_32F, kernel, borderType=BORDER)
    made = [cv2.sepFilter2D(image, cv2.CV_32F, *part, borderType=BORDER) for part in parts]
    return sum(made[1:], made[0])


@lru_cache(maxsize=8)
def _separable(kernel: bytes, side: int) -> list[tuple[Planes, Planes]]:
    """(row, column) of few filters whose sum a kernel (side, side) is; none where it takes many."""
    left = np.frombuffer(kernel).reshape(side, side)
    columns, sizes, rows = np.linalg.svd(left)
    parts: list[tuple[Planes, Planes]] = []
    for column, size, row in zip(columns.T, sizes[: 2 if side <= SMALL else 5], rows, strict=False):
        parts.append((_mirrored(row), _mirrored(size * column)))
        left = left - np.outer(*reversed(parts[-1]))
        if np.abs(left).sum() < LEFT_OUT:
            return parts
    return []


def _mirrored(weights: Planes) -> Planes:
    """Even or odd to the last bit, for which OpenCV is twice as fast."""
    return (weights + np.copysign(1.0, weights @ weights[::-1]) * weights[::-1]) / 2


def resize(
    image: Image, size: tuple[int, int], mode: ResizeMode, factor: float | None = None
) -> Image:
    """As `steps.resize`."""
    height, width = size
    if (height, width) == image.shape[:2] and factor in (None, 1.0):
        return image
    # OpenCV averages other pixels, and leaves alone what has its size already after rounding.
    if mode == "area" or (factor and max(image.shape) * abs(factor - 1) < 1):
        planes = steps.resize(image.transpose(2, 0, 1), size, mode, factor)
        return np.ascontiguousarray(planes.transpose(1, 2, 0), dtype=np.float32)
    how = INTERPOLATIONS[mode]
    if factor is None or 1 in size:
        return cv2.resize(image, (width, height), interpolation=how)
    # With factors instead of a size, OpenCV rounds to the nearest size; a size is rounded down.
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=how)[:height, :width]


def add_noise(image: Image, noise: NoiseParameters) -> Image:
    """As `steps.add_noise`, but for the number of different quantiles."""
    generator = np.random.Generator(np.random.PCG64(noise.seed))
    shape = (*image.shape[:2], 1) if noise.grey else image.shape
    words = np.frombuffer(generator.bytes(2 * np.prod(shape)), np.uint16).reshape(shape)
    if noise.kind == "gaussian":
        disturbance = _gaussian_table().take(words) * np.float32(noise.strength / 255)
    else:
        source = image @ np.array(steps.GREY_WEIGHTS, np.float32)[:, None] if noise.grey else image
        levels = to_pixels(source)
        peak = steps.poisson_peak(levels)
        words = words % POISSON_QUANTILES + levels.astype(np.intp) * POISSON_QUANTILES
        counts = poisson_table(peak).take(words)
        relative = counts / np.float32(peak) - levels / np.float32(255)
        disturbance = relative * np.float32(noise.strength)
    return np.clip(image + disturbance, 0, 1)


@lru_cache(maxsize=1)
def _gaussian_table() -> Image:
    """The standard normal quantile of every 16-bit word."""
    return special.ndtri((np.arange(2**16) + 0.5) / 2**16).astype(np.float32)


@lru_cache(maxsize=9)
def poisson_table(peak: int) -> Image:
    """(256 * POISSON_QUANTILES,): Poisson quantiles of mean level / 255 * peak, level by level."""
    levels = np.arange(256, dtype=np.uint8).repeat(POISSON_QUANTILES)
    quantiles = np.tile((np.arange(POISSON_QUANTILES) + 0.5) / POISSON_QUANTILES, 256)
    return steps.poisson_counts(levels, peak, quantiles).astype(np.uint16)


def jpeg(image: Image, quality: int) -> Image:
    """As `steps.jpeg`: the same baseline file, 4:2:0."""
    pixels = cv2.cvtColor(to_pixels(image), cv2.COLOR_RGB2BGR)
    file = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded: Image = cv2.imdecode(file, cv2.IMREAD_COLOR)
    return load(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB).view(np.uint8))
