"""Where the reference images of stage 2 come from, in training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cassr.base.hashes import module_digest, tensor_digest
from cassr.pipeline import CasSRPipeline
from cassr.sampling.images import quantize, upscale_bicubic


@dataclass(frozen=True)
class Stage1:
    """The model's own stage 1, as sampling would run it; upscaled LR images where it has none."""

    pipeline: CasSRPipeline

    @torch.no_grad()
    def make(self, lr: Tensor, scale: int, seeds: Sequence[int] | Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1] -> (B, 3, scale*h, scale*w), multiples of 1/255."""
        if self.pipeline.config["activation_kind"] == "lr":
            return quantize(upscale_bicubic(lr, scale))
        made = self.pipeline.activate(
            lr, scale=scale, seed=[int(s) for s in seeds], batch_size=len(lr), output_type="pt"
        )
        return made.to(lr.device)

    def identity(self) -> Mapping[str, Any]:
        """All that they depend on, beside the LR images."""
        pipeline = self.pipeline
        kind = pipeline.config["activation_kind"]
        if kind == "lr":
            return {"kind": kind}
        modules = {"vae": pipeline.vae, "unet": pipeline.unet, "activation": pipeline.activation}
        digests = {name: module_digest(m) for name, m in modules.items() if m is not None}
        sampling, scheduler = pipeline.sampling, pipeline.scheduler
        # diffusers lists which values are defaults in an order that every process shuffles anew.
        said = {k: v for k, v in scheduler.config.items() if not k.startswith("_")}
        prompts = [pipeline.embed_prompt(t) for t in (sampling.prompt, sampling.negative_prompt)]
        return {
            "kind": kind,
            "sampling": sampling.as_dict(),
            "scheduler": [type(scheduler).__name__, repr(sorted(said.items()))],
            "latents": [pipeline.config["latent_target"], pipeline.config["latent_sigma"]],
            "scaling": pipeline.vae.config["scaling_factor"],
            "prompts": tensor_digest(torch.cat(prompts)),
        } | digests


@dataclass(frozen=True)
class External:
    """Another super-resolution method (sections 3.2 and 4.1: any pretrained one serves).

    Attributes:
        upscale: (lr (B, 3, h, w) in [0, 1], scale, seeds) -> (B, 3, scale*h, scale*w) in [0, 1].
        fingerprint: all that its pixels depend on.
    """

    upscale: Callable[[Tensor, int, Sequence[int]], Tensor]
    fingerprint: Mapping[str, Any]

    @torch.no_grad()
    def make(self, lr: Tensor, scale: int, seeds: Sequence[int] | Tensor) -> Tensor:
        made = self.upscale(lr, scale, [int(seed) for seed in seeds])
        return quantize(made.to(lr.device, torch.float32).clamp(0, 1).clone())

    def identity(self) -> Mapping[str, Any]:
        return {"kind": "external", "method": dict(self.fingerprint)}


References = Stage1 | External
