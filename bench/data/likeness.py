"""Whether an SR image shows what its HR (or LR) image shows, at the same place, in its colours.

Exchanged channels, a flip, a shift or a second gamma hardly change what metrics of luma say, and
another picture under a right name only makes a mean worse. One look at each image tells.
"""

from __future__ import annotations

from collections.abc import Sequence
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
"""Sides in pixels: of the version in which colours are compared, of the middle in which places are,
and of the smallest image that is judged."""
BAND = 0.1
"""Cycles per pixel, about, of the detail by which places are compared."""
FLAT = 6 / 255
"""Standard deviation below which an image is too flat to be told from another."""
ANOTHER, MIRRORED = 0.4, 0.8
"""Correlation with the reference below which it is another picture, and from which on a mirrored
version is that picture. The outputs published for RealSR and DRealSR reach 0.90 and more."""
NEARER, VISIBLE = 0.5, 2 / 255
"""Share of the difference that a correction leaves where it is one, and the least it takes away."""
SHIFT, SAME, FAR, SURE = 0.8, 0.5, 3.0, 0.3
"""Pixels by which most images are shifted alike, with so little between them, or one by itself, and
how sure that is. Networks are off by 0.4 against HR images that another lens took."""
BLACK, WHITE, OTHER, EXCHANGED, GAMMA, SHIFTED = 1, 2, 6, 7, 8, 9
KINDS = {
    BLACK: "are almost black: are values in [0, 1] written as 0 to 255?",
    WHITE: "are almost white: are values scaled to 255 twice?",
    3: "are mirrored left to right",
    4: "are upside down",
    5: "are turned by 180°",
    OTHER: "show another picture",
    EXCHANGED: "have red and blue exchanged",
    GAMMA: "are much brighter or darker, as by a second gamma",
}
MIRRORS = {3: [1], 4: [0], 5: [0, 1]}
STEP, RANGE = 8, 4096
"""A shift is kept in parts of a pixel; a side of it takes so many values, 0 where it is unknown."""


class Shift(NamedTuple):
    """Pixels to the right and down, and whether that is far for one image."""

    across: float
    down: float
    image: str
    far: bool


class Look:
    """The metric that says what is wrong: kind and shift as one number, for `warning`."""

    def __init__(self, spec: MetricSpec, device: str) -> None:
        pass

    def prepare(self, hr: Tensor) -> tuple[Tensor, Tensor]:
        """What is compared of an image: small (3, h, w), and the detail of its middle by frequency,
        of length 1."""
        import torch
        from torch.nn.functional import avg_pool2d

        height, width = (min(side, LARGE) for side in hr.shape[2:])
        top, left = (hr.shape[2] - height) // 2, (hr.shape[3] - width) // 2
        middle = _luma(hr[0, :, top : top + height, left : left + width])
        window, band = (each.to(hr.device) for each in _filter(height, width))
        detail = torch.fft.rfft2((middle - middle.mean()) * window) * band
        small = avg_pool2d(hr, max(1, min(hr.shape[2:]) // SMALL))[0]
        return small, detail / detail.norm().clamp_min(1e-9)

    def score(self, sr: Tensor, hr: Tensor, prepared: tuple[Tensor, Tensor]) -> float:
        """0 where nothing is wrong; `hr` may be the LR image, (1, 3, h, w), as well."""
        from torch.nn.functional import avg_pool2d

        ratio, rest = divmod(sr.shape[2], hr.shape[2])
        if rest or min(hr.shape[2:]) < LEAST or sr.shape[3] != ratio * hr.shape[3]:
            return 0.0
        small, detail = self.prepare(avg_pool2d(sr, ratio) if ratio > 1 else sr)
        sides = [min(side, LARGE) for side in hr.shape[2:]]
        shift, agreement, in_place = _shift(prepared[1], detail, sides)
        kind, sure = _kind(small, prepared[0]), agreement >= SURE
        far = sure and max(map(abs, shift)) >= FAR and agreement > in_place + SURE
        kind = SHIFTED if far and kind in (0, OTHER) else kind
        known = sure and kind in (0, SHIFTED)
        rows, columns = (round(side * ratio * STEP) + RANGE // 2 if known else 0 for side in shift)
        return float((kind * RANGE + rows) * RANGE + columns)


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
    """Which of KINDS it is, by small versions of both, (3, h, w); 0 for none."""
    for kind, at in ((BLACK, 0.0), (WHITE, 1.0)):
        found, wanted = (((x - at).abs() < VISIBLE).float().mean() for x in (sr, expected))
        if found > 0.9 and wanted < 0.5:
            return kind
    luma, wanted = _luma(sr), _luma(expected)
    if min(luma.std(), wanted.std()) < FLAT:
        return 0
    agreement = _correlation(luma, wanted)
    for kind, sides in MIRRORS.items():
        mirrored = _correlation(luma.flip(sides), wanted)
        if mirrored > max(MIRRORED, (1 + agreement) / 2):
            return kind
    if agreement < ANOTHER:
        return OTHER
    if _nearer(sr.flip(0), sr, expected):
        return EXCHANGED
    told = (wanted > 0.1) & (wanted < 0.9) & (luma > 0.02) & (luma < 0.98)
    gamma = float((luma[told].log() / wanted[told].log()).median()) if told.any() else 1.0
    return GAMMA if not 0.6 < gamma < 1.6 and _nearer(wanted**gamma, wanted, luma) else 0


def _correlation(a: Tensor, b: Tensor) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (a.norm() * b.norm()))


def _nearer(mended: Tensor, given: Tensor, expected: Tensor) -> bool:
    left, before = (float((each - expected).abs().mean()) for each in (mended, given))
    return left < NEARER * before and before - left > VISIBLE


def _shift(expected: Tensor, found: Tensor, sides: list[int]) -> tuple[list[float], float, float]:
    """((rows, columns) that an image is shifted by, agreement there, agreement in place)."""
    import torch

    agreement = torch.fft.irfft2(expected.conj() * found, s=sides) * (sides[0] * sides[1] / 2)
    row, column = divmod(int(agreement.argmax()), sides[1])
    shift = []
    for line, place in ((agreement[:, column], row), (agreement[row], column)):
        before, at, after = (float(line[(place + step) % len(line)]) for step in (-1, 0, 1))
        bend = before - 2 * at + after
        exact = place + (0.5 * (before - after) / bend if bend else 0.0)
        shift.append(exact - len(line) if exact > len(line) / 2 else exact)
    return shift, float(agreement[row, column]), float(agreement[0, 0])


def warning(looks: Sequence[tuple[str, float]]) -> str:
    """What is wrong with the images of a method, in one line; "" where nothing is.

    Args:
        looks: images, and what `Look` gave of each.
    """
    kinds: dict[int, list[str]] = {kind: [] for kind in KINDS}
    shifts: list[Shift] = []
    for image, value in looks:
        rest, columns = divmod(int(value), RANGE)
        kind, rows = divmod(rest, RANGE)
        if rows:
            across, down = ((side - RANGE // 2) / STEP for side in (columns, rows))
            shifts.append(Shift(across, down, image, kind == SHIFTED))
        elif kind:
            kinds[kind].append(image)
    told = [(names, KINDS[kind]) for kind, names in kinds.items() if names]
    if found := _shifted(shifts):
        how = f"are shifted by up to ({found[0].across:+.1f}, {found[0].down:+.1f}) pixels"
        told.append(([shift.image for shift in found], how))
    return "; ".join(
        f"{len(names)} of {len(looks)} images {what} ('{printable(names[0])}')"
        for names, what in told
    )


def _shifted(shifts: list[Shift]) -> list[Shift]:
    """The images that are all shifted alike, else those that are shifted far; most of it first."""
    if not shifts:
        return []
    across, down = median(s.across for s in shifts), median(s.down for s in shifts)
    alike = [s for s in shifts if max(abs(s.across - across), abs(s.down - down)) <= SAME]
    all_alike = len(alike) >= max(2, 2 * len(shifts) / 3) and max(abs(across), abs(down)) >= SHIFT
    found = alike if all_alike else [shift for shift in shifts if shift.far]
    return sorted(found, key=lambda shift: -max(abs(shift.across), abs(shift.down)))
