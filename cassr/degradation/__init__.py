"""The second-order degradation of Real-ESRGAN (section 3; options of its x4plus model).

All decisions are drawn first, as data (`sample_parameters`); `apply` is then a pure function.
"""

from __future__ import annotations

import math
import tomllib
from bisect import bisect_right
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from importlib.resources import files
from itertools import accumulate
from typing import TYPE_CHECKING, Annotated, TypeVar

import numpy as np
from PIL import features
from pydantic import AfterValidator, Field

from cassr.degradation.steps import (
    GAUSSIAN_KINDS,
    RESIZE_MODES,
    DegradationParameters,
    Direction,
    Frozen,
    GaussianKernel,
    NoiseParameters,
    OrderParameters,
    Pixels,
    ResizeParameters,
    SincKernel,
    apply,
)

if TYPE_CHECKING:
    import torch

RECIPE_VERSION = 1
"""Raised whenever the same seed gives other bytes than before."""

DIRECTIONS: tuple[Direction, ...] = ("up", "down", "keep")
T = TypeVar("T")


def _ordered(limits: tuple[float, float]) -> tuple[float, float]:
    if not limits[0] <= limits[1]:
        raise ValueError(f"expected (lowest, highest), found {limits}")
    return limits


def _around_one(limits: tuple[float, float]) -> tuple[float, float]:
    if not 0 < limits[0] <= 1 <= limits[1]:
        raise ValueError(f"expected 0 < lowest <= 1 <= highest, found {limits}")
    return limits


def _sums_to_one(probabilities: tuple[float, ...]) -> tuple[float, ...]:
    if min(probabilities) < 0 or not math.isclose(sum(probabilities), 1, abs_tol=1e-9):
        raise ValueError(f"expected probabilities that sum to 1, found {probabilities}")
    return probabilities


Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Quality = Annotated[int, Field(ge=1, le=100)]
Range = Annotated[tuple[Positive, Positive], AfterValidator(_ordered)]
RangeAroundOne = Annotated[tuple[float, float], AfterValidator(_around_one)]
Qualities = Annotated[tuple[Quality, Quality], AfterValidator(_ordered)]
Three = Annotated[tuple[float, float, float], AfterValidator(_sums_to_one)]
Six = Annotated[tuple[float, float, float, float, float, float], AfterValidator(_sums_to_one)]

KERNEL_SIZES = tuple(range(7, 22, 2))


class BlurOptions(Frozen):
    """sigma in pixels, cut-offs in radians a pixel; `beta_*` are the shapes."""

    probability: Probability
    sigma: Range
    sizes: tuple[int, ...] = KERNEL_SIZES
    kinds: Six = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
    beta_generalized: RangeAroundOne = (0.5, 4.0)
    beta_plateau: RangeAroundOne = (1.0, 2.0)
    sinc_probability: Probability = 0.1
    sinc_small_below: int = 13
    sinc_cutoff_small: Range = (math.pi / 3, math.pi)
    sinc_cutoff_large: Range = (math.pi / 5, math.pi)


class ResizeOptions(Frozen):
    """probabilities of up, down, keep; limits of the factor: lowest for down, highest for up."""

    probabilities: Three
    limits: RangeAroundOne


class NoiseOptions(Frozen):
    """Poisson noise where it isn't Gaussian; sigma in levels of 255, scale in shot noises."""

    sigma: Range
    poisson_scale: Range
    probability: Probability = 1.0
    gaussian_probability: Probability = 0.5
    grey_probability: Probability = 0.4


class JpegOptions(Frozen):
    quality: Qualities
    probability: Probability = 1.0


class OrderOptions(Frozen):
    blur: BlurOptions
    resize: ResizeOptions
    noise: NoiseOptions
    jpeg: JpegOptions


class FinalOptions(Frozen):
    sinc_probability: Probability = 0.8
    sinc_sizes: tuple[int, ...] = KERNEL_SIZES
    sinc_cutoff: Range = (math.pi / 3, math.pi)
    jpeg_last_probability: Probability = 0.5


class DegradationOptions(Frozen):
    """What is drawn from: the distributions of one degradation."""

    first: OrderOptions
    second: OrderOptions
    final: FinalOptions = FinalOptions()
    usm: bool = True
    scale: Annotated[int, Field(ge=1)] = 4


_SAID = tomllib.loads(files(__name__).joinpath("presets.toml").read_text("utf-8"))
PRESETS = {name: DegradationOptions.model_validate(said) for name, said in _SAID.items()}
FULL, MILD = PRESETS["full"], PRESETS["mild"]


class _Draw:
    """Decisions, in the order in which one generator is asked for them."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator = generator

    def uniform(self, limits: tuple[float, float]) -> float:
        return limits[0] + (limits[1] - limits[0]) * self.generator.random()

    def coin(self, probability: float) -> bool:
        return self.generator.random() < probability

    def choose(self, items: Sequence[T], probabilities: Sequence[float] | None = None) -> T:
        if probabilities is None:
            return items[int(self.generator.random() * len(items))]
        index = bisect_right(list(accumulate(probabilities)), self.generator.random())
        return items[min(index, len(items) - 1)]

    def around(self, limits: tuple[float, float]) -> float:
        """Half the time below 1, half above it, as the shapes of the kernels are drawn."""
        return self.uniform((limits[0], 1.0) if self.coin(0.5) else (1.0, limits[1]))

    def kernel(self, options: BlurOptions) -> GaussianKernel | SincKernel | None:
        if not self.coin(options.probability):
            return None
        size = self.choose(options.sizes)
        if self.coin(options.sinc_probability):
            small = size < options.sinc_small_below
            cutoffs = options.sinc_cutoff_small if small else options.sinc_cutoff_large
            return SincKernel(size=size, cutoff=self.uniform(cutoffs))
        return self.gaussian_kernel(options, size)

    def gaussian_kernel(self, options: BlurOptions, size: int) -> GaussianKernel:
        kind = self.choose(list(GAUSSIAN_KINDS), options.kinds)
        sigma_x = sigma_y = self.uniform(options.sigma)
        rotation, beta = 0.0, 1.0
        if not GAUSSIAN_KINDS[kind].isotropic:
            sigma_y = self.uniform(options.sigma)
            rotation = self.uniform((-math.pi, math.pi))
        shapes = {"generalized": options.beta_generalized, "plateau": options.beta_plateau}
        if (shape := GAUSSIAN_KINDS[kind].beta) is not None:
            beta = self.around(shapes[shape])
        return GaussianKernel(
            kind=kind, size=size, sigma_x=sigma_x, sigma_y=sigma_y, rotation=rotation, beta=beta
        )

    def resize(self, options: ResizeOptions) -> ResizeParameters:
        lowest, highest = options.limits
        limits = {"up": (1.0, highest), "down": (lowest, 1.0), "keep": (1.0, 1.0)}
        direction = self.choose(DIRECTIONS, options.probabilities)
        factor = self.uniform(limits[direction])
        return ResizeParameters(direction=direction, factor=factor, mode=self.choose(RESIZE_MODES))

    def noise(self, options: NoiseOptions) -> NoiseParameters | None:
        if not self.coin(options.probability):
            return None
        gaussian = self.coin(options.gaussian_probability)
        return NoiseParameters(
            kind="gaussian" if gaussian else "poisson",
            strength=self.uniform(options.sigma if gaussian else options.poisson_scale),
            grey=self.coin(options.grey_probability),
            seed=int(self.generator.bit_generator.random_raw()),
        )

    def quality(self, options: JpegOptions) -> int | None:
        if not self.coin(options.probability):
            return None
        lowest, highest = options.quality
        return self.choose(range(lowest, highest + 1))

    def order(self, options: OrderOptions) -> OrderParameters:
        return OrderParameters(
            kernel=self.kernel(options.blur),
            resize=self.resize(options.resize),
            noise=self.noise(options.noise),
            jpeg_quality=self.quality(options.jpeg),
        )

    def final_sinc(self, options: FinalOptions) -> SincKernel | None:
        if not self.coin(options.sinc_probability):
            return None
        return SincKernel(
            size=self.choose(options.sinc_sizes), cutoff=self.uniform(options.sinc_cutoff)
        )


def sample_parameters(
    options: DegradationOptions, generator: np.random.Generator
) -> DegradationParameters:
    """Draw every decision of one degradation. The generator is advanced."""
    draw = _Draw(generator)
    return DegradationParameters(
        scale=options.scale,
        usm=options.usm,
        first=draw.order(options.first),
        second=draw.order(options.second),
        final_mode=draw.choose(RESIZE_MODES),
        final_sinc=draw.final_sinc(options.final),
        jpeg_last=draw.coin(options.final.jpeg_last_probability),
    )


def resolve_options(preset: str | DegradationOptions, scale: int = 4) -> DegradationOptions:
    """The named preset, or the given options, at `scale`. Raises ValueError."""
    if isinstance(preset, str):
        if preset not in PRESETS:
            raise ValueError(f"preset: expected one of {', '.join(PRESETS)}, found {preset!r}")
        preset = PRESETS[preset]
    if scale < 1:
        raise ValueError(f"scale: expected an integer above 0, found {scale}")
    return preset.model_copy(update={"scale": scale})


def seeded_parameters(options: DegradationOptions, seed: int) -> DegradationParameters:
    """The decisions that belong to a seed in [0, 2**64)."""
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed: expected an integer in [0, 2**64), found {seed}")
    return sample_parameters(options, np.random.Generator(np.random.PCG64(seed)))


def degrade(
    hr: Pixels, *, seed: int, scale: int = 4, preset: str | DegradationOptions = "full"
) -> Pixels:
    """The low-resolution twin of one photograph; depends on the arguments alone.

    hr: (H, W, 3) uint8, H and W multiples of scale. seed: in [0, 2**64).
    preset: a name in PRESETS or own options. Returns (H/scale, W/scale, 3) uint8.
    Raises ValueError for any other input.
    """
    return apply(hr, seeded_parameters(resolve_options(preset, scale), seed))


def degrade_batch(
    hr: torch.Tensor,
    seeds: Sequence[int],
    *,
    scale: int = 4,
    preset: str | DegradationOptions = "full",
    workers: int = 1,
) -> torch.Tensor:
    """`degrade` for a batch, bit for bit; image i belongs to seeds[i].

    hr: (B, 3, H, W) float in [0, 1], rounded to 8 bits first. workers: threads over the images,
    without influence on the result. Returns (B, 3, H/scale, W/scale) on 8-bit levels in [0, 1],
    with the dtype and device of hr. Raises ValueError for any other input.
    """
    import torch

    _check_batch(hr, seeds)
    pixels = (hr.detach().double() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()

    def one(image: Pixels, seed: int) -> Pixels:
        return degrade(image, seed=seed, scale=scale, preset=preset)

    with ThreadPoolExecutor(workers) as pool:
        lr = list(pool.map(one, pixels, seeds))
    levels = torch.from_numpy(np.stack(lr)).permute(0, 3, 1, 2)
    return (levels.to(hr.device, hr.dtype) / 255).contiguous()


def _check_batch(hr: torch.Tensor, seeds: Sequence[int]) -> None:
    if hr.ndim != 4 or hr.shape[1] != 3 or not hr.is_floating_point():
        raise ValueError(f"hr: expected (B, 3, H, W) float, found {tuple(hr.shape)} {hr.dtype}")
    if len(seeds) != len(hr) or not len(hr):
        raise ValueError(f"seeds: expected one for each image, found {len(seeds)} for {len(hr)}")
    if not bool(((hr >= 0) & (hr <= 1)).all()):
        raise ValueError(
            f"hr: expected values in [0, 1], found {hr.min().item():g} to {hr.max().item():g}"
        )


def degradation_version() -> dict[str, str]:
    """What the bytes of an LR image depend on beside image, seed and options."""
    codec = features.version("libjpeg_turbo")
    return {
        "recipe": str(RECIPE_VERSION),
        "pillow": metadata.version("pillow"),
        "jpeg": f"libjpeg-turbo {codec}" if codec else f"libjpeg {features.version('jpg')}",
        "numpy": metadata.version("numpy"),
        "scipy": metadata.version("scipy"),
    }
