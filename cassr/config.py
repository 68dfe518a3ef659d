"""Presets and options: the paper's model ("sd15") and the miniature ("mini").

Numbers that the paper states are marked with its section; the others are choices, explained in
docs/cassr.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

GENERAL_DESCRIPTION = "clean, high-resolution"  # section 3.4
NEGATIVE_PROMPT = "dotted, noise, blur, lowres, smooth"
FIXED_PROMPTS = ("", GENERAL_DESCRIPTION, NEGATIVE_PROMPT)

ColorCorrection = Literal["none", "adain", "wavelet"]
ActivationKind = Literal["scedit", "controlnet", "lr", "external"]
LatentTarget = Literal["image", "residual"]
ACTIVATIONS: tuple[ActivationKind, ...] = ("scedit", "controlnet", "lr", "external")
CHOICES = {
    "color_correction": ("none", "adain", "wavelet"),
    "start": ("lr", "noise"),
    "activation": ("trained", "lr", "external"),
}


@dataclass(frozen=True)
class SamplingOptions:
    """How an image is sampled; every field can be given to the pipeline's call.

    Attributes:
        num_inference_steps: sampling steps of stage 2.
        guidance_scale: classifier-free guidance of stage 2; 1 switches it off.
        activation_steps, activation_guidance_scale: the same for stage 1.
        prompt: general description c; "" is the null prompt.
        negative_prompt: for the other half of classifier-free guidance; "" is the null prompt.
        color_correction: against the upscaled LR image: "none", "adain" or "wavelet".
        activation: where the reference image comes from: "trained" is the stage 1 that the model
            has, "lr" the upscaled LR image, "external" the caller (`reference=`).
        multiple_attention: False leaves the attentions out (Fig. 6e).
        start: "lr" mixes the LR latent into the initial noise (section 4.1), "noise" does not.
        tile: side of the denoiser's tiles in output pixels.
        tile_overlap: least overlap of neighbouring tiles in output pixels.
        vae_tile, vae_overlap: the same for the VAE's encoder and decoder.
        hint_cache_mb: embedded hints of all tiles are kept between steps up to this size, MiB;
            beyond it they are computed again in every step. The result is the same.
    """

    num_inference_steps: int = 20
    guidance_scale: float = 5.5
    activation_steps: int = 20
    activation_guidance_scale: float = 5.5
    prompt: str = GENERAL_DESCRIPTION
    negative_prompt: str = NEGATIVE_PROMPT
    color_correction: ColorCorrection = "wavelet"
    activation: Literal["trained", "lr", "external"] = "trained"
    multiple_attention: bool = True
    start: Literal["lr", "noise"] = "lr"
    tile: int = 512
    tile_overlap: int = 128
    vae_tile: int = 512
    vae_overlap: int = 128
    hint_cache_mb: int = 256

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if (found := getattr(self, name)) not in choices:
                raise ValueError(f"{name}={found!r}: expected one of {', '.join(choices)}")
        for name in ("num_inference_steps", "activation_steps", "tile", "vae_tile"):
            if (found := getattr(self, name)) < 1:
                raise ValueError(f"{name}={found!r}: expected at least 1")
        for side in ("tile", "vae_tile"):
            overlap = "tile_overlap" if side == "tile" else "vae_overlap"
            if not 0 <= getattr(self, overlap) < getattr(self, side):
                raise ValueError(
                    f"{overlap}={getattr(self, overlap)}: expected at least 0 and less than "
                    f"{side}={getattr(self, side)}"
                )

    def changed(self, changes: Mapping[str, Any]) -> SamplingOptions:
        """A copy with other values.

        Raises:
            ValueError: a name that is no option, or a value that is not allowed.
        """
        known = [f.name for f in fields(self)]
        if unknown := sorted(set(changes) - set(known)):
            raise ValueError(f"unknown option {unknown[0]!r}: expected one of {', '.join(known)}")
        return replace(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class TrainingSettings:
    """How a stage is trained; both stages use the same settings (section 4.1)."""

    optimizer: str = "adam"
    learning_rate: float = 5e-4
    batch_size: int = 4
    steps: int = 100_000
    crop: int = 512
    prompt_dropout: float = 0.1


@dataclass(frozen=True)
class Preset:
    """Everything that builds a CasSR of one size.

    Attributes:
        base: folder or hub id of the frozen Stable Diffusion; "" where it is built from scratch.
        base_revision: branch, tag or commit of it.
        unet, vae, scheduler: configs of diffusers' UNet2DConditionModel, AutoencoderKL and of the
            scheduler named by `scheduler_class`.
        hint_channels: of the ControlNet's condition embedding, one down-sampling less than entries.
        pre_channels, pre_strides: of the CSC-Tuners' hint encoder.
        prompt_tokens: length of a prompt's embedding.
        latent_target: what the network generates: the "image" latent z_HR, or the "residual"
            (z_HR - z_LR) / latent_sigma.
        latent_sigma: typical size of z_HR - z_LR; 1 for "image".
    """

    name: str
    base: str
    base_revision: str
    unet: Mapping[str, Any]
    vae: Mapping[str, Any]
    scheduler: Mapping[str, Any]
    scheduler_class: str
    hint_channels: tuple[int, ...]
    pre_channels: tuple[int, ...]
    pre_strides: tuple[int, ...]
    prompt_tokens: int
    latent_target: LatentTarget = "image"
    latent_sigma: float = 1.0
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    training: TrainingSettings = field(default_factory=TrainingSettings)


_SD15_SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
}

SD15 = Preset(
    name="sd15",
    base="stable-diffusion-v1-5/stable-diffusion-v1-5",
    base_revision="main",
    unet={
        "sample_size": 64,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": (320, 640, 1280, 1280),
        "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        "layers_per_block": 2,
        "cross_attention_dim": 768,
        "attention_head_dim": 8,
    },
    vae={
        "sample_size": 512,
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": 4,
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 2,
        "scaling_factor": 0.18215,
    },
    scheduler=_SD15_SCHEDULER | {"timestep_spacing": "linspace"},
    scheduler_class="UniPCMultistepScheduler",
    hint_channels=(16, 32, 96, 256),
    pre_channels=(16, 16, 32, 32, 96, 96, 256),
    pre_strides=(1, 1, 2, 1, 2, 1, 2),
    prompt_tokens=77,
)

MINI = Preset(
    name="mini",
    base="",
    base_revision="",
    unet={
        "sample_size": 64,
        "in_channels": 12,
        "out_channels": 12,
        "block_out_channels": (32, 64, 96),
        "down_block_types": ("CrossAttnDownBlock2D",) * 2 + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 2,
        "layers_per_block": 1,
        "cross_attention_dim": 64,
        "attention_head_dim": 4,
        "norm_num_groups": 16,
    },
    vae={
        "sample_size": 256,
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": 12,
        "block_out_channels": (32, 48, 64),
        "down_block_types": ("DownEncoderBlock2D",) * 3,
        "up_block_types": ("UpDecoderBlock2D",) * 3,
        "layers_per_block": 1,
        "norm_num_groups": 16,
        "scaling_factor": 1.0,
        "mid_block_add_attention": False,
    },
    scheduler=_SD15_SCHEDULER
    | {
        "prediction_type": "v_prediction",
        "timestep_spacing": "trailing",
        "clip_sample": False,
        "set_alpha_to_one": True,
    },
    scheduler_class="DDIMScheduler",
    hint_channels=(16, 32, 64),
    pre_channels=(16, 32, 64),
    pre_strides=(1, 2, 2),
    prompt_tokens=4,
    latent_target="residual",
    sampling=SamplingOptions(
        num_inference_steps=1,
        guidance_scale=1.0,
        activation_steps=1,
        activation_guidance_scale=1.0,
        tile=512,
        tile_overlap=64,
        vae_tile=512,
        vae_overlap=64,
    ),
    training=TrainingSettings(crop=256),
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in (SD15, MINI)}


def get_preset(name: str) -> Preset:
    """A preset by name.

    Raises:
        ValueError: names the presets there are.
    """
    if name not in PRESETS:
        raise ValueError(f"preset {name!r}: expected one of {', '.join(PRESETS)}")
    return PRESETS[name]
