"""The second-order degradation of Real-ESRGAN (section 3; options of its x4plus model).

All decisions are drawn first, as data (`options`); what they do to pixels is then a pure function:
`steps` for test sets, whose bytes stay; `fast` and `device` for training.
"""

from collections.abc import Sequence
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import features

from cassr.degradation import steps
from cassr.degradation.options import FULL as FULL
from cassr.degradation.options import MILD as MILD
from cassr.degradation.options import PRESETS as PRESETS
from cassr.degradation.options import DegradationOptions as DegradationOptions
from cassr.degradation.options import resolve_options, seeded_parameters
from cassr.degradation.parameters import DegradationParameters, OrderParameters
from cassr.degradation.parameters import Pixels as Pixels

if TYPE_CHECKING:
    import torch

RECIPE_VERSION = 1
"""Raised whenever the same seed gives other bytes than before."""
FAST_VERSION = "fast 1"


def degrade(
    hr: Pixels,
    *,
    seed: int,
    scale: int = 4,
    preset: str | DegradationOptions = "full",
    exact: bool = True,
) -> Pixels:
    """The low-resolution twin of one photograph; depends on the arguments alone.

    hr: (H, W, 3) uint8, H and W multiples of scale. seed: in [0, 2**64).
    preset: a name in PRESETS or own options. exact: the same bytes on every machine; else a third
    of the time for other bytes of the same distribution. Returns (H/scale, W/scale, 3) uint8.
    Raises ValueError for any other input.
    """
    return apply(hr, seeded_parameters(resolve_options(preset, scale), seed), exact)


def apply(hr: Pixels, parameters: DegradationParameters, exact: bool = True) -> Pixels:
    """Degrade one image as `parameters` say; a pure function. See `degrade`."""
    if not isinstance(hr, np.ndarray) or hr.dtype != np.uint8:
        found = getattr(hr, "dtype", type(hr).__name__)
        raise ValueError(f"hr: expected a uint8 numpy array, found {found}")
    if hr.ndim != 3 or hr.shape[2] != 3:
        raise ValueError(f"hr: expected shape (H, W, 3), found {hr.shape}; convert to RGB")
    by = steps if exact else import_module("cassr.degradation.fast")
    degraded: Pixels = _degraded(hr, (hr.shape[0], hr.shape[1]), parameters, by)
    return degraded


def degrade_batch(
    hr: "torch.Tensor",
    seeds: Sequence[int],
    *,
    scale: int = 4,
    preset: str | DegradationOptions = "full",
    device: "torch.device | str",
) -> "torch.Tensor":
    """As `degrade`, by a device, to other images of the same distribution.

    hr: (B, 3, H, W) float in [0, 1], rounded to 8 bits first; image i belongs to seeds[i], whatever
    the others are. Returns (B, 3, H/scale, W/scale) on 8-bit levels in [0, 1], with the dtype and
    device of hr. Raises ValueError for any other input.
    """
    import torch

    _check_batch(hr, seeds)
    options = resolve_options(preset, scale)
    drawn = [seeded_parameters(options, seed) for seed in seeds]
    by = import_module("cassr.degradation.device")
    size = (hr.shape[2], hr.shape[3])
    images = hr.detach().to(device).split(1)
    made = [_degraded(x, size, p, by) for x, p in zip(images, drawn, strict=True)]
    return torch.cat(made).to(hr.device, hr.dtype)


def _check_batch(hr: "torch.Tensor", seeds: Sequence[int]) -> None:
    if hr.ndim != 4 or hr.shape[1] != 3 or not hr.is_floating_point():
        raise ValueError(f"hr: expected (B, 3, H, W) float, found {tuple(hr.shape)} {hr.dtype}")
    if len(seeds) != len(hr) or not len(hr):
        raise ValueError(f"seeds: expected one for each image, found {len(seeds)} for {len(hr)}")
    if not bool(((hr >= 0) & (hr <= 1)).all()):
        raise ValueError(
            f"hr: expected values in [0, 1], found {hr.min().item():g} to {hr.max().item():g}"
        )


def degradation_version(exact: bool = True) -> dict[str, str]:
    """What the bytes of an LR image depend on beside image, seed and options."""
    made_by = {"numpy": metadata.version("numpy"), "scipy": metadata.version("scipy")}
    if not exact:
        import cv2

        return {"recipe": FAST_VERSION, "opencv": cv2.__version__} | made_by
    codec = features.version("libjpeg_turbo")
    return {
        "recipe": str(RECIPE_VERSION),
        "pillow": metadata.version("pillow"),
        "jpeg": f"libjpeg-turbo {codec}" if codec else f"libjpeg {features.version('jpg')}",
    } | made_by


def _degraded(hr: Any, size: tuple[int, int], parameters: DegradationParameters, by: Any) -> Any:
    """The order of the steps, by one of the modules that have them, on images as it takes them."""
    lr_size, first, second = _lr_size(size, parameters.scale), parameters.first, parameters.second
    image = by.load(hr)
    if parameters.usm:
        image = steps.usm_sharpen(image, by.blur)
    factor = first.resize.factor
    image = _disturbed(image, first, _scaled(size, factor), factor, by)
    image = _compressed(image, first.jpeg_quality, by)
    image = _disturbed(image, second, _scaled(lr_size, second.resize.factor), None, by)
    if not parameters.jpeg_last:
        image = _compressed(image, second.jpeg_quality, by)
    image = by.resize(image, lr_size, parameters.final_mode)
    if parameters.final_sinc is not None:
        image = by.blur(image, parameters.final_sinc.weights())
    if parameters.jpeg_last:
        image = _compressed(image, second.jpeg_quality, by)
    return by.to_pixels(image)


def _disturbed(
    image: Any, order: OrderParameters, size: tuple[int, int], factor: float | None, by: Any
) -> Any:
    """Blur, resize and noise of one order."""
    if order.kernel is not None:
        image = by.blur(image, order.kernel.weights())
    image = by.resize(image, size, order.resize.mode, factor)
    return image.clip(0, 1) if order.noise is None else by.add_noise(image, order.noise)


def _compressed(image: Any, quality: int | None, by: Any) -> Any:
    return image if quality is None else by.jpeg(image, quality)


def _scaled(size: tuple[int, int], factor: float) -> tuple[int, int]:
    return max(1, int(size[0] * factor)), max(1, int(size[1] * factor))


def _lr_size(size: tuple[int, int], scale: int) -> tuple[int, int]:
    height, width = size
    if min(size) < 1 or height % scale or width % scale:
        raise ValueError(
            f"hr: expected height and width to be multiples of scale {scale} above 0, found "
            f"{height}x{width}; crop to {height // scale * scale}x{width // scale * scale}"
        )
    return height // scale, width // scale
