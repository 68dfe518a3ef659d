"""The steps of the degradation: the record of each one's parameters, and what it does to pixels.

numpy and scipy in double precision on one thread, in a fixed order of operations: see
docs/degradation.md. Images are planes: `(C, H, W) float64 in [0, 1]`.
"""

import io
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from scipy import fft, sparse, special

Planes = NDArray[np.float64]
Pixels = NDArray[np.uint8]

Direction = Literal["up", "down", "keep"]
ResizeMode = Literal["area", "bilinear", "bicubic"]
RESIZE_MODES: tuple[ResizeMode, ...] = get_args(ResizeMode)

CUBIC_A = -0.75
HALF = 0.5 + 2.0**-20
GREY_WEIGHTS = (0.2989, 0.587, 0.114)


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


class KernelKind(NamedTuple):
    """profile: weight of the squared Mahalanobis distance q and the shape beta."""

    profile: Callable[[Planes, float], Planes]
    isotropic: bool
    beta: Literal["generalized", "plateau"] | None


def _gaussian(q: Planes, beta: float) -> Planes:
    return np.exp(-0.5 * q)


def _generalized(q: Planes, beta: float) -> Planes:
    return np.exp(-0.5 * q**beta)


def _plateau(q: Planes, beta: float) -> Planes:
    return 1.0 / (1.0 + q**beta)


GaussianKind = Literal[
    "iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso"
]
GAUSSIAN_KINDS: dict[GaussianKind, KernelKind] = {
    "iso": KernelKind(_gaussian, True, None),
    "aniso": KernelKind(_gaussian, False, None),
    "generalized_iso": KernelKind(_generalized, True, "generalized"),
    "generalized_aniso": KernelKind(_generalized, False, "generalized"),
    "plateau_iso": KernelKind(_plateau, True, "plateau"),
    "plateau_aniso": KernelKind(_plateau, False, "plateau"),
}


class GaussianKernel(Frozen):
    """A kernel of the Gaussian family (Real-ESRGAN, section 3.2).

    sigma_x, sigma_y: standard deviations in pixels along the rotated axes, above 0; equal for
    the isotropic kinds. rotation: radians. beta: shape, above 0; the plain kinds ignore it.
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
        return _normalized(GAUSSIAN_KINDS[self.kind].profile(along**2 + across**2, self.beta))


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


def blur(image: Planes, kernel: Planes) -> Planes:
    """Convolve every plane with one kernel; borders are mirrored about the edge pixel.

    image: (C, H, W), of any size, also smaller than the kernel. kernel: (K, K), K odd,
    symmetric about its centre, so that convolution and correlation are one.
    """
    height, width = image.shape[-2:]
    size = kernel.shape[0]
    margin = size - 1
    padded = np.pad(image, ((0, 0), (margin // 2,) * 2, (margin // 2,) * 2), mode="reflect")
    shape = tuple(fft.next_fast_len(n, real=True) for n in padded.shape[-2:])
    spectrum = fft.rfft2(padded, shape)
    spectrum *= fft.fft(fft.rfft(kernel, shape[1]), shape[0], axis=0)
    out = fft.irfft2(spectrum, shape, overwrite_x=True)
    return out[:, margin : margin + height, margin : margin + width]


USM_KERNEL = GaussianKernel(kind="iso", size=51, sigma_x=8.0, sigma_y=8.0)


def usm_sharpen(image: Planes, weight: float = 0.5, threshold: float = 10.0) -> Planes:
    """Unsharp masking where the detail is strong, as Real-ESRGAN sharpens its ground truth.

    The blur is a 51-tap Gaussian of sigma 8 ("radius 50" made odd); where the residual exceeds
    `threshold` levels of 255, `weight` of it is added through a mask softened by the same blur.

    image: (C, H, W) in [0, 1]; returns the same, in [0, 1] up to rounding.
    """
    kernel = USM_KERNEL.weights()
    residual = image - blur(image, kernel)
    mask = blur((np.abs(residual) * 255 > threshold).astype(np.float64), kernel)
    sharp = np.clip(image + weight * residual, 0, 1)
    return mask * sharp + (1 - mask) * image


def _area_taps(source: int, target: int) -> tuple[NDArray[np.int64], Planes]:
    index = np.arange(target)
    first = index * source // target
    count = -(-(index + 1) * source // target) - first
    taps = first[:, None] + np.arange(count.max())
    weights = np.where(np.arange(count.max()) < count[:, None], 1.0 / count[:, None], 0.0)
    return taps, weights


def _linear_taps(source: int, target: int, step: float) -> tuple[NDArray[np.int64], Planes]:
    position = np.maximum((np.arange(target) + 0.5) * step - 0.5, 0.0)
    first = np.floor(position).astype(np.int64)
    fraction = position - first
    return first[:, None] + np.arange(2), np.stack([1 - fraction, fraction], axis=1)


def _cubic_taps(source: int, target: int, step: float) -> tuple[NDArray[np.int64], Planes]:
    position = (np.arange(target) + 0.5) * step - 0.5
    first = np.floor(position).astype(np.int64)
    distance = np.abs((position - first)[:, None] - np.arange(-1, 3))
    near = ((CUBIC_A + 2) * distance - (CUBIC_A + 3)) * distance**2 + 1
    far = CUBIC_A * (((distance - 5) * distance + 8) * distance - 4)
    return first[:, None] + np.arange(-1, 3), np.where(distance <= 1, near, far)


@lru_cache(maxsize=64)
def _resize_matrix(source: int, target: int, mode: ResizeMode, step: float) -> sparse.csr_array:
    if mode == "area":
        taps, weights = _area_taps(source, target)
    elif mode == "bilinear":
        taps, weights = _linear_taps(source, target, step)
    elif mode == "bicubic":
        taps, weights = _cubic_taps(source, target, step)
    else:
        raise ValueError(f"resize mode: expected one of {', '.join(RESIZE_MODES)}, found {mode!r}")
    rows = np.repeat(np.arange(target), taps.shape[1])
    columns = np.clip(taps, 0, source - 1).ravel()
    return sparse.csr_array((weights.ravel(), (rows, columns)), shape=(target, source))


def resize(
    image: Planes, size: tuple[int, int], mode: ResizeMode, factor: float | None = None
) -> Planes:
    """Resize without antialiasing, as torch.nn.functional.interpolate does.

    image: (C, H, W). size: (H', W'), both above 0. mode: "area" averages the covered pixels,
    "bilinear" and "bicubic" (a = -0.75) sample at pixel centres. factor: the exact factor that
    `size` was rounded from, which then sets the sampling step; without it the sizes' ratio does.
    """
    planes, height, width = image.shape
    if (height, width) == tuple(size) and factor in (None, 1.0):
        return image
    vertical, horizontal = (
        _resize_matrix(source, target, mode, source / target if factor is None else 1 / factor)
        for source, target in zip((height, width), size, strict=True)
    )
    rows = vertical @ image.transpose(1, 0, 2).reshape(height, -1)
    columns = rows.reshape(-1, width).T
    out = (horizontal @ np.ascontiguousarray(columns)).reshape(size[1], size[0], planes)
    return np.ascontiguousarray(out.transpose(2, 1, 0))


class NoiseParameters(Frozen):
    """strength: sigma in levels of 255 (gaussian) or multiple of the shot noise (poisson)."""

    kind: Literal["gaussian", "poisson"]
    strength: float
    grey: bool
    seed: Annotated[int, Field(ge=0, lt=2**64)]


def _levels(image: Planes) -> Pixels:
    """The nearest of 256 levels, halves upwards.

    Averages of 8-bit levels often lie exactly halfway, give or take the last bit of a double;
    `HALF` is above that bit, so that no machine rounds them down.
    """
    return np.floor(np.clip(image, 0, 1) * 255 + HALF).astype(np.uint8)


def to_pixels(image: Planes) -> Pixels:
    """(C, H, W) float64 -> (H, W, C) uint8: clipped to [0, 1], rounded to the nearest level."""
    return np.ascontiguousarray(_levels(image).transpose(1, 2, 0))


def to_planes(pixels: Pixels) -> Planes:
    """(H, W, C) uint8 -> (C, H, W) float64 in [0, 1]."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)) / 255.0


def _poisson_counts(levels: Pixels, peak: int, quantiles: Planes) -> Planes:
    """Poisson variates of mean levels / 255 * peak, each the inverse CDF at its own quantile."""
    counts = np.empty(levels.shape)
    k = np.arange(peak + 10 * math.isqrt(peak) + 30)
    order = np.argsort(levels, kind="stable")
    present, starts = np.unique(levels[order], return_index=True)
    for level, at in zip(present, np.split(order, starts[1:]), strict=True):
        mean = level / 255.0 * peak
        cdf = np.cumsum(np.exp(special.xlogy(k, mean) - mean - special.gammaln(k + 1)))
        counts[at] = np.searchsorted(cdf, quantiles[at], side="right")
    return counts


def _poisson_noise(image: Planes, quantiles: Planes) -> Planes:
    """Shot noise of an image on 8-bit levels: (C, H, W), zero mean.

    The peak count is the number of distinct levels, rounded up to a power of two.
    """
    levels = _levels(image).ravel()
    peak = 2 ** math.ceil(math.log2(np.count_nonzero(np.bincount(levels))))
    counts = _poisson_counts(levels, peak, quantiles.ravel())
    return (counts / peak - levels / 255.0).reshape(image.shape)


def add_noise(image: Planes, noise: NoiseParameters) -> Planes:
    """Add noise drawn from `noise.seed`; the result is clipped to [0, 1].

    image: (3, H, W) in [0, 1]. Each variate is the quantile function at one uniform double of
    the seed's stream, so a pixel's noise never depends on another pixel. Grey noise is one
    plane added to all three; for Poisson it is the shot noise of the luma.
    """
    generator = np.random.Generator(np.random.PCG64(noise.seed))
    quantiles = generator.random((1, *image.shape[1:]) if noise.grey else image.shape)
    if noise.kind == "gaussian":
        disturbance = special.ndtri(quantiles + 2.0**-54) * (noise.strength / 255)
    else:
        red, green, blue = (w * p for w, p in zip(GREY_WEIGHTS, image, strict=True))
        source = (red + green + blue)[None] if noise.grey else image
        disturbance = _poisson_noise(source, quantiles) * noise.strength
    return np.clip(image + disturbance, 0, 1)


def jpeg(image: Planes, quality: int) -> Planes:
    """Through a real baseline JPEG file, 4:2:0: (3, H, W) in [0, 1] -> same, on 8-bit levels."""
    buffer = io.BytesIO()
    Image.fromarray(to_pixels(image)).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    with Image.open(buffer) as decoded:
        return to_planes(np.asarray(decoded))


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


def _disturb(
    image: Planes, order: OrderParameters, size: tuple[int, int], factor: float | None = None
) -> Planes:
    """Blur, resize and noise of one order."""
    if order.kernel is not None:
        image = blur(image, order.kernel.weights())
    image = resize(image, size, order.resize.mode, factor)
    return np.clip(image, 0, 1) if order.noise is None else add_noise(image, order.noise)


def _compress(image: Planes, quality: int | None) -> Planes:
    return image if quality is None else jpeg(image, quality)


def _finish(image: Planes, parameters: DegradationParameters, size: tuple[int, int]) -> Planes:
    image = resize(image, size, parameters.final_mode)
    sinc = parameters.final_sinc
    return image if sinc is None else blur(image, sinc.weights())


def _scaled(size: tuple[int, int], factor: float) -> tuple[int, int]:
    return max(1, int(size[0] * factor)), max(1, int(size[1] * factor))


def apply(hr: Pixels, parameters: DegradationParameters) -> Pixels:
    """Degrade one image as `parameters` say; a pure function.

    hr: (H, W, 3) uint8, H and W multiples of the scale. Returns (H/scale, W/scale, 3) uint8.
    Raises ValueError for any other input.
    """
    size = _lr_size(hr, parameters.scale)
    first, second = parameters.first, parameters.second
    image = to_planes(hr)
    if parameters.usm:
        image = usm_sharpen(image)
    factor = first.resize.factor
    image = _disturb(image, first, _scaled((hr.shape[0], hr.shape[1]), factor), factor)
    image = _compress(image, first.jpeg_quality)
    image = _disturb(image, second, _scaled(size, second.resize.factor))
    if parameters.jpeg_last:
        image = _compress(_finish(image, parameters, size), second.jpeg_quality)
    else:
        image = _finish(_compress(image, second.jpeg_quality), parameters, size)
    return to_pixels(image)


def _lr_size(hr: Pixels, scale: int) -> tuple[int, int]:
    if not isinstance(hr, np.ndarray) or hr.dtype != np.uint8:
        found = getattr(hr, "dtype", type(hr).__name__)
        raise ValueError(f"hr: expected a uint8 numpy array, found {found}")
    if hr.ndim != 3 or hr.shape[2] != 3:
        raise ValueError(f"hr: expected shape (H, W, 3), found {hr.shape}; convert to RGB")
    height, width = hr.shape[:2]
    if min(height, width) < 1 or height % scale or width % scale:
        raise ValueError(
            f"hr: expected height and width to be multiples of scale {scale} above 0, found "
            f"{height}x{width}; crop to {height // scale * scale}x{width // scale * scale}"
        )
    return height // scale, width // scale
