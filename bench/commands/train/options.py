"""The options of `train`, in groups."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class TrainingSource:
    """What is trained, from what, on what."""

    preset: Literal["sd15", "mini"] = "sd15"
    out: Path | None = None
    data: list[str] | None = None
    start: str | None = None
    activation: Literal["scedit", "controlnet", "lr", "external"] | None = None
    reference_method: str | None = None
    attention: bool | None = None
    fresh: bool = False


@dataclass(frozen=True)
class Settings:
    """How it is trained; None where the preset's settings stay.

    All but `loss` and `degradation` are called as in `cassr.config.TrainingSettings`.
    """

    loss: Literal["noise", "image"] = "noise"
    steps: int | None = None
    batch_size: int | None = None
    accumulation: int | None = None
    learning_rate: float | None = None
    warmup: int | None = None
    decay: float | None = None
    clip: float | None = None
    ema: float | None = None
    crop: int | None = None
    degradation: list[str] | None = None
    samples: int | None = None
    prompt_dropout: float | None = None
    degraded_share: float | None = None
    reference_share: float | None = None
    train_decoder: bool = False
    gradient_weight: float | None = None
    amplitude_weight: float | None = None
    grid_weight: float | None = None
    adversarial_weight: float | None = None
    precision: Literal["auto", "no", "bf16", "fp16"] | None = None
    tf32: bool | None = None
    gradient_checkpointing: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Reading:
    """How samples are made."""

    streaming: bool = False
    cache: Path | None = None
    workers: int | None = None
    degrade_on: Literal["cpu", "device"] = "cpu"


@dataclass(frozen=True)
class Reporting:
    """What a run keeps and shows; all but `validate_on` and `validate_limit` are called as in
    `cassr.training.state.TrainingOptions`."""

    log_every: int = 50
    checkpoint_every: int = 1000
    fork: Path | None = None
    keep: int = 2
    validate_every: int = 0
    validate_on: str = "quick"
    validate_limit: int = 4
    tracker: Literal["none", "tensorboard", "wandb"] = "none"
    minutes: float = 0.0
