"""Test sets: cards, and ways from a card, a folder or the hub to hashed pairs of images."""

import numpy as np


def downscale(hr: np.ndarray, *, scale: int, seed: int, filter: str) -> np.ndarray:
    """(H, W, 3) uint8 -> (H // scale, W // scale, 3): plain antialiased downscaling (Pillow); the
    seed changes nothing. Cards and stored manifests call it by this name."""
    from bench.files import images  # heavy: only to make a set

    height, width = hr.shape[:2]
    return images.resize(hr, width // scale, height // scale, filter)
