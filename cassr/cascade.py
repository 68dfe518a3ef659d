"""One call of the pipeline: LR images through both stages of the cascade."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cassr.config import SamplingOptions
from cassr.requests import OnStep, Prompts, spans
from cassr.sampling.color import CORRECTIONS
from cassr.sampling.images import processed_size, quantize, resize_bicubic, scaled_size
from cassr.sampling.loop import (
    LatentCodec,
    NoisePredictor,
    execution_device,
    initial_latents,
    set_timesteps,
    stage_generators,
    tiled_predictor,
    vae_factor,
)
from cassr.sampling.numbers import at_least_one
from cassr.sampling.tiling import Grid, pad_to_multiple


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


@dataclass(frozen=True)
class Cascade:
    """Both stages of a `CasSRPipeline`; `on_step` is called after every step of both."""

    pipeline: Any
    options: SamplingOptions
    tile_batch: int = 1
    on_step: OnStep = lambda index, t, latents: latents

    def batches(
        self,
        lr: Sequence[Tensor],
        scale: float,
        seeds: Sequence[int],
        prompts: Prompts,
        batch_size: int,
    ) -> Iterator[tuple[slice, Batch]]:
        """Images (1, 3, h, w) of one size together, with which they are."""
        self.pipeline._interrupt = False
        most = at_least_one(batch_size, "batch_size")
        for span in spans([x.shape for x in lr], most):
            size = scaled_size(lr[span.start], scale)
            processed = processed_size(size, self.options.process_size)
            upscaled = resize_bicubic(torch.cat(list(lr[span])), processed)
            padded = pad_to_multiple(upscaled, self.pipeline.multiple)
            with self.pipeline.resident(self.pipeline.vae):
                z_lr = self._codec().encode(padded)
            yield span, Batch(upscaled, padded, z_lr, size, seeds[span], prompts.part(span))

    def reference(self, batch: Batch) -> Tensor:
        """The reference images of a batch: (B, 3, *batch.size) in [0, 1], multiples of 1/255."""
        options, kind = self.options, self.options.activation
        if kind == "trained":
            kind = self.pipeline.config["activation_kind"]
        if kind == "lr":
            return quantize(resize_bicubic(batch.upscaled, batch.size).clone())
        if kind == "external":
            raise ValueError("activation 'external': give the reference images as reference=")
        steps, guidance_scale = options.activation_steps, options.activation_guidance_scale
        stage = self.pipeline.activation_stage()
        latents = self._sample(1, stage, batch, [batch.padded], batch.z_lr, steps, guidance_scale)
        return quantize(self.image(batch, latents))

    def guide(self, batch: Batch, reference: Tensor) -> Tensor:
        """Stage 2: latents (B, c, h, w) from reference images (B, 3, *batch.size)."""
        options = self.options
        stage = self.pipeline.guidance_stage(options.multiple_attention)
        stage.lr_scale = options.lr_conditioning_scale
        stage.reference_scale = options.reference_conditioning_scale
        stage.attention_scale = options.attention_scale
        height, width = batch.upscaled.shape[2:]
        resized = resize_bicubic(reference, (height, width))
        conditions = [batch.padded, pad_to_multiple(resized, self.pipeline.multiple)]
        z_base = batch.z_lr
        if self.pipeline.latent_space.residual:
            with self.pipeline.resident(self.pipeline.vae):
                z_base = self._codec().encode(conditions[-1])
        steps, guidance_scale = options.num_inference_steps, options.guidance_scale
        return self._sample(2, stage, batch, conditions, z_base, steps, guidance_scale)

    def image(self, batch: Batch, latents: Tensor) -> Tensor:
        """Decode, crop, correct colours: (B, c, h, w) -> (B, 3, *batch.size) in [0, 1]."""
        upscaled = batch.upscaled
        with self.pipeline.resident(self.pipeline.vae):
            image = self._codec().decode(latents)[..., : upscaled.shape[2], : upscaled.shape[3]]
            corrected = CORRECTIONS[self.options.color_correction](image, upscaled.to(image.device))
            return resize_bicubic(corrected.clamp_(0, 1), batch.size)

    def _codec(self) -> LatentCodec:
        tile, overlap = self.options.vae_tile, self.options.vae_overlap
        return LatentCodec(self.pipeline.vae, tile, overlap, self.tile_batch)

    def _sample(
        self,
        number: int,
        stage: Any,
        batch: Batch,
        conditions: Sequence[Tensor],
        z_base: Tensor,
        steps: int,
        guidance_scale: float,
    ) -> Tensor:
        """Latents (B, c, h, w) float32 of what stage 1 or 2, by `number`, makes of conditions;
        z_base: those of the last one, see `LatentSpace`."""
        pipeline, options, z_lr = self.pipeline, self.options, batch.z_lr
        factor, (height, width) = vae_factor(pipeline.vae), z_lr.shape[2:]
        grid = Grid(height, width, options.tile // factor, options.tile_overlap // factor)
        limit = options.hint_cache_mb * 2**20 if steps > 1 else 0
        with pipeline.resident(stage):
            device = execution_device(pipeline.unet)
            prompt = batch.prompts.stacked(guidance_scale).to(device, pipeline.unet.dtype)
            predict = tiled_predictor(
                pipeline.ready(stage), conditions, prompt, grid, guidance_scale, limit,
                self.tile_batch,
            )  # fmt: skip
            space = pipeline.latent_space
            start = space.enter(z_lr, z_base) if options.start == "lr" else None
            return space.leave(self._denoise(number, predict, batch, start, steps), z_base)

    def _denoise(
        self, number: int, predict: NoisePredictor, batch: Batch, start: Tensor | None, steps: int
    ) -> Tensor:
        """Run the scheduler from noise, or noise with `start` in it, to latents."""
        scheduler, z_lr = self.pipeline.scheduler, batch.z_lr
        generators = stage_generators(batch.seeds, number)
        noise = torch.stack([torch.randn(z_lr.shape[1:], generator=g) for g in generators])
        accepted = set_timesteps(scheduler, steps, z_lr.device)
        self.pipeline.num_timesteps = len(scheduler.timesteps)
        latents = initial_latents(scheduler, noise.to(z_lr.device), start)
        # Some schedulers add noise in their steps.
        extra = {"generator": generators} if "generator" in accepted else {}
        for index, t in enumerate(self.pipeline.progress_bar(scheduler.timesteps)):
            if self.pipeline._interrupt:
                break
            prediction = predict(scheduler.scale_model_input(latents, t), t)
            latents = scheduler.step(prediction, t, latents, return_dict=False, **extra)[0]
            latents = self.on_step(index, t, latents)
        return latents
