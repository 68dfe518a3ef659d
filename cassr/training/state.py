"""The state of a training run: what a step changes, and what a checkpoint brings back."""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from diffusers.training_utils import EMAModel

from cassr.base.errors import TrainingError
from cassr.base.told import together
from cassr.config import TrainingSettings
from cassr.training import checkpoints
from cassr.training.log import TrainingLog
from cassr.training.objectives import Objective
from cassr.training.samples.data import Share
from cassr.training.schedule import learning_rate

FREE_TO_CHANGE = {"steps", "gradient_checkpointing", "precision", "tf32"}
"""Settings that may differ when a run goes on: its length, and what costs memory or time only."""
TOGETHER = ("batch_size", "accumulation")
"""With the number of processes they make the samples of a step, which alone must stay."""


@dataclass(frozen=True)
class TrainingOptions:
    """Where a run is kept and computed and what it reports; see `cassr-bench train --help`.

    Attributes:
        log_every, checkpoint_every, validate_every: in steps; 0 for never (a last checkpoint is
            always written).
        degrade_on: LR images made on the "device" are other ones of the same distribution than
            those of the "cpu", so a run goes on only with the same.
        quiet: no progress bar.
        identity: what the run's data and starting model are; a run goes on only with the same.
    """

    out: Path
    workers: int | None = None
    degrade_on: str = "cpu"
    log_every: int = 50
    checkpoint_every: int = 1000
    validate_every: int = 0
    keep: int = 2
    tracker: str = "none"
    minutes: float = 0.0
    quiet: bool = False
    fork: Path | None = None
    identity: Mapping[str, Any] = field(default_factory=dict)


class RunState:
    """Everything that a step changes."""

    def __init__(
        self,
        accelerator: Accelerator,
        objective: Objective,
        settings: TrainingSettings,
        run: TrainingOptions,
        stage: str,
    ) -> None:
        self.accelerator, self.objective = accelerator, objective
        self.settings, self.run, self.stage = settings, run, stage
        self.trained = objective.trained()
        if not self.trained:
            raise TrainingError(f"stage {stage!r}: nothing to train")
        self.step, self.seconds = 0, 0.0
        self.skipped: dict[str, str] = {}
        self.forked: dict[str, Any] = {}
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

    @property
    def folder(self) -> Path:
        return self.run.out / "checkpoints"

    def identity(self) -> dict[str, Any]:
        """What a run is; all but `FREE_TO_CHANGE` must be the same for it to go on."""
        whole = {
            "stage": self.stage,
            "settings": asdict(self.settings),
            "processes": self.accelerator.num_processes,
            **self.run.identity,
            **({} if self.run.degrade_on == "cpu" else {"degrade_on": self.run.degrade_on}),
        }
        return dict(json.loads(json.dumps(whole)))

    def _resume(self) -> None:
        ema = self.settings.ema
        if ema:
            self.averages = EMAModel(list(self.trained.values()), decay=ema)
        if existing := checkpoints.found(self.folder):
            saved = checkpoints.load(existing[-1])
            _check_identity(existing[-1], saved.notes["identity"], self.identity())
            self._check_past(existing[-1], saved)
            self.forked = saved.notes.get("forked", {})
            self._take(saved)
        elif (run := self.run.fork) is not None:
            if not (existing := checkpoints.found(run / "checkpoints")):
                raise TrainingError(f"--fork {run}: expected a run with a checkpoint, found none")
            saved = checkpoints.load(existing[-1])
            self.forked = _fork(run, saved, self.identity())
            self._take(saved)

    def _take(self, saved: checkpoints.Checkpoint) -> None:
        """Go on from a checkpoint."""
        checkpoints.assign(self.trained, saved.weights)
        scaler = saved.optimizer.pop("scaler", None)
        if scaler and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(scaler)
        self.optimizer.load_state_dict(saved.optimizer)
        if self.averages is not None:
            shadows = dict(zip(self.trained, self.averages.shadow_params, strict=True))
            known = saved.averages or (saved.weights if self.forked else {})
            checkpoints.assign(shadows, known)
            self.averages.to(self.accelerator.device)
            self.averages.optimization_step = saved.step
        self.step, self.seconds = saved.step, saved.notes["seconds"]
        self.skipped = dict(saved.notes["skipped"])

    def _check_past(self, path: Path, saved: checkpoints.Checkpoint) -> None:
        """Another number of steps may move the decay of the rate into what is done already."""
        steps = saved.notes["identity"]["settings"].get("steps")
        if steps is None or not saved.step:
            return
        last, before = saved.step - 1, replace(self.settings, steps=steps)
        if learning_rate(before, last) != learning_rate(self.settings, last):
            raise TrainingError(
                f"{path}: with steps={self.settings.steps} the learning rate would have been "
                f"another one before step {saved.step} than with steps={steps}; give --fork and "
                "that run's folder with a new --out to go on from its weights"
            )

    def share(self) -> Share:
        settings, ours = self.settings, self.accelerator
        passes = (settings.batch_size, settings.accumulation)
        return Share(*passes, ours.process_index, ours.num_processes)

    def note_skipped(self, pairs: list[tuple[str, str]]) -> None:
        for name, reason in pairs:
            if name not in self.skipped:
                self.skipped[name] = reason
                self.log.say(f"skipped {name}: {reason}")

    def save(self) -> None:
        """Write a checkpoint; all processes call it."""
        self.skipped = dict(sorted(gather_object(list(self.skipped.items()))))
        with together(gather_object):
            if self.accelerator.is_main_process:
                checkpoints.save(self.folder, self._checkpoint(), self.run.keep)

    def _checkpoint(self) -> checkpoints.Checkpoint:
        optimizer = dict(self.optimizer.state_dict())
        if self.accelerator.scaler is not None:
            optimizer["scaler"] = self.accelerator.scaler.state_dict()
        notes: dict[str, Any] = {"identity": self.identity(), "skipped": self.skipped}
        notes["seconds"] = round(self.seconds, 1)
        notes |= {"forked": self.forked} if self.forked else {}
        averages = self.averages.shadow_params if self.averages else []
        named = dict(zip(self.trained, averages, strict=False))
        return checkpoints.Checkpoint(self.step, self.trained, named, optimizer, notes)

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
    for name, (a, b) in _differences(found, expected).items():
        raise TrainingError(
            f"{path}: this run has {name}={a!r}, asked for {b!r}; give the same to go on with it, "
            "another --out to start anew, or --fork and this run's folder with another --out to "
            "go on from its weights"
        )


def _fork(run: Path, saved: checkpoints.Checkpoint, identity: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint says of the run that it was forked from."""
    found = saved.notes["identity"]
    if found["stage"] != identity["stage"]:
        raise TrainingError(
            f"--fork {run}: expected a run of stage {identity['stage']!r}, found {found['stage']!r}"
        )
    changed = {name: list(pair) for name, pair in _differences(found, identity).items()}
    return {"run": run.name, "step": saved.step, "changed": changed}


def _differences(
    found: Mapping[str, Any], expected: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """By the names of what must be the same: (found, expected)."""
    a, b = _lasting(found), _lasting(expected)
    pairs = {name: (a.get(name), b.get(name)) for name in sorted(a.keys() | b.keys())}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _lasting(identity: Mapping[str, Any]) -> dict[str, Any]:
    # A run from before a setting was there has its default.
    given = asdict(TrainingSettings()) | identity["settings"]
    settings = {k: v for k, v in given.items() if k not in FREE_TO_CHANGE}
    samples = math.prod([identity["processes"], *(settings.pop(name) for name in TOGETHER)])
    rest = {k: v for k, v in identity.items() if k not in ("settings", "processes")}
    whole = {"degrade_on": "cpu", "settings": settings, "samples in a step": samples, **rest}
    return dict(_flat(whole))


def _flat(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in nested.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
