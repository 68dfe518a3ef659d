"""One stage of the cascade from condition images to an image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from cassr.config import SamplingOptions
from cassr.sampling.color import CORRECTIONS
from cassr.sampling.loop import (
    Autoencoder,
    Denoiser,
    LatentCodec,
    LatentSpace,
    NoisePredictor,
    Scheduler,
    draw_noise,
    sample,
    stage_generators,
    tiled_predictor,
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

    def embed_prompt(self, text: str) -> Tensor:
        """(1, T, D)."""
        ...

    def progress_bar(self, iterable: Iterable[Any]) -> Iterable[Any]: ...


@dataclass(frozen=True)
class Batch:
    """Images of one size on their way through both stages.

    Attributes:
        upscaled: (B, 3, H, W) bicubically upscaled LR images in [0, 1].
        padded: the same, sides extended to what the networks need.
        z_lr: (B, c, h, w) its latents.
        seeds: one per image.
        prompts: one per image.
    """

    upscaled: Tensor
    padded: Tensor
    z_lr: Tensor
    seeds: Sequence[int]
    prompts: Sequence[str]


def run_stage(
    pipeline: Cascade,
    number: int,
    stage: Denoiser,
    batch: Batch,
    conditions: Sequence[Tensor],
    steps: int,
    guidance_scale: float,
    options: SamplingOptions,
) -> Tensor:
    """Sample, decode, crop and colour-correct.

    Args:
        number: 1 or 2; the stages draw independent noise.
        conditions: what the stage's `embed` takes, padded like the batch.
        steps, guidance_scale: of this stage.

    Returns:
        (B, 3, H, W) float32 in [0, 1].
    """
    z_lr = batch.z_lr
    prompt = _embed_prompts(pipeline, batch.prompts, guidance_scale, options.negative_prompt)
    factor = vae_factor(pipeline.vae)
    limit = options.hint_cache_mb * 2**20 if steps > 1 else 0
    height, width = z_lr.shape[2:]
    grid = Grid(height, width, options.tile // factor, options.tile_overlap // factor)
    predict = tiled_predictor(stage, conditions, prompt, grid, guidance_scale, limit)
    latents = _sample(
        pipeline, predict, z_lr, stage_generators(batch.seeds, number), steps, options
    )
    codec = LatentCodec(pipeline.vae, options.vae_tile, options.vae_overlap)
    return _finish(codec.decode(latents), batch.upscaled, options)


def _sample(
    pipeline: Cascade,
    predict: NoisePredictor,
    z_lr: Tensor,
    generators: Sequence[torch.Generator],
    steps: int,
    options: SamplingOptions,
) -> Tensor:
    """Latents (B, c, h, w) of the image, from noise."""
    space = pipeline.latent_space
    noise = draw_noise(z_lr.shape[1:], generators).to(z_lr.device)
    start = space.enter(z_lr, z_lr) if options.start == "lr" else None
    scheduler, progress = pipeline.scheduler, pipeline.progress_bar
    y = sample(predict, scheduler, noise, start, steps, generators, progress)
    return space.leave(y, z_lr)


def _finish(image: Tensor, upscaled: Tensor, options: SamplingOptions) -> Tensor:
    image = image[..., : upscaled.shape[2], : upscaled.shape[3]]
    corrected = CORRECTIONS[options.color_correction](image, upscaled.to(image.device))
    return corrected.clamp_(0, 1)


def _embed_prompts(
    pipeline: Cascade, prompts: Sequence[str], guidance_scale: float, negative_prompt: str
) -> Tensor:
    """(B, T, D) without classifier-free guidance, (2*B, T, D) with: negative half first."""
    texts = list(prompts)
    if guidance_scale != 1:
        texts = [negative_prompt] * len(texts) + texts
    together = torch.cat([pipeline.embed_prompt(text) for text in texts])
    return together.to(pipeline.unet.device, pipeline.unet.dtype)
