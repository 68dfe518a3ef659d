"""The pictures of the HTML report: each full picture once, and a thumbnail of it.

File names hold a hash of their content, so that what is there already is right and is kept, and
a browser never shows a stale picture from its cache.
"""

import hashlib
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from bench.base.errors import ImageError
from bench.base.records import copy_atomic, is_as_written, part_of
from bench.base.text import slug, without_folders
from bench.files.images import opened, read_rgb
from bench.results.results import PictureSet, Results

PICTURES, THUMBS = "pictures", "thumbs"
THUMB_SIDE, THUMB_QUALITY = 240, 82
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
        originals: whether there is more than the thumbnail.
    """

    folder: str
    file: str
    thumb: str
    width: int
    height: int
    originals: bool

    def files(self, root: Path) -> list[Path]:
        thumb = root / THUMBS / self.folder / self.thumb
        return [root / PICTURES / self.folder / self.file, thumb] if self.originals else [thumb]


Source = tuple[int, str]
"""Index of a picture set, and "lr", "hr" or "sr-" and a method's name."""


def place_pictures(results: Results, root: Path, originals: bool) -> dict[Source, Shown | str]:
    """Write all thumbnails of the results and, as `originals`, pictures.

    Returns:
        By source, what is shown or, in one line, why it cannot be.
    """
    files = dict(_sources(results.pictures))
    with ThreadPoolExecutor() as pool:
        shown = pool.map(lambda file: _placed(root, originals, *file), files.values())
        return dict(zip(files, shown, strict=True))


def _sources(pictures: Sequence[PictureSet]) -> Iterator[tuple[Source, tuple[Path, str, str]]]:
    """Each picture, with its file, folder and the image's name."""
    for index, item in enumerate(pictures):
        sr = {f"sr-{method}": path for method, path in item.sr.items()}
        for name, path in {"lr": item.lr, "hr": item.hr, **sr}.items():
            if path is not None:
                yield (index, name), (path, f"{slug(item.dataset)}/{slug(name)}", item.image)


def _placed(root: Path, originals: bool, path: Path, folder: str, image: str) -> Shown | str:
    try:
        data = path.read_bytes()
        suffix, size = _header(data)
        name = f"{slug(image)}-{hashlib.sha256(data).hexdigest()[:12]}"
        shown = Shown(folder, name + (suffix or ".png"), name + ".jpg", *size, originals)
        if suffix is None or not all(map(is_as_written, shown.files(root))):
            picture = Image.fromarray(read_rgb(path), "RGB")
            shown = replace(shown, width=picture.width, height=picture.height)
            _write(picture, shown.files(root), path if suffix else None)
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
        with opened(io.BytesIO(data)) as image:
            plain = image.mode in ("RGB", "L") and not any(k in image.info for k in CHANGES_COLOURS)
            return BROWSER_FORMATS.get(image.format or "") if plain else None, image.size
    except Image.DecompressionBombError as error:
        raise ImageError("has too many pixels") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError("not an image") from error


def _write(image: Image.Image, files: Sequence[Path], original: Path | None) -> None:
    """Write a picture as PNG, or a copy of its file, and a JPEG of at most `THUMB_SIDE`."""
    *full, thumb = files
    for file in full:
        if original:
            copy_atomic(original, file)
        else:
            with part_of(file) as part:
                image.save(part, "PNG")
    image.thumbnail((THUMB_SIDE, THUMB_SIDE), Image.Resampling.BICUBIC)
    with part_of(thumb) as part:
        image.save(part, "JPEG", quality=THUMB_QUALITY)
