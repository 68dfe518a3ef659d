"""LR images from HR ones, as a dataset's card says."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.base.hashing import derive_seed
from bench.base.lazy import resolve
from bench.data.card import Degradation
from bench.files import images


def degraded(
    hr: np.ndarray, degradation: Degradation, scale: int, image_id: str
) -> tuple[np.ndarray, np.ndarray]:
    """LR and HR of one image, seeded by its id alone.

    Args:
        hr: (H, W, 3) uint8; its right and bottom edge are cut to multiples of `scale`.

    Returns:
        (H'/scale, W'/scale, 3) and (H', W', 3) uint8.
    """
    hr = images.crop_to_multiple(hr, scale)
    seed = derive_seed(degradation.seed, image_id)
    degrade = resolve(degradation.function)
    return degrade(hr, scale=scale, seed=seed, **degradation.options), hr


def recipe_of(degradation: Degradation) -> dict[str, Any]:
    """Everything that the LR bytes depend on, apart from the HR image and its id."""
    recipe = degradation.model_dump(mode="json")
    if degradation.version:
        recipe["version"] = resolve(degradation.version)()
    return recipe


def downscale(hr: np.ndarray, *, scale: int, seed: int, filter: str) -> np.ndarray:
    """(H, W, 3) uint8 -> (H // scale, W // scale, 3): plain antialiased downscaling (Pillow); the
    seed changes nothing."""
    height, width = hr.shape[:2]
    return images.resize(hr, width // scale, height // scale, filter)
