"""Every decision of one degradation, as data: what is drawn, logged and replayed."""

import math
from typing import Annotated, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy import special

Planes = NDArray[np.float64]
Pixels = NDArray[np.uint8]

Direction = Literal["up", "down", "keep"]
ResizeMode = Literal["area", "bilinear", "bicubic"]
GaussianKind = Literal[
    "iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso"
]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
RESIZE_MODES: tuple[ResizeMode, ...] = get_args(ResizeMode)
GAUSSIAN_KINDS: tuple[GaussianKind, ...] = get_args(GaussianKind)


def _offsets(size: int) -> tuple[Planes, Planes]:
    """Horizontal and vertical distances of every tap from the centre of a kernel."""
    if size < 1 or size % 2 == 0:
        raise ValueError(f"kernel size: expected an odd number above 0, found {size}")
    axis = np.arange(size, dtype=np.float64) - size // 2
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return x, y


def _normalized(kernel: Planes) -> Planes:
    return kernel / math.fsum(kernel.ravel())


class Frozen(BaseModel):
    """Immutable data; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class GaussianKernel(Frozen):
    """A kernel of the Gaussian family (Real-ESRGAN, section 3.2).

    sigma_x, sigma_y: standard deviations in pixels along the rotated axes, above 0; equal for
    the isotropic kinds. rotation: radians. beta: shape, above 0; 1 for the plain kinds.
    """

    kind: GaussianKind
    size: int
    sigma_x: float
    sigma_y: float
    rotation: float = 0.0
    beta: float = 1.0

    def weights(self) -> Planes:
        """(size, size) float64, sum 1."""
        x, y = _offsets(self.size)
        cos, sin = math.cos(self.rotation), math.sin(self.rotation)
        along = (x * cos + y * sin) / self.sigma_x
        across = (y * cos - x * sin) / self.sigma_y
        distance = along**2 + across**2
        if self.kind not in ("iso", "aniso"):
            distance = distance**self.beta
        plateau = self.kind.startswith("plateau")
        return _normalized(1.0 / (1.0 + distance) if plateau else np.exp(-0.5 * distance))


class SincKernel(Frozen):
    """The circular low-pass filter that rings; cutoff: omega_c, radians a pixel, in (0, pi]."""

    size: int
    cutoff: float

    def weights(self) -> Planes:
        """(size, size) float64, sum 1: omega_c J1(omega_c r) / (2 pi r) (Real-ESRGAN, Eq. 4)."""
        x, y = _offsets(self.size)
        r = np.hypot(x, y)
        centre = r == 0
        r[centre] = 1.0
        kernel = self.cutoff * special.j1(self.cutoff * r) / (2 * math.pi * r)
        kernel[centre] = self.cutoff**2 / (4 * math.pi)
        return _normalized(kernel)


USM_KERNEL = GaussianKernel(kind="iso", size=51, sigma_x=8.0, sigma_y=8.0)
"""The blur of the sharpening: "radius 50" made odd."""


class NoiseParameters(Frozen):
    """strength: sigma in levels of 255 (gaussian) or multiple of the shot noise (poisson)."""

    kind: Literal["gaussian", "poisson"]
    strength: float
    grey: bool
    seed: Annotated[int, Field(ge=0, lt=2**64)]


class ResizeParameters(Frozen):
    direction: Direction
    factor: float
    mode: ResizeMode


class OrderParameters(Frozen):
    kernel: GaussianKernel | SincKernel | None
    resize: ResizeParameters
    noise: NoiseParameters | None
    jpeg_quality: int | None


class DegradationParameters(Frozen):
    """Every decision of one degradation; `model_dump_json` logs it, `apply` replays it."""

    scale: int
    usm: bool
    first: OrderParameters
    second: OrderParameters
    final_mode: ResizeMode
    final_sinc: SincKernel | None
    jpeg_last: bool
