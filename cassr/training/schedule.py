"""What of a run's settings depends on the step or on the machine."""

import math
import os
from dataclasses import replace

import torch

from cassr.config import TrainingSettings

MOST_WORKERS = 16


def learning_rate(settings: TrainingSettings, step: int) -> float:
    """Of step number `step`, counted from 0: warm-up, constant, cosine decay to zero."""
    rate = settings.learning_rate
    if step < settings.warmup:
        return rate * (step + 1) / settings.warmup
    falling = round(settings.decay * settings.steps)
    if falling and step >= settings.steps - falling:
        place = (step - (settings.steps - falling)) / falling
        return rate * 0.5 * (1 + math.cos(math.pi * place))
    return rate


def settled(settings: TrainingSettings, on_gpu: bool) -> TrainingSettings:
    """With a precision in place of "auto"."""
    if settings.precision != "auto":
        return settings
    has = on_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    return replace(settings, precision="bf16" if has else "no")


def worker_count(asked: int | None, on_gpu: bool) -> int:
    """Processes that make samples: as asked, or the cores that this process of a GPU has.

    A CPU that trains has none to spare.
    """
    if asked is not None or not on_gpu:
        return asked or 0
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(MOST_WORKERS, (os.cpu_count() or 1) // processes - 1))
