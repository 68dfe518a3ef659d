"""The card of a dataset: where its images come from and how pairs are made of them."""

import re
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, Field, JsonValue, model_validator

from bench.base.cards import Amount, Card, Count, FileName, Natural, Title
from bench.base.errors import CardError
from bench.base.hashing import derive_seed
from bench.base.lazy import resolve
from bench.base.remote_file import Archive
from bench.base.text import printable
from bench.files import images


class PackagedImage(Card):
    """A photograph that an installed distribution carries, and the box that is cut from it.

    `crop` is (left, top, width, height) in pixels; without it the whole image is taken, its right
    and bottom edge cut so that the sides are multiples of the scale.
    """

    id: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    distribution: str
    file: str
    sha256: str
    licence: str
    credit: str
    crop: tuple[int, int, int, int] | None = None


class PhotoCollection(Card):
    """A named collection of packaged photographs (a file below bench/data/photos)."""

    name: FileName
    images: list[PackagedImage] = Field(min_length=1)


class Degradation(Card):
    """How LR images are made from HR ones.

    `function` is "module:attr", called as `function(hr, scale=..., seed=..., **options)` with and
    giving (H, W, 3) uint8; `version` is an optional "module:attr" naming a function that tells
    what else its bytes depend on (library versions).
    """

    function: str
    options: dict[str, JsonValue] = Field(default_factory=dict)
    version: str = ""
    seed: Natural = 0

    def pair(self, hr: np.ndarray, scale: int, image_id: str) -> tuple[np.ndarray, np.ndarray]:
        """LR and HR of one image, seeded by its id alone: (H'/scale, W'/scale, 3) and (H', W', 3)
        uint8 of (H, W, 3), whose right and bottom edge are cut to multiples of `scale`."""
        hr = images.crop_to_multiple(hr, scale)
        seed, function = derive_seed(self.seed, image_id), resolve(self.function)
        try:
            return function(hr, scale=scale, seed=seed, **self.options), hr
        except (LookupError, TypeError, ValueError) as error:
            why = f"degradation '{self.function}' with its options: {printable(repr(error))}"
            raise CardError(why) from error

    def recipe(self) -> dict[str, Any]:
        """Everything that the LR bytes depend on, apart from the HR image and its id."""
        version = {"version": resolve(self.version)()} if self.version else {}
        return {**self.model_dump(mode="json"), **version}


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"expected a regular expression, found {pattern!r} ({error})") from error
    return pattern


Pattern = Annotated[str, AfterValidator(_compiles)]


class Side(Card):
    """The LR or the HR images in an archive.

    Attributes:
        files: pattern of their paths, where `*` does not cross a slash and `**` does.
        stem: regular expression that the whole stem must match; others are passed over.
        id: the image's id, with the groups of `stem` as `\\1`.
    """

    files: str
    stem: Pattern = "(.+)"
    id: str = r"\1"

    @model_validator(mode="after")
    def _names_groups_that_are_there(self) -> "Side":
        try:
            re.sub(self.stem, self.id, "")
        except (re.error, IndexError) as error:
            raise ValueError(f"expected an 'id' of groups of 'stem', found {self.id!r}") from error
        return self


class CentreCrop(Card):
    """The middle of each pair: `lr` LR pixels square, and the HR pixels that belong to them."""

    lr: Count


class DatasetCard(Card):
    """A test set: where its images come from and how LR and HR belong together.

    Attributes:
        photos: a photo collection of ours, or
        archive: what it is published as, with `lr` and `hr` saying which files are which side.
        crop: cut out of each pair of an archive.
        every: takes every n-th image by id, beginning with the first.
        degradation: makes the LR images where there are only HR ones.
        images: how many there must be.
        megapixels: of an HR image, about; 0 where they differ widely or it is not known.
        group: regular expression over an image's id whose parentheses hold the photograph that it
            is from, where several images are from one.
    """

    name: FileName
    title: Title
    summary: str
    licence: str
    source: str = ""
    scale: int = Field(default=4, ge=1, le=16)
    photos: str = ""
    archive: Archive | None = None
    lr: Side | None = None
    hr: Side | None = None
    crop: CentreCrop | None = None
    every: int = Field(default=1, ge=1)
    degradation: Degradation | None = None
    images: Natural = 0
    megapixels: Amount = 0
    group: Pattern = ""
    note: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> "DatasetCard":
        if bool(self.photos) == bool(self.archive):
            raise ValueError("expected either 'photos' or 'archive'")
        if self.photos and self.degradation is None:
            raise ValueError("'photos' need a 'degradation'")
        if self.photos and (self.lr or self.hr or self.every > 1):
            raise ValueError("'lr', 'hr' and 'every' are of an 'archive', not of 'photos'")
        if self.degradation and self.crop:
            raise ValueError("'crop' is of published pairs, not of what a 'degradation' makes")
        if self.archive and bool(self.lr) == bool(self.degradation):
            raise ValueError("expected either 'lr' or a 'degradation' that makes it from 'hr'")
        if self.degradation and self.archive and self.hr is None:
            raise ValueError("a 'degradation' needs 'hr'")
        if self.group and re.compile(self.group).groups != 1:
            raise ValueError(f"'group': expected a pattern with one (group), found {self.group!r}")
        return self
