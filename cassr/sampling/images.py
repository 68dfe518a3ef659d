"""Images in and out of the pipeline: PIL, numpy or torch to (1, 3, h, w) float32 and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F
from torch import Tensor

ImageLike = PIL.Image.Image | np.ndarray | Tensor
OutputType = Literal["pil", "np", "pt"]


def to_tensors(images: ImageLike | Sequence[ImageLike], name: str = "image") -> list[Tensor]:
    """One (1, 3, h, w) float32 tensor in [0, 1] for every image.

    Args:
        images: a PIL image, an array (h, w, 3) or (B, h, w, 3) of uint8 or of float in [0, 1], a
            tensor (3, h, w) or (B, 3, h, w) in [0, 1], or a sequence of those.
        name: what the images are called in an error.

    Raises:
        ValueError: wrong shape or type, no pixels, NaN or infinite values, values outside [0, 1].
    """
    if isinstance(images, PIL.Image.Image | np.ndarray | Tensor):
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
        image = np.array(image.convert("RGB"))
    if isinstance(image, np.ndarray):
        array = torch.from_numpy(np.array(image))
        array = array[None] if array.ndim == 3 else array
        image = array.movedim(-1, 1) if array.ndim == 4 else array
    if not isinstance(image, Tensor):
        raise ValueError(f"{name}: expected a PIL image, array or tensor, found {type(image)}")
    image = image[None] if image.ndim == 3 else image
    if image.ndim != 4 or image.shape[1] != 3 or 0 in image.shape:
        raise ValueError(f"{name}: expected RGB with at least one pixel, found {_describe(image)}")
    if image.dtype == torch.uint8:
        return image.float() / 255
    if not image.is_floating_point():
        raise ValueError(f"{name}: expected uint8 or float in [0, 1], found {image.dtype}")
    return image.float()


def _describe(image: Tensor) -> str:
    return f"shape {tuple(image.shape)}"


def _check(image: Tensor, name: str) -> None:
    if not torch.isfinite(image).all():
        raise ValueError(f"{name}: expected values in [0, 1], found NaN or infinite ones")
    low, high = image.aminmax()
    if low < 0 or high > 1:
        raise ValueError(f"{name}: expected values in [0, 1], found {low:.4g} to {high:.4g}")


def upscale_bicubic(lr: Tensor, scale: int) -> Tensor:
    """Bicubic upscaling (a = -0.5), clamped.

    Args:
        lr: (B, 3, h, w) in [0, 1].

    Returns:
        (B, 3, scale*h, scale*w) in [0, 1].
    """
    if scale == 1:
        return lr
    size = (lr.shape[2] * scale, lr.shape[3] * scale)
    return F.interpolate(lr, size=size, mode="bicubic", antialias=True).clamp_(0, 1)


def quantize(image: Tensor) -> Tensor:
    """(B, 3, H, W) in [0, 1], rounded to multiples of 1/255 as a file on disk would be."""
    return image.mul(255).round_().div_(255)


def from_tensors(images: list[Tensor], output_type: OutputType) -> Any:
    """Tensors (1, 3, H, W) in [0, 1] as the caller wants them.

    Returns:
        "pil": list of PIL images; "np": list of (H, W, 3) float32 arrays; "pt": (B, 3, H, W) if
        all sizes are equal, else a list of (1, 3, H, W).
    """
    if output_type == "pt":
        same = len({image.shape for image in images}) == 1
        return torch.cat(images) if same else images
    arrays = [image[0].permute(1, 2, 0).cpu().numpy() for image in images]
    if output_type == "np":
        return arrays
    return [PIL.Image.fromarray((a * 255).round().astype(np.uint8)) for a in arrays]
