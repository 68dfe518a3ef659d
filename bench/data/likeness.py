"""Whether an SR image shows what its HR (or LR) image shows, at the same place, in its colours.

Exchanged channels, a flip, a shift or a second gamma hardly change what metrics of luma say, and
another picture under a right name only makes a mean worse. One look at each image tells.
"""

import tomllib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from bench.base.text import printable
from bench.base.types import MetricSpec
from bench.files import images

LOOK = MetricSpec(
    name="look",
    title="Look",
    better="lower",
    reference=True,
    means="what is wrong with an image as a whole; not shown as a score",
    source="ours",
    factory="bench.data.likeness:Look",
    version=4,
)
FINGERPRINT = {"metric": LOOK.name, "version": LOOK.version}
SMALL, LARGE, LEAST = 64, 256, 32
"""Sides in pixels: of the version in which colours are compared, of the middle in which places are,
and of the smallest image that is judged."""
LINES = 8
"""Of an image, that make up one of its small version: its pixels' mean tells as much as all."""
BAND = 0.1
"""Cycles per pixel, about, of the detail by which places are compared."""
FLAT = 6 / 255
"""Standard deviation below which an image is too flat to be told from another."""
ANOTHER, MIRRORED = 0.4, 0.8
"""Correlation with the reference below which it is another picture, and from which on a mirrored
version is that picture. The outputs published for RealSR and DRealSR reach 0.90 and more."""
NOISE, PICTURE = 0.25, 0.5
"""Correlation of neighbouring pixels: at most of noise, at least of what is a picture."""
NEARER, VISIBLE = 0.5, 2 / 255
"""Share of the difference that a correction leaves where it is one, and the least it takes away."""
SHIFT, CLEAR, SAME, FAR, SURE = 0.4, 0.8, 0.75, 3.0, 0.3
"""Pixels by which most of three images or of two are shifted alike, the share of it (at most half a
pixel) between them, pixels of one image by itself, and how sure that is. Published outputs are off
by 0.3 in the median, against HR images that another lens took; methods run here by 0.01."""
BLACK, WHITE, OTHER, EXCHANGED, GAMMA, SHIFTED, NOISY = 1, 2, 6, 7, 8, 9, 10
KINDS: dict[str, str] = tomllib.loads(Path(__file__).with_name("likeness.toml").read_text("utf-8"))
MIRRORS: dict[int, tuple[int, ...]] = {3: (1,), 4: (0,), 5: (0, 1)}
STEP, RANGE = 16, 1 << 16
"""A shift is kept in parts of a pixel; a side of it takes so many values, 0 where it is unknown.
It reaches half of LARGE in LR pixels, which are up to 16 of SR's."""


class Shift(NamedTuple):
    """Pixels to the right and down, and whether that is far for one image."""

    across: float
    down: float
    image: str
    far: bool


class Look:
    """The metric that says what is wrong: kind and shift as one number, for `warning`.

    Images are pixels as scoring holds them, or tensors (1, 3, H, W) in [0, 1].
    """

    sees_pixels = True

    def __init__(self, spec: MetricSpec, device: str) -> None:
        pass

    def prepare(self, hr: Any) -> tuple[np.ndarray, np.ndarray]:
        return _seen(_rgb(hr))

    def score(self, sr: Any, hr: Any, prepared: tuple[np.ndarray, np.ndarray]) -> float:
        """0 where nothing is wrong; `hr` may be the LR image as well."""
        height, width = hr.shape[2:]
        ratio, rest = divmod(sr.shape[2], height)
        if rest or min(height, width) < LEAST or sr.shape[3] != ratio * width:
            return 0.0
        small, detail = _seen(_rgb(sr), ratio)
        sides = [min(height, LARGE), min(width, LARGE)]
        shift, agreement, in_place = _shift(prepared[1], detail, sides)
        kind, sure = _kind(small, prepared[0]), agreement >= SURE
        far = sure and max(map(abs, shift)) >= FAR and agreement > in_place + SURE
        if kind in (0, OTHER):
            noisy = not sure and _neighbours(_rgb(sr)) < NOISE and _neighbours(_rgb(hr)) > PICTURE
            kind = SHIFTED if far else NOISY if noisy else kind
        known = sure and kind in (0, SHIFTED)
        steps = (round(side * ratio * STEP) + RANGE // 2 for side in shift)
        rows, columns = (min(RANGE - 1, max(1, step)) if known else 0 for step in steps)
        return float((kind * RANGE + rows) * RANGE + columns)


def _rgb(image: Any) -> np.ndarray:
    return image.rgb if hasattr(image, "rgb") else images.to_uint8(image)


def _seen(rgb: np.ndarray, ratio: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """What is compared of (H, W, 3) uint8, that many times as large as the reference: small
    (h, w, 3) in [0, 1], and detail of the middle by frequency, of length 1."""
    height, width = (side // ratio for side in rgb.shape[:2])
    part = max(1, min(height, width) // SMALL)
    lines = rgb[:: max(1, part * ratio // LINES)]
    small = _shrunk(lines, width // part, height // part) / 255
    rows, columns = min(height, LARGE), min(width, LARGE)
    top, left = (height - rows) // 2 * ratio, (width - columns) // 2 * ratio
    middle = rgb[top : top + rows * ratio, left : left + columns * ratio]
    luma, (window, band) = _luma(_shrunk(middle, columns, rows)), _filter(rows, columns)
    detail = np.fft.rfft2((luma - luma.mean()) * window) * band
    return small, detail / max(float(np.linalg.norm(detail)), 1e-9)


def _shrunk(rgb: np.ndarray, width: int, height: int) -> np.ndarray:
    """Means of boxes, (height, width, 3) float32 in [0, 255]."""
    import cv2

    return cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)


def _neighbours(rgb: np.ndarray) -> float:
    """Correlation of neighbouring pixels, on some lines: 0 of white noise, 1 where all is flat."""
    luma = _luma(rgb[:: max(1, len(rgb) // LARGE)].astype(np.float32)) / 255
    left, right = luma[:, :-1], luma[:, 1:]
    flat = min(left.std(), right.std()) < FLAT
    return 1.0 if flat else _correlation(_standard(left), _standard(right))


def _luma(rgb: np.ndarray) -> np.ndarray:
    return rgb @ np.array([0.299, 0.587, 0.114], np.float32)


@lru_cache(maxsize=64)
def _filter(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A window over pixels, and a band pass over frequencies."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    window = np.outer(np.hanning(height), np.hanning(width)).astype(np.float32)
    return window, (frequency * np.exp(-((frequency / BAND) ** 2))).astype(np.float32)


def _kind(sr: np.ndarray, expected: np.ndarray) -> int:
    """Which of KINDS it is, by small versions of both, (h, w, 3); 0 for none."""
    for kind, at in ((BLACK, 0.0), (WHITE, 1.0)):
        share, usual = (float((abs(x - at) < VISIBLE).mean()) for x in (sr, expected))
        if share > 0.9 and usual < 0.5:
            return kind
    luma, wanted = _luma(sr), _luma(expected)
    if min(luma.std(), wanted.std()) < FLAT:
        return 0
    given, expected_ = _standard(luma), _standard(wanted)
    agreement = _correlation(given, expected_)
    for kind, sides in MIRRORS.items():
        mirrored = _correlation(np.flip(given, sides), expected_)
        if mirrored > max(MIRRORED, (1 + agreement) / 2):
            return kind
    if agreement < ANOTHER:
        return OTHER
    if _nearer(sr[..., ::-1], sr, expected):
        return EXCHANGED
    told = (wanted > 0.1) & (wanted < 0.9) & (luma > 0.02) & (luma < 0.98)
    gamma = float(np.median(np.log(luma[told]) / np.log(wanted[told]))) if told.any() else 1.0
    return GAMMA if not 0.6 < gamma < 1.6 and _nearer(wanted**gamma, wanted, luma) else 0


def _standard(x: np.ndarray) -> np.ndarray:
    """Of mean 0 and standard deviation 1."""
    return (x - x.mean()) / x.std()


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Of what is standardized."""
    return float((a * b).mean())


def _nearer(mended: np.ndarray, given: np.ndarray, expected: np.ndarray) -> bool:
    left, before = (float(abs(each - expected).mean()) for each in (mended, given))
    return left < NEARER * before and before - left > VISIBLE


def _shift(
    expected: np.ndarray, found: np.ndarray, sides: list[int]
) -> tuple[list[float], float, float]:
    """((rows, columns) that an image is shifted by, agreement there, agreement in place)."""
    agreement = np.fft.irfft2(expected.conj() * found, s=sides) * (sides[0] * sides[1] / 2)
    place = np.array(divmod(int(agreement.argmax()), sides[1]))
    near = np.roll(agreement, tuple(1 - place), (0, 1))[:3, :3]
    slope = (near[2, 1] - near[0, 1]) / 2, (near[1, 2] - near[1, 0]) / 2
    cross = (near[0, 0] + near[2, 2] - near[0, 2] - near[2, 0]) / 4
    rows, columns = (line[0] - 2 * line[1] + line[2] for line in (near[:, 1], near[1]))
    step = np.linalg.lstsq(np.array([[rows, cross], [cross, columns]]), slope, rcond=None)[0]
    exact = place - step.clip(-1, 1)
    exact -= (exact > np.array(sides) / 2) * sides
    return exact.tolist(), float(near[1, 1]), float(agreement[0, 0])


def warning(looks: Sequence[tuple[str, float]]) -> str:
    """What is wrong with images of a method, each with what `Look` gave of it; "" for nothing."""
    kinds: dict[str, list[str]] = {kind: [] for kind in KINDS}
    shifts: list[Shift] = []
    for image, value in looks:
        rest, columns = divmod(int(value), RANGE)
        kind, rows = divmod(rest, RANGE)
        if rows:
            across, down = ((side - RANGE // 2) / STEP for side in (columns, rows))
            shifts.append(Shift(across, down, image, kind == SHIFTED))
        elif kind:
            kinds[str(kind)].append(image)
    told = [(names, KINDS[kind]) for kind, names in kinds.items() if names]
    if shifts:
        found, how = _shifted(shifts)
        told += [([shift.image for shift in found], how)] * bool(found)
    return "; ".join(
        f"{len(names)} of {len(looks)} images {what} ('{printable(names[0])}')"
        for names, what in told
    )


def _shifted(shifts: list[Shift]) -> tuple[list[Shift], str]:
    """The images all shifted alike, else those shifted far, most of it first; and how, in words."""
    across, down = median(s.across for s in shifts), median(s.down for s in shifts)
    size = max(abs(across), abs(down))
    same, least = min(0.5, SAME * size), 2 if size >= CLEAR else 3
    alike = [s for s in shifts if max(abs(s.across - across), abs(s.down - down)) <= same]
    all_alike = len(alike) >= max(least, 2 * len(shifts) / 3) and size >= SHIFT
    found = alike if all_alike else [shift for shift in shifts if shift.far]
    found.sort(key=lambda shift: -max(abs(shift.across), abs(shift.down)))
    how = f"{'are' if size >= CLEAR else 'look'} shifted by about"
    if found and not all_alike:
        how, (across, down) = "are shifted by up to", found[0][:2]
    return found, f"{how} ({across:+.1f}, {down:+.1f}) pixels"
