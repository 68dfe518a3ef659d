"""The modules that a CasSR is put together from: untrained ones, and those of Stable Diffusion."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import diffusers
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn

from cassr.activation import CSCTuners
from cassr.attention import MultipleAttention
from cassr.config import ActivationKind, Preset
from cassr.controlnet import controlnet_from_unet
from cassr.patch_vae import PatchVAE

if TYPE_CHECKING:
    from diffusers.schedulers.scheduling_utils import SchedulerMixin

VAES: dict[str, type[ModelMixin]] = {"AutoencoderKL": AutoencoderKL, "PatchVAE": PatchVAE}


def build_scheduler(preset: Preset) -> SchedulerMixin:
    """The preset's scheduler."""
    return getattr(diffusers, preset.scheduler_class)(**preset.scheduler)


def build_adapters(
    unet: UNet2DConditionModel,
    preset: Preset,
    *,
    activation: ActivationKind = "scedit",
    multiple_attention: bool = True,
    dense_kernel: int | None = None,
) -> dict[str, Any]:
    """Untrained modules that fit a U-Net; the ControlNet's encoder starts as the U-Net's.

    Args:
        activation: "scedit" or "controlnet" make a network for stage 1, the others none.
        multiple_attention: False is the plain ControlNet.
        dense_kernel: kernel size of the CSC-Tuners' dense hints, 1 or 3; the preset's if None.
    """
    networks: dict[str, Any] = {
        "scedit": lambda: CSCTuners.from_unet(
            unet,
            pre_channels=preset.pre_channels,
            pre_strides=preset.pre_strides,
            kernel_size=dense_kernel or preset.dense_kernel,
        ),
        "controlnet": lambda: controlnet_from_unet(unet, preset.hint_channels),
    }
    return {
        "controlnet": controlnet_from_unet(unet, preset.hint_channels),
        "attention": MultipleAttention.from_unet(unet) if multiple_attention else None,
        "activation": networks[activation]() if activation in networks else None,
        "prompt_embeddings": None,
    }


def build_base(preset: Preset) -> dict[str, Any]:
    """The preset's U-Net and VAE at random weights, frozen."""
    return _frozen(
        {
            "unet": UNet2DConditionModel(**preset.unet),
            "vae": VAES[preset.vae_class](**preset.vae),
        }
    )


def load_base(
    base: str | Path,
    *,
    torch_dtype: torch.dtype | None = None,
    text_encoder: bool = True,
    **place: Any,
) -> dict[str, Any]:
    """The modules of a pretrained Stable Diffusion of the 1.x kind, frozen.

    Args:
        base: folder or hub id in diffusers' layout.
        torch_dtype: of all modules.
        text_encoder: load it and its tokenizer too.
        place: `revision`, `cache_dir`, `token`, `local_files_only` of huggingface_hub.
    """
    modules: dict[str, Any] = {
        name: cls.from_pretrained(str(base), subfolder=name, torch_dtype=torch_dtype, **place)
        for name, cls in (("unet", UNet2DConditionModel), ("vae", AutoencoderKL))
    }
    if text_encoder:
        modules |= _text_modules(str(base), torch_dtype, place)
    return _frozen(modules)


def _text_modules(base: str, torch_dtype: torch.dtype | None, place: dict) -> dict[str, Any]:
    from transformers import CLIPTextModel, CLIPTokenizer

    encoder = CLIPTextModel.from_pretrained(
        base, subfolder="text_encoder", dtype=torch_dtype or "auto", **place
    )
    tokenizer = CLIPTokenizer.from_pretrained(base, subfolder="tokenizer", **place)
    return {"text_encoder": encoder, "tokenizer": tokenizer}


def _frozen(modules: dict[str, Any]) -> dict[str, Any]:
    for module in modules.values():
        if isinstance(module, nn.Module):
            module.requires_grad_(False).eval()
    return modules
