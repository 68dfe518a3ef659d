"""Whether an LR image and its HR image show the same thing at the same place and scale.

Two images that were paired wrongly, cropped at different places or taken at different scales have
the right sizes and give quietly wrong numbers. Both are compared as edges at LR size: shifted or
rescaled copies that agree much better than the pair as given are evidence against it.
"""

import numpy as np

from bench.files import images

ZOOMS = (0.5, 0.667, 0.75, 0.8, 0.9, 0.95, 1.05, 1.1, 1.25, 1.333, 1.5, 2.0)
MARGIN, FAR_MARGIN = 0.15, 0.35
"""How much better, in correlation, another position or scale must agree than the given one.

A zoom by more than a tenth is compared in a smaller part of the picture, so more is asked of it.
"""
UNRELATED = 0.12
"""Pairs of cameras agree to 0.83 and more, the hardest degradations to 0.27."""
TEXTURE = 3.0
"""Mean gradient, in levels, below which a picture is too flat to be told from another."""
MIN_SIDE, MAX_SIDE = 24, 512
"""LR pixels: smaller images are not judged, of larger ones the middle is."""


def misalignment(lr: np.ndarray, hr: np.ndarray, scale: int) -> str:
    """What is wrong between a pair's pictures, in a few words; "" when nothing is found.

    LR is (H, W, 3) uint8, HR (scale*H, scale*W, 3). Images too small or too flat to judge count
    as right.
    """
    if min(lr.shape[:2]) < MIN_SIDE:
        return ""
    height, width = (min(side, MAX_SIDE) for side in lr.shape[:2])
    top, left = ((side - cut) // 2 for side, cut in zip(lr.shape, (height, width), strict=False))
    lr = lr[top : top + height, left : left + width]
    hr = hr[top * scale :, left * scale :][: height * scale, : width * scale]
    small = images.resize(np.ascontiguousarray(hr), width, height, "box")
    given, expected = _edges(_luma(lr)), _edges(_luma(small))
    agreement, shift, best = _best_shift(given, expected)
    if shift != (0, 0) and best > agreement + MARGIN:
        return f"is shifted by ({shift[1] * scale:+d}, {shift[0] * scale:+d}) pixels against its LR"
    zoomed, zoom = max((_best_shift(*_zoomed(given, hr, zoom))[2], zoom) for zoom in ZOOMS)
    margin = MARGIN if abs(zoom - 1) < 0.11 else FAR_MARGIN
    if zoomed > max(agreement, best) + margin:
        return f"shows its LR's picture at {zoom:g} times the scale expected"
    if agreement < UNRELATED and expected.mean() > TEXTURE:
        return "shows another picture than its LR"
    return ""


def _zoomed(given: np.ndarray, hr: np.ndarray, zoom: float) -> tuple[np.ndarray, np.ndarray]:
    """The common middle of both, as if `hr` showed the picture `zoom` times as large."""
    height, width = given.shape
    rows, columns = round(height * zoom), round(width * zoom)
    how = "box" if zoom < 1 else "bicubic"
    whole = _edges(_luma(images.resize(np.ascontiguousarray(hr), columns, rows, how)))
    common = (min(rows, height), min(columns, width))
    return _middle(given, *common), _middle(whole, *common)


def _middle(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """The middle of (H, W, ...)."""
    top, left = (x.shape[0] - height) // 2, (x.shape[1] - width) // 2
    return x[top : top + height, left : left + width]


def _luma(rgb: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> (H, W) float64 in [0, 255]."""
    return rgb.astype(np.float64) @ np.array([0.299, 0.587, 0.114])


def _edges(luma: np.ndarray) -> np.ndarray:
    """Gradient magnitude of a lightly smoothed image: blind to brightness, colour and contrast."""
    from scipy.ndimage import gaussian_gradient_magnitude

    return gaussian_gradient_magnitude(luma, 1.0)


def _best_shift(a: np.ndarray, b: np.ndarray) -> tuple[float, tuple[int, int], float]:
    """(agreement in place, (rows, columns) by which b is shifted against a, agreement there)."""
    reach = max(2, min(a.shape) // 4)
    window = np.outer(np.hanning(a.shape[0]), np.hanning(a.shape[1]))
    a, b = _normalized(a, window), _normalized(b, window)
    correlation = np.fft.irfft2(np.conj(np.fft.rfft2(a)) * np.fft.rfft2(b), s=a.shape)
    rows, columns = (np.fft.fftfreq(side, 1 / side).round().astype(int) for side in a.shape)
    near = (abs(rows)[:, None] <= reach) & (abs(columns)[None, :] <= reach)
    row, column = np.unravel_index(np.where(near, correlation, -np.inf).argmax(), a.shape)
    shift = int(rows[row]), int(columns[column])
    return float(correlation[0, 0]), shift, float(correlation[row, column])


def _normalized(x: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Zero mean under the window, unit length; all zero where the image is flat."""
    centred = (x - (x * window).sum() / window.sum()) * window
    length = np.sqrt((centred**2).sum())
    return centred / length if length > 1e-6 else np.zeros_like(centred)
