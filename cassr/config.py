"""Presets and options: the paper's model ("sd15") and the miniature ("mini").

Numbers that the paper states are marked with its section; the others are choices, explained in
docs/cassr.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from cassr.sampling.numbers import finite, integer

GENERAL_DESCRIPTION = "clean, high-resolution"  # section 3.4
NEGATIVE_PROMPT = "dotted, noise, blur, lowres, smooth"
FIXED_PROMPTS = ("", GENERAL_DESCRIPTION, NEGATIVE_PROMPT)

ColorCorrection = Literal["none", "adain", "wavelet"]
ActivationKind = Literal["scedit", "controlnet", "lr", "external"]
LossKind = Literal["noise", "image"]
LatentTarget = Literal["image", "residual"]
ACTIVATIONS: tuple[ActivationKind, ...] = ("scedit", "controlnet", "lr", "external")
CHOICES = {
    "color_correction": ("none", "adain", "wavelet"),
    "start": ("lr", "noise"),
    "activation": ("trained", "lr", "external"),
}
LEAST = {
    "num_inference_steps": 1,
    "activation_steps": 1,
    "process_size": 0,
    "tile": 1,
    "tile_overlap": 0,
    "vae_tile": 1,
    "vae_overlap": 0,
    "hint_cache_mb": 0,
}
"""The smallest value of an option that is an integer."""
SCALES = (
    "guidance_scale",
    "activation_guidance_scale",
    "lr_conditioning_scale",
    "reference_conditioning_scale",
    "attention_scale",
)
TRAINING_CHOICES = {"loss": ("noise", "image"), "precision": ("auto", "no", "bf16", "fp16")}


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
        lr_conditioning_scale, reference_conditioning_scale: factors on L and R, stage 2's features
            of the LR and of the reference image.
        attention_scale: factor on what both attentions add.
        process_size: images whose shorter side is less are enlarged to it, in pixels, for both
            stages, and brought back: what the base has learnt from 512 px. 0: never.
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
    lr_conditioning_scale: float = 1.0
    reference_conditioning_scale: float = 1.0
    attention_scale: float = 1.0
    process_size: int = 0
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
        for name, least in LEAST.items():
            found = integer(getattr(self, name), name)
            if found < least:
                raise ValueError(f"{name}={found!r}: expected at least {least}")
            object.__setattr__(self, name, found)
        for name in SCALES:
            object.__setattr__(self, name, finite(getattr(self, name), name))
        for side in ("tile", "vae_tile"):
            overlap = "tile_overlap" if side == "tile" else "vae_overlap"
            if not getattr(self, overlap) < getattr(self, side):
                raise ValueError(
                    f"{overlap}={getattr(self, overlap)}: expected less than "
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
class PairSettings:
    """How a photograph becomes a training pair.

    Attributes:
        crop: side of the HR crop in pixels.
        scale: HR side / LR side.
        degradations: presets of `cassr.degradation`; each sample draws one of them.
        shrink: the crop is cut from the photograph reduced by a factor in [1, shrink], which is
            drawn for each sample: large photographs are soft at full size.
        rotate: quarter turns beside the horizontal flips.
        tries: crops that are drawn for each sample; the one with most detail is kept.
        seed: of everything that is drawn.
    """

    crop: int = 512
    scale: int = 4
    degradations: tuple[str, ...] = ("full",)
    shrink: float = 1.0
    rotate: bool = False
    tries: int = 1
    seed: int = 0


@dataclass(frozen=True)
class TrainingSettings(PairSettings):
    """How a stage is trained. The defaults are the paper's (section 4.1), the same for both stages.

    Attributes:
        loss: "noise" is Eq. 3; "image" compares the image that one step of sampling makes.
        learning_rate, batch_size, steps: of Adam; batch_size is per process and forward pass.
        accumulation: forward passes of one step.
        warmup: steps until the learning rate is reached.
        decay: share of the steps, at the end, over which the rate falls to zero along a cosine.
        clip: largest norm of the gradient; 0 for none.
        ema: decay of the averaged weights; 0 for none.
        samples: number of different pairs; 0 for a new one each time.
        prompt: general description c.
        prompt_dropout: share of samples whose prompt is "" instead, for classifier-free guidance.
        degraded_share: prior only: share of samples that show the degraded image as itself, under
            the negative prompt.
        first_step_share: share of samples at the time step that sampling starts with; the others
            are uniform.
        unit_hints: scale the layers that embed a condition image, where they are untrained, to
            outputs of unit size; see `cassr.training.objectives.StageObjective.start`.
        gradient_weight, amplitude_weight, grid_weight: of the image loss; `cassr.training.losses`.
        adversarial_weight: of the image loss, see `cassr.training.adversarial`; 0 for no critic.
        precision: "no", "bf16", "fp16", or "auto": bf16 on a GPU that has it, else "no".
        tf32: let a GPU multiply float32 with the mantissa of TF32.
        gradient_checkpointing: compute activations twice instead of keeping them.
    """

    loss: LossKind = "noise"
    learning_rate: float = 5e-4
    batch_size: int = 4
    steps: int = 100_000
    accumulation: int = 1
    warmup: int = 0
    decay: float = 0.0
    clip: float = 1.0
    ema: float = 0.0
    samples: int = 0
    prompt: str = GENERAL_DESCRIPTION
    prompt_dropout: float = 0.1
    degraded_share: float = 0.0
    first_step_share: float = 0.0
    unit_hints: bool = False
    gradient_weight: float = 1.0
    amplitude_weight: float = 1.0
    grid_weight: float = 0.0
    adversarial_weight: float = 0.0
    precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    tf32: bool = True
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        for name in ("batch_size", "steps", "accumulation", "crop", "scale"):
            if (found := getattr(self, name)) < 1:
                raise ValueError(f"{name}={found!r}: expected at least 1")
        for name in ("prompt_dropout", "degraded_share", "first_step_share", "decay"):
            if not 0 <= (found := getattr(self, name)) <= 1:
                raise ValueError(f"{name}={found!r}: expected 0 to 1")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema={self.ema!r}: expected at least 0 and less than 1")
        for name, choices in TRAINING_CHOICES.items():
            if (found := getattr(self, name)) not in choices:
                raise ValueError(f"{name}={found!r}: expected one of {', '.join(choices)}")


@dataclass(frozen=True)
class Preset:
    """Everything that builds a CasSR of one size.

    Attributes:
        base: folder or hub id of the frozen Stable Diffusion; "" where it is built from scratch.
        base_revision: branch, tag or commit of it.
        unet, vae, scheduler: configs of diffusers' UNet2DConditionModel, of the VAE named by
            `vae_class` (diffusers' or the miniature's) and of the scheduler named by
            `scheduler_class`.
        hint_channels: of the ControlNet's condition embedding, one down-sampling less than entries.
        pre_channels, pre_strides: of the CSC-Tuners' hint encoder.
        prompt_tokens: length of a prompt's embedding.
        latent_target: what the network generates: the "image" latent z_HR, or the "residual"
            (z_HR - z_LR) / latent_sigma.
        latent_sigma: typical size of z_HR - z_LR; 1 for "image".
        dense_kernel: kernel size of the CSC-Tuners' dense hints, 1 or 3.
        training: settings by "stage-loss" or stage; other stages have those of "".
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
    vae_class: str = "AutoencoderKL"
    dense_kernel: int = 1
    training: Mapping[str, TrainingSettings] = field(
        default_factory=lambda: {"": TrainingSettings()}
    )

    def training_for(self, stage: str, loss: LossKind = "noise") -> TrainingSettings:
        """How a stage is trained unless options say otherwise."""
        for key in (f"{stage}-{loss}", stage, ""):
            if key in self.training:
                return replace(self.training[key], loss=loss)
        raise KeyError(stage)


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
    sampling=SamplingOptions(process_size=512),
)

_MINI_TRAINING = TrainingSettings(
    learning_rate=1e-3,
    batch_size=8,
    warmup=50,
    decay=0.5,
    ema=0.998,
    crop=128,
    degradations=("mild", "light", "clean"),
    shrink=4.0,
    rotate=True,
    tries=3,
    samples=8_000,
    first_step_share=0.5,
    unit_hints=True,
    gradient_weight=0.5,
    amplitude_weight=5.0,
    grid_weight=1.0,
    precision="no",
)

MINI = Preset(
    name="mini",
    base="",
    base_revision="",
    unet={
        "sample_size": 64,
        "in_channels": 12,
        "out_channels": 12,
        "block_out_channels": (48, 80, 112),
        "down_block_types": ("DownBlock2D",) + ("CrossAttnDownBlock2D",) * 2,
        "up_block_types": ("CrossAttnUpBlock2D",) * 2 + ("UpBlock2D",),
        "layers_per_block": 1,
        "cross_attention_dim": 64,
        "attention_head_dim": 4,
        "norm_num_groups": 16,
    },
    vae={"patch": 4, "latent_channels": 12, "width": 64, "scaling_factor": 1.0},
    vae_class="PatchVAE",
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
    latent_sigma=0.3,
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
    dense_kernel=3,
    training={
        "": _MINI_TRAINING,
        "vae": replace(
            _MINI_TRAINING, crop=64, steps=800, ema=0.995, samples=6_400, gradient_weight=1.0
        ),
        "prior-image": replace(
            _MINI_TRAINING,
            learning_rate=6e-4,
            steps=3000,
            degraded_share=0.1,
        ),
        "texture-image": replace(
            _MINI_TRAINING, steps=500, adversarial_weight=0.03, prompt_dropout=0.0
        ),
        "activation-image": replace(_MINI_TRAINING, steps=400, samples=2_730),
        "guidance-image": replace(_MINI_TRAINING, learning_rate=4e-4, steps=450, samples=2_730),
    },
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
