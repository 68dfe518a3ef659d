"""The options of `train`, in groups."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.commands.shared.groups import option


@dataclass(frozen=True)
class TrainingSource:
    """What is trained, from what, on what."""

    preset: Literal["sd15", "mini"] = option(
        "sd15, the paper's model, or mini, the miniature.", default="sd15"
    )
    out: Path | None = option("Folder of the run; default: results/training/PRESET-STAGE.")
    data: list[str] | None = option(
        "Photographs: folders, files, hf:NAME, or a training set's name; comma list or "
        "repeated. Default: paper (all five sets) for sd15, free for mini."
    )
    start: str | None = option(
        "Folder or hub id to start from; default: Stable Diffusion 1.5, or nothing.",
        "--from",
        metavar="MODEL",
    )
    activation: Literal["scedit", "controlnet", "lr", "external"] | None = option(
        "Kind of stage 1; default: MODEL's, or scedit. lr: the upscaled LR image; "
        "external: --reference-method."
    )
    reference_method: str | None = option(
        "Method whose output is the reference image, as in `list methods`.", metavar="METHOD"
    )
    attention: bool | None = option(
        "Multiple attention in stage 2; default: as MODEL, or with.",
        "--attention/--no-attention",
        show_default=False,
    )
    fresh: bool = option("New weights for the stage, whatever MODEL has.", default=False)


@dataclass(frozen=True)
class Settings:
    """How it is trained; None where the preset's settings stay.

    All but `loss` and `degradation` are called as in `cassr.config.TrainingSettings`.
    """

    loss: Literal["noise", "image"] = option(
        "noise is Eq. 3; image compares what one step makes.", default="noise", metavar="NAME"
    )
    steps: int | None = option("Steps in all.", min=1)
    batch_size: int | None = option("Samples per process and forward pass.", min=1)
    accumulation: int | None = option("Forward passes of one step.", min=1)
    learning_rate: float | None = option("Step size of Adam.", min=0)
    warmup: int | None = option("Steps to the learning rate.", min=0)
    decay: float | None = option("Share of the steps in which it falls to 0.", min=0, max=1)
    clip: float | None = option("Largest norm of the gradient; 0: any.", min=0)
    ema: float | None = option("Decay of the averaged weights; 0: none.", min=0, max=1)
    crop: int | None = option("Side of the HR crops, pixels.", min=4)
    degradation: list[str] | None = option("full, mild, light, clean; several: one each by chance.")
    samples: int | None = option(
        "Number of different pairs, computed once with their latents; 0: without end.", min=0
    )
    prompt_dropout: float | None = option("Share of null prompts, for guidance.", min=0, max=1)
    degraded_share: float | None = option(
        "Prior: share that stays degraded, as CFG's negative.", min=0, max=1
    )
    reference_share: float | None = option(
        "Guidance, image loss: share of the reference in what is aimed at.", min=0, max=1
    )
    train_decoder: bool = option("Guidance, image loss: the VAE's decoder too.", default=False)
    gradient_weight: float | None = option("Of the image loss.", min=0)
    amplitude_weight: float | None = option("Of the image loss.", min=0)
    grid_weight: float | None = option("Of the image loss: against patterns.", min=0)
    adversarial_weight: float | None = option(
        "Weight of a critic in the image loss; 0: none.", min=0
    )
    precision: Literal["auto", "no", "bf16", "fp16"] | None = option(
        "Of forward and backward pass; auto: bf16 where the GPU has it."
    )
    tf32: bool | None = option("TF32 for float32 on GPUs.", "--tf32/--no-tf32", show_default=False)
    gradient_checkpointing: bool = option("Less memory, more time.", default=False)
    seed: int = option("Of data, noise and new weights.", default=0, min=0)


@dataclass(frozen=True)
class Reading:
    """How samples are made."""

    streaming: bool = option("Fetch rows of one hf:NAME while training.", default=False)
    cache: Path | None = option("Where --samples are kept; default: beside the run.")
    workers: int | None = option(
        "Processes that make samples; default: the cores that a GPU's process has.", min=0
    )
    degrade_on: Literal["cpu", "device"] = option(
        "Where LR images are made: in those processes, or where the networks are.", default="cpu"
    )


@dataclass(frozen=True)
class Reporting:
    """What a run keeps and shows; all but `validate_on` and `validate_limit` are called as in
    `cassr.training.state.TrainingOptions`."""

    log_every: int = option("Steps between lines of log.csv.", default=50, min=1)
    checkpoint_every: int = option("Steps between checkpoints.", default=1000, min=1)
    fork: Path | None = option(
        "Start from the last checkpoint of another run, with other settings."
    )
    keep: int = option("Checkpoints that are kept.", default=2, min=1)
    validate_every: int = option("Steps between validations; 0: none.", default=0, min=0)
    validate_on: str = option(
        "Suite whose test sets are validated on.", default="quick", metavar="SUITE"
    )
    validate_limit: int = option("Images of each of its test sets.", default=4, min=1)
    tracker: Literal["none", "tensorboard", "wandb"] = option(
        "Where losses go beside log.csv.", default="none"
    )
    minutes: float = option(
        "Stop with a checkpoint after this much training; 0: never.", default=0.0, min=0
    )
