"""The options of `train`, in groups."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.commands.train import told


@dataclass(frozen=True)
class TrainingSource:
    """What is trained, from what, on what."""

    preset: Literal["sd15", "mini"] = told("preset", default="sd15")
    out: Path | None = told("out")
    data: list[str] | None = told("data")
    start: str | None = told("start", "--from")
    activation: Literal["scedit", "controlnet", "lr", "external"] | None = told("activation")
    reference_method: str | None = told("reference-method")
    attention: bool | None = told("attention", "--attention/--no-attention")
    fresh: bool = told("fresh", default=False)


@dataclass(frozen=True)
class Settings:
    """How it is trained; None where the preset's settings stay.

    All but `loss` and `degradation` are called as in `cassr.config.TrainingSettings`.
    """

    loss: Literal["noise", "image"] = told("loss", default="noise")
    steps: int | None = told("steps")
    batch_size: int | None = told("batch-size")
    accumulation: int | None = told("accumulation")
    learning_rate: float | None = told("learning-rate")
    warmup: int | None = told("warmup")
    decay: float | None = told("decay")
    clip: float | None = told("clip")
    ema: float | None = told("ema")
    crop: int | None = told("crop")
    degradation: list[str] | None = told("degradation")
    samples: int | None = told("samples")
    prompt_dropout: float | None = told("prompt-dropout")
    degraded_share: float | None = told("degraded-share")
    reference_share: float | None = told("reference-share")
    train_decoder: bool = told("train-decoder", default=False)
    gradient_weight: float | None = told("gradient-weight")
    amplitude_weight: float | None = told("amplitude-weight")
    grid_weight: float | None = told("grid-weight")
    adversarial_weight: float | None = told("adversarial-weight")
    precision: Literal["auto", "no", "bf16", "fp16"] | None = told("precision")
    tf32: bool | None = told("tf32", "--tf32/--no-tf32")
    gradient_checkpointing: bool = told("gradient-checkpointing", default=False)
    seed: int = told("seed", default=0)


@dataclass(frozen=True)
class Reading:
    """How samples are made."""

    streaming: bool = told("streaming", default=False)
    cache: Path | None = told("cache")
    workers: int | None = told("workers")
    degrade_on: Literal["cpu", "device"] = told("degrade-on", default="cpu")


@dataclass(frozen=True)
class Reporting:
    """What a run keeps and shows; all but `validate_on` and `validate_limit` are called as in
    `cassr.training.state.TrainingOptions`."""

    log_every: int = told("log-every", default=50)
    checkpoint_every: int = told("checkpoint-every", default=1000)
    fork: Path | None = told("fork")
    keep: int = told("keep", default=2)
    validate_every: int = told("validate-every", default=0)
    validate_on: str = told("validate-on", default="quick")
    validate_limit: int = told("validate-limit", default=4)
    tracker: Literal["none", "tensorboard", "wandb"] = told("tracker", default="none")
    minutes: float = told("minutes", default=0.0)
