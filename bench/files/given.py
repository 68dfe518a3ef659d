"""Images as Python code holds them (arrays, tensors, Pillow's, paths), as 8-bit RGB and back."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as Pillow

from bench.base.errors import ImageError
from bench.files.images import read_rgb, rgb_of, to_tensor, to_uint8

if TYPE_CHECKING:
    from torch import Tensor

Image = Any
"""(H, W, 3) uint8 or float array, (3, H, W) float tensor, Pillow's image, or a file's path."""
DARKEST = -0.5
"""Networks overshoot less; an image in [-1, 1] that stays above it has nothing dark."""
EXPECTED = (
    "expected an array (H, W, 3) of uint8 or of floats in [0, 1], a tensor (3, H, W) of floats in "
    "[0, 1], a batch of them, an image of Pillow's, a path, or a list of these"
)


@dataclass(frozen=True)
class Given:
    """What was given, as single images.

    Attributes:
        images: (H, W, 3) uint8 each; floats are rounded, as a file would hold them.
        files: the file of each; None where it is none.
        like: what was given; `back` gives the same kind.
        many: whether it was a batch or list.
    """

    images: list[np.ndarray]
    files: list[Path | None]
    like: Any
    many: bool

    def back(self, images: Sequence[np.ndarray]) -> Any:
        """Other images in the form in which these were given; files as images of Pillow's."""
        if isinstance(self.like, list):
            return [_as(one, image) for one, image in zip(self.like, images, strict=True)]
        made = [_as(self.like, image) for image in images]
        if not self.many:
            return made[0]
        if isinstance(self.like, np.ndarray):
            return np.stack(made)
        import torch

        return torch.stack(made)


def unpack(given: Any) -> Given:
    """Take images apart; ImageError, which says what was found, where it is none of what can be
    given."""
    if isinstance(given, (list, tuple)):
        parts = [_unpacked(one) for one in given]
        if any(part.many for part in parts):
            raise ImageError(f"{EXPECTED}; found a list with a batch in it")
        files = [file for part in parts for file in part.files]
        return Given([one for part in parts for one in part.images], files, list(given), True)
    return _unpacked(given)


def _unpacked(given: Any) -> Given:
    if isinstance(given, (str, os.PathLike)):
        path = Path(given)
        return Given([read_rgb(path)], [path], given, False)
    if isinstance(given, Pillow.Image):
        return Given([rgb_of(given)], [None], given, False)
    if isinstance(given, np.ndarray):
        convert: Callable[[Any], np.ndarray] = _from_array
    elif hasattr(given, "is_floating_point"):  # a tensor, without importing torch to see
        convert = _from_tensor
    else:
        raise ImageError(f"{EXPECTED}; found {type(given).__name__}")
    many = given.ndim == 4
    images = [convert(one) for one in (given if many else [given])]
    if any(0 in image.shape for image in images):
        raise ImageError(f"{EXPECTED}; found one without pixels")
    return Given(images, [None] * len(images), given, many)


def _from_array(array: np.ndarray) -> np.ndarray:
    is_float = array.dtype.kind == "f"
    if array.ndim != 3 or array.shape[2] != 3 or not (is_float or array.dtype == np.uint8):
        raise ImageError(f"{EXPECTED}; found an array {array.shape} of {array.dtype}")
    if not is_float:
        return array
    import torch

    return _from_tensor(torch.from_numpy(array.astype(np.float32, order="C")).permute(2, 0, 1))


def _from_tensor(tensor: "Tensor") -> np.ndarray:
    if tensor.ndim != 3 or tensor.shape[0] != 3:
        raise ImageError(f"{EXPECTED}; found a tensor {tuple(tensor.shape)}")
    darkest = float(tensor.min()) if tensor.numel() else 0.0
    if darkest < DARKEST:
        raise ImageError(
            f"{EXPECTED}; found values down to {darkest:g}; give (x + 1) / 2 if black is -1"
        )
    return to_uint8(tensor[None])


def _as(like: Any, rgb: np.ndarray) -> Any:
    """(H, W, 3) uint8 as `like` is, with its type and device."""
    if isinstance(like, (str, os.PathLike, Pillow.Image)):
        return Pillow.fromarray(rgb)
    if isinstance(like, np.ndarray):
        return rgb if like.dtype == np.uint8 else (rgb / 255).astype(like.dtype)
    return to_tensor(rgb)[0].to(like)
