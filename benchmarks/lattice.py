"""What repeats with the patches of the miniature: measured in images, taken out of its decoder.

    python benchmarks/lattice.py measure FOLDER ...
    python benchmarks/lattice.py level MODEL LEVELLED --data free --pairs 176

The first tells, in grey levels, how far what repeats every 4 pixels of an image exceeds the mean of
what repeats every 3 and 5, which any image has. The second writes the model with two other layers
of the decoder, `synthesis` and the last of `body`, and nothing else changed: in closed form what of
the pattern goes with colour, then by descent what is left.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import typer
from torch import Tensor

from bench.files import images
from bench.files.image_folders import image_files
from cassr.config import MINI
from cassr.patch_vae import PatchVAE
from cassr.photographs.sets import open_photographs
from cassr.pipeline import CasSRPipeline
from cassr.sampling.images import upscale_bicubic
from cassr.sampling.loop import unscaled
from cassr.training.samples.data import TrainingPairs
from cassr.training.samples.recipe import recipe_of
from cassr.training.train import save_model

ROUNDS = 4
"""The layers behind `synthesis` make of a pattern more than is put in, so it goes by approach."""
MARGIN = 2
"""Patches at an image's edge that are left out."""
WINDOW = 20
"""Side, in patches, of the parts of an image in which a pattern is looked for, beside the whole."""
BATCH = 3
LEARNING_RATE = 3e-4
PATTERN_WEIGHT = 4.0
"""Of the pattern, beside 1 of the distance from what the decoder made before."""

app = typer.Typer(add_completion=False)


def repeating(image: np.ndarray, period: int) -> float:
    """Mean absolute size of the mean of all cells of `period` pixels, of an image (H, W, 3).

    Each cell is taken without its mean; what fills no cell is left out.
    """
    height, width = (side // period for side in image.shape[:2])
    whole = image[: height * period, : width * period].astype(np.float64)
    cells = whole.reshape(height, period, width, period, -1)
    inside = cells - cells.mean((1, 3), keepdims=True)
    return float(np.abs(inside.mean((0, 2))).mean())


def lattice(image: np.ndarray) -> float:
    """Grey levels by which what repeats every 4 pixels exceeds that of 3 and 5; (H, W, 3) uint8."""
    return repeating(image, 4) - (repeating(image, 3) + repeating(image, 5)) / 2


@torch.no_grad()
def level(vae: PatchVAE, latents: Sequence[Tensor], plain: Sequence[Tensor]) -> None:
    """Change `synthesis` until the decoder's images have no pattern that goes with colour.

    By place in a patch and channel, the difference of decoded latents (1, c, h, w) from images
    without a pattern (1, 3, H, W) in [0, 1], less its mean over the patch, is fitted by the patch's
    colour. Colours are linear in latents, so that much can be taken off the layer's weights.
    Patches that differ by a detail count less.
    """
    layer = vae.synthesis
    assert layer.bias is not None
    # What is taken off has no mean over a patch, so these stay as they are.
    weight = layer.weight[..., 0, 0].unflatten(0, (3, -1)).mean(1)
    bias = layer.bias.unflatten(0, (3, -1)).mean(1)
    for _ in range(ROUNDS):
        colours, patterns = [], []
        for z, image in zip(latents, plain, strict=True):
            patterns.append(_rows(_patterns(vae, vae.decode(z).sample - (image * 2 - 1))))
            colours.append(_rows(_inside(F.conv2d(z, weight[..., None, None], bias))))
        x, y = F.pad(torch.cat(colours), (0, 1), value=1.0), torch.cat(patterns)
        trust = 1 / (1 + 127.5 * y.abs().mean(1, keepdim=True))
        found = torch.linalg.lstsq(x * trust, y * trust).solution.to(weight)
        layer.weight.sub_((found[:3].T @ weight)[..., None, None])
        layer.bias.sub_(found[3] + bias @ found[:3])


def settle(vae: PatchVAE, before: PatchVAE, latents: Tensor, plain: Tensor, steps: int) -> None:
    """Take what is left of the pattern out of `synthesis` and the last layer of `body`.

    `latents` (n, c, h, w) and `plain` (n, 3, H, W) as in `level`. Minimised is the mean pattern of
    each image and of its windows, in grey levels, and the distance from what `before` decodes.
    """
    layers = (vae.synthesis, vae.decoder["body"][-1])  # type: ignore[index]
    vae.requires_grad_(False)
    parameters = [
        parameter.requires_grad_() for layer in layers for parameter in layer.parameters()
    ]
    optimizer = torch.optim.Adam(parameters)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.1
    )
    order = torch.Generator().manual_seed(0)
    for _ in range(steps):
        chosen = torch.randint(len(latents), (BATCH,), generator=order)
        with torch.no_grad():
            kept = before.decode(latents[chosen]).sample
        made = vae.decode(latents[chosen]).sample
        cells = _patterns(vae, made - (plain[chosen] * 2 - 1))
        pattern = cells.mean((2, 3)).abs().mean() + F.avg_pool2d(cells, WINDOW).abs().mean()
        optimizer.zero_grad()
        ((made - kept).abs().mean() + PATTERN_WEIGHT * pattern).backward()
        optimizer.step()
        schedule.step()
    vae.requires_grad_(True)


def _patterns(vae: PatchVAE, difference: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 3 * patch^2, h, w), each patch without its mean; no margin."""
    cells = F.pixel_unshuffle(difference, vae.factor).unflatten(1, (3, -1))
    return _inside((cells - cells.mean(2, keepdim=True)).flatten(1, 2))


def _inside(cells: Tensor) -> Tensor:
    return cells[..., MARGIN:-MARGIN, MARGIN:-MARGIN]


def _rows(cells: Tensor) -> Tensor:
    """(1, n, h, w) -> (patches, n), float64."""
    return cells[0].flatten(1).T.double()


@torch.no_grad()
def sampled(pipeline: CasSRPipeline, lr: Tensor, seed: int) -> Tensor:
    """The latents (1, c, h, w) that stage 2 decodes for an image (1, 3, h, w) at x4."""
    latents = pipeline(lr, scale=4, seed=seed, output_type="latent").images
    return unscaled(pipeline.vae, latents)


@app.command("measure")
def measure(folders: list[Path]) -> None:
    """Print the mean over the images of each folder."""
    for folder in folders:
        found = [lattice(images.read_rgb(path)) for path in image_files(folder)]
        typer.echo(f"{folder}: {np.mean(found):.4f} of {len(found)} images")


@app.command("level")
def level_model(
    model: Path, target: Path, data: str = "free", pairs: int = 176, steps: int = 300
) -> None:
    """Level a trained miniature on training pairs of 256 pixels and write it to another folder."""
    pipeline = CasSRPipeline.from_pretrained(model)
    pipeline.set_progress_bar_config(disable=True)
    settings = replace(MINI.training_for("guidance", "image"), crop=256)
    samples = TrainingPairs(open_photographs(data.split(",")), recipe_of(settings), pairs)
    lrs = [samples[number]["lr"][None].float() / 255 for number in range(pairs)]
    latents = [sampled(pipeline, lr, seed) for seed, lr in enumerate(lrs)]
    plain, before = [upscale_bicubic(lr, 4) for lr in lrs], copy.deepcopy(pipeline.vae)
    level(pipeline.vae, latents, plain)
    settle(pipeline.vae, before, torch.cat(latents), torch.cat(plain), steps)
    save_model(pipeline, target)


if __name__ == "__main__":
    app()
