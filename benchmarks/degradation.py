"""Degradation throughput against a straightforward per-image implementation in torch.

    python benchmarks/degradation.py --images 12 --size 512 --preset full

Both degrade the same crops by the same parameters, in turn, on one thread; the ratio of their
times is the result. With the noise left out they are also compared pixel by pixel.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import skimage.data
import torch
from torch.nn import functional as F

from cassr.degradation import (
    PRESETS,
    DegradationOptions,
    DegradationParameters,
    apply,
    seeded_parameters,
)
from cassr.degradation.steps import USM_KERNEL, OrderParameters, Pixels, Planes, jpeg
from cassr.training.samples.data import stream_seed


def plain_filter(x: torch.Tensor, weights: Planes) -> torch.Tensor:
    """x: (1, 3, H, W); a depthwise convolution, every kernel padded to 21 taps as in training."""
    missing = max(0, 21 - weights.shape[0]) // 2
    kernel = F.pad(torch.from_numpy(weights).float(), (missing,) * 4)
    margin = (kernel.shape[0] // 2,) * 4
    return F.conv2d(F.pad(x, margin, mode="reflect"), kernel.expand(3, 1, -1, -1), groups=3)


def plain_usm(x: torch.Tensor) -> torch.Tensor:
    kernel = USM_KERNEL.weights()
    residual = x - plain_filter(x, kernel)
    mask = plain_filter((residual.abs() * 255 > 10).float(), kernel)
    return mask * (x + 0.5 * residual).clamp(0, 1) + (1 - mask) * x


def plain_noise(x: torch.Tensor, order: OrderParameters) -> torch.Tensor:
    if order.noise is None:
        return x.clamp(0, 1)
    if order.noise.kind == "gaussian":
        shape = (1, 1, *x.shape[2:]) if order.noise.grey else x.shape
        return (x + torch.randn(shape) * order.noise.strength / 255).clamp(0, 1)
    luma = torch.tensor([0.2989, 0.587, 0.114]).view(1, 3, 1, 1)
    source = (x * luma).sum(1, keepdim=True) if order.noise.grey else x
    source = (source.clamp(0, 1) * 255).round() / 255
    peak = 2 ** np.ceil(np.log2(len(source.unique())))
    noise = torch.poisson(source * peak) / peak - source
    return (x + noise * order.noise.strength).clamp(0, 1)


def plain_jpeg(x: torch.Tensor, order: OrderParameters) -> torch.Tensor:
    return torch.from_numpy(jpeg(x[0].double().numpy(), order.jpeg_quality or 100)).float()[None]


def plain_finish(
    x: torch.Tensor, parameters: DegradationParameters, size: tuple[int, ...]
) -> torch.Tensor:
    x = F.interpolate(x, size=size, mode=parameters.final_mode)
    sinc = parameters.final_sinc
    return x if sinc is None else plain_filter(x, sinc.weights())


def plain_apply(hr: Pixels, parameters: DegradationParameters) -> Pixels:
    """The published order of operations, written down with torch in single precision."""
    first, second = parameters.first, parameters.second
    size = tuple(n // parameters.scale for n in hr.shape[:2])
    x = torch.from_numpy(hr).permute(2, 0, 1)[None].float() / 255
    x = plain_usm(x) if parameters.usm else x
    x = plain_filter(x, first.kernel.weights()) if first.kernel else x
    x = F.interpolate(x, scale_factor=first.resize.factor, mode=first.resize.mode)
    x = plain_jpeg(plain_noise(x, first), first)
    x = plain_filter(x, second.kernel.weights()) if second.kernel else x
    target = tuple(int(n * second.resize.factor) for n in size)
    x = plain_noise(F.interpolate(x, size=target, mode=second.resize.mode), second)
    if parameters.jpeg_last:
        x = plain_jpeg(plain_finish(x, parameters, size).clamp(0, 1), second)
    else:
        x = plain_finish(plain_jpeg(x, second), parameters, size)
    return (x[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()


def crops(count: int, size: int) -> list[Pixels]:
    """`count` crops of (size, size, 3) from freely licensed photographs, tiled where too small."""
    photographs = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea()]
    tiled = [np.tile(p, (-(-size // p.shape[0]), -(-size // p.shape[1]), 1)) for p in photographs]
    return [np.ascontiguousarray(tiled[i % len(tiled)][:size, :size]) for i in range(count)]


def seconds(degraded: Callable[..., Pixels], *given: object) -> float:
    start = time.perf_counter()
    degraded(*given)
    return time.perf_counter() - start


def compared(images: list[Pixels], preset: DegradationOptions) -> tuple[float, float]:
    """Seconds an image of ours and the plain one, in turns, after one unmeasured image each."""
    pairs = drawn(images, preset)
    for degraded in (apply, plain_apply):
        degraded(*pairs[0])
    times = [(seconds(apply, *pair), seconds(plain_apply, *pair)) for pair in pairs]
    ours, plain = np.mean(times, axis=0).tolist()
    return ours, plain


def drawn(
    images: list[Pixels], preset: DegradationOptions
) -> list[tuple[Pixels, DegradationParameters]]:
    return [(hr, seeded_parameters(preset, stream_seed(0, str(i)))) for i, hr in enumerate(images)]


def report(images: list[Pixels], preset: DegradationOptions) -> None:
    """Seconds an image of both, and how far apart they are."""
    ours, plain = compared(images, preset)
    print(f"  plain torch {plain * 1e3:.1f} ms an image, cassr {ours * 1e3:.1f} ms")
    print(f"  as fast as plain torch: {plain / ours:.2f} x")
    differences = []
    for hr, parameters in drawn(images, preset):
        first, second = (
            order.model_copy(update={"noise": None})
            for order in (parameters.first, parameters.second)
        )
        quiet = parameters.model_copy(update={"first": first, "second": second})
        differences.append(np.abs(apply(hr, quiet).astype(float) - plain_apply(hr, quiet)).mean())
    middle, largest = np.median(differences), max(differences)
    print(f"  difference without noise: median {middle:.4f}, largest {largest:.4f} of 255")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--preset", choices=list(PRESETS), default="full")
    options = parser.parse_args()
    torch.set_num_threads(1)
    images = crops(options.images, options.size)
    preset = PRESETS[options.preset]
    print(f"{options.images} images of {options.size}x{options.size}, preset {options.preset}")
    report(images, preset)
    print("the same without USM sharpening")
    report(images, preset.model_copy(update={"usm": False}))


if __name__ == "__main__":
    main()
