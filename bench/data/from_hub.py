"""Any dataset of the Hugging Face hub (or in its format on disk) that has image columns."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.base import leftovers
from bench.base.errors import DataError, ImageError
from bench.base.hashing import json_sha256, state_sha256
from bench.base.progress import Advance, silent
from bench.base.text import first_line, printable, slug
from bench.base.types import Manifest
from bench.data.manifest import keep, made_in
from bench.data.pairing import Pictures, require_pair, write_pairs
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
    """Take `hf:...` apart; DataError where it has another form."""
    match = _NAME.fullmatch(name)
    if match is None:
        form = "hf:OWNER/NAME[@REVISION][:SPLIT[:LR_COLUMN[,HR_COLUMN]]]"
        raise DataError(f"dataset '{printable(name)}': expected {form}")
    return HubName(**match.groupdict())


def build_from_hub(name: str, scale: int, root: Path, progress: Advance = silent) -> Manifest:
    """Write a hub dataset's images, whose ids are the rows' numbers, below `root` as PNGs, once;
    DataError: no such dataset, split or column, or no usable image."""
    wanted = parse(name)
    own = [wanted.repository] if Path(wanted.repository).exists() else []
    asked = [name, scale, *map(os.path.realpath, own)]  # the name means another folder elsewhere
    folder = root / f"{slug(name)}-{json_sha256(asked)[:12]}"
    source = state_sha256(Path(wanted.repository)) if own else ""
    if known := made_in(folder, source):
        return known
    rows, revision, split = _load(wanted)
    lr, hr = columns(wanted, rows.features)
    with leftovers.scratch() as scratch:
        made = _pairs(rows, lr, hr, scale, partial(_decoded, Path(scratch), own))
        entries, refused = write_pairs(folder, made, len(rows), progress)
    recipe: dict[str, Any] = {"repository": wanted.repository, "revision": revision}
    recipe |= {"split": split, "columns": [lr, hr]}
    return keep(folder, name, scale, entries, refused, recipe, source)


def _load(wanted: HubName) -> tuple[Any, str, str]:
    """(rows, revision, split)."""
    import datasets

    local = Path(wanted.repository).exists()
    revision = wanted.revision or ("" if local else _newest(wanted.repository))
    try:
        found = datasets.load_dataset(wanted.repository, revision=revision or None)
    except Exception as error:  # the library raises many kinds for what cannot be loaded
        raise DataError(f"hf:{printable(wanted.repository)}: {first_line(error)}") from error
    split = wanted.split or next((s for s in SPLITS if s in found), "")
    if split not in found:
        none = f"no split '{printable(split)}', it has {', '.join(map(printable, found))}"
        raise DataError(f"hf:{printable(wanted.repository)}: {none}")
    return found[split], revision, split


def _newest(repository: str) -> str:
    from huggingface_hub import HfApi

    try:
        return HfApi().dataset_info(repository).sha or ""
    except Exception:  # what it raises changes with the HTTP library that it uses
        return ""  # offline: what the cache holds is taken, its content is hashed in any case


def columns(wanted: HubName, features: Mapping[str, Any]) -> tuple[str, str | None]:
    """The LR and the HR column: as named, else by their usual names; a single one without such a
    name is LR without ground truth. DataError: none, or it cannot be told which is which."""
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
    name, found = f"hf:{printable(wanted.repository)}", ", ".join(map(printable, pictures))
    how = f"name them: {name}:SPLIT:LR_COLUMN,HR_COLUMN"
    return DataError(f"{name}: {what}; its image columns: {found or 'none'}; {how}")


def _pairs(
    rows: Any, lr: str, hr: str | None, scale: int, decoded: Callable[[Any], np.ndarray]
) -> Iterator[tuple[str, Callable[[], Pictures]]]:
    """Id of each row, and what decodes its files, by the harness's own rules for images."""
    from datasets import Image

    chosen = [lr] if hr is None else [lr, hr]
    raw = rows.select_columns(chosen)
    for name in chosen:
        raw = raw.cast_column(name, Image(decode=False))
    for index, row in enumerate(raw):
        image_id, cells = f"{index:06d}", [row[name] for name in chosen]
        yield image_id, partial(_pictures, image_id, cells, scale, decoded)


def _pictures(
    image_id: str, cells: list[Any], scale: int, decoded: Callable[[Any], np.ndarray]
) -> Pictures:
    lr = decoded(cells[0])
    if len(cells) == 1:
        return lr, None
    hr = decoded(cells[1])
    require_pair(lr, hr, scale, image_id)
    return lr, hr


def _decoded(scratch: Path, own: list[str], cell: Mapping[str, Any] | None) -> np.ndarray:
    """The image of a cell, which holds a file's bytes or names one; it may name any file, of which
    those in the set's `own` folder and where the libraries put a set's files are taken."""
    from datasets import config
    from huggingface_hub.constants import HF_HUB_CACHE

    found = cell or {"bytes": b""}
    if found["bytes"] is not None:
        (scratch / "image").write_bytes(found["bytes"])
        return images.read_rgb(scratch / "image")
    path = Path(os.path.abspath(found["path"] or ""))
    places = (*own, config.HF_DATASETS_CACHE, config.DOWNLOADED_DATASETS_PATH, HF_HUB_CACHE)
    # The library may have followed links to the set, and none in a hub's folder of links to blobs.
    below = [follow(place) for place in places for follow in (os.path.abspath, os.path.realpath)]
    if not any(map(path.is_relative_to, below)):
        raise ImageError("names a file that is not of the set")
    return images.read_rgb(path)
