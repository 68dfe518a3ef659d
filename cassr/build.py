"""Building a CasSR: at random weights from a preset, or around a pretrained Stable Diffusion."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_utils import SchedulerMixin

from cassr.activation import CSCTuners
from cassr.adapters import frozen, load_base
from cassr.attention import MultipleAttention
from cassr.config import FIXED_PROMPTS, SD15, ActivationKind, Preset, get_preset
from cassr.controlnet import controlnet_from_unet
from cassr.patch_vae import PatchVAE
from cassr.pipeline import CasSRPipeline
from cassr.prompts import PromptEmbeddings

VAES: dict[str, type[ModelMixin]] = {"AutoencoderKL": AutoencoderKL, "PatchVAE": PatchVAE}


def build_pipeline(
    preset: str | Preset,
    *,
    activation: ActivationKind = "scedit",
    multiple_attention: bool = True,
    seed: int = 0,
) -> CasSRPipeline:
    """A CasSR of a preset's size with random weights; no text encoder, random fixed prompts.

    `seed` is that of the weights; the global generator is left as it was. Raises ValueError for an
    unknown preset.
    """
    chosen = get_preset(preset)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(**chosen.unet)
        base = frozen({"unet": unet, "vae": VAES[chosen.vae_class](**chosen.vae)})
        adapters = build_adapters(unet, chosen, activation, multiple_attention)
        shape = (chosen.prompt_tokens, chosen.unet["cross_attention_dim"])
        table = torch.randn(len(FIXED_PROMPTS), *shape)
    adapters["prompt_embeddings"] = PromptEmbeddings.from_tensor(FIXED_PROMPTS, table)
    return _assemble(chosen, base, adapters, activation)


def pipeline_from_base(
    base: str | Path,
    *,
    revision: str | None = None,
    torch_dtype: torch.dtype | None = None,
    preset: str | Preset = SD15,
    activation: ActivationKind = "scedit",
    multiple_attention: bool = True,
    **hub: Any,
) -> CasSRPipeline:
    """A CasSR around a pretrained Stable Diffusion of the 1.x kind.

    Args:
        base: folder or hub id in diffusers' layout.
        revision: branch, tag or commit on the hub.
        torch_dtype: of all modules.
        preset: options, scheduler and hint encoders; must fit the base's VAE.
        hub: `cache_dir`, `token`, `local_files_only` of huggingface_hub.
    """
    chosen = get_preset(preset)
    place = hub | ({"revision": revision} if revision else {})
    modules = load_base(base, torch_dtype=torch_dtype, **place)
    adapters = build_adapters(modules["unet"], chosen, activation, multiple_attention)
    pipeline = _assemble(chosen, modules, adapters, activation)
    pipeline.register_to_config(base=str(base), base_revision=revision or "")
    return pipeline if torch_dtype is None else pipeline.to(dtype=torch_dtype)


def build_scheduler(preset: Preset) -> SchedulerMixin:
    """The preset's scheduler; its table of noise is on the CPU, wherever networks are built."""
    with torch.device("cpu"):
        return getattr(diffusers, preset.scheduler_class)(**preset.scheduler)


def build_adapters(
    unet: UNet2DConditionModel, preset: Preset, activation: ActivationKind, multiple_attention: bool
) -> dict[str, Any]:
    """Untrained modules that fit a U-Net; the ControlNet's encoder starts as the U-Net's.

    The activations "lr" and "external" have no network for stage 1.
    """
    made: dict[str, Any] = {
        "controlnet": controlnet_from_unet(unet, preset.hint_channels),
        "attention": MultipleAttention.from_unet(unet) if multiple_attention else None,
        "activation": None,
        "prompt_embeddings": None,
    }
    if activation == "controlnet":
        made["activation"] = controlnet_from_unet(unet, preset.hint_channels)
    elif activation == "scedit":
        pre = {"pre_channels": preset.pre_channels, "pre_strides": preset.pre_strides}
        made["activation"] = CSCTuners.from_unet(unet, **pre, kernel_size=preset.dense_kernel)
    return made


def _assemble(
    preset: Preset,
    modules: Mapping[str, Any],
    adapters: Mapping[str, Any],
    activation: ActivationKind,
) -> CasSRPipeline:
    return CasSRPipeline(
        **modules,
        **adapters,
        scheduler=build_scheduler(preset),
        activation_kind=activation,
        latent_target=preset.latent_target,
        latent_sigma=preset.latent_sigma,
        base=preset.base,
        base_revision=preset.base_revision,
        sampling=preset.sampling.as_dict(),
    )
