"""The steps in single precision on a torch device, a GPU: equal to `steps` in distribution.

Images are (1, 3, H, W) float32 in [0, 1]. Nothing goes through the host but a few numbers; JPEG is
computed as a decoder would show the file, to a level or two.
"""

import io
import math
from functools import lru_cache

import PIL.Image
import torch
import torch.nn.functional as F
from torch import Tensor

from cassr.degradation import steps
from cassr.degradation.parameters import NoiseParameters, Planes, ResizeMode

BLOCK = 8
TO_YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def load(image: Tensor) -> Tensor:
    return _levels(image) / 255


to_pixels = load


def _levels(image: Tensor) -> Tensor:
    return (image.float().clamp(0, 1) * 255).round()


def blur(image: Tensor, kernel: Planes) -> Tensor:
    """As `steps.blur`."""
    margin = len(kernel) // 2
    for dim in (2, 3):  # mirrored about the edge pixel, also where the image is smaller
        length = image.shape[dim]
        period = max(2 * (length - 1), 1)
        index = torch.arange(-margin, length + margin, device=image.device) % period
        image = image.index_select(dim, torch.minimum(index, period - index) % length)
    weights = torch.from_numpy(kernel).to(image.device, torch.float32)
    return F.conv2d(image.float(), weights.expand(3, 1, -1, -1), groups=3)


def resize(
    image: Tensor, size: tuple[int, int], mode: ResizeMode, factor: float | None = None
) -> Tensor:
    """As `steps.resize`."""
    if factor is None or 1 in size:
        return F.interpolate(image, size=size, mode=mode)
    return F.interpolate(image, scale_factor=factor, mode=mode)


def add_noise(image: Tensor, noise: NoiseParameters) -> Tensor:
    """As `steps.add_noise`, by torch's samplers on the image's device."""
    generator = torch.Generator(image.device).manual_seed(noise.seed >> 1)
    source = image
    if noise.grey:
        weights = torch.tensor(steps.GREY_WEIGHTS, device=image.device).view(1, 3, 1, 1)
        source = (image * weights).sum(1, keepdim=True)
    if noise.kind == "gaussian":
        drawn = torch.randn(source.shape, generator=generator, device=image.device) / 255
    else:
        levels = _levels(source)
        count = int(levels.to(torch.uint8).unique().numel())
        peak = 2 ** math.ceil(math.log2(count))
        means = levels / 255
        drawn = torch.poisson(means * peak, generator=generator) / peak - means
    return (image + drawn * noise.strength).clamp(0, 1)


@lru_cache(maxsize=100)
def _quantization(quality: int) -> dict[int, list[int]]:
    """Both tables of libjpeg for a quality, as a file holds them."""
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (BLOCK, BLOCK)).save(buffer, "JPEG", quality=quality)
    tables: dict[int, list[int]] = vars(PIL.Image.open(buffer))["quantization"]
    return tables


def jpeg(image: Tensor, quality: int) -> Tensor:
    """As `steps.jpeg`, without the file: 4:2:0, chroma interpolated as decoders do.

    In double precision: GPUs may multiply float32 with the mantissa of TF32, too coarse for this.
    """
    height, width = image.shape[2:]
    pad = (0, -width % (2 * BLOCK), 0, -height % (2 * BLOCK))
    padded = F.pad(_levels(image).double(), pad, mode="replicate")
    matrix = torch.tensor(TO_YCBCR).double()
    turned = torch.einsum("yc,bchw->byhw", matrix.to(padded), padded)
    luma, chroma = turned[:, :1].round() - 128, F.avg_pool2d(turned[:, 1:].round(), 2).round()
    tables = [torch.tensor(t).view(BLOCK, BLOCK).to(padded)
              for t in _quantization(quality).values()]  # fmt: skip
    luma = _coded(luma, tables[0]) + 128
    chroma = F.interpolate(_coded(chroma, tables[-1]), scale_factor=2, mode="bilinear")
    back = matrix.inverse().to(padded)  # inverted here, for which a GPU would load a library
    rgb = torch.einsum("yc,bchw->byhw", back, torch.cat([luma, chroma.round()], 1))
    return (rgb.round() / 255).clamp(0, 1)[..., :height, :width].float()


def _coded(plane: Tensor, table: Tensor) -> Tensor:
    """(1, C, H, W) around 0, its cosine coefficients rounded to multiples of a table (8, 8)."""
    transform = _cosines().to(plane)
    blocks = plane.unflatten(3, (-1, BLOCK)).unflatten(2, (-1, BLOCK)).transpose(3, 4)
    coefficients = transform @ blocks @ transform.T
    blocks = transform.T @ ((coefficients / table).round() * table) @ transform
    return blocks.transpose(3, 4).flatten(4, 5).flatten(2, 3).round().clamp(-128, 127)


@lru_cache(maxsize=1)
def _cosines() -> Tensor:
    """The orthonormal cosine transform of 8 values: (8, 8)."""
    n = torch.arange(BLOCK)
    table = torch.cos(math.pi / BLOCK * (n + 0.5) * n[:, None]) / 2
    table[0] /= math.sqrt(2)
    return table
