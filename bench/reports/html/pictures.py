"""The pictures of the HTML report: each full picture once, and a thumbnail of it.

File names hold a hash of their content, so that what is there already is right and is kept, and
a browser never shows a stale picture from its cache.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from bench.base.errors import ImageError
from bench.base.records import copy_atomic, is_as_written, write_atomic
from bench.base.text import slug, without_folders
from bench.files.images import read_rgb
from bench.results.results import PictureSet, Results

PICTURES = "pictures"
THUMBS = "thumbs"
THUMB_SIDE = 240
THUMB_QUALITY = 82
BROWSER_FORMATS = {"PNG": ".png", "JPEG": ".jpg"}
CHANGES_COLOURS = ("icc_profile", "gamma", "chromaticity", "srgb", "exif", "transparency", "adobe")
"""Of a file's header: a browser would show other pixels than those that were scored."""


@dataclass(frozen=True)
class Shown:
    """A picture as the page finds it.

    Attributes:
        folder: of the picture below `pictures/` and of the thumbnail below `thumbs/`.
        file: name of the full picture.
        thumb: name of the thumbnail.
        width, height: of the full picture.
    """

    folder: str
    file: str
    thumb: str
    width: int
    height: int


@dataclass(frozen=True)
class Shelf:
    """Where the pictures of a report go; without `originals` there are thumbnails alone."""

    root: Path
    originals: bool

    def files(self, shown: Shown) -> list[Path]:
        thumb = self.root / THUMBS / shown.folder / shown.thumb
        full = self.root / PICTURES / shown.folder / shown.file
        return [full, thumb] if self.originals else [thumb]


Source = tuple[int, str]
"""Index of a picture set, and "lr", "hr" or "sr-" and a method's name."""


def place_pictures(results: Results, shelf: Shelf) -> dict[Source, Shown | str]:
    """Write all pictures and thumbnails of the results.

    Returns:
        By source, what is shown or, in one line, why it cannot be.
    """
    sources, files = [], []
    for source, *file in _sources(results.pictures):
        sources.append(source)
        files.append(file)
    with ThreadPoolExecutor() as pool:
        return dict(zip(sources, pool.map(lambda file: _placed(*file, shelf), files), strict=True))


def _sources(pictures: Sequence[PictureSet]) -> Iterator[tuple[Source, Path, str, str]]:
    for index, item in enumerate(pictures):
        for name, path in (("lr", item.lr), ("hr", item.hr)):
            if path is not None:
                yield (index, name), path, f"{slug(item.dataset)}/{name}", item.image
        for method, path in item.sr.items():
            folder = f"{slug(item.dataset)}/{slug('sr-' + method)}"
            yield (index, f"sr-{method}"), path, folder, item.image


def _placed(path: Path, folder: str, image: str, shelf: Shelf) -> Shown | str:
    try:
        data = path.read_bytes()
        suffix, size = _header(data)
        name = f"{slug(image)}-{hashlib.sha256(data).hexdigest()[:12]}"
        shown = Shown(folder, name + (suffix or ".png"), name + ".jpg", *size)
        if suffix is None or not all(map(is_as_written, shelf.files(shown))):
            rgb = read_rgb(path)
            shown = replace(shown, width=rgb.shape[1], height=rgb.shape[0])
            _write(path, rgb, shelf, shown, keep=suffix is not None)
    except ImageError as error:
        return without_folders(error.reason)
    except OSError as error:
        return error.strerror or "cannot be read"
    return shown


def _header(data: bytes) -> tuple[str | None, tuple[int, int]]:
    """Size, and the suffix of a file that a browser shows as it was scored, None for any other.

    Raises:
        ImageError: not an image.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            plain = image.mode in ("RGB", "L") and not any(k in image.info for k in CHANGES_COLOURS)
            return BROWSER_FORMATS.get(image.format or "") if plain else None, image.size
    except Image.DecompressionBombError as error:
        raise ImageError("has too many pixels") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError("not an image") from error


def _write(path: Path, rgb: np.ndarray, shelf: Shelf, shown: Shown, *, keep: bool) -> None:
    """Write (H, W, 3) uint8 as PNG, or its file as it is, and a JPEG of at most `THUMB_SIDE`."""
    image = Image.fromarray(rgb, "RGB")
    *full, thumb = shelf.files(shown)
    for file in full:
        if keep:
            copy_atomic(path, file)
        else:
            write_atomic(file, _encoded(image, "PNG"))
    image.thumbnail((THUMB_SIDE, THUMB_SIDE), Image.Resampling.BICUBIC)
    write_atomic(thumb, _encoded(image, "JPEG", quality=THUMB_QUALITY))


def _encoded(image: Image.Image, format: str, **options: int) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()
