"""The state of a training run: what a step changes, and what a checkpoint brings back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from diffusers.training_utils import EMAModel

from cassr.base.errors import TrainingError
from cassr.config import TrainingSettings
from cassr.training import checkpoints
from cassr.training.data import Share
from cassr.training.log import TrainingLog
from cassr.training.objectives import Objective

FREE_TO_CHANGE = {"steps"}
"""Settings that may differ when a run goes on."""


@dataclass(frozen=True)
class RunOptions:
    """Where a run is kept and what it reports; nothing here changes the weights.

    Attributes:
        out: folder of the run.
        workers: processes that prepare samples.
        log_every, checkpoint_every, validate_every: in steps; 0 for never (a last checkpoint is
            always written).
        keep: checkpoints that are kept.
        tracker: "tensorboard", "wandb" or "none".
        minutes: stop, with a checkpoint, after so long; 0 for no limit.
        quiet: no progress bar.
        identity: what the run's data and starting model are; a run goes on only with the same.
    """

    out: Path
    workers: int = 0
    log_every: int = 50
    checkpoint_every: int = 1000
    validate_every: int = 0
    keep: int = 2
    tracker: str = "none"
    minutes: float = 0.0
    quiet: bool = False
    identity: Mapping[str, Any] = field(default_factory=dict)


class RunState:
    """Everything that a step changes."""

    def __init__(
        self,
        accelerator: Accelerator,
        objective: Objective,
        settings: TrainingSettings,
        run: RunOptions,
        stage: str,
    ) -> None:
        self.accelerator, self.objective = accelerator, objective
        self.settings, self.run, self.stage = settings, run, stage
        self.trained = objective.trained()
        if not self.trained:
            raise TrainingError(f"stage {stage!r}: nothing to train")
        self.step, self.seconds, self.skipped = 0, 0.0, {}
        self.averages: EMAModel | None = None
        optimizer = torch.optim.Adam(self.trained.values(), lr=settings.learning_rate)
        self.wrapped, self.optimizer = accelerator.prepare(objective, optimizer)
        self._resume()
        if len(set(gather_object([self.step]))) > 1:
            raise TrainingError(
                f"{self.folder}: processes find other checkpoints there; --out must be a folder "
                "that all machines share"
            )
        self.log = TrainingLog(run.out / "log.csv", self.step, settings.steps,
                               quiet=run.quiet or not accelerator.is_main_process,
                               write=accelerator.is_main_process)  # fmt: skip

    skipped: dict[str, str]

    @property
    def folder(self) -> Path:
        return self.run.out / "checkpoints"

    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to go on."""
        settings = {k: v for k, v in asdict(self.settings).items() if k not in FREE_TO_CHANGE}
        whole = {
            "stage": self.stage,
            "settings": settings,
            "processes": self.accelerator.num_processes,
            **self.run.identity,
        }
        return dict(json.loads(json.dumps(whole)))

    def _resume(self) -> None:
        ema = self.settings.ema
        if ema:
            self.averages = EMAModel(list(self.trained.values()), decay=ema)
        if not (existing := checkpoints.found(self.folder)):
            return
        saved = checkpoints.load(existing[-1])
        _check_identity(existing[-1], saved.notes.get("identity", {}), self.identity())
        checkpoints.assign(self.trained, saved.weights)
        scaler = saved.optimizer.pop("scaler", None)
        if scaler and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(scaler)
        self.optimizer.load_state_dict(saved.optimizer)
        if self.averages is not None:
            shadows = dict(zip(self.trained, self.averages.shadow_params, strict=True))
            checkpoints.assign(shadows, saved.averages)
            self.averages.to(self.accelerator.device)
            self.averages.optimization_step = saved.step
        self.step, self.seconds = saved.step, saved.notes["seconds"]
        self.skipped = dict(saved.notes["skipped"])

    def share(self) -> Share:
        return Share(
            self.settings.batch_size,
            self.settings.accumulation,
            self.accelerator.process_index,
            self.accelerator.num_processes,
        )

    def note_skipped(self, pairs: list[tuple[str, str]]) -> None:
        for name, reason in pairs:
            if name not in self.skipped:
                self.skipped[name] = reason
                self.log.say(f"skipped {name}: {reason}")

    def save(self) -> None:
        """Write a checkpoint; all processes call it."""
        everyones = gather_object(list(self.skipped.items()))
        self.skipped = dict(sorted(everyones))
        if self.accelerator.is_main_process:
            optimizer = dict(self.optimizer.state_dict())
            if self.accelerator.scaler is not None:
                optimizer["scaler"] = self.accelerator.scaler.state_dict()
            notes = {
                "identity": self.identity(),
                "skipped": self.skipped,
                "seconds": round(self.seconds, 1),
            }
            averages = self.averages.shadow_params if self.averages else []
            named = dict(zip(self.trained, averages, strict=False))
            made = checkpoints.Checkpoint(self.step, self.trained, named, optimizer, notes)
            checkpoints.save(self.folder, made, self.run.keep)
        self.accelerator.wait_for_everyone()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The averaged weights in place of the current ones."""
        if self.averages is None:
            yield
            return
        parameters = list(self.trained.values())
        self.averages.store(parameters)
        self.averages.copy_to(parameters)
        try:
            yield
        finally:
            self.averages.restore(parameters)


def _check_identity(path: Path, found: dict[str, Any], expected: dict[str, Any]) -> None:
    flat_found, flat_expected = _flat(found), _flat(expected)
    for name in sorted(set(flat_found) | set(flat_expected)):
        if (a := flat_found.get(name)) != (b := flat_expected.get(name)):
            raise TrainingError(
                f"{path}: this run has {name}={a!r}, asked for {b!r}; give the same to go on with "
                "it, or another --out to start anew"
            )


def _flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
