"""Tiled against untiled: PSNR between them, steps at the tiles' borders, and a panel.

    python benchmarks/cassr_tiles.py                       # a photograph, random weights
    python benchmarks/cassr_tiles.py --model FOLDER        # a saved pipeline

The image is 1.5 tiles wide and high. A seam would show as a line at the tiles' borders in the
magnified difference, and as border steps that stand out of all others.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cassr.build import build_pipeline
from cassr.pipeline import CasSRPipeline
from cassr.sampling.tiling import Grid

FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "cassr_tiles.png"
GAIN = 8


def load(model: Path | None) -> CasSRPipeline:
    """A saved pipeline, or a miniature whose conditions reach the output."""
    if model is not None:
        return CasSRPipeline.from_pretrained(model)
    pipeline = build_pipeline("mini")
    generator = torch.Generator().manual_seed(0)
    for module in (pipeline.controlnet, pipeline.activation):
        for parameter in module.parameters():
            if not parameter.any():
                parameter.data = 0.05 * torch.randn(parameter.shape, generator=generator)
    return pipeline


def photograph(side: int) -> Tensor:
    """(3, side, side) in [0, 1]: scikit-image's coffee, shrunk from its middle."""
    import skimage.data
    from PIL import Image

    middle = Image.fromarray(skimage.data.coffee()).crop((100, 0, 500, 400))
    pixels = np.array(middle.resize((side, side), Image.Resampling.BICUBIC))
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


def border_steps(difference: Tensor, grid: Grid) -> dict[str, float]:
    """Steps of the difference between neighbouring rows or columns, over their mean.

    Returns:
        The mean at the tiles' borders, and for comparison the largest anywhere.
    """
    at_borders, largest = [], []
    for dim, first, size in ((2, "top", "height"), (3, "left", "width")):
        edges = {getattr(w, first) for w in grid} | {
            getattr(w, first) + getattr(w, size) for w in grid
        }
        inner = sorted(e for e in edges if 0 < e < difference.shape[dim])
        steps = difference.diff(dim=dim).abs().mean((0, 1, 5 - dim))
        relative = steps / steps.mean()
        at_borders += relative[[e - 1 for e in inner]].tolist()
        largest.append(float(relative.max()))
    return {"at_borders": sum(at_borders) / len(at_borders), "largest": max(largest)}


def draw(whole: Tensor, tiled: Tensor, grid: Grid) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    difference = ((tiled - whole) * GAIN + 0.5).clamp(0, 1)
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.3), layout="constrained")
    titles = ("whole image", "tiles", f"difference x {GAIN}")
    for axis, title, image in zip(axes, titles, (whole, tiled, difference), strict=True):
        axis.imshow(image[0].permute(1, 2, 0).numpy())
        axis.set_title(title, fontsize=10)
        axis.set_xticks(sorted({w.left for w in grid} | {w.left + w.width for w in grid}))
        axis.set_yticks(sorted({w.top for w in grid} | {w.top + w.height for w in grid}))
        axis.tick_params(labelsize=7)
    figure.savefig(FIGURE, dpi=72)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="folder of a saved pipeline")
    parser.add_argument("--tile", type=int, default=256, help="pixels of the output")
    parser.add_argument("--overlap", type=int, default=64)
    parser.add_argument("--figure", action="store_true", help=f"draw {FIGURE.name}")
    options = parser.parse_args()
    torch.set_num_threads(1)
    pipeline = load(options.model)
    pipeline.set_progress_bar_config(disable=True)
    side, tile, overlap = options.tile * 3 // 2, options.tile, options.overlap
    image = photograph(side // 4)
    tiles = {"tile": tile, "tile_overlap": overlap, "vae_tile": tile, "vae_overlap": overlap}
    none = {"tile": 8192, "vae_tile": 8192}
    whole = pipeline(image, output_type="pt", **none).images
    tiled = pipeline(image, output_type="pt", **tiles).images
    grid = Grid(side, side, tile, overlap)
    psnr = float(-10 * (tiled - whole).square().mean().log10())
    steps = border_steps(tiled - whole, grid)
    print(json.dumps({"side": side, "tiles": len(grid), "psnr": psnr, "steps": steps}))
    if options.figure:
        draw(whole, tiled, grid)


if __name__ == "__main__":
    main()
