"""Any dataset of the Hugging Face hub (or in its format on disk) that has image columns."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.base.errors import DataError, ImageError
from bench.base.hashing import json_sha256
from bench.base.progress import Advance
from bench.base.text import printable, slug
from bench.base.types import Manifest
from bench.data.manifest import Refusals, first_of, keep, made
from bench.data.pairing import require_pair, write_pair
from bench.files import images

LR_NAMES = ("lr", "lq", "low", "low_resolution", "input", "lr_image", "image_lr")
HR_NAMES = ("hr", "gt", "high", "high_resolution", "target", "hr_image", "image_hr")
SPLITS = ("test", "validation", "val", "train")
_NAME = re.compile(
    r"hf:(?P<repository>[^@:]+)(@(?P<revision>[^:]+))?(:(?P<split>[^:]+))?"
    r"(:(?P<lr>[^:,]+)(,(?P<hr>[^:,]+))?)?"
)


@dataclass(frozen=True)
class HubName:
    """`hf:OWNER/NAME[@REVISION][:SPLIT[:LR_COLUMN[,HR_COLUMN]]]`, taken apart."""

    repository: str
    revision: str | None
    split: str | None
    lr: str | None
    hr: str | None


def parse(name: str) -> HubName:
    """Take `hf:...` apart.

    Raises:
        DataError: it has another form.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        form = "hf:OWNER/NAME[@REVISION][:SPLIT[:LR_COLUMN[,HR_COLUMN]]]"
        raise DataError(f"dataset '{printable(name)}': expected {form}")
    return HubName(**match.groupdict())


def build_from_hub(
    name: str, scale: int, root: Path, progress: Advance = lambda done, total: None
) -> Manifest:
    """Write a hub dataset's images below `root` as PNGs, once, and describe them.

    Images get the row's number as id. The revision found is recorded in the recipe.

    Raises:
        DataError: no such dataset, split or column, or no usable image.
    """
    wanted = parse(name)
    folder = root / f"{slug(name)}-{json_sha256([name, scale])[:12]}"
    if known := made(folder):
        return known
    rows, revision, split = _load(wanted)
    lr, hr = columns(wanted, rows.features)
    entries, refused = _pairs(_selected(rows, lr, hr), folder, scale, len(rows), progress)
    if not entries:
        raise DataError(
            f"{printable(name)}: no usable image in {len(rows)} rows{first_of(refused)}"
        )
    recipe: dict[str, Any] = {"repository": wanted.repository, "revision": revision}
    recipe |= {"split": split, "columns": [lr, hr]}
    return keep(folder, name, scale, entries, refused, recipe)


def _load(wanted: HubName) -> tuple[Any, str, str]:
    """(rows, revision, split)."""
    import datasets

    local = Path(wanted.repository).exists()
    revision = wanted.revision or ("" if local else _newest(wanted.repository))
    try:
        found = datasets.load_dataset(wanted.repository, revision=revision or None)
    except Exception as error:  # the library raises many kinds for what cannot be loaded
        reason = printable(str(error).splitlines()[0]) if str(error) else type(error).__name__
        raise DataError(f"hf:{printable(wanted.repository)}: {reason}") from error
    split = wanted.split or next((s for s in SPLITS if s in found), "")
    if split not in found:
        raise DataError(
            f"hf:{printable(wanted.repository)}: no split '{printable(split)}', it has "
            f"{', '.join(found)}"
        )
    return found[split], revision, split


def _newest(repository: str) -> str:
    from huggingface_hub import HfApi

    try:
        return HfApi().dataset_info(repository).sha or ""
    except Exception:  # what it raises changes with the HTTP library that it uses
        return ""  # offline: what the cache holds is taken, its content is hashed in any case


def columns(wanted: HubName, features: Mapping[str, Any]) -> tuple[str, str | None]:
    """The LR and the HR column: as named, else by their usual names.

    A single image column without such a name is taken for LR images without ground truth.

    Raises:
        DataError: no such column, or it cannot be told which is which.
    """
    from datasets import Image

    pictures = [name for name, kind in features.items() if isinstance(kind, Image)]
    for named in (wanted.lr, wanted.hr):
        if named is not None and named not in pictures:
            raise _unclear(wanted, f"no image column '{printable(named)}'", pictures)
    if wanted.lr is not None:
        return wanted.lr, wanted.hr
    lr = [name for name in pictures if name.lower() in LR_NAMES]
    hr = [name for name in pictures if name.lower() in HR_NAMES]
    if len(lr) == 1 and len(hr) <= 1:
        return lr[0], hr[0] if hr else None
    if len(pictures) == 1 and not hr:
        return pictures[0], None
    raise _unclear(wanted, "cannot tell its LR and HR columns", pictures)


def _unclear(wanted: HubName, what: str, pictures: list[str]) -> DataError:
    found = ", ".join(map(printable, pictures)) or "none"
    return DataError(
        f"hf:{printable(wanted.repository)}: {what}; its image columns: {found}; name them: "
        f"hf:{printable(wanted.repository)}:SPLIT:LR_COLUMN,HR_COLUMN"
    )


Row = tuple[str, bytes, bytes | None]
"""(id, LR file, HR file)."""


def _selected(rows: Any, lr: str, hr: str | None) -> Iterator[Row]:
    """Undecoded files, so that the harness's own rules for images hold."""
    from datasets import Image

    chosen = [lr] if hr is None else [lr, hr]
    raw = rows.select_columns(chosen)
    for name in chosen:
        raw = raw.cast_column(name, Image(decode=False))
    for index, row in enumerate(raw):
        yield f"{index:06d}", _bytes(row[lr]), None if hr is None else _bytes(row[hr])


def _bytes(cell: Mapping[str, Any] | None) -> bytes:
    if cell is None:
        return b""
    return cell["bytes"] if cell["bytes"] is not None else Path(cell["path"]).read_bytes()


def _pairs(
    rows: Iterator[Row], folder: Path, scale: int, total: int, progress: Advance
) -> tuple[list[dict[str, Any]], Refusals]:
    entries: list[dict[str, Any]] = []
    refused: Refusals = []
    with tempfile.TemporaryDirectory() as scratch:
        for done, row in enumerate(rows, start=1):
            try:
                entries.append(_pair(row, folder, scale, Path(scratch)))
            except ImageError as error:
                refused.append((row[0], error.reason))
            progress(done, total)
    return entries, refused


def _pair(row: Row, folder: Path, scale: int, scratch: Path) -> dict[str, Any]:
    image_id, lr_bytes, hr_bytes = row
    lr = _decoded(lr_bytes, scratch / "lr")
    hr = None if hr_bytes is None else _decoded(hr_bytes, scratch / "hr")
    if hr is not None:
        require_pair(lr, hr, scale, image_id)
    return write_pair(folder, image_id, lr, hr)


def _decoded(content: bytes, path: Path) -> Any:
    path.write_bytes(content)
    return images.read_rgb(path)
