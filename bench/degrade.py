"""LR images from HR ones, as a dataset's card says."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.cards import Degradation
from bench.hashing import derive_seed
from bench.lazy import resolve


def lr_of(hr: np.ndarray, degradation: Degradation, scale: int, image_id: str) -> np.ndarray:
    """Degrade one image, seeded by its id alone.

    Args:
        hr: (H, W, 3) uint8, H and W multiples of `scale`.

    Returns:
        (H/scale, W/scale, 3) uint8.
    """
    seed = derive_seed(degradation.seed, image_id)
    made: np.ndarray = resolve(degradation.function)(
        hr, scale=scale, seed=seed, **degradation.options
    )
    return made


def recipe_of(degradation: Degradation) -> dict[str, Any]:
    """Everything that the LR bytes depend on, apart from the HR image and its id."""
    recipe = degradation.model_dump(mode="json")
    if degradation.version:
        recipe["version"] = resolve(degradation.version)()
    return recipe
