"""PSNR and SSIM as papers on real-world super-resolution report them (studio-range Y, no crop), as
pyiqa with `test_y_channel=True, color_space="ycbcr"`; MS-SSIM and GMSD as pyiqa by default."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from bench.base.types import MetricSpec
from bench.metrics.filters import FullReference, Pixels, correlate, gaussian_taps

_WINDOW = gaussian_taps(11, 1.5)
_REACH = len(_WINDOW) // 2
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_MSE_FLOOR = 1e-8
"""Added to the mean squared error, as pyiqa does: identical images score 80 dB."""
_GMSD_CONSTANT = 170
_SMOOTH, _STEP = (1 / 3, 1 / 3, 1 / 3), (-1.0, 0.0, 1.0)


class Psnr(FullReference):
    """PSNR in dB on RGB or unrounded Y, at most 80."""

    def seen(self, image: Pixels) -> list[np.ndarray]:
        """Of each channel (H, W) float32 in 0 to 255."""
        return _planes(self.spec, image)

    def compared(self, own: list[np.ndarray], reference: list[np.ndarray]) -> float:
        pairs = zip(own, reference, strict=True)
        errors = [cv2.norm(x, y, cv2.NORM_L2SQR) / x.size for x, y in pairs]
        return -10 * math.log10(float(np.mean(errors)) / 255**2 + _MSE_FLOOR)


@dataclass(frozen=True)
class _Local:
    """A channel in units of 1/255 and its local statistics under the window, (H, W) float64:
    `square` is half of the mean's square and half of the constant of the luminance, `variance` half
    of the variance and half of the constant of the contrast."""

    y: np.ndarray
    mean: np.ndarray
    square: np.ndarray
    variance: np.ndarray


class Ssim(FullReference):
    """Mean SSIM on RGB or rounded Y, contrast clamped as pyiqa does; in [0, 1]."""

    def seen(self, image: Pixels) -> list[_Local]:
        """Local statistics of each channel."""
        return [_local(np.rint(plane)) for plane in _planes(self.spec, image)]

    def compared(self, own: list[_Local], reference: list[_Local]) -> float:
        pairs = zip(own, reference, strict=True)
        return float(np.mean([_ssim(*pair) for pair in pairs]))


class MsSsim(FullReference):
    """SSIM over five scales on rounded full-range Y: the product of the powers of the mean
    contrast terms and of the coarsest SSIM, in [0, 1]."""

    def seen(self, image: Pixels) -> list[_Local]:
        """Local statistics at each scale."""
        y = image.yiq_y.astype(np.float64)
        scales = [_local(y)]
        for _ in _SCALE_WEIGHTS[1:]:
            rows, columns = y.shape
            odd = ((rows % 2, rows % 2), (columns % 2, columns % 2))
            y = _halved(np.pad(y, odd))
            scales.append(_local(y))
        return scales

    def compared(self, own: list[_Local], reference: list[_Local]) -> float:
        *finer, coarsest = zip(own, reference, strict=True)
        means = [*(_where_it_fits(_similar(*pair)[0]).mean() for pair in finer), _ssim(*coarsest)]
        return math.prod(float(m) ** w for m, w in zip(means, _SCALE_WEIGHTS, strict=True))


class Gmsd(FullReference):
    """Gradient magnitude similarity deviation over the image; 0 for equal images."""

    def seen(self, image: Pixels) -> np.ndarray:
        """(H//2, W//2) float32: squared gradient magnitude of the halved image."""
        y = _halved(image.yiq_y)
        down = correlate(y, _SMOOTH, _STEP, cv2.BORDER_CONSTANT)
        right = correlate(y, _STEP, _SMOOTH, cv2.BORDER_CONSTANT)
        return np.asarray(down * down + right * right + np.float32(1e-12))

    def compared(self, own: np.ndarray, reference: np.ndarray) -> float:
        similarity = 2 * np.sqrt(own * reference) + _GMSD_CONSTANT
        similarity /= own + reference + _GMSD_CONSTANT
        return float(similarity.std(ddof=1, dtype=np.float64))


def _halved(y: np.ndarray) -> np.ndarray:
    """(H, W) -> (H//2, W//2): means of two by two; a last odd row or column is left out."""
    rows, columns = (side // 2 for side in y.shape)
    even = y[: 2 * rows, : 2 * columns]
    return np.asarray(cv2.resize(even, (columns, rows), interpolation=cv2.INTER_AREA))


def _planes(spec: MetricSpec, image: Pixels) -> list[np.ndarray]:
    """Each channel (H, W) float32 in 0 to 255: red, green and blue, or studio-range Y, which
    metrics take that have no choice."""
    choice = spec.accepts.get("channels")
    if choice is None or spec.options.get("channels", choice.default) == "y":
        return [image.ycbcr_y]
    return list(cv2.split(image.planes))


def _local(plane: np.ndarray) -> _Local:
    y = plane.astype(np.float64)
    mean, variance = correlate(y, _WINDOW), correlate(y * y, _WINDOW)
    square = mean * mean
    variance -= square
    for half, constant in ((square, _C1), (variance, _C2)):
        half += constant / 2
        half /= 2
    return _Local(y, mean, square, variance)


def _where_it_fits(x: np.ndarray) -> np.ndarray:
    """(H, W) -> (H-10, W-10), contiguous: without the places at which the window reaches out."""
    return np.ascontiguousarray(x[_REACH:-_REACH, _REACH:-_REACH])


def _similar(own: _Local, reference: _Local) -> tuple[np.ndarray, np.ndarray]:
    """Contrast and structure term, negative values set to 0, and the luminance term, (H, W)."""
    means = own.mean * reference.mean
    contrast = correlate(own.y * reference.y, _WINDOW)
    contrast -= means
    contrast += _C2 / 2
    contrast /= own.variance + reference.variance
    means += _C1 / 2
    means /= own.square + reference.square
    return np.maximum(contrast, 0, out=contrast), means


def _ssim(own: _Local, reference: _Local) -> float:
    contrast, luminance = _similar(own, reference)
    contrast *= luminance
    return float(_where_it_fits(contrast).mean())
