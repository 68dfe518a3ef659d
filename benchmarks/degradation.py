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
    degrade_batch,
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


def without_noise(parameters: DegradationParameters) -> DegradationParameters:
    orders = {
        name: getattr(parameters, name).model_copy(update={"noise": None})
        for name in ("first", "second")
    }
    return parameters.model_copy(update=orders)


def crops(count: int, size: int) -> list[Pixels]:
    """`count` crops of (size, size, 3) from freely licensed photographs, tiled where too small."""
    photographs = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea()]
    tiled = [np.tile(p, (-(-size // p.shape[0]), -(-size // p.shape[1]), 1)) for p in photographs]
    return [np.ascontiguousarray(tiled[i % len(tiled)][:size, :size]) for i in range(count)]


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(images: list[Pixels], parameters: list[DegradationParameters]) -> tuple[float, float]:
    """Seconds an image: ours, plain. The two take turns, after one unmeasured image each."""
    apply(images[0], parameters[0])
    plain_apply(images[0], parameters[0])
    times = [
        (seconds(lambda: apply(hr, p)), seconds(lambda: plain_apply(hr, p)))  # noqa: B023
        for hr, p in zip(images, parameters, strict=True)
    ]
    ours, plain = np.mean(times, axis=0)
    return float(ours), float(plain)


def disagreement(images: list[Pixels], parameters: list[DegradationParameters]) -> Planes:
    """Mean absolute difference of the noise-free results, in levels of 255, an image each."""
    quiet = [without_noise(p) for p in parameters]
    return np.array(
        [
            np.abs(apply(hr, p).astype(float) - plain_apply(hr, p)).mean()
            for hr, p in zip(images, quiet, strict=True)
        ]
    )


def report(
    images: list[Pixels], seeds: list[int], preset: DegradationOptions, workers: int
) -> None:
    parameters = [seeded_parameters(preset, seed) for seed in seeds]
    ours, plain = measure(images, parameters)
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    batched = seconds(lambda: degrade_batch(batch, seeds, preset=preset, workers=workers))
    batched /= len(images)
    rows = [
        ("plain torch", plain),
        ("cassr", ours),
        (f"cassr, batch, {workers} thread(s)", batched),
    ]
    for name, duration in rows:
        print(f"  {name:28} {duration * 1e3:8.1f} ms an image {plain / duration:6.2f} x as fast")
    differences = disagreement(images, parameters)
    print(
        f"  without noise, mean absolute difference: median {np.median(differences):.4f}, "
        f"largest {differences.max():.4f} of 255"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--preset", choices=list(PRESETS), default="full")
    parser.add_argument("--workers", type=int, default=1, help="threads of the batch form")
    options = parser.parse_args()
    torch.set_num_threads(1)
    images = crops(options.images, options.size)
    seeds = [stream_seed(0, str(i)) for i in range(options.images)]
    preset = PRESETS[options.preset]
    print(f"{options.images} images of {options.size}x{options.size}, preset {options.preset}")
    report(images, seeds, preset, options.workers)
    print("the same without USM sharpening")
    report(images, seeds, preset.model_copy(update={"usm": False}), options.workers)


if __name__ == "__main__":
    main()
