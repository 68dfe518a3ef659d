"""Pictures side by side as in the paper's Fig. 4: LR with a red box, and the box in every method.

The crops are the files' own pixels, enlarged by a whole number (nearest neighbour) where they are
small, so that nothing seen in a panel was made by it.
"""

import io
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from bench.base.device import cores
from bench.base.errors import ImageError
from bench.base.text import in_digits, printable, slug
from bench.base.types import MetricSpec
from bench.files.images import read_rgb
from bench.files.safe_csv import write_files
from bench.reports.figures.regions import Region, choose_pictures, choose_region
from bench.reports.figures.style import font_file, in_font, pdf
from bench.results.results import PictureSet, Results
from bench.results.view import PLAIN, ShownRegion, View

FOLDER = "panels"
PER_DATASET = 4
TILE, MARGIN, FONT_SIZE = 224, 8, 16
"""Pixels; tiles are about as large."""
LINES, ONE_ROW = 3, 5
"""At most: of a name, and tiles in a row alone."""
BOX, INK, PAPER, EMPTY = (224, 0, 0), (0, 0, 0), (255, 255, 255), (238, 238, 238)


class Tile(NamedTuple):
    """A crop above its name and scores; without a picture `rgb` is None and `name` says why."""

    name: str
    rgb: np.ndarray | None
    scores: str = ""


def render(results: Results, out: Path, view: View = PLAIN) -> list[Path]:
    """Write ``panels/DATASET/IMAGE.png`` and ``.pdf``: the first image and those that differ most.

    Images whose region was chosen come instead, one panel per region.
    """
    titles = {method.name: method.title for method in results.methods}
    metrics = [metric for metric in results.metrics if metric.name in view.under_crops]

    def drawn(pictures: PictureSet, region: ShownRegion | None) -> Image.Image | None:
        return panel(pictures, titles, region, _scores(results, metrics, pictures))

    chosen = [own for d in results.datasets for own in _chosen(results, d.name, view.regions)]
    written = []
    with ThreadPoolExecutor(min(PER_DATASET, cores())) as pool:
        images = pool.map(lambda own: drawn(*own), chosen)
        for (pictures, region), image in zip(chosen, images, strict=True):
            if image is not None:
                place = f"-{region.left}-{region.top}-{region.side}" if region else ""
                name = slug(pictures.image) + place
                written += _save(image, out / FOLDER / slug(pictures.dataset) / name)
    return written


def _chosen(
    results: Results, dataset: str, regions: Sequence[ShownRegion]
) -> list[tuple[PictureSet, ShownRegion | None]]:
    """What is shown of a dataset; None where the region is to be found."""
    own = [region for region in regions if region.dataset == dataset]
    if not own:
        return [(pictures, None) for pictures in choose_pictures(results, dataset, PER_DATASET)]
    by_image = {p.image: p for p in results.pictures if p.dataset == dataset}
    return [(by_image[region.image], region) for region in own if region.image in by_image]


def _save(image: Image.Image, path: Path) -> list[Path]:
    """PNG, and PDF of the same pixels, losslessly, 200 to the inch; `path` has no suffix."""
    png = io.BytesIO()
    image.save(png, "PNG", compress_type=Image.RLE)  # a third of the time
    figure = Figure((image.width / 200, image.height / 200), dpi=200)
    axes = figure.add_axes((0, 0, 1, 1), frameon=False, xticks=(), yticks=())
    # As they are, which takes a third of drawing them; a PDF's pictures begin at the bottom.
    axes.imshow(np.asarray(image)[::-1], origin="lower", interpolation="none", aspect="auto")
    files = {f"{path.name}.png": png.getvalue(), f"{path.name}.pdf": pdf(figure)}
    return write_files(path.parent, files)


def _scores(
    results: Results, metrics: Sequence[MetricSpec], pictures: PictureSet
) -> dict[str, str]:
    """By method, its scores of an image as papers print them; by "" what they are."""
    scores = results.scores
    own = scores[(scores["dataset"] == pictures.dataset) & (scores["image"] == pictures.image)]
    values = own.set_index(["method", "metric"])["value"].to_dict()
    told = {
        method.name: " / ".join(
            in_digits(values.get((method.name, m.name), math.nan), m.digits) for m in metrics
        )
        for method in results.methods
    }
    return {**told, "": " / ".join(f"{m.title} {m.arrow}" for m in metrics)}


def panel(
    pictures: PictureSet,
    titles: Mapping[str, str],
    shown: ShownRegion | None = None,
    scores: Mapping[str, str] | None = None,
) -> Image.Image | None:
    """One panel, or None where no method has a picture that can be read.

    Args:
        pictures: where LR, HR and SR are.
        titles: name to printed title of the methods, in the order of the panel.
        shown: the square to show, moved onto the LR image's pixels; where the methods differ most
            unless given.
        scores: what stands below the names of methods; of "", below LR.
    """
    told = scores or {}
    sr = {name: _read(pictures.sr.get(name)) for name in titles}
    hr = _read(pictures.hr)
    found = [rgb for rgb in (hr, *sr.values()) if rgb is not None]
    comparable = [rgb for rgb in sr.values() if rgb is not None and rgb.shape == found[0].shape]
    if not comparable or min(comparable[0].shape[:2]) < pictures.scale:
        return None
    size, scale = comparable[0].shape, pictures.scale
    lr = _read(pictures.lr)
    if lr is not None and lr.shape[:2] != tuple(side // scale for side in size[:2]):
        lr = None  # not that of pictures of this size
    region = choose_region(comparable, scale) if shown is None else _fitted(shown, size, scale)
    cut = region.scaled(scale)
    tiles = [_tile(titles[name], rgb, size, cut, told.get(name, "")) for name, rgb in sr.items()]
    tiles += [] if hr is None else [_tile("HR", hr, size, cut)]
    if lr is None:
        whole = hr if hr is not None else comparable[0]
        return compose(pictures.image, whole, cut, tiles)
    tiles.insert(0, Tile("LR", region.cut(lr), told.get("", "")))
    return compose(pictures.image, lr, region, tiles)


def _fitted(shown: ShownRegion, size: tuple[int, ...], scale: int) -> Region:
    """A chosen square in LR pixels, moved and cut to lie inside a picture of `size`."""
    height, width = (length // scale for length in size[:2])
    side = max(1, min(round(shown.side / scale), height, width))
    left, top = round(shown.left / scale), round(shown.top / scale)
    return Region(max(0, min(left, width - side)), max(0, min(top, height - side)), side)


def _read(path: Path | None) -> np.ndarray | None:
    """(H, W, 3) uint8, or None where there is no picture that can be shown."""
    try:
        return None if path is None else read_rgb(path)
    except ImageError:
        return None


def _tile(
    name: str, rgb: np.ndarray | None, size: tuple[int, ...], region: Region, scores: str = ""
) -> Tile:
    if rgb is None or rgb.shape != size:
        why = "no image" if rgb is None else "other size"
        return Tile(f"{name} ({why})", None, scores)
    return Tile(name, region.cut(rgb), scores)


def compose(name: str, whole: np.ndarray, region: Region, tiles: Sequence[Tile]) -> Image.Image:
    """Lay out the whole picture with its box at the left and the tiles in one or two rows."""
    rows = 1 if len(tiles) <= ONE_ROW else 2
    columns = -(-len(tiles) // rows)
    largest = max(tile.rgb.shape[0] for tile in tiles if tile.rgb is not None)
    side = largest * max(1, round(TILE / largest))  # of all, enlarged by a whole number
    names = [_wrapped(tile.name, side) + _wrapped(tile.scores, side) for tile in tiles]
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
    left, top, right, bottom = (round(corner * zoom) for corner in corners)
    draw = ImageDraw.Draw(overview)
    # A rim on both sides, so that the box is seen on red as well.
    draw.rectangle((left - 1, top - 1, right, bottom), outline=PAPER, width=5)
    draw.rectangle((left, top, right - 1, bottom - 1), outline=BOX, width=3)
    return overview


def _wrapped(name: str, width: int) -> list[str]:
    """A name in lines that fit under a tile; what exceeds `LINES` lines ends in an ellipsis."""
    lines = [""]
    for char in in_font(printable(name)):
        if _font().getlength(lines[-1] + char) <= width:
            lines[-1] += char
        else:
            kept, _, moved = lines[-1].rpartition(" ")
            lines[-1:] = [kept, moved + char] if kept else [lines[-1], char]
    if len(lines) > LINES:
        last = lines[LINES - 1]
        while _font().getlength(last + "…") > width:
            last = last[:-1]
        lines = [*lines[: LINES - 1], last + "…"]
    return [line.strip() for line in lines if line]


@cache
def _font() -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_file(), FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)


def _line_height() -> int:
    ascent, descent = _font().getmetrics()
    return ascent + descent + 1
