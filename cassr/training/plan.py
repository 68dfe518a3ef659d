"""A dry run of training: everything built at random weights, one step, and what the rest takes."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from cassr.base.errors import TrainingError
from cassr.config import TrainingSettings
from cassr.photographs.sets import PAPER, problem, training_sets
from cassr.pipeline import CasSRPipeline
from cassr.training.data import Share
from cassr.training.objectives import Objective
from cassr.training.run import open_photographs
from cassr.training.stages import build_objective
from cassr.training.start import Start, load_start
from cassr.training.train import checkpoint_gradients

GIB = 2**30
PLANNED_PROCESSES = 8


@dataclass(frozen=True)
class TrainingPlan:
    """What a run would be.

    Attributes:
        modules: (name, parameters, trained parameters) of every network.
        memory: GiB by what it is for, before activations.
        peak: GiB of this process after one step of one sample, activations included.
        step_seconds: of that step, on this machine.
        loss: of that step.
        data: what was asked for, and what is missing of it; "" where nothing is.
    """

    stage: str
    preset: str
    settings: TrainingSettings
    modules: tuple[tuple[str, int, int], ...]
    memory: dict[str, float]
    peak: float
    step_seconds: float
    loss: float
    data: tuple[tuple[str, str], ...]

    def lines(self) -> list[str]:
        """For a terminal of 80 columns."""
        s = self.settings
        total = sum(parameters for _, parameters, _ in self.modules)
        trained = sum(count for _, _, count in self.modules)
        lines = [
            f"train {self.stage} --preset {self.preset}",
            "",
            "networks, millions of parameters",
        ]
        lines += [f"  {n:<20}{p / 1e6:>9.1f}  {_share(p, t)}" for n, p, t in self.modules]
        lines += [f"  {'all':<20}{total / 1e6:>9.1f}  {trained / 1e6:.1f} trained", ""]
        lines += ["memory of a process, GiB, float32 weights"]
        lines += [f"  {name:<20}{gib:>9.2f}" for name, gib in self.memory.items()]
        lines += [f"  {'sum':<20}{sum(self.memory.values()):>9.2f}  and activations"]
        lines += [f"  {'measured here':<20}{self.peak:>9.2f}  peak, one sample, checkpointed", ""]
        lines += [f"one step here: {self.step_seconds:.1f} s, loss {self.loss:.4f}", ""]
        for processes in (1, PLANNED_PROCESSES):
            share = Share(s.batch_size, s.accumulation, 0, processes)
            lines += [
                f"on {processes} GPU{'s' * (processes > 1)}: {s.batch_size} samples each"
                f"{f' x {s.accumulation} passes' if s.accumulation > 1 else ''}, {share.step} a "
                f"step; {s.steps:,} steps see {s.steps * share.step:,} samples"
            ]
        lines += [
            f"  accelerate launch --num_processes {PLANNED_PROCESSES} -m bench train {self.stage} "
            f"--preset {self.preset}",
            f"  Adam, learning rate {s.learning_rate:g}, {s.crop} px crops, loss {s.loss}",
            f"  degradation {' or '.join(s.degradations)}",
            "",
        ]
        return lines + [f"data {name}: {reason or 'complete'}" for name, reason in self.data]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def make_plan(
    stage: str, start: Start, settings: TrainingSettings, places: Sequence[str], cpu: bool
) -> TrainingPlan:
    """Build all networks with random weights and run one step on random pixels.

    Raises:
        TrainingError: unknown preset or stage.
    """
    pipeline = load_start(replace(start, random=True), stage)
    pipeline.set_progress_bar_config(disable=True)
    objective = build_objective(stage, pipeline, settings)
    checkpoint_gradients(pipeline)
    device = torch.device("cpu" if cpu or not torch.cuda.is_available() else "cuda")
    pipeline.to(device)
    seconds, loss = _one_step(objective, settings, device)
    return TrainingPlan(
        stage=stage,
        preset=start.preset,
        settings=settings,
        modules=_modules(pipeline, objective),
        memory=_memory(pipeline, objective, settings),
        peak=_peak(device),
        step_seconds=seconds,
        loss=loss,
        data=tuple((place, _data_problem(place)) for place in _expanded(places)),
    )


def _one_step(
    objective: Objective, settings: TrainingSettings, device: torch.device
) -> tuple[float, float]:
    optimizer = torch.optim.Adam(objective.trained().values(), lr=settings.learning_rate)
    generator = torch.Generator().manual_seed(0)
    side, scale = settings.crop, settings.scale
    batch = {
        "hr": torch.rand(1, 3, side, side, generator=generator).to(device),
        "lr": torch.rand(1, 3, side // scale, side // scale, generator=generator).to(device),
        "reference": torch.rand(1, 3, side, side, generator=generator).to(device),
        "seed": torch.zeros(1, dtype=torch.int64),
    }
    started = time.monotonic()
    loss = objective(batch)["loss"]
    loss.backward()
    optimizer.step()
    return time.monotonic() - started, float(loss.detach())


def _modules(pipeline: CasSRPipeline, objective: Objective) -> tuple[tuple[str, int, int], ...]:
    names = ("vae", "unet", "controlnet", "attention", "activation")
    found = [(name, getattr(pipeline, name)) for name in names]
    trained = {id(p) for p in objective.trained().values()}
    return tuple(
        (
            name,
            sum(p.numel() for p in module.parameters()),
            sum(p.numel() for p in module.parameters() if id(p) in trained),
        )
        for name, module in found
        if module is not None
    )


def _memory(
    pipeline: CasSRPipeline, objective: Objective, settings: TrainingSettings
) -> dict[str, float]:
    modules = _modules(pipeline, objective)
    everything = 4 * sum(parameters for _, parameters, _ in modules) / GIB
    trained = 4 * sum(count for _, _, count in modules) / GIB
    parts = {"weights": everything, "gradients": trained, "Adam's two means": 2 * trained}
    return parts | ({"averages (EMA)": trained} if settings.ema else {})


def _peak(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / GIB
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIB


def _share(parameters: int, trained: int) -> str:
    if trained == parameters:
        return "trained"
    return f"{trained / 1e6:.1f} trained" if trained else "frozen"


def _expanded(places: Sequence[str]) -> list[str]:
    return [name for place in places for name in (PAPER if place == "paper" else (place,))]


def _data_problem(place: str) -> str:
    if place in training_sets():
        return problem(training_sets()[place])
    if place.startswith("hf:"):
        return "not looked at in a dry run"
    try:
        open_photographs([place])
    except TrainingError as error:
        return str(error)
    return ""
