"""What metrics look at images through: size and border, luma, windows; without torch, so that
metrics that need none start at once."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from bench.base.errors import ImageError
from bench.base.types import CROP_BORDER, Metric, MetricSpec
from bench.files.images import to_tensor

if TYPE_CHECKING:
    from torch import Tensor

# Images are shared out among processes, and a pool of threads survives no fork.
cv2.setNumThreads(1)

_SEED = 123

YCBCR = (65.481, 128.553, 24.966)
"""ITU-R BT.601 weights of the studio-range Y (16 to 235), as papers on super-resolution use it."""
YIQ = (0.299, 0.587, 0.114)
"""BT.601 weights of the full-range Y (0 to 255), which pyiqa takes unless told otherwise."""


class Pixels:
    """An image; what several metrics need of it is computed once.

    Args:
        rgb: (H, W, 3) uint8, or float32 in [0, 1].
    """

    def __init__(self, rgb: np.ndarray) -> None:
        self.rgb = rgb
        self.shape = (1, 3, *rgb.shape[:2])
        self._tensors: dict[str, Tensor] = {}

    @classmethod
    def of(cls, image: "Tensor | Pixels") -> "Pixels":
        """The same of a tensor (1, 3, H, W) in [0, 1]."""
        if isinstance(image, Pixels):
            return image
        return cls(image[0].detach().permute(1, 2, 0).cpu().float().numpy())

    def to(self, device: str) -> "Tensor":
        """(1, 3, H, W) float32 in [0, 1] on a device; of an image of 8 bits."""
        if device not in self._tensors:
            self._tensors[device] = to_tensor(self.rgb).to(device)
        return self._tensors[device]

    @cached_property
    def planes(self) -> np.ndarray:
        """(H, W, 3) float32 in 0 to 255."""
        return self.rgb.astype(np.float32) * (255 if self.rgb.dtype == np.float32 else 1)

    @cached_property
    def ycbcr_y(self) -> np.ndarray:
        """Studio-range Y of BT.601, (H, W) float32 in [16, 235], unrounded."""
        return np.asarray(cv2.extractChannel(self._lumas, 0) + np.float32(16))

    @cached_property
    def yiq_y(self) -> np.ndarray:
        """Full-range Y of BT.601, (H, W) float32 in [0, 255], rounded."""
        y = cv2.extractChannel(self._lumas, 1) * np.float32(255)
        return np.asarray(np.rint(y, out=y))

    @cached_property
    def _lumas(self) -> np.ndarray:
        """Both, (H, W, 3) float32, as torch rounds them: many lie half way between two numbers.

        So channels are summed from red to blue, by fused steps; the last row is computed in
        another way, and is none of the image's.
        """
        height = len(self.rgb)
        padded = cv2.copyMakeBorder(np.ascontiguousarray(self.rgb), 0, 1, 0, 0, cv2.BORDER_REFLECT)
        bgr = cv2.cvtColor(padded, cv2.COLOR_RGB2BGR)
        unit = bgr if bgr.dtype == np.float32 else cv2.LUT(bgr, _UNIT)
        weights = np.array([YCBCR[::-1], YIQ[::-1], (0, 0, 0)], np.float32)
        return cv2.transform(unit, weights)[:height]


_UNIT = np.arange(256, dtype=np.float32) / np.float32(255)


def check_image(spec: MetricSpec, image: "Tensor | Pixels") -> None:
    """Raise ImageError where an image (B, 3, H, W) is smaller than the metric is defined for."""
    height, width = image.shape[-2:]
    if min(width, height) < spec.min_size:
        raise ImageError(
            f"{width}x{height} px is too small for {spec.name}, which needs "
            f"{spec.min_size} px on the shorter side"
        )


class FullReference(ABC):
    """A `bench.base.types.Metric` that compares what it sees of an image with what it sees of its
    HR image; one that `sees_pixels` takes `Pixels`, too, and works on the CPU then."""

    sees_pixels = True

    def __init__(self, spec: MetricSpec, device: str) -> None:
        self.spec, self.device = spec, device

    def prepare(self, hr: "Tensor | Pixels") -> Any:
        """What is seen of an image (1, 3, H, W) float32 in [0, 1]; ImageError: it is too small."""
        check_image(self.spec, hr)
        return self.seen(Pixels.of(hr) if self.sees_pixels else hr.to(self.device))

    def score(self, sr: "Tensor | Pixels", hr: "Tensor | Pixels | None", prepared: Any) -> float:
        """The comparison with what was seen of the HR image."""
        return float(self.compared(self.prepare(sr), prepared))

    @abstractmethod
    def seen(self, image: Any) -> Any:
        """What a comparison needs of an image: of its `Pixels`, or a tensor on the device."""

    @abstractmethod
    def compared(self, own: Any, reference: Any) -> Any:
        """The score, of what was seen of the SR and of the HR image."""


class Cropped:
    """A metric of images without their border; a `bench.base.types.Metric`."""

    def __init__(self, metric: Metric, spec: MetricSpec) -> None:
        self._metric, self._border = metric, int(spec.options[CROP_BORDER])
        self._spec = replace(spec, min_size=spec.min_size + 2 * self._border)
        self.sees_pixels = getattr(metric, "sees_pixels", False)

    def prepare(self, hr: "Tensor | Pixels") -> Any:
        """As the metric's own, of the HR image (1, 3, H, W) without its border."""
        return self._metric.prepare(self._inside(hr))

    def score(self, sr: "Tensor | Pixels", hr: "Tensor | Pixels | None", prepared: Any) -> float:
        """As the metric's own, of images (1, 3, H, W) without their border."""
        inner = None if hr is None else self._inside(hr)
        return self._metric.score(self._inside(sr), inner, prepared)

    def _inside(self, image: "Tensor | Pixels") -> Any:
        check_image(self._spec, image)
        side = slice(self._border, -self._border)
        if isinstance(image, Pixels):
            return Pixels(image.rgb[side, side])
        return image[..., side, side]


@contextmanager
def exact() -> Iterator[None]:
    """No gradients, no TF32, deterministic kernels, the same random numbers for each image."""
    import torch

    state = np.random.get_state()
    flags = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=None)
    # To ask GPUs for their state where none is in use would start each of them.
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    try:
        with torch.inference_mode(), _no_tf32(), flags, torch.random.fork_rng(gpus):
            torch.manual_seed(_SEED)
            np.random.seed(_SEED)
            yield
    finally:
        np.random.set_state(state)


@contextmanager
def _no_tf32() -> Iterator[None]:
    """NVIDIA's images and trainings have it on. Of torch's two ways to ask for it, the older one
    cannot even be read where the newer one says something else."""
    from torch import backends, get_float32_matmul_precision, set_float32_matmul_precision

    cudnn, cuda, cpu = backends.cudnn, backends.cuda, backends.mkldnn
    parts: list[Any] = []
    if hasattr(cuda.matmul, "fp32_precision"):  # an older torch has the older way alone
        kinds = [(cpu, "matmul"), (cpu, "conv"), (cpu, "rnn"), (cudnn, "conv"), (cudnn, "rnn")]
        parts = [cuda.matmul, *(getattr(library, kind) for library, kind in kinds)]
    before = [part.fp32_precision for part in parts]
    for part in parts:
        part.fp32_precision = "ieee"
    matmul, tf32 = get_float32_matmul_precision(), True
    with suppress(RuntimeError):  # where it contradicts "ieee"
        tf32 = cudnn.allow_tf32

    def put(matmul: str, tf32: bool, values: Sequence[str]) -> None:
        set_float32_matmul_precision(matmul)
        cudnn.allow_tf32 = tf32
        for part, value in zip(parts, values, strict=True):
            part.fp32_precision = value

    try:
        put("highest", False, ["ieee"] * len(parts))
        yield
    finally:
        put(matmul, tf32, before)


@cache
def gaussian_taps(size: int, sigma: float) -> tuple[float, ...]:
    """An odd number of taps of a Gaussian window, sigma in pixels, scaled to pyiqa's sum: its 2-D
    window is rounded to float32, and in a flat area the sign of `x - mean` hangs on the 1e-8 by
    which that differs from 1."""
    half = (size - 1) // 2
    line = [math.exp(-(k * k) / (2.0 * sigma * sigma)) for k in range(-half, half + 1)]
    window = np.outer(line, line)
    rounded = (window / window.sum()).astype(np.float32).astype(float).sum()
    scale = math.sqrt(rounded) / math.fsum(line)
    return tuple(tap * scale for tap in line)


Taps = tuple[float, ...]


def correlate(
    x: np.ndarray, across: Taps, down: Taps | None = None, border: int = cv2.BORDER_REFLECT
) -> np.ndarray:
    """Filter each row, and each column (by the same taps if None), an odd number; (H, W) float32
    or float64 both."""
    kernels = np.array(across), np.array(down or across)
    return np.asarray(cv2.sepFilter2D(x, -1, *kernels, borderType=border))
