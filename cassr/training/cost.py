"""What a step of training costs, counted on PyTorch's meta device, which knows no values."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cassr.config import TrainingSettings
from cassr.pipeline import CasSRPipeline
from cassr.sampling.loop import LatentCodec
from cassr.training.objectives import StageObjective

META = torch.device("meta")
EFFICIENCY = 0.4
"""Share of a GPU's peak that a training step is assumed to reach."""


@dataclass(frozen=True)
class Gpu:
    """A GPU's dense peak, in FLOP/s by its maker's data sheet, and its memory in GiB."""

    bf16: float
    tf32: float
    memory: int


GPUS = {
    "A100": Gpu(312e12, 156e12, 80),
    "H100": Gpu(989e12, 494e12, 80),
    "RTX 4090": Gpu(165e12, 82.6e12, 24),
}


@dataclass(frozen=True)
class StepCost:
    """Of one forward and backward pass of a batch: FLOPs by part, and bytes of the activations
    that are kept for the way back, in float32."""

    flops: dict[str, float]
    activations: float

    def seconds(self, gpu: Gpu, settings: TrainingSettings) -> float:
        """Of a step on a GPU at `EFFICIENCY` of its peak."""
        peak = gpu.tf32 if settings.precision == "no" else gpu.bf16
        return settings.accumulation * sum(self.flops.values()) / (EFFICIENCY * peak)


def step_cost(
    objective: StageObjective, settings: TrainingSettings, made_references: bool
) -> StepCost:
    """Count a pass of `settings.batch_size` samples. The networks have no values afterwards.

    Args:
        made_references: reference images are made in every step, not prepared.
    """
    pipeline = objective.pipeline
    modules = [m for m in (objective, *pipeline.components.values()) if isinstance(m, nn.Module)]
    for module in modules:
        module.to(META)
    images = torch.empty(settings.batch_size, 3, settings.crop, settings.crop, device=META)
    codec = LatentCodec.untiled(pipeline.vae, images)
    with torch.no_grad():
        latents = torch.empty_like(codec.encode(images))
    counted = {}
    if not settings.samples:
        counted["VAE, LR and HR image"] = 2 * _flops(lambda: codec.encode(images))
    if made_references:
        counted |= _reference_flops(pipeline, settings, images, latents)
    kept: dict[int, Any] = {}
    forward = _flops(lambda: _loss(objective, latents, images), kept)
    both = _flops(lambda: _loss(objective, latents, images).backward())
    again = forward if settings.gradient_checkpointing else 0.0
    counted |= {"forward": forward, "backward": both - forward + again}
    for parameter in chain.from_iterable(module.parameters() for module in modules):
        kept.pop(parameter.untyped_storage()._cdata, None)
    return StepCost(counted, float(sum(kept.values())))


def _loss(objective: StageObjective, latents: Tensor, images: Tensor) -> Tensor:
    """A number that depends on all that the network gives."""
    conditions = objective.images({"reference": images.clone()}, images)
    prompt = objective.embed([objective.settings.prompt] * len(images))
    t = torch.zeros(len(images), dtype=torch.int64, device=META)
    made = objective.predict(latents, t, prompt, conditions)
    if objective.settings.loss == "image":
        made = objective.pipeline.vae.decode(made).sample
    return made.float().square().mean()


def _reference_flops(
    pipeline: CasSRPipeline, settings: TrainingSettings, images: Tensor, latents: Tensor
) -> dict[str, float]:
    """Of stage 1 sampling the reference images of a pass."""
    if pipeline.config["activation_kind"] not in ("scedit", "controlnet"):
        return {}
    stage: Any = pipeline.activation_stage()
    sampling = pipeline.sampling
    halves = 1 if sampling.activation_guidance_scale == 1 else 2
    prompt = pipeline.embed_prompt(settings.prompt).repeat(halves * len(images), 1, 1)
    t = torch.zeros((), dtype=torch.int64, device=META)
    with torch.no_grad():
        hints = stage.embed(images)
        once = _flops(lambda: stage.embed(images))
        step = _flops(lambda: stage.predict(latents, t, prompt, hints))
        codec = LatentCodec.untiled(pipeline.vae, images)
        image = _flops(lambda: codec.decode(latents)) + _flops(lambda: codec.encode(images))
    steps = sampling.activation_steps
    return {f"reference images, {steps} steps": once + steps * step + image}


def _flops(call: Callable[[], Any], kept: dict[int, Any] | None = None) -> float:
    """FLOPs of a call; into `kept` the bytes of what it keeps for the way back, by storage."""

    def note(tensor: Tensor) -> Tensor:
        if kept is not None:
            storage = tensor.untyped_storage()
            held.append(storage)
            kept[storage._cdata] = storage.nbytes()
        return tensor

    held: list[Any] = []  # storages that are freed would lend their address to the next
    with (
        FlopCounterMode(display=False) as counter,
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
    ):
        call()
    return float(counter.get_total_flops())
