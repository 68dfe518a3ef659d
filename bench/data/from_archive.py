"""Test sets from the archives that they are published as: crop, degrade, check, describe."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from bench.base import leftovers
from bench.base.errors import DataError, ImageError, WeightsError
from bench.base.hashing import json_sha256
from bench.base.progress import Advance, silent
from bench.base.remote_file import Archive
from bench.base.text import printable, slug
from bench.base.types import Manifest
from bench.data.card import CentreCrop, DatasetCard, Side
from bench.data.manifest import FILE, keep, made_in
from bench.data.pairing import Pictures, require_pair, write_pairs
from bench.files import image_folders, images
from bench.remote import archives, weights


def build_from_archive(
    card: DatasetCard, root: Path, asked: str, progress: Advance = silent
) -> Manifest:
    """As `bench.data.find.build`, of a card with `archive`; `asked` is the name that the user gave.

    Raises:
        DataError: the archive is missing, hostile, damaged, or has not the images expected.
    """
    folder = folder_of(card, root)
    if known := made_in(folder):
        return known
    path = locate(card, asked)
    with _unpacked(card, path, root) as sides:
        ids = sorted(set().union(*sides.values()))[:: card.every]
        made = ((image_id, partial(_pictures, card, sides, image_id)) for image_id in ids)
        entries, refused = write_pairs(folder, made, len(ids), progress)
    if card.images and len(entries) + len(refused) != card.images:
        raise DataError(
            f"{printable(path)}: expected {card.images} images of {card.title}, found "
            f"{len(entries) + len(refused)}; is it another version of the set?"
        )
    return keep(folder, card.name, card.scale, entries, refused, recipe(card))


def locate(card: DatasetCard, asked: str) -> Path:
    """The card's archive on this machine, checked; DataError where it is missing (says how to get
    it) or is another file than expected."""
    assert card.archive is not None
    if weights.find(card.archive) is None:
        weights.forget(card.archive)
        raise DataError(how_to_get(card.archive, asked))
    try:
        return weights.locate(card.archive)
    except WeightsError as error:
        raise DataError(str(error)) from error


def how_to_get(archive: Archive, asked: str) -> str:
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


def is_built(card: DatasetCard, root: Path) -> bool:
    return (folder_of(card, root) / FILE).is_file()


def folder_of(card: DatasetCard, root: Path) -> Path:
    return root / f"{slug(card.name)}-{json_sha256(recipe(card))[:12]}"


def recipe(card: DatasetCard) -> dict[str, Any]:
    """Everything that the bytes depend on."""
    every = {"every"} if card.every > 1 else set()
    parts = card.model_dump(mode="json", include={"scale", "lr", "hr", "crop"} | every)
    assert card.archive is not None
    parts["archive"] = {"name": card.archive.name, "sha256": card.archive.sha256}
    if card.degradation is not None:
        parts["degradation"] = card.degradation.recipe()
    return parts


# -- files ---------------------------------------------------------------------------------------

Sides = dict[str, dict[str, Path]]
"""Side ("lr", "hr") -> id -> file."""


@contextmanager
def _unpacked(card: DatasetCard, path: Path, root: Path) -> Iterator[Sides]:
    """The images of both sides as files of a temporary folder, under names of ours."""
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
        yield found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _id_of(path: str, side: Side) -> str | None:
    """The id of the image that a member is; None when it is no image of this side."""
    inside = PurePosixPath(path)
    if inside.name.startswith(".") or inside.suffix.lower() not in image_folders.SUFFIXES:
        return None
    match = re.fullmatch(side.stem, inside.stem)
    if match is None or not archives.matches(path, side.files):
        return None
    return match.expand(side.id)


# -- pairs ---------------------------------------------------------------------------------------


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
