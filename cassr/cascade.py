"""One stage of the cascade from condition images to an image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from cassr.config import SamplingOptions
from cassr.requests import Prompts
from cassr.sampling.color import CORRECTIONS
from cassr.sampling.loop import (
    Autoencoder,
    Denoiser,
    LatentCodec,
    LatentSpace,
    OnStep,
    Scheduler,
    draw_noise,
    execution_device,
    sample,
    stage_generators,
    tiled_predictor,
    unchanged,
    vae_factor,
)
from cassr.sampling.tiling import Grid


class Cascade(Protocol):
    """What both stages of a model share."""

    vae: Autoencoder
    unet: Any
    scheduler: Scheduler

    @property
    def latent_space(self) -> LatentSpace: ...

    def progress_bar(self, iterable: Iterable[Any]) -> Iterable[Any]: ...


@dataclass(frozen=True)
class Batch:
    """Images of one size on their way through both stages.

    Attributes:
        upscaled: (B, 3, H, W) bicubically upscaled LR images in [0, 1].
        padded: the same, sides extended to what the networks need.
        z_lr: (B, c, h, w) its latents.
        size: (height, width) of the results, which may be less than those processed.
        seeds: one per image.
        prompts: of the images.
    """

    upscaled: Tensor
    padded: Tensor
    z_lr: Tensor
    size: tuple[int, int]
    seeds: Sequence[int]
    prompts: Prompts


def run_stage(
    pipeline: Cascade,
    number: int,
    stage: Denoiser,
    batch: Batch,
    conditions: Sequence[Tensor],
    steps: int,
    guidance_scale: float,
    options: SamplingOptions,
    on_step: OnStep = unchanged,
) -> Tensor:
    """Latents of the image that a stage makes.

    Args:
        number: 1 or 2; the stages draw independent noise.
        conditions: what the stage's `embed` takes, padded like the batch.
        steps, guidance_scale: of this stage.
        on_step: see `cassr.sampling.loop.sample`.

    Returns:
        (B, c, h, w) float32.
    """
    z_lr = batch.z_lr
    device = execution_device(pipeline.unet)
    prompt = batch.prompts.stacked(guidance_scale).to(device, pipeline.unet.dtype)
    factor = vae_factor(pipeline.vae)
    limit = options.hint_cache_mb * 2**20 if steps > 1 else 0
    height, width = z_lr.shape[2:]
    grid = Grid(height, width, options.tile // factor, options.tile_overlap // factor)
    predict = tiled_predictor(stage, conditions, prompt, grid, guidance_scale, limit)
    space, generators = pipeline.latent_space, stage_generators(batch.seeds, number)
    noise = draw_noise(z_lr.shape[1:], generators).to(z_lr.device)
    start = space.enter(z_lr, z_lr) if options.start == "lr" else None
    scheduler, progress = pipeline.scheduler, pipeline.progress_bar
    y = sample(predict, scheduler, noise, start, steps, generators, progress, on_step)
    return space.leave(y, z_lr)


def finish(
    pipeline: Cascade, latents: Tensor, upscaled: Tensor, options: SamplingOptions
) -> Tensor:
    """Decode, crop and colour-correct.

    Args:
        latents: (B, c, h, w).
        upscaled: (B, 3, H, W) in [0, 1].

    Returns:
        (B, 3, H, W) float32 in [0, 1].
    """
    codec = LatentCodec(pipeline.vae, options.vae_tile, options.vae_overlap)
    image = codec.decode(latents)[..., : upscaled.shape[2], : upscaled.shape[3]]
    corrected = CORRECTIONS[options.color_correction](image, upscaled.to(image.device))
    return corrected.clamp_(0, 1)
