"""Seconds an image of the degradation: exact as for test sets, fast as in training, on a device.

    python benchmarks/degradation.py --images 12 --size 512 --preset full [--device cuda]

All degrade the same crops by the same parameters, in turns; on a CPU on one thread.
"""

import time
from functools import partial
from typing import Any

import cv2
import numpy as np
import pandas as pd
import skimage.data
import torch
import typer

from cassr.degradation import PRESETS, DegradationOptions, Pixels, degrade, degrade_batch
from cassr.degradation.fast import poisson_table
from cassr.training.samples.recipe import stream_seed


def crops(count: int, size: int) -> list[Pixels]:
    """`count` crops of (size, size, 3) from freely licensed photographs, tiled where too small."""
    photographs = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea()]
    tiled = [np.tile(p, (-(-size // p.shape[0]), -(-size // p.shape[1]), 1)) for p in photographs]
    return [np.ascontiguousarray(tiled[i % len(tiled)][:size, :size]) for i in range(count)]


def on_device(hr: Pixels, device: str, **how: Any) -> None:
    images = torch.from_numpy(hr).permute(2, 0, 1)[None].to(device).float() / 255
    degrade_batch(images, [how.pop("seed")], device=device, **how).cpu()


def measured(images: list[Pixels], preset: DegradationOptions, device: str) -> "pd.Series[float]":
    """Milliseconds an image of each way, in turns, after one unmeasured image.

    On a CPU those of processor time, which other programs do not take.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    clock = time.process_time if device == "cpu" else time.perf_counter
    ways = {
        "exact": degrade,
        "fast": partial(degrade, exact=False),
        f"torch, {device}": partial(on_device, device=device),
    }
    for peak in 2 ** np.arange(9):
        poisson_table(int(peak))
    rows = []
    for number, hr in enumerate([images[0], *images]):
        row = {}
        for name, way in ways.items():
            started = clock()
            way(hr, seed=stream_seed(0, str(number)), preset=preset)
            row[name] = 1e3 * (clock() - started)
        rows.append(row)
    return pd.DataFrame(rows[1:]).mean()


def compared(images: list[Pixels], preset: DegradationOptions) -> tuple[float, float]:
    """Seconds an image as test sets are made, and by torch on the CPU."""
    milliseconds = measured(images, preset, "cpu")
    return milliseconds["exact"] / 1e3, milliseconds["torch, cpu"] / 1e3


def main(images: int = 12, size: int = 512, preset: str = "full", device: str = "cpu") -> None:
    """Degrade the same crops in every way."""
    table = measured(crops(images, size), PRESETS[preset], device).to_frame("ms an image")
    table["times as fast"] = table.loc["exact", "ms an image"] / table["ms an image"]
    print(f"{images} images of {size}x{size}, preset {preset} of {', '.join(PRESETS)}")
    print(table.round(2).to_string())


if __name__ == "__main__":
    typer.run(main)
