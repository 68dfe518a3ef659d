"""The stages of training: what each trains, needs and shows. A new one is a `Stage` in `STAGES`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from cassr.base.errors import TrainingError
from cassr.config import LossKind, TrainingSettings
from cassr.patch_vae import PatchVAE
from cassr.pipeline import CasSRPipeline
from cassr.sampling.loop import vae_factor
from cassr.stages import freeze
from cassr.training.losses import WINDOW
from cassr.training.objectives import Objective, StageObjective, VaeObjective


@dataclass(frozen=True)
class Stage:
    """What is trained in one run.

    Attributes:
        name: as a user gives it; presets have settings under it.
        objective: (pipeline, settings) -> what is minimised, with gradients switched on for what is
            trained. VAE and U-Net come frozen.
        results: (pipeline, lr (1, 3, h, w), hr (1, 3, H, W), scale=, seed=) -> what it makes of a
            test image, the result last; each (1, 3, H, W) float32 in [0, 1].
        rounded: they are judged as the 8-bit images that would be written.
        losses: that it can be trained by.
        adapters: modules of `cassr.build.build_adapters` that it trains; new ones are made where
            the start has none that fit, or on request.
        from_nothing: it trains what others take from Stable Diffusion, so it is for presets
            without a base.
        latents: its samples are prepared with their latents.
        references: it learns from the reference images of a trained stage 1.
        complete: (pipeline, fresh, seed) adds what a start lacks, new if `fresh`; None for nothing.
    """

    name: str
    objective: Callable[[CasSRPipeline, TrainingSettings], Objective]
    results: Callable[..., list[Tensor]]
    rounded: bool = True
    losses: tuple[LossKind, ...] = ("noise", "image")
    adapters: tuple[str, ...] = ()
    from_nothing: bool = False
    latents: bool = True
    references: bool = False
    complete: Callable[[CasSRPipeline, bool, int], None] | None = None


def _activation(pipeline: CasSRPipeline, settings: TrainingSettings) -> Objective:
    kept = replace(settings, degraded_share=0.0, reference_share=0.0)
    network = pipeline.activation_stage()
    freeze(network)
    return StageObjective(pipeline, kept, network, ("lr",))


def _guidance(pipeline: CasSRPipeline, settings: TrainingSettings) -> Objective:
    network, kept = pipeline.guidance_stage(), replace(settings, degraded_share=0.0)
    freeze(network)
    if settings.train_decoder and (settings.loss != "image" or pipeline.config["base"]):
        raise ValueError("--train-decoder: expected --loss image and a model without a base")
    decoder = pipeline.vae.decoder.requires_grad_(True) if settings.train_decoder else None
    return StageObjective(pipeline, kept, network, ("lr", "reference"), decoder=decoder)


def _prior(pipeline: CasSRPipeline, settings: TrainingSettings) -> Objective:
    """The U-Net with stage 2's networks; in pixel space the VAE's decoder too."""
    network = pipeline.guidance_stage().requires_grad_(True)
    decoder = pipeline.vae.decoder.requires_grad_(True) if settings.loss == "image" else None
    kept, images = replace(settings, reference_share=0.0), ("lr", "lr")
    return StageObjective(pipeline, kept, network, images, decoder=decoder, untrained=True)


def _texture(pipeline: CasSRPipeline, settings: TrainingSettings) -> Objective:
    """The last layers of the VAE's decoder behind networks that stay as they are."""
    network = pipeline.guidance_stage().requires_grad_(False)
    kept = replace(settings, degraded_share=0.0, reference_share=0.0, unit_hints=False)
    decoder = pipeline.vae.decoder["texture"].requires_grad_(True)
    return StageObjective(pipeline, kept, network, ("lr", "lr"), decoder=decoder)


def _decoded(pipeline: CasSRPipeline, lr: Tensor, hr: Tensor, **call: Any) -> list[Tensor]:
    z = pipeline.vae.encode(hr.to(pipeline.device) * 2 - 1).latent_dist.mode()
    return [((pipeline.vae.decode(z).sample + 1) / 2).clamp(0, 1).cpu()]


def _activated(pipeline: CasSRPipeline, lr: Tensor, hr: Tensor, **call: Any) -> list[Tensor]:
    return [pipeline.activate(lr, output_type="pt", **call)]


def _guided(pipeline: CasSRPipeline, lr: Tensor, hr: Tensor, **call: Any) -> list[Tensor]:
    made = pipeline(lr, output_type="pt", **call)
    return [made.references, made.images]


def _guided_by_lr(pipeline: CasSRPipeline, lr: Tensor, hr: Tensor, **call: Any) -> list[Tensor]:
    return [pipeline(lr, activation="lr", output_type="pt", **call).images]


def _add_texture(pipeline: CasSRPipeline, fresh: bool, seed: int) -> None:
    vae = pipeline.vae
    if not isinstance(vae, PatchVAE):
        raise TrainingError(
            f"expected a model with a PatchVAE for stage 'texture', found {type(vae).__name__}"
        )
    if fresh or "texture" not in vae.decoder:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            vae.add_texture()


GUIDING = ("controlnet", "attention")
"""The adapters of stage 2."""

_ALL = (
    Stage("activation", _activation, _activated, adapters=("activation",)),
    Stage("guidance", _guidance, _guided, adapters=GUIDING, references=True),
    Stage("prior", _prior, _guided_by_lr, adapters=GUIDING, from_nothing=True),
    Stage("texture", _texture, _guided_by_lr, losses=("image",), complete=_add_texture),
    Stage("vae", VaeObjective, _decoded, rounded=False, from_nothing=True, latents=False),
)
STAGES: dict[str, Stage] = {stage.name: stage for stage in _ALL}


def get_stage(name: str) -> Stage:
    """A stage by name; TrainingError names those there are."""
    if name not in STAGES:
        raise TrainingError(f"stage {name!r}: expected one of {', '.join(STAGES)}")
    return STAGES[name]


def build_objective(name: str, pipeline: CasSRPipeline, settings: TrainingSettings) -> Objective:
    """The objective of a stage.

    Raises TrainingError: unknown stage, a stage that the pipeline does not have, or settings that
    do not fit it.
    """
    stage, factor = get_stage(name), vae_factor(pipeline.vae)
    if settings.crop % factor:
        expected = f"expected a multiple of {factor}, the VAE's cells"
        raise TrainingError(f"crop={settings.crop}: {expected}")
    if settings.loss == "image" and settings.crop < WINDOW:
        raise TrainingError(f"crop={settings.crop}: the image loss needs at least {WINDOW} pixels")
    if settings.loss not in stage.losses:
        raise TrainingError(f"stage {name!r} makes images: expected --loss {stage.losses[0]}")
    for module in (pipeline.vae, pipeline.unet):
        module.requires_grad_(False)
    try:
        return stage.objective(pipeline, settings)
    except ValueError as error:
        raise TrainingError(f"stage {name!r}: {error}") from error
