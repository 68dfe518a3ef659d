"""What CasSR takes: memory by the size of its output, and what tiles change.

    python benchmarks/model.py memory --untiled --figure     # peak memory, 512 to 2048 px
    python benchmarks/model.py tiles --model FOLDER --figure # a saved pipeline, or random weights

Each prints JSON; `--figure` draws the picture of docs/cassr.md again.
"""

import json
import multiprocessing
import os
import resource
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd
import skimage.data
import torch
import typer
from PIL import Image
from torch import Tensor

from cassr.build import build_pipeline
from cassr.pipeline import CasSRPipeline
from cassr.sampling.tiling import Grid

FIGURES = Path(__file__).parents[1] / "docs" / "figures"
SIDES = (512, 1024, 2048)
TILE, OVERLAP, WHOLE = 256, 64, 8192
"""In pixels of the output; the last is the side of a tile that holds any image here."""
GAIN = 8
# Blocks above 64 KiB go back to the system when they are freed, so that memory in use is measured
# and not what the allocator keeps for later.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}

app = typer.Typer(help=__doc__.splitlines()[0], add_completion=False)


def tiles_of(side: int, overlap: int) -> dict[str, int]:
    return {"tile": side, "vae_tile": side, "tile_overlap": overlap, "vae_overlap": overlap}


@app.command()
def memory(untiled: bool = False, figure: bool = False) -> None:
    """Peak memory against the size of the output in tiles, and of whole images up to 1024 px.

    Both stages use the same tiles, so stage 2 alone is run, of the miniature: how memory grows with
    the image does not change with the size of the networks. Every size has a process of its own.
    """
    os.environ.update(ALLOCATOR)
    runs = [(side, TILE) for side in SIDES] + [(side, WHOLE) for side in SIDES[:2] if untiled]
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, maxtasksperchild=1) as pool:
        rows = pd.DataFrame(pool.starmap(peak_memory, runs, chunksize=1))
    print(rows.to_json(orient="records", indent=2))
    if figure:
        columns = rows.pivot(index="side", columns="tile", values="peak")
        columns.columns = [f"tiles of {TILE} px", "whole image"][: columns.shape[1]]
        axes = columns.plot(style=["o-", "s--"], figsize=(5.2, 3.2), xticks=SIDES)
        axes.set(xlabel="side of the output, px", ylabel="peak resident memory, MiB")
        axes.set(ylim=(0, 1.2 * rows["peak"].max()))
        axes.grid(alpha=0.3)
        axes.figure.savefig(FIGURES / "cassr_memory.png", dpi=110, bbox_inches="tight")


def peak_memory(side: int, tile: int) -> dict[str, float]:
    """Upscale one image to side x side in this process; memory in MiB, time in seconds."""
    torch.set_num_threads(1)
    pipeline = build_pipeline("mini")
    pipeline.set_progress_bar_config(disable=True)
    image = torch.rand(3, side // 4, side // 4)
    loaded, started = peak(), time.perf_counter()
    pipeline(image, activation="lr", output_type="pt", **tiles_of(tile, OVERLAP))
    seconds = time.perf_counter() - started
    return {"side": side, "tile": tile, "loaded": loaded, "peak": peak(), "seconds": seconds}


def peak() -> float:
    """Largest resident memory of this process so far, MiB (Linux counts it in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@app.command()
def tiles(model: str = "", figure: bool = False) -> None:
    """Tiled against untiled: PSNR between them.

    The image is 1.5 tiles wide and high. A seam would show as a line at the tiles' borders in the
    magnified difference.
    """
    torch.set_num_threads(1)
    pipeline = CasSRPipeline.from_pretrained(model) if model else awakened()
    pipeline.set_progress_bar_config(disable=True)
    side = TILE * 3 // 2
    image = photograph(side // 4)
    whole = pipeline(image, output_type="pt", **tiles_of(WHOLE, 0)).images
    tiled = pipeline(image, output_type="pt", **tiles_of(TILE, OVERLAP)).images
    grid = Grid(side, side, TILE, OVERLAP)
    psnr = float(-10 * (tiled - whole).square().mean().log10())
    print(json.dumps({"side": side, "tiles": len(grid), "psnr": psnr}))
    if figure:
        draw_tiles(whole, tiled, grid)


def awakened() -> CasSRPipeline:
    """A miniature at random weights whose conditions reach the output."""
    pipeline = build_pipeline("mini")
    generator = torch.Generator().manual_seed(0)
    for module in (pipeline.controlnet, pipeline.activation):
        for parameter in module.parameters():
            if not parameter.any():
                parameter.data = 0.05 * torch.randn(parameter.shape, generator=generator)
    return pipeline


def photograph(side: int) -> Image.Image:
    """scikit-image's coffee, shrunk from its middle."""
    middle = Image.fromarray(skimage.data.coffee()).crop((100, 0, 500, 400))
    return middle.resize((side, side), Image.Resampling.BICUBIC)


def draw_tiles(whole: Tensor, tiled: Tensor, grid: Grid) -> None:
    difference = ((tiled - whole) * GAIN + 0.5).clamp(0, 1)
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.3), layout="constrained")
    titles = ("whole image", "tiles", f"difference x {GAIN}")
    for axis, title, image in zip(axes, titles, (whole, tiled, difference), strict=True):
        axis.imshow(image[0].permute(1, 2, 0).numpy())
        axis.set_title(title, fontsize=10)
        axis.set(xticks=sorted({w.left for w in grid}), yticks=sorted({w.top for w in grid}))
        axis.tick_params(labelsize=7)
    figure.savefig(FIGURES / "cassr_tiles.png", dpi=72)


if __name__ == "__main__":
    app()
