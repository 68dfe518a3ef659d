"""Building a CasSR: at random weights from a preset, or around a pretrained Stable Diffusion."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from cassr.config import FIXED_PROMPTS, SD15, ActivationKind, Preset, get_preset
from cassr.parts import build_adapters, build_base, build_scheduler, load_base
from cassr.pipeline import CasSRPipeline
from cassr.prompts import PromptEmbeddings


def build_pipeline(
    preset: str | Preset,
    *,
    activation: ActivationKind = "scedit",
    multiple_attention: bool = True,
    dense_kernel: int | None = None,
    seed: int = 0,
) -> CasSRPipeline:
    """A CasSR of a preset's size with random weights; no text encoder, random fixed prompts.

    Args:
        preset: name or preset.
        seed: of the weights; the global generator is left as it was.

    Raises:
        ValueError: unknown preset.
    """
    chosen = get_preset(preset) if isinstance(preset, str) else preset
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        base = build_base(chosen)
        adapters = build_adapters(
            base["unet"],
            chosen,
            activation=activation,
            multiple_attention=multiple_attention,
            dense_kernel=dense_kernel,
        )
        dim = chosen.unet["cross_attention_dim"]
        prompts = PromptEmbeddings.random(FIXED_PROMPTS, chosen.prompt_tokens, dim)
    adapters["prompt_embeddings"] = prompts
    return _assemble(chosen, base, adapters, activation)


def pipeline_from_base(
    base: str | Path,
    *,
    revision: str | None = None,
    torch_dtype: torch.dtype | None = None,
    preset: str | Preset = SD15,
    adapters: Mapping[str, Any] | None = None,
    activation: ActivationKind = "scedit",
    multiple_attention: bool = True,
    text_encoder: bool = True,
    **hub: Any,
) -> CasSRPipeline:
    """A CasSR around a pretrained Stable Diffusion of the 1.x kind.

    Args:
        base: folder or hub id in diffusers' layout.
        revision: branch, tag or commit on the hub.
        torch_dtype: of all modules.
        preset: options, scheduler and hint encoders; must fit the base's VAE.
        adapters: trained modules; untrained ones are made if None.
        activation, multiple_attention: of untrained modules.
        text_encoder: load it; not needed with carried prompt embeddings.
        hub: `cache_dir`, `token`, `local_files_only` of huggingface_hub.
    """
    chosen = get_preset(preset) if isinstance(preset, str) else preset
    place = hub | ({"revision": revision} if revision else {})
    frozen = load_base(base, torch_dtype=torch_dtype, text_encoder=text_encoder, **place)
    if adapters is None:
        adapters = build_adapters(
            frozen["unet"], chosen, activation=activation, multiple_attention=multiple_attention
        )
    pipeline = _assemble(chosen, frozen, adapters, activation)
    pipeline.register_to_config(base=str(base), base_revision=revision or "")
    return pipeline if torch_dtype is None else pipeline.to(dtype=torch_dtype)


def _assemble(
    preset: Preset,
    frozen: Mapping[str, Any],
    adapters: Mapping[str, Any],
    activation: ActivationKind,
) -> CasSRPipeline:
    """A pipeline from its modules and a preset's options."""
    return CasSRPipeline(
        **frozen,
        **adapters,
        scheduler=build_scheduler(preset),
        activation_kind=activation,
        latent_target=preset.latent_target,
        latent_sigma=preset.latent_sigma,
        base=preset.base,
        base_revision=preset.base_revision,
        sampling=preset.sampling.as_dict(),
    )
