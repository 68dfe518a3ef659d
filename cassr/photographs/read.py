"""Where training photographs come from: folders, Hugging Face datasets, streams."""

import hashlib
import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps

from cassr.base.errors import TrainingError, UnreadableImage, first_line
from cassr.degradation.parameters import Pixels

warnings.filterwarnings("ignore", module=r"PIL\.")  # of EXIF that is damaged, by each process
MARKED_BYTES = 2**16
KINDS = ["PNG", "JPEG", "WEBP", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "AVIF", "HEIF", "JXL"]
"""Pillow's names of what is read, the last two where a plug-in is installed."""
NO_PHOTOGRAPHS = {".pfm", ".apng", ".avifs"}
"""Maps of floats, and moving pictures."""


@dataclass(frozen=True)
class FilePhotograph:
    path: Path

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return str(self.path)

    def read(self) -> Pixels:
        """(H, W, 3) uint8. Raises UnreadableImage: it is damaged or no image."""
        return decode(self.path, self.name)

    def mark(self) -> str:
        """What tells the photograph from another of the same name, without decoding it."""
        with self.path.open("rb") as handle:
            start = hashlib.sha256(handle.read(MARKED_BYTES)).hexdigest()
        return f"{self.path.name} {self.path.stat().st_size} {start}"


@dataclass(frozen=True)
class RowPhotograph:
    """A row of a `datasets.Dataset`, whose image column alone is there and undecoded."""

    rows: Any
    column: str
    index: int
    label: str

    @property
    def name(self) -> str:
        return f"{self.label}[{self.index}]"

    def read(self) -> Pixels:
        return decode_cell(self.rows[self.index][self.column], self.name)

    def mark(self) -> str:
        return f"{self.name} of {len(self.rows)}, {getattr(self.rows, '_fingerprint', '')}"


Photograph = FilePhotograph | RowPhotograph
Photographs = Sequence[Photograph]


def in_folders(places: Sequence[str | Path]) -> Photographs:
    """All images below some folders, or single files, in the order of their paths.

    Raises TrainingError: a place that does not exist, or has no image.
    """
    return [FilePhotograph(file) for place in places for file in _images_below(Path(place))]


def in_dataset(dataset: Any, column: str | None, label: str) -> Photographs:
    """The image column of a `datasets.Dataset`; arguments and errors as for `image_column`."""
    rows, column = image_column(dataset, column, label)
    return [RowPhotograph(rows, column, index, label) for index in range(len(rows))]


def digest(photographs: Photographs) -> str:
    """Hash over all names, sizes and first bytes. Raises TrainingError: a file is gone."""
    marks = hashlib.sha256()
    try:
        for photograph in photographs:
            marks.update(photograph.mark().encode() + b"\n")
    except OSError as error:
        raise TrainingError(f"{error.filename}: cannot be read: {error.strerror}") from error
    return marks.hexdigest()


class Stream:
    """An image column of a `datasets.IterableDataset`, repeated without end; see `image_column`."""

    def __init__(self, dataset: Any, column: str | None, label: str) -> None:
        self.label = label
        self.rows, self.column = image_column(dataset, column, label)

    def cells(self, start: int = 0) -> Iterator[tuple[str, Any]]:
        """(name, undecoded cell) of every row from a number on; TrainingError if there is none."""
        number = 0
        while True:
            before = number
            for row in self.rows:
                if number >= start:
                    yield f"{self.label}[{number}]", row[self.column]
                number += 1
            if number == before:
                raise TrainingError(f"{self.label}: expected rows, found none")


def open_hub(name: str, streaming: bool = False) -> Any:
    """`Photographs` of a Hugging Face dataset, or a `Stream` of rows fetched while training.

    The name is "owner/name", or a folder that `datasets` can load; "@revision", "#split" and
    ":column" may follow, in this order. Raises TrainingError: no such dataset, split or column.
    """
    import datasets

    rest, _, column = name.partition(":")
    rest, _, split = rest.partition("#")
    place, _, revision = rest.partition("@")
    if not place:
        raise TrainingError(f"hf:{name}: expected hf:NAME of a dataset, found no name")
    try:
        rows = datasets.load_dataset(
            place, split=split or "train", revision=revision or None, streaming=streaming
        )
    except Exception as error:  # whatever hub, network or builder script come up with
        raise TrainingError(f"hf:{name}: cannot be loaded: {first_line(error)}") from error
    if streaming:
        return Stream(rows, column or None, f"hf:{name}")
    return in_dataset(rows, column or None, f"hf:{name}")


def image_column(dataset: Any, wanted: str | None, label: str) -> tuple[Any, str]:
    """The rows of a dataset with its image column alone, or the one that is wanted; its name.

    Images are left as bytes, so that a damaged one is ours to name. `label` is what the dataset is
    called in messages. Raises TrainingError: no image column, several, or not the wanted one.
    """
    import datasets

    kinds = dataset.features or {}
    found = [name for name, kind in kinds.items() if isinstance(kind, datasets.Image)]
    if wanted not in found and (wanted or len(found) != 1):
        raise TrainingError(
            f"{label}: expected {f'an image column {wanted!r}' if wanted else 'one image column'}, "
            f"found {', '.join(found) or 'none'}; name it as {label}:COLUMN"
        )
    name = wanted or found[0]
    return dataset.select_columns([name]).cast_column(name, datasets.Image(decode=False)), name


def decode_cell(cell: Any, name: str) -> Pixels:
    """An undecoded cell {"bytes", "path"} as (H, W, 3) uint8."""
    if not isinstance(cell, dict) or not (cell.get("bytes") or cell.get("path")):
        raise UnreadableImage(name, "expected an image, found an empty cell")
    return decode(io.BytesIO(cell["bytes"]) if cell.get("bytes") else Path(cell["path"]), name)


def decode(source: Path | io.BytesIO, name: str) -> Pixels:
    """An image as (H, W, 3) uint8, turned as its EXIF data says. Raises UnreadableImage."""
    _suffixes()
    try:
        with PIL.Image.open(source) as image:
            turned = PIL.ImageOps.exif_transpose(image)
            return np.array(turned.convert("RGB"))
    except Exception as error:  # Pillow raises anything from OSError to SyntaxError on bad files
        reason = str(error).replace(name, "file").strip() or repr(error)
        raise UnreadableImage(name, reason) from error


def _images_below(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise TrainingError(f"{place}: expected a folder of images or an image, found nothing")
    known = _suffixes()
    found = sorted(p for p in place.rglob("*") if p.suffix.lower() in known and p.is_file())
    if not found:
        raise TrainingError(f"{place}: expected images ({' '.join(sorted(known))}), found none")
    return found


@cache
def _suffixes() -> set[str]:
    """Of what can be read, once in each process: plug-ins are registered on the way."""
    for plugin in ("pillow_heif", "pillow_jxl"):
        with suppress(ImportError):
            getattr(import_module(plugin), "register_heif_opener", lambda: None)()
    known = PIL.Image.registered_extensions().items()
    return {suffix for suffix, kind in known if kind in KINDS} - NO_PHOTOGRAPHS
