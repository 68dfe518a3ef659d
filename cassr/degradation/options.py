"""What is drawn from: distributions, presets, and the draw itself.

One generator is asked in a fixed order, for uniform doubles and raw words alone.
"""

import math
import tomllib
from bisect import bisect_right
from collections.abc import Sequence
from importlib.resources import files
from itertools import accumulate
from typing import Annotated, TypeVar

import numpy as np
from pydantic import AfterValidator, Field

from cassr.degradation.parameters import (
    DIRECTIONS,
    GAUSSIAN_KINDS,
    RESIZE_MODES,
    DegradationParameters,
    Frozen,
    GaussianKernel,
    NoiseParameters,
    OrderParameters,
    ResizeParameters,
    SincKernel,
)

T = TypeVar("T")
KERNEL_SIZES = tuple(range(7, 22, 2))


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


def _uniform(generator: np.random.Generator, limits: tuple[float, float]) -> float:
    return limits[0] + (limits[1] - limits[0]) * generator.random()


def _coin(generator: np.random.Generator, probability: float) -> bool:
    return generator.random() < probability


def _choose(
    generator: np.random.Generator, items: Sequence[T], probabilities: Sequence[float] | None = None
) -> T:
    if probabilities is None:
        return items[int(generator.random() * len(items))]
    index = bisect_right(list(accumulate(probabilities)), generator.random())
    return items[min(index, len(items) - 1)]


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

    def draw(self, generator: np.random.Generator) -> GaussianKernel | SincKernel | None:
        if not _coin(generator, self.probability):
            return None
        size = _choose(generator, self.sizes)
        if _coin(generator, self.sinc_probability):
            small = size < self.sinc_small_below
            cutoffs = self.sinc_cutoff_small if small else self.sinc_cutoff_large
            return SincKernel(size=size, cutoff=_uniform(generator, cutoffs))
        kind = _choose(generator, GAUSSIAN_KINDS, self.kinds)
        sigma_x = sigma_y = _uniform(generator, self.sigma)
        rotation, beta = 0.0, 1.0
        if kind.endswith("aniso"):
            sigma_y = _uniform(generator, self.sigma)
            rotation = _uniform(generator, (-math.pi, math.pi))
        if "_" in kind:
            lowest, highest = (
                self.beta_plateau if kind.startswith("plateau") else self.beta_generalized
            )
            below = _coin(generator, 0.5)
            beta = _uniform(generator, (lowest, 1.0) if below else (1.0, highest))
        return GaussianKernel(
            kind=kind, size=size, sigma_x=sigma_x, sigma_y=sigma_y, rotation=rotation, beta=beta
        )


class ResizeOptions(Frozen):
    """probabilities of up, down, keep; limits of the factor: lowest for down, highest for up."""

    probabilities: Three
    limits: RangeAroundOne

    def draw(self, generator: np.random.Generator) -> ResizeParameters:
        lowest, highest = self.limits
        limits = {"up": (1.0, highest), "down": (lowest, 1.0), "keep": (1.0, 1.0)}
        direction = _choose(generator, DIRECTIONS, self.probabilities)
        factor = _uniform(generator, limits[direction])
        mode = _choose(generator, RESIZE_MODES)
        return ResizeParameters(direction=direction, factor=factor, mode=mode)


class NoiseOptions(Frozen):
    """Poisson noise where it isn't Gaussian; sigma in levels of 255, scale in shot noises."""

    sigma: Range
    poisson_scale: Range
    probability: Probability = 1.0
    gaussian_probability: Probability = 0.5
    grey_probability: Probability = 0.4

    def draw(self, generator: np.random.Generator) -> NoiseParameters | None:
        if not _coin(generator, self.probability):
            return None
        gaussian = _coin(generator, self.gaussian_probability)
        return NoiseParameters(
            kind="gaussian" if gaussian else "poisson",
            strength=_uniform(generator, self.sigma if gaussian else self.poisson_scale),
            grey=_coin(generator, self.grey_probability),
            seed=int(generator.bit_generator.random_raw()),
        )


class JpegOptions(Frozen):
    quality: Qualities
    probability: Probability = 1.0

    def draw(self, generator: np.random.Generator) -> int | None:
        if not _coin(generator, self.probability):
            return None
        lowest, highest = self.quality
        return _choose(generator, range(lowest, highest + 1))


class OrderOptions(Frozen):
    blur: BlurOptions
    resize: ResizeOptions
    noise: NoiseOptions
    jpeg: JpegOptions

    def draw(self, generator: np.random.Generator) -> OrderParameters:
        return OrderParameters(
            kernel=self.blur.draw(generator),
            resize=self.resize.draw(generator),
            noise=self.noise.draw(generator),
            jpeg_quality=self.jpeg.draw(generator),
        )


class FinalOptions(Frozen):
    sinc_probability: Probability = 0.8
    sinc_sizes: tuple[int, ...] = KERNEL_SIZES
    sinc_cutoff: Range = (math.pi / 3, math.pi)
    jpeg_last_probability: Probability = 0.5

    def draw(self, generator: np.random.Generator) -> SincKernel | None:
        if not _coin(generator, self.sinc_probability):
            return None
        size = _choose(generator, self.sinc_sizes)
        return SincKernel(size=size, cutoff=_uniform(generator, self.sinc_cutoff))


class DegradationOptions(Frozen):
    """What is drawn from: the distributions of one degradation."""

    first: OrderOptions
    second: OrderOptions
    final: FinalOptions = FinalOptions()
    usm: bool = True
    scale: Annotated[int, Field(ge=1)] = 4


_SAID = tomllib.loads(files(__package__).joinpath("presets.toml").read_text("utf-8"))
PRESETS = {name: DegradationOptions.model_validate(said) for name, said in _SAID.items()}
FULL, MILD = PRESETS["full"], PRESETS["mild"]


def sample_parameters(
    options: DegradationOptions, generator: np.random.Generator
) -> DegradationParameters:
    """Draw every decision of one degradation. The generator is advanced."""
    return DegradationParameters(
        scale=options.scale,
        usm=options.usm,
        first=options.first.draw(generator),
        second=options.second.draw(generator),
        final_mode=_choose(generator, RESIZE_MODES),
        final_sinc=options.final.draw(generator),
        jpeg_last=_coin(generator, options.final.jpeg_last_probability),
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
