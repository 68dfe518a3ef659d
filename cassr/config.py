"""Presets and options: the paper's model ("sd15") and the miniature ("mini"), in presets/.

Numbers that the paper states are marked with its section; the others are choices, explained in
docs/cassr.md.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.resources import files
from typing import Any, Literal, get_args, get_origin, get_type_hints

from cassr.sampling.numbers import finite, integer

GENERAL_DESCRIPTION = "clean, high-resolution"  # section 3.4
NEGATIVE_PROMPT = "dotted, noise, blur, lowres, smooth"
FIXED_PROMPTS = ("", GENERAL_DESCRIPTION, NEGATIVE_PROMPT)

ActivationKind = Literal["scedit", "controlnet", "lr", "external"]
LossKind = Literal["noise", "image"]
LatentTarget = Literal["image", "stage_residual"]
ACTIVATIONS: tuple[ActivationKind, ...] = get_args(ActivationKind)
LEAST = {
    **dict.fromkeys(("num_inference_steps", "activation_steps", "tile", "vae_tile"), 1),
    **dict.fromkeys(("process_size", "tile_overlap", "vae_overlap", "hint_cache_mb"), 0),
    **dict.fromkeys(("batch_size", "steps", "accumulation", "crop", "scale", "tries"), 1),
    **dict.fromkeys(("samples", "warmup"), 0),
}
"""The smallest value of an option that is an integer."""
SHARES = ("reference_share", "prompt_dropout", "degraded_share", "first_step_share", "decay")


def _settle(options: Any) -> None:
    """Hold every field of a dataclass to its type and `LEAST`; numbers become Python's."""
    for name, kind in get_type_hints(type(options)).items():
        value = getattr(options, name)
        if get_origin(kind) is Literal and value not in get_args(kind):
            raise ValueError(f"{name}={value!r}: expected one of {', '.join(get_args(kind))}")
        if kind in (int, float):
            value = integer(value, name) if kind is int else finite(value, name)
            object.__setattr__(options, name, value)
        if kind in (bool, str) and not isinstance(value, kind):
            expected = "true or false" if kind is bool else "a text"
            raise ValueError(f"{name}={value!r}: expected {expected}")
        if name in LEAST and value < LEAST[name]:
            raise ValueError(f"{name}={value!r}: expected at least {LEAST[name]}")


@dataclass(frozen=True)
class SamplingOptions:
    """How an image is sampled; every field can be given to the pipeline's call.

    Attributes:
        num_inference_steps, activation_steps: sampling steps of stage 2 and of stage 1.
        guidance_scale, activation_guidance_scale: classifier-free guidance; 1 switches it off.
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
        tile, tile_overlap: side of the denoiser's tiles, least overlap of neighbours, in output
            pixels; vae_tile, vae_overlap: the same for the VAE's encoder and decoder.
        hint_cache_mb: embedded hints of all tiles are kept between steps up to this size, MiB;
            beyond it they are computed again in every step. The result is the same.
    """

    num_inference_steps: int = 20
    guidance_scale: float = 5.5
    activation_steps: int = 20
    activation_guidance_scale: float = 5.5
    prompt: str = GENERAL_DESCRIPTION
    negative_prompt: str = NEGATIVE_PROMPT
    color_correction: Literal["none", "adain", "wavelet"] = "wavelet"
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
        _settle(self)
        for overlap, side in (("tile_overlap", "tile"), ("vae_overlap", "vae_tile")):
            least, most = getattr(self, overlap), getattr(self, side)
            if not least < most:
                raise ValueError(f"{overlap}={least}: expected less than {side}={most}")

    def changed(self, changes: Mapping[str, Any]) -> "SamplingOptions":
        """A copy with other values; ValueError: unknown name, or a value that is not allowed."""
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

    `cassr-bench train --help` tells of the fields that it takes too; of the others:

    Attributes:
        prompt: general description c; for `prompt_dropout`, a share of samples, it is "".
        first_step_share: share of samples at the time step that sampling starts with; the others
            are uniform.
        unit_hints: scale the layers that embed a condition image, where they are untrained, to
            outputs of unit size; see `cassr.training.objectives.StageObjective.start`.
        precision: "auto" is bf16 on a GPU that has it, else "no".
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
    reference_share: float = 0.0
    train_decoder: bool = False
    gradient_weight: float = 1.0
    amplitude_weight: float = 1.0
    grid_weight: float = 0.0
    adversarial_weight: float = 0.0
    precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    tf32: bool = True
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        _settle(self)
        for name in SHARES:
            if not 0 <= (found := getattr(self, name)) <= 1:
                raise ValueError(f"{name}={found!r}: expected 0 to 1")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema={self.ema!r}: expected at least 0 and less than 1")


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
        latent_target: what a network generates: the "image" latent z_HR, or the "stage_residual"
            (z_HR - z_base) / latent_sigma, see `cassr.sampling.loop.LatentSpace`.
        latent_sigma: typical size of z_HR - z_base; 1 for "image".
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


def _read_preset(name: str) -> Preset:
    """The preset of a file beside this one; `[training.all]` holds for every stage."""
    text = files("cassr").joinpath("presets", f"{name}.toml").read_text("utf-8")
    said = _as_tuples(tomllib.loads(text))
    sampling = SamplingOptions(**said.pop("sampling", {}))
    stages = said.pop("training", {})
    common = TrainingSettings(**stages.pop("all", {}))
    training = {stage: replace(common, **changes) for stage, changes in stages.items()}
    return Preset(**said, sampling=sampling, training={"": common, **training})


def _as_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_tuples(inner) for key, inner in value.items()}
    return tuple(value) if isinstance(value, list) else value


SD15, MINI = _read_preset("sd15"), _read_preset("mini")
PRESETS: dict[str, Preset] = {preset.name: preset for preset in (SD15, MINI)}


def get_preset(name: str | Preset) -> Preset:
    """A preset by name, or as it is; ValueError names those there are."""
    if isinstance(name, Preset):
        return name
    if name not in PRESETS:
        raise ValueError(f"preset {name!r}: expected one of {', '.join(PRESETS)}")
    return PRESETS[name]
