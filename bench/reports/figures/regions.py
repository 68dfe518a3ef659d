"""Where methods differ: which pictures are worth showing, and which part of them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.base.errors import DataError
from bench.base.text import printable, suggestion
from bench.results.results import PictureSet, Results
from bench.results.view import ShownRegion

if TYPE_CHECKING:
    import pandas as pd

SHARE, SMALLEST, LARGEST = 4, 12, 64
"""A region is a quarter of the LR image's shorter side, from 12 to 64 pixels."""


@dataclass(frozen=True)
class Region:
    """A square of pixels."""

    left: int
    top: int
    side: int

    def scaled(self, scale: int) -> "Region":
        """The same square of a picture `scale` times as large."""
        return Region(self.left * scale, self.top * scale, self.side * scale)

    def cut(self, rgb: np.ndarray) -> np.ndarray:
        """The square of (H, W, 3): (side, side, 3)."""
        return rgb[self.top : self.top + self.side, self.left : self.left + self.side]


def parse_region(text: str, images: Mapping[str, Sequence[str]]) -> ShownRegion:
    """ "DATASET:IMAGE:X,Y,SIDE" -> the square of that image.

    Args:
        images: ids of the images by dataset.

    Raises:
        DataError: another form, or a dataset or image that is not there.
    """
    name, _, numbers = text.rpartition(":")
    found = re.fullmatch(r"(\d{1,9}),(\d{1,9}),([1-9]\d{0,8})", numbers)
    dataset = next((known for known in images if name.startswith(f"{known}:")), None)
    if found is None or dataset is None:
        raise DataError(
            f"--region: expected DATASET:IMAGE:X,Y,SIDE in HR pixels with a dataset of "
            f"{printable(', '.join(images))}, found '{printable(text)}'"
        )
    image = name[len(dataset) + 1 :]
    if image not in images[dataset]:
        hint = suggestion(image, images[dataset])
        raise DataError(f"--region: no image '{printable(image)}' in {printable(dataset)}{hint}")
    return ShownRegion(dataset, image, *map(int, found.groups()))


def choose_region(pictures: Sequence[np.ndarray], scale: int) -> Region:
    """The square of LR pixels where SR pictures differ most in grey (standard deviation).

    The first such square in reading order is taken, so equal pictures give the upper left one.

    Args:
        pictures: (H, W, 3) uint8 each, all of one size; one or none gives the centre.
        scale: SR side / LR side; the square lies on the LR image's pixel grid.
    """
    height, width = (side // scale for side in pictures[0].shape[:2])
    shorter = min(height, width)
    side = min(shorter, max(SMALLEST, min(LARGEST, shorter // SHARE)))
    if len(pictures) < 2:
        return Region((width - side) // 2, (height - side) // 2, side)
    spread = _spread(pictures)[: height * scale, : width * scale]
    pooled = spread.reshape(height, scale, width, scale).mean(axis=(1, 3))
    total = np.pad(pooled, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    sums = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    top, left = np.unravel_index(int(np.argmax(sums.round(6))), sums.shape)
    return Region(int(left), int(top), side)


def _spread(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Standard deviation over the pictures' channel sums, (H, W) float64, from exact integers."""
    total = np.zeros(pictures[0].shape[:2], np.int64)
    squares = np.zeros_like(total)
    for picture in pictures:
        red, green, blue = np.moveaxis(picture, 2, 0)
        grey = red.astype(np.int32) + green + blue
        total += grey
        squares += grey * grey
    n = len(pictures)
    return np.sqrt(n * squares - total * total) / n


def choose_pictures(results: Results, dataset: str, limit: int) -> list[PictureSet]:
    """The first picture of a dataset, then those on which the methods' scores differ most."""
    own = [picture for picture in results.pictures if picture.dataset == dataset]
    spread = _score_spread(results.scores[results.scores["dataset"] == dataset])
    ranked = sorted(own[1:], key=lambda picture: -spread.get(picture.image, 0.0))
    return [*own[:1], *ranked][:limit]


def _score_spread(scores: "pd.DataFrame") -> dict[str, float]:
    """Per image, how far its methods are apart: mean over metrics of their relative deviation."""
    known = scores[np.isfinite(scores["value"].astype(float)) & (scores["image"] != "")]
    if known.empty:
        return {}
    by_image = known.groupby(["metric", "image"])["value"].std().fillna(0.0)
    overall = by_image.groupby(level="metric").transform("mean")
    relative = (by_image / overall.where(overall > 0)).fillna(0.0)
    means = relative.groupby(level="image").mean().round(9)
    return {str(image): float(value) for image, value in means.items()}
