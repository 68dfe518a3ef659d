"""Pictures side by side as in the paper's Fig. 4: LR with a red box, and the box in every method.

The crops are the files' own pixels, enlarged by a whole number (nearest neighbour) where they are
small, so that nothing seen in a panel was made by it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bench.errors import ImageError
from bench.images import read_rgb
from bench.records import write_atomic
from bench.reports.regions import Region, choose_pictures, choose_region
from bench.results import PictureSet, Results
from bench.text import printable, slug

FOLDER = "panels"
PER_DATASET = 4
TILE = 224
MARGIN = 8
FONT_SIZE = 16
LINES = 3
ONE_ROW = 5
BOX = (224, 0, 0)
INK = (0, 0, 0)
PAPER = (255, 255, 255)
EMPTY = (238, 238, 238)


@dataclass(frozen=True)
class Tile:
    """A crop under its name; `rgb` is None where there is no picture, `name` then says why."""

    name: str
    rgb: np.ndarray | None


def render(results: Results, out: Path) -> list[Path]:
    """Write ``panels/DATASET/IMAGE.png`` for the first image and those that differ most."""
    titles = {method.name: method.title for method in results.methods}
    written = []
    for dataset in results.datasets:
        for pictures in choose_pictures(results, dataset.name, PER_DATASET):
            image = panel(pictures, titles)
            if image is None:
                continue
            path = out / FOLDER / slug(dataset.name) / f"{slug(pictures.image)}.png"
            write_atomic(path, _png(image))
            written.append(path)
    return written


def panel(pictures: PictureSet, titles: Mapping[str, str]) -> Image.Image | None:
    """One panel, or None where no method has a picture that can be read.

    Args:
        pictures: where LR, HR and SR are.
        titles: name to printed title of the methods, in the order of the panel.
    """
    sr = {name: _read(pictures.sr.get(name)) for name in titles}
    hr = _read(pictures.hr)
    found = [rgb for rgb in (hr, *sr.values()) if rgb is not None]
    comparable = [rgb for rgb in sr.values() if rgb is not None and rgb.shape == found[0].shape]
    if not comparable or min(comparable[0].shape[:2]) < pictures.scale:
        return None
    size, scale = comparable[0].shape, pictures.scale
    lr = _fitting_lr(pictures, size)
    region = choose_region(comparable, scale)
    tiles = [_tile(titles[name], sr[name], size, region.scaled(scale)) for name in titles]
    tiles += [] if hr is None else [_tile("HR", hr, size, region.scaled(scale))]
    if lr is None:
        whole = hr if hr is not None else comparable[0]
        return compose(pictures.image, whole, region.scaled(scale), tiles)
    return compose(pictures.image, lr, region, [Tile("LR", region.cut(lr)), *tiles])


def _read(path: Path | None) -> np.ndarray | None:
    """(H, W, 3) uint8, or None where there is no picture that can be shown."""
    try:
        return None if path is None else read_rgb(path)
    except ImageError:
        return None


def _fitting_lr(pictures: PictureSet, size: tuple[int, ...]) -> np.ndarray | None:
    """The LR image, or None where it is absent or not the one of pictures of this size."""
    lr = _read(pictures.lr)
    if lr is None or lr.shape[:2] != tuple(side // pictures.scale for side in size[:2]):
        return None
    return lr


def _tile(name: str, rgb: np.ndarray | None, size: tuple[int, ...], region: Region) -> Tile:
    if rgb is None:
        return Tile(f"{name} (no image)", None)
    if rgb.shape != size:
        return Tile(f"{name} (other size)", None)
    return Tile(name, region.cut(rgb))


def compose(name: str, whole: np.ndarray, region: Region, tiles: Sequence[Tile]) -> Image.Image:
    """Lay out the whole picture with its box at the left and the tiles in one or two rows."""
    rows = 1 if len(tiles) <= ONE_ROW else 2
    columns = -(-len(tiles) // rows)
    side = _tile_side(tiles)
    names = [_wrapped(tile.name, side) for tile in tiles]
    names.append(_wrapped(name, side))
    step = side + _line_height() * max(map(len, names)) + MARGIN
    overview = _overview(whole, region, rows * step - (step - side))
    middle = MARGIN + max(overview.width, side) // 2
    left = 2 * MARGIN + max(overview.width, side)
    canvas = Image.new("RGB", (left + columns * (side + MARGIN), MARGIN + rows * step), PAPER)
    canvas.paste(overview, (middle - overview.width // 2, MARGIN))
    _draw_name(canvas, names.pop(), middle, MARGIN + overview.height)
    for i, (tile, lines) in enumerate(zip(tiles, names, strict=True)):
        place = (left + i % columns * (side + MARGIN), MARGIN + i // columns * step)
        canvas.paste(_enlarged(tile.rgb, side), place)
        _draw_name(canvas, lines, place[0] + side / 2, place[1] + side)
    return canvas


def _tile_side(tiles: Sequence[Tile]) -> int:
    """Side of all tiles: the largest crop, enlarged by a whole number to about `TILE`."""
    side = max(tile.rgb.shape[0] for tile in tiles if tile.rgb is not None)
    return side * max(1, round(TILE / side))


def _draw_name(canvas: Image.Image, lines: Sequence[str], middle: float, top: int) -> None:
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(lines):
        place = (middle, top + 3 + number * _line_height())
        draw.text(place, line, INK, font=_font(), anchor="ma")


def _enlarged(rgb: np.ndarray | None, side: int) -> Image.Image:
    if rgb is None:
        return Image.new("RGB", (side, side), EMPTY)
    return Image.fromarray(np.ascontiguousarray(rgb)).resize((side, side), Image.Resampling.NEAREST)


def _overview(whole: np.ndarray, region: Region, height: int) -> Image.Image:
    """The whole picture, fitted into the panel's height (1.5 times that at most in width)."""
    rows, columns = whole.shape[:2]
    zoom = min(height / rows, 1.5 * height / columns)
    size = (max(1, round(columns * zoom)), max(1, round(rows * zoom)))
    enlarge = Image.Resampling.NEAREST if zoom > 1 else Image.Resampling.LANCZOS
    overview = Image.fromarray(whole).resize(size, enlarge)
    corners = [region.left, region.top, region.left + region.side, region.top + region.side]
    box = [round(corner * zoom) for corner in corners]
    ImageDraw.Draw(overview).rectangle(
        (box[0], box[1], box[2] - 1, box[3] - 1), outline=BOX, width=3
    )
    return overview


def _wrapped(name: str, width: int) -> list[str]:
    """A name in lines that fit under a tile; what exceeds `LINES` lines ends in an ellipsis."""
    lines = [""]
    for char in _in_font(printable(name)):
        if _font().getlength(lines[-1] + char) <= width:
            lines[-1] += char
        else:
            kept, _, moved = lines[-1].rpartition(" ")
            lines[-1:] = [kept, moved + char] if kept else [lines[-1], char]
    if len(lines) > LINES:
        lines = [*lines[: LINES - 1], _shortened(lines[LINES - 1], width)]
    return [line.strip() for line in lines]


def _shortened(line: str, width: int) -> str:
    while _font().getlength(line + "…") > width:
        line = line[:-1]
    return line + "…"


def _in_font(name: str) -> str:
    """`name` with the numbers of characters in place of those that the font does not have."""
    known = _characters()
    return "".join(char if ord(char) in known else f"U+{ord(char):04X}" for char in name)


@cache
def _characters() -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(_font_file())).get_charmap())


@cache
def _font() -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_font_file(), FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)


def _font_file() -> Path:
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


def _line_height() -> int:
    ascent, descent = _font().getmetrics()
    return ascent + descent + 1


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
