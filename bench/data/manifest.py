"""Manifests on disk: which files a dataset is, with hashes of their bytes and pixels."""

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from bench.base.cards import whole_match
from bench.base.errors import DataError
from bench.base.hashing import is_same_file, json_sha256
from bench.base.records import read_as, read_or_why, write_atomic
from bench.base.text import printable
from bench.base.types import ImagePair, Manifest
from bench.files import images

FILE = "manifest.json"
GROUPS, GROUPS_HEADER = "groups.csv", ["image", "group"]
Refusals = list[tuple[str, str]]
"""(file, reason) of what cannot take part."""


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _File(_Entry):
    path: str
    sha256: str
    pixels_sha256: str
    width: int
    height: int
    size: int
    mtime_ns: int


class _Pair(_Entry):
    id: str
    lr: _File
    hr: _File | None
    group: str = ""


class _Description(_Entry):
    """What a manifest on disk must say; `check` (old ones lack it) is the hash of all the rest."""

    check: str = ""
    dataset: str
    scale: int
    sha256: str
    recipe: dict[str, Any]
    pairs: list[_Pair]
    refused: list[Annotated[list[str], Field(min_length=2, max_length=2)]]

    @model_validator(mode="before")
    @classmethod
    def _is_as_written(cls, found: Any) -> Any:
        if isinstance(found, dict) and found.get("check", "") not in ("", _check(found)):
            raise ValueError("its checksum does not fit")
        return found

    @model_validator(mode="after")
    def _is_whole(self) -> "_Description":
        if self.sha256 != content_sha256(self.scale, self.model_dump()["pairs"]):
            raise ValueError("its pairs are not those that its hash stands for")
        return self


def file_entry(path: Path, rgb: np.ndarray) -> dict[str, Any]:
    """What a manifest says of one image file; `rgb` is what it decodes to, (H, W, 3) uint8."""
    stat = path.stat()
    return {
        "path": str(path.resolve()),
        "sha256": images.file_sha256(path),
        "pixels_sha256": images.pixels_sha256(rgb),
        "width": rgb.shape[1],
        "height": rgb.shape[0],
        "size": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
    }


def describe(
    name: str,
    scale: int,
    entries: Iterable[dict[str, Any]],
    refused: Refusals,
    recipe: Mapping[str, Any],
) -> dict[str, Any]:
    """A manifest as it is written: pairs by id, and one hash over all ids and pixels."""
    pairs = sorted(entries, key=lambda entry: entry["id"])
    return {
        "dataset": name,
        "scale": scale,
        "sha256": content_sha256(scale, pairs),
        "recipe": dict(recipe),
        "pairs": pairs,
        "refused": [list(item) for item in refused],
    }


def made_in(folder: Path, source: str = "") -> Manifest | None:
    """The set that was made in `folder`; None where there is none, its files were changed or it was
    made of something else than `source`, where both are known (old manifests do not say)."""
    known = read_manifest(folder / FILE) or {}
    same = known and (not source or known.get("source", source) == source)
    return to_manifest(known) if same and unchanged(known) else None


def keep(
    folder: Path,
    name: str,
    scale: int,
    entries: Sequence[dict[str, Any]],
    refused: Refusals,
    recipe: Mapping[str, Any],
    source: str = "",
) -> Manifest:
    """Describe a set in `folder`, whose files are there by now and were made of `source` (see
    `made_in`); DataError where there is no pair names the first that was refused."""
    if not entries:
        first = f"; first: {' '.join(refused[0])}" if refused else ""
        why = f"no usable image pair, {len(refused)} refused{first}"
        raise DataError(f"{printable(name)}: {why}")
    description = describe(name, scale, entries, refused, recipe)
    description |= {"source": source} if source else {}
    write_manifest(folder / FILE, description)
    return to_manifest(description)


def content_sha256(scale: int, pairs: Iterable[Mapping[str, Any]]) -> str:
    """The hash over all ids and pixels of pairs in the order of their ids."""
    content = [
        [e["id"], e["lr"]["pixels_sha256"], e["hr"] and e["hr"]["pixels_sha256"]] for e in pairs
    ]
    return json_sha256([scale, content])


def write_manifest(path: Path, description: Mapping[str, Any]) -> None:
    """Write it whole; files below its folder are named from there, so both can be moved."""
    folder = path.parent.resolve()

    def from_there(name: str) -> str:
        file = Path(name)
        return str(file.relative_to(folder)) if file.is_relative_to(folder) else name

    found = _with_paths(description, from_there)
    found["check"] = _check(found)
    write_atomic(path, json.dumps(found, indent=1, sort_keys=True) + "\n")


def read_manifest(path: Path) -> dict[str, Any] | None:
    """What was written; None when it is missing or (then it is named) damaged."""
    found = read_as(path, _Description)
    if found is None:
        return None
    folder = path.parent.resolve()
    return _with_paths(found.model_dump(exclude_unset=True), lambda name: str(folder / name))


def damage(path: Path) -> str:
    """How a manifest is damaged; "" where it is not, or not there."""
    found = read_or_why(path, _Description)
    return found if isinstance(found, str) else ""


def _check(description: Mapping[str, Any]) -> str:
    return json_sha256({key: value for key, value in description.items() if key != "check"})


def _with_paths(description: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """A manifest with other paths of its files."""

    def changed(file: Any) -> Any:
        return {**file, "path": change(file["path"])} if file else file

    pairs = [
        {**pair, "lr": changed(pair["lr"]), "hr": changed(pair["hr"])}
        for pair in description["pairs"]
    ]
    return {**description, "pairs": pairs}


def unchanged(description: Mapping[str, Any]) -> bool:
    """Whether every file is still the one described."""
    files = (pair[side] for pair in description["pairs"] for side in ("lr", "hr") if pair[side])
    return all(
        is_same_file(Path(file["path"]), file["size"], file["mtime_ns"], file["sha256"])
        for file in files
    )


def to_manifest(description: Mapping[str, Any]) -> Manifest:
    told = {key: description[key] for key in ("dataset", "sha256", "scale", "recipe")}
    return Manifest(
        pairs=tuple(_to_pair(entry, told["scale"]) for entry in description["pairs"]),
        refused=tuple((name, reason) for name, reason in description["refused"]),
        **told,
    )


def _to_pair(entry: Mapping[str, Any], scale: int) -> ImagePair:
    (lr, lr_sha256), (hr, hr_sha256) = (
        (Path(file["path"]), file["sha256"]) if file else (None, None)
        for file in (entry["lr"], entry["hr"])
    )
    return ImagePair(entry["id"], lr, hr, lr_sha256, hr_sha256, scale, entry.get("group", ""))


# -- images of one photograph: crops, patches and bursts are not independent --------------------


def by_pattern(manifest: Manifest, pattern: str) -> Manifest:
    """Give each image whose id `pattern` matches the group that its parentheses hold."""
    if not pattern:
        return manifest
    found = {pair.id: whole_match(pattern, pair.id) for pair in manifest.pairs}
    return _with(manifest, {image: match[1] for image, match in found.items() if match})


def by_file(manifest: Manifest, path: Path) -> Manifest:
    """Give each image the group that a table ``image,group`` names, where there is one; DataError
    where it cannot be read, has other columns, or leaves out an image."""
    if not path.is_file():
        return manifest
    try:
        header, *rows = csv.reader(path.read_text(encoding="utf-8-sig").splitlines())
        groups = {image: group for image, group in rows if group}
        if header != GROUPS_HEADER:
            raise ValueError(header)
    except (OSError, ValueError, csv.Error) as error:
        columns = ",".join(GROUPS_HEADER)
        raise DataError(f"{printable(path)}: expected rows of two columns, {columns}") from error
    left = [pair.id for pair in manifest.pairs if pair.id not in groups]
    if left:
        raise DataError(
            f"{printable(path)}: has no group for image '{printable(left[0])}' "
            f"({len(left)} of {len(manifest.pairs)} left out); give each image one, its own name "
            "where it stands alone"
        )
    return _with(manifest, groups)


def _with(manifest: Manifest, groups: dict[str, str]) -> Manifest:
    pairs = tuple(replace(pair, group=groups.get(pair.id, pair.group)) for pair in manifest.pairs)
    return replace(manifest, pairs=pairs)
