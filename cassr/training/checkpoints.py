"""Checkpoints of a training run: whole or not there, the last few kept, resumed exactly.

All randomness of a run is a function of its seed and the sample's number: no state beside these.
"""

import json
import os
import pickle
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from cassr.base.errors import TrainingError, first_line

STATE, WEIGHTS, OPTIMIZER = "state.json", "weights.safetensors", "optimizer.pt"
AVERAGES = "averages.safetensors"
PART, REMOVED = ".part", ".removed"


@dataclass
class Checkpoint:
    """Where a run is.

    Attributes:
        step: steps done.
        weights: trained parameters by name.
        averages: their running means (EMA), empty without.
        optimizer: its state dict, with the state of a loss scaler where there is one.
        notes: JSON: what identifies the run, photographs skipped, seconds spent.
    """

    step: int
    weights: Mapping[str, Tensor]
    averages: Mapping[str, Tensor]
    optimizer: dict[str, Any]
    notes: dict[str, Any]


def save(folder: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Write `folder`/step-N and remove all but the last `keep`, and what killed saves left.

    A step that is there whole stays as it is: a run's state at a step is always the same.
    """
    final = folder / f"step-{checkpoint.step:08d}"
    for ending in (PART, REMOVED):
        for leftover in folder.glob(f".step-*{ending}"):
            shutil.rmtree(leftover, ignore_errors=True)
    if not all((final / name).is_file() for name in (STATE, WEIGHTS, OPTIMIZER)):
        part = _hidden(final, PART)
        try:
            _write(part, checkpoint)
        except (OSError, RuntimeError, SafetensorError) as error:
            raise TrainingError(
                f"{folder}: a checkpoint cannot be written ({_brief(error)}); make room, what was "
                "saved before is kept"
            ) from error
        remove(final)
        os.replace(part, final)
    for old in found(folder)[:-keep]:
        remove(old)
    return final


def remove(path: Path) -> None:
    """Take a folder, if it is there, out of sight in one step: it is never seen half removed."""
    aside = _hidden(path, REMOVED)
    shutil.rmtree(aside, ignore_errors=True)
    if path.exists():
        os.replace(path, aside)
        shutil.rmtree(aside, ignore_errors=True)


def found(folder: Path) -> list[Path]:
    """Checkpoints in a folder, oldest first; `load` says of one that it is damaged."""
    return sorted(p for p in folder.glob("step-*") if (p / STATE).is_file())


def load(path: Path) -> Checkpoint:
    """Read a checkpoint onto the CPU. Raises TrainingError: a file is missing or damaged."""
    averages = path / AVERAGES
    try:
        notes = dict(json.loads((path / STATE).read_text(encoding="utf-8")))
        if lacking := {"identity", "seconds", "skipped"} - notes.keys():
            raise TrainingError(f"{STATE} lacks {', '.join(sorted(lacking))}")
        return Checkpoint(
            step=notes.pop("step"),
            weights=load_file(path / WEIGHTS),
            averages=load_file(averages) if averages.is_file() else {},
            optimizer=torch.load(path / OPTIMIZER, map_location="cpu", weights_only=True),
            notes=notes,
        )
    except Exception as error:  # safetensors and torch raise many kinds on damaged files
        raise TrainingError(
            f"{path}: cannot be read ({_brief(error)}); delete it to go on from the one before"
        ) from error


def assign(parameters: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Copy values into parameters; TrainingError: names or shapes differ."""
    if differing := sorted(set(parameters) ^ set(values)):
        raise TrainingError(
            f"checkpoint: parameter {differing[0]} is not on both sides; delete the checkpoint to "
            "go on from the one before"
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            if parameter.shape != values[name].shape:
                raise TrainingError(
                    f"checkpoint: {name}: expected shape {tuple(parameter.shape)}, found "
                    f"{tuple(values[name].shape)}"
                )
            parameter.copy_(values[name])


def _write(part: Path, checkpoint: Checkpoint) -> None:
    part.mkdir(parents=True)
    save_file(_plain(checkpoint.weights), part / WEIGHTS)
    if checkpoint.averages:
        save_file(_plain(checkpoint.averages), part / AVERAGES)
    torch.save(checkpoint.optimizer, part / OPTIMIZER)
    notes = {"step": checkpoint.step} | checkpoint.notes
    (part / STATE).write_text(json.dumps(notes, indent=1, ensure_ascii=False), encoding="utf-8")
    for file in part.iterdir():
        with file.open("r+b") as handle:
            os.fsync(handle.fileno())


def _hidden(path: Path, ending: str) -> Path:
    return path.with_name(f".{path.name}{ending}")


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: t.detach().cpu().contiguous() for name, t in tensors.items()}


def _brief(error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError):  # torch advises to load it all the same
        return f"{OPTIMIZER} is not of tensors alone"
    return first_line(error)
