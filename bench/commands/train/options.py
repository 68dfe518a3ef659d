"""The options of `train`, in groups."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from bench.commands.shared.options import one_of

Stage = Annotated[
    str,
    typer.Argument(
        help="activation (stage 1) or guidance (stage 2); for the miniature also vae, prior, "
        "texture."
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Build all of it at random, run one step, show parameters, memory and the plan.",
    ),
]


PresetKind = Literal["sd15", "mini"]
ActivationKind = Literal["scedit", "controlnet", "lr", "external"]
LossKind = Literal["noise", "image"]
PrecisionKind = Literal["auto", "no", "bf16", "fp16"]
TrackerKind = Literal["none", "tensorboard", "wandb"]


@dataclass(frozen=True)
class TrainingSource:
    """What is trained, from what, on what."""

    preset: Annotated[
        PresetKind,
        typer.Option(
            parser=one_of("--preset", PresetKind),
            help="sd15, the paper's model, or mini.",
            metavar="sd15|mini",
        ),
    ] = "sd15"
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; default: results/training/PRESET-STAGE.")
    ] = None
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="Photographs: folders, files, hf:NAME, or a training set's name; comma list or "
            "repeated. Default: paper (all five sets) for sd15, free for mini."
        ),
    ] = None
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Folder or hub id to start from; default: Stable Diffusion 1.5, or nothing.",
        ),
    ] = None
    activation: Annotated[
        ActivationKind | None,
        typer.Option(
            parser=one_of("--activation", ActivationKind),
            help="Kind of stage 1; default: MODEL's, or scedit. lr: the upscaled LR image; "
            "external: --reference-method.",
            metavar="scedit|controlnet|lr|external",
        ),
    ] = None
    reference_method: Annotated[
        str | None,
        typer.Option(
            help="Method whose output is the reference image, as in `list methods`.",
            metavar="METHOD",
        ),
    ] = None
    attention: Annotated[
        bool | None,
        typer.Option(
            "--attention/--no-attention",
            help="Multiple attention in stage 2; default: as MODEL, or with.",
            show_default=False,
        ),
    ] = None
    fresh: Annotated[
        bool, typer.Option("--fresh", help="New weights for the stage, whatever MODEL has.")
    ] = False


@dataclass(frozen=True)
class Settings:
    """How it is trained; None where the preset's settings stay.

    All but `loss` and `degradation` are called as in `cassr.config.TrainingSettings`.
    """

    loss: Annotated[
        LossKind,
        typer.Option(
            parser=one_of("--loss", LossKind),
            help="noise is Eq. 3; image compares what one step makes.",
            metavar="NAME",
        ),
    ] = "noise"
    steps: Annotated[int | None, typer.Option(min=1, help="Steps in all.")] = None
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Samples per process and forward pass.")
    ] = None
    accumulation: Annotated[int | None, typer.Option(min=1, help="Forward passes of one step.")] = (
        None
    )
    learning_rate: Annotated[float | None, typer.Option(min=0, help="Of Adam.")] = None
    warmup: Annotated[int | None, typer.Option(min=0, help="Steps to the learning rate.")] = None
    decay: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of the steps in which it falls to 0.")
    ] = None
    clip: Annotated[
        float | None, typer.Option(min=0, help="Largest norm of the gradient; 0: any.")
    ] = None
    ema: Annotated[
        float | None, typer.Option(min=0, max=1, help="Decay of the averaged weights; 0: none.")
    ] = None
    crop: Annotated[int | None, typer.Option(min=4, help="Side of the HR crops, pixels.")] = None
    degradation: Annotated[
        list[str] | None,
        typer.Option(help="full, mild, light, clean; several: one each by chance."),
    ] = None
    samples: Annotated[
        int | None,
        typer.Option(
            min=0, help="So many different pairs, computed once with their latents; 0: no end."
        ),
    ] = None
    prompt_dropout: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of null prompts, for guidance.")
    ] = None
    degraded_share: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Prior: share that stays degraded, as CFG's negative."),
    ] = None
    gradient_weight: Annotated[float | None, typer.Option(min=0, help="Of the image loss.")] = None
    amplitude_weight: Annotated[float | None, typer.Option(min=0, help="Of the image loss.")] = None
    grid_weight: Annotated[
        float | None, typer.Option(min=0, help="Of the image loss: against patterns.")
    ] = None
    adversarial_weight: Annotated[
        float | None, typer.Option(min=0, help="Weight of a critic in the image loss; 0: none.")
    ] = None
    precision: Annotated[
        PrecisionKind | None,
        typer.Option(
            parser=one_of("--precision", PrecisionKind),
            help="Of forward and backward pass; auto: bf16 where the GPU has it.",
            metavar="auto|no|bf16|fp16",
        ),
    ] = None
    tf32: Annotated[
        bool | None,
        typer.Option("--tf32/--no-tf32", help="TF32 for float32 on GPUs.", show_default=False),
    ] = None
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Less memory, more time.")
    ] = False
    seed: Annotated[int, typer.Option(min=0, help="Of data, noise and new weights.")] = 0


@dataclass(frozen=True)
class Reading:
    """How samples are made."""

    streaming: Annotated[
        bool, typer.Option("--streaming", help="Fetch rows of one hf:NAME while training.")
    ] = False
    cache: Annotated[
        Path | None, typer.Option(help="Where --samples are kept; default: beside the run.")
    ] = None
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Processes that make samples; default: the cores that a GPU's process has.",
        ),
    ] = None


@dataclass(frozen=True)
class Reporting:
    """What a run keeps and shows."""

    log_every: Annotated[int, typer.Option(min=1, help="Steps between lines of log.csv.")] = 50
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 1000
    fork: Annotated[
        Path | None,
        typer.Option(help="Start from the last checkpoint of another run, with other settings."),
    ] = None
    keep: Annotated[int, typer.Option(min=1, help="Checkpoints that are kept.")] = 2
    validate_every: Annotated[
        int, typer.Option(min=0, help="Steps between validations; 0: none.")
    ] = 0
    validate_on: Annotated[
        str, typer.Option(help="Suite whose test sets are validated on.", metavar="SUITE")
    ] = "quick"
    validate_limit: Annotated[int, typer.Option(min=1, help="Images of each of its test sets.")] = 4
    tracker: Annotated[
        TrackerKind,
        typer.Option(
            parser=one_of("--tracker", TrackerKind),
            help="Where losses go beside log.csv.",
            metavar="none|tensorboard|wandb",
        ),
    ] = "none"
    minutes: Annotated[
        float,
        typer.Option(min=0, help="Stop with a checkpoint after so much training; 0: never."),
    ] = 0.0
