"""One sample: a photograph -> a random crop -> an LR-HR pair (section 4.1)."""

import hashlib
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from cassr.base.errors import TrainingError, UnreadableImage
from cassr.config import PairSettings, TrainingSettings
from cassr.degradation import PRESETS, Pixels, degrade, degrade_batch

Sample = dict[str, Any]


def stream_seed(seed: int, use: str) -> int:
    """Where one use of a run's randomness starts, in [0, 2**64): the same on every machine.

    Of training alone: a test set's images have the harness's own seeds, by their names.
    """
    content = f"{seed}\0{use}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")


@dataclass(frozen=True)
class Recipe(PairSettings):
    """Settings of pairs that can be made, and what each sample draws.

    Where `degrade` is False, samples have no LR image: `degraded` makes it.
    """

    degrade: bool = field(default=True, repr=False)

    def __post_init__(self) -> None:
        if self.crop < self.scale or self.crop % self.scale:
            raise TrainingError(f"crop={self.crop}: expected a multiple of {self.scale}")
        if unknown := sorted(set(self.degradations) - set(PRESETS)):
            raise TrainingError(f"degradation {unknown[0]!r}: expected {', '.join(PRESETS)}")
        if not self.degradations:
            raise TrainingError(f"degradation: expected one of {', '.join(PRESETS)}, found none")
        if not self.shrink >= 1:
            raise TrainingError(f"shrink={self.shrink}: expected at least 1")

    def seed_of(self, index: int, purpose: str) -> int:
        """An integer in [0, 2**63) for one use of one sample."""
        return stream_seed(self.seed, f"{purpose}/{index}") >> 1

    def degradation_of(self, index: int) -> dict[str, Any]:
        """What a sample is degraded by."""
        preset = self.degradations[self.seed_of(index, "preset") % len(self.degradations)]
        return {"scale": self.scale, "preset": preset}


def recipe_of(settings: TrainingSettings, degrade: bool = True) -> Recipe:
    """The part of a stage's settings that makes its pairs."""
    names = [each.name for each in fields(PairSettings)]
    return Recipe(**{name: getattr(settings, name) for name in names}, degrade=degrade)


def degraded(batch: Sample, recipe: Recipe) -> Sample:
    """A batch with LR images, which are made where its HR images (B, 3, H, W) lie if it has none.

    They are other ones than a sample's own, of the same distribution.
    """
    if "lr" in batch:
        return batch
    numbers, hr = batch["index"].tolist(), batch["hr"]
    made = [
        degrade_batch(
            x, [recipe.seed_of(i, "degradation")], **recipe.degradation_of(i), device=hr.device
        )
        for i, x in zip(numbers, hr.split(1), strict=True)
    ]
    return batch | {"lr": torch.cat(made)}


def make_sample(pixels: Pixels, recipe: Recipe, index: int, name: str) -> Sample:
    """Sample number `index` of a run, from the photograph (H, W, 3) uint8 called `name`.

    Returns:
        hr: (3, crop, crop) uint8; lr: (3, crop/scale, crop/scale) uint8, unless others are to
        make it; seed: of its noise.

    Raises UnreadableImage: the photograph is smaller than a crop.
    """
    draw = np.random.Generator(np.random.PCG64(recipe.seed_of(index, "crop")))
    drawn = [_crop(pixels, recipe, draw, name) for _ in range(recipe.tries)]
    hr = max(drawn, key=_detail)
    sample: Sample = {"hr": _planes(hr)}
    if recipe.degrade:
        seed, by = recipe.seed_of(index, "degradation"), recipe.degradation_of(index)
        sample["lr"] = _planes(degrade(hr, seed=seed, **by, exact=False))
    return sample | {"seed": recipe.seed_of(index, "noise"), "index": index, "skipped": []}


def _detail(pixels: Pixels) -> float:
    """Mean absolute difference of neighbours."""
    green = pixels[..., 1].astype(np.int16)
    return float(np.abs(np.diff(green, axis=0)).mean() + np.abs(np.diff(green, axis=1)).mean())


def _planes(pixels: Pixels) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def _crop(pixels: Pixels, recipe: Recipe, draw: np.random.Generator, name: str) -> Pixels:
    """A random square, reduced, flipped and turned: (crop, crop, 3) uint8."""
    height, width = pixels.shape[:2]
    if min(height, width) < recipe.crop:
        raise UnreadableImage(
            name, f"expected sides of at least {recipe.crop} pixels, found {width}x{height}"
        )
    factor = draw.uniform(1.0, max(1.0, min(recipe.shrink, min(height, width) / recipe.crop)))
    side = min(round(recipe.crop * factor), height, width)
    top = int(draw.integers(height - side + 1))
    left = int(draw.integers(width - side + 1))
    square = pixels[top : top + side, left : left + side]
    if side != recipe.crop:
        image = PIL.Image.fromarray(np.ascontiguousarray(square))
        size = (recipe.crop, recipe.crop)
        square = np.array(image.resize(size, PIL.Image.Resampling.LANCZOS))
    if draw.random() < 0.5:
        square = square[:, ::-1]
    if recipe.rotate:
        square = np.rot90(square, int(draw.integers(4)))
    return np.ascontiguousarray(square)
