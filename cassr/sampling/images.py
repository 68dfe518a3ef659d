"""Images in and out of the pipeline: PIL, numpy or torch to (1, 3, h, w) float32 and back."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F
from torch import Tensor

from cassr.sampling.numbers import finite

ImageLike = PIL.Image.Image | np.ndarray | Tensor
OutputType = Literal["pil", "np", "pt", "latent"]
OUTPUT_TYPES: tuple[OutputType, ...] = get_args(OutputType)
FULL = {torch.uint8: 2**8 - 1, torch.uint16: 2**16 - 1}
"""The value of white, by type of integers."""
EIGHT_BIT_MODES = ("1", "L", "P", "RGB", "YCbCr", "HSV", "LAB")


def to_tensors(images: ImageLike | Sequence[ImageLike], name: str = "image") -> list[Tensor]:
    """One (1, 3, h, w) float32 tensor in [0, 1] for every image.

    Args:
        images: a PIL image of 8 bits, or grey of 16; an array (h, w, 3) or (B, h, w, 3), or a
            tensor (3, h, w) or (B, 3, h, w), of uint8, uint16 or of float in [0, 1]; or a sequence
            of those.
        name: what the images are called in an error.

    Raises ValueError: wrong shape or type, no pixels, NaN or infinite values, values outside
    [0, 1], transparency.
    """
    if not isinstance(images, Sequence):
        images = [images]
    tensors = [x for image in images for x in _convert(image, name).split(1)]
    if not tensors:
        raise ValueError(f"{name}: expected at least one image, found none")
    for index, tensor in enumerate(tensors):
        _check(tensor, f"{name} {index}")
    return tensors


def _convert(image: ImageLike, name: str) -> Tensor:
    """(B, 3, h, w) float32."""
    if isinstance(image, PIL.Image.Image):
        image = _pixels(image, name)
    if isinstance(image, np.ndarray):
        array = torch.from_numpy(np.array(image))
        array = array[None] if array.ndim == 3 else array
        image = array.movedim(-1, 1) if array.ndim == 4 else array
    if not isinstance(image, Tensor):
        raise ValueError(f"{name}: expected a PIL image, array or tensor, found {type(image)}")
    image = image[None] if image.ndim == 3 else image
    if image.ndim != 4 or image.shape[1] != 3 or 0 in image.shape:
        found = f"shape {tuple(image.shape)}"
        raise ValueError(f"{name}: expected RGB with at least one pixel, found {found}")
    if image.dtype in FULL:
        return image.float() / FULL[image.dtype]
    if not image.is_floating_point():
        raise ValueError(f"{name}: expected uint8, uint16 or float in [0, 1], found {image.dtype}")
    return image.float()


def _pixels(image: PIL.Image.Image, name: str) -> np.ndarray:
    """(h, w, 3) uint8, or uint16 where the image has so much."""
    if image.mode.startswith("I;16"):
        return np.repeat(np.array(image).astype(np.uint16)[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if np.asarray(image)[..., 3].min() < 255:
            raise ValueError(f"{name}: expected an opaque image, found transparency; flatten it")
    elif image.mode not in EIGHT_BIT_MODES:
        raise ValueError(f"{name}: expected 8-bit RGB or grey, found mode {image.mode!r}")
    return np.array(image.convert("RGB"))


def _check(image: Tensor, name: str) -> None:
    if not torch.isfinite(image).all():
        raise ValueError(f"{name}: expected values in [0, 1], found NaN or infinite ones")
    low, high = image.aminmax()
    if low < 0 or high > 1:
        raise ValueError(f"{name}: expected values in [0, 1], found {low:.4g} to {high:.4g}")


def scaled_size(lr: Tensor, scale: float) -> tuple[int, int]:
    """(H, W) of scale x (..., h, w), at least one pixel; ValueError: no scale above 0."""
    if (factor := finite(scale, "scale")) <= 0:
        raise ValueError(f"scale={scale!r}: expected more than 0")
    height, width = (max(1, round(side * factor)) for side in lr.shape[-2:])
    return height, width


def processed_size(size: tuple[int, int], least: int) -> tuple[int, int]:
    """(H, W) enlarged until the shorter side is `least`; as it is where that is no less."""
    factor = max(1.0, least / min(size))
    height, width = (round(side * factor) for side in size)
    return height, width


def upscale_bicubic(lr: Tensor, scale: float) -> Tensor:
    """(B, 3, h, w) in [0, 1] -> (B, 3, scale*h, scale*w), as `resize_bicubic`."""
    return resize_bicubic(lr, scaled_size(lr, scale))


def resize_bicubic(image: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, 3, h, w) in [0, 1] -> (B, 3, *size), a = -0.5, clamped; unchanged at that size."""
    if tuple(image.shape[2:]) == tuple(size):
        return image
    return F.interpolate(image, size=size, mode="bicubic", antialias=True).clamp_(0, 1)


def quantize(image: Tensor) -> Tensor:
    """(B, 3, H, W) in [0, 1], rounded to multiples of 1/255 as a file on disk would be."""
    return image.mul(255).round_().div_(255)


def from_tensors(images: list[Tensor], output_type: OutputType) -> Any:
    """Tensors (1, 3, H, W) in [0, 1] as the caller wants them.

    Returns:
        "pil": list of PIL images; "np": (B, H, W, 3) float32; "pt" and "latent": (B, C, H, W).
        Where sizes differ, the last three give a list: (H, W, 3) or (1, C, H, W) each.
    """
    same = len({image.shape for image in images}) == 1
    if output_type in ("pt", "latent"):
        return torch.cat(images) if same else images
    arrays = [image[0].permute(1, 2, 0).cpu().numpy() for image in images]
    if output_type == "np":
        return np.stack(arrays) if same else arrays
    return [PIL.Image.fromarray((a * 255).round().astype(np.uint8)) for a in arrays]
