"""Whether an SR image shows what its HR (or LR) image shows, at the same place, in its colours.

Exchanged channels, a flip, a shift or a second gamma hardly change what metrics of luma say, and
another picture under a right name only makes a mean worse. One look at each image tells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from bench.base.text import printable
from bench.base.types import MetricSpec

if TYPE_CHECKING:
    from torch import Tensor

LOOK = MetricSpec(
    name="look",
    title="Look",
    better="lower",
    reference=True,
    means="what is wrong with an image as a whole; not shown as a score",
    source="ours",
    factory="bench.data.likeness:Look",
)
FINGERPRINT = {"metric": LOOK.name, "version": LOOK.version}
SMALL, LARGE, LEAST = 64, 256, 32
"""Sides in pixels: of the small version in which colours are compared, of the middle in which
places are, and of an image below which nothing is judged."""
BAND = 0.1
"""Cycles per pixel, about, of the detail by which places are compared."""
EXTREME = 0.9
"""Share of values that are all black or all white, where less than half of the reference's are."""
FLAT = 6 / 255
"""Standard deviation below which an image is too flat to be told from another."""
ANOTHER, MIRRORED = 0.4, 0.8
"""Correlation with the reference below which it is another picture, and from which on a mirrored
version is that picture. The outputs published for RealSR and DRealSR reach 0.90 and more."""
NEARER, VISIBLE = 0.5, 2 / 255
"""Share of the difference that a correction leaves where it is one, and the least it takes away."""
GAMMAS = (0.6, 1.6)
SHIFT, SURE, SAME, FAR = 0.8, 0.3, 0.5, 3.0
"""Pixels that all images are shifted by, at least; the agreement from which on a shift is known;
pixels that shifts of two thirds of the images differ by; pixels that are much for one image.
Networks shift by 0.4 against HR images that were taken with another lens."""
KINDS = (
    "",
    "are almost black: are values in [0, 1] written as 0 to 255?",
    "are almost white: are values scaled to 255 twice?",
    "are mirrored left to right",
    "are upside down",
    "are turned by 180°",
    "show another picture",
    "have red and blue exchanged",
    "are much brighter or darker, as by a second gamma",
    "are shifted",
)
OTHER, SHIFTED = 6, 9
STEP, RANGE = 8, 4096
"""A shift is kept in parts of a pixel; a side of it takes so many values."""


class _Seen(NamedTuple):
    """What is compared of an image: small (3, h, w), and the detail of its middle by frequency."""

    small: Tensor
    detail: Tensor
    size: tuple[int, int]


class Look:
    """The metric that says what is wrong: a number for `Found`."""

    def __init__(self, spec: MetricSpec, device: str) -> None:
        pass

    def prepare(self, hr: Tensor) -> _Seen:
        return _seen(hr)

    def score(self, sr: Tensor, hr: Tensor, prepared: _Seen) -> float:
        """0 where nothing is wrong; `hr` may be the LR image, (1, 3, h, w), as well."""
        from torch.nn.functional import avg_pool2d

        ratio, rest = divmod(sr.shape[2], hr.shape[2])
        if rest or min(hr.shape[2:]) < LEAST or sr.shape[3] != ratio * hr.shape[3]:
            return 0.0
        seen = _seen(avg_pool2d(sr, ratio) if ratio > 1 else sr)
        kind = _kind(seen.small, prepared.small)
        shift, agreement, in_place = _shift(prepared, seen)
        sure = agreement >= SURE
        far = sure and max(map(abs, shift)) >= FAR and agreement > in_place + SURE
        if far and kind in (0, OTHER):
            kind = SHIFTED
        known = sure and kind in (0, SHIFTED)
        rows, columns = (round(side * ratio * STEP) + RANGE // 2 if known else 0 for side in shift)
        return float((kind * RANGE + rows) * RANGE + columns)


def _seen(x: Tensor) -> _Seen:
    import torch
    from torch.nn.functional import avg_pool2d

    small = avg_pool2d(x, max(1, min(x.shape[2:]) // SMALL))[0]
    height, width = (min(side, LARGE) for side in x.shape[2:])
    top, left = (x.shape[2] - height) // 2, (x.shape[3] - width) // 2
    middle = _luma(x[0, :, top : top + height, left : left + width])
    window, weight = (each.to(x.device) for each in _filter(height, width))
    return _Seen(
        small, torch.fft.rfft2((middle - middle.mean()) * window) * weight, (height, width)
    )


def _luma(rgb: Tensor) -> Tensor:
    red, green, blue = rgb
    return 0.299 * red + 0.587 * green + 0.114 * blue


@lru_cache(maxsize=64)
def _filter(height: int, width: int) -> tuple[Tensor, Tensor]:
    """A window over pixels, and a band pass over frequencies."""
    import torch

    rows, columns = (torch.hann_window(side, periodic=False) for side in (height, width))
    frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None])
    return torch.outer(rows, columns), frequency * torch.exp(-((frequency / BAND) ** 2))


def _kind(sr: Tensor, expected: Tensor) -> int:
    """Which of KINDS it is, by small versions of both, (3, h, w)."""
    for kind, extreme in ((1, sr < 2 / 255), (2, sr > 253 / 255)):
        reference = expected < 2 / 255 if kind == 1 else expected > 253 / 255
        if extreme.float().mean() > EXTREME and reference.float().mean() < 0.5:
            return kind
    luma, wanted = _luma(sr), _luma(expected)
    if min(luma.std(), wanted.std()) < FLAT:
        return 0
    agreement = _correlation(luma, wanted)
    for kind, sides in ((3, [1]), (4, [0]), (5, [0, 1])):
        mirrored = _correlation(luma.flip(sides), wanted)
        if mirrored > MIRRORED and mirrored > agreement + NEARER * (1 - agreement):
            return kind
    if agreement < ANOTHER:
        return OTHER
    if _nearer(sr.flip(0), sr, expected):
        return 7
    told = (wanted > 0.1) & (wanted < 0.9) & (luma > 0.02) & (luma < 0.98)
    gamma = float((luma[told].log() / wanted[told].log()).median()) if told.any() else 1.0
    low, high = GAMMAS
    return 0 if low < gamma < high or not _nearer(wanted**gamma, wanted, luma) else 8


def _correlation(a: Tensor, b: Tensor) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (a.norm() * b.norm()))


def _nearer(mended: Tensor, given: Tensor, expected: Tensor) -> bool:
    left, before = (float((each - expected).abs().mean()) for each in (mended, given))
    return left < NEARER * before and before - left > VISIBLE


def _shift(expected: _Seen, seen: _Seen) -> tuple[list[float], float, float]:
    """((rows, columns) that an image is shifted by, agreement there, agreement in place)."""
    import torch

    product = expected.detail.conj() * seen.detail
    length = expected.detail.norm() * seen.detail.norm() * 2 / (seen.size[0] * seen.size[1])
    agreement = torch.fft.irfft2(product, s=seen.size) / length.clamp_min(1e-12)
    row, column = divmod(int(agreement.argmax()), seen.size[1])
    shift = []
    for line, place in ((agreement[:, column], row), (agreement[row], column)):
        before, at, after = (float(line[(place + step) % len(line)]) for step in (-1, 0, 1))
        bend = before - 2 * at + after
        exact = place + (0.5 * (before - after) / bend if bend else 0.0)
        shift.append(exact - len(line) if exact > len(line) / 2 else exact)
    return shift, float(agreement[row, column]), float(agreement[0, 0])


class _Shift(NamedTuple):
    image: str
    columns: float
    rows: float
    far: bool


def warning(looks: Sequence[tuple[str, float]]) -> str:
    """What is wrong with the images of a method, in one line; "" where nothing is.

    Args:
        looks: images, and what `Look` gave of each.
    """
    kinds: dict[int, list[str]] = {}
    shifts: list[_Shift] = []
    for image, value in looks:
        rest, columns = divmod(int(value), RANGE)
        kind, rows = divmod(rest, RANGE)
        if rows:
            across, down = ((side - RANGE // 2) / STEP for side in (columns, rows))
            shifts.append(_Shift(image, across, down, kind == SHIFTED))
        elif kind:
            kinds.setdefault(kind, []).append(image)
    told = [(names, KINDS[kind]) for kind, names in sorted(kinds.items())]
    return "; ".join(
        f"{len(names)} of {len(looks)} images {what} ('{printable(names[0])}')"
        for names, what in [*told, *_shifted(shifts)]
    )


def _shifted(shifts: Sequence[_Shift]) -> Iterator[tuple[list[str], str]]:
    """The images that are all shifted alike, else those that are shifted far; most of it first."""
    if not shifts:
        return
    columns, rows = (
        median(side) for side in ([s.columns for s in shifts], [s.rows for s in shifts])
    )
    alike = [s for s in shifts if max(abs(s.columns - columns), abs(s.rows - rows)) <= SAME]
    systematic = len(alike) >= max(2, 2 * len(shifts) / 3) and max(abs(columns), abs(rows)) >= SHIFT
    found = alike if systematic else [s for s in shifts if s.far]
    found.sort(key=lambda s: max(abs(s.columns), abs(s.rows)), reverse=True)
    if found:
        yield (
            [s.image for s in found],
            f"are shifted by up to ({found[0].columns:+.1f}, {found[0].rows:+.1f}) pixels",
        )
