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
from cassr.config import TrainingSettings, get_preset
from cassr.photographs.sets import PAPER, problem, training_sets
from cassr.pipeline import CasSRPipeline
from cassr.training.cost import EFFICIENCY, GPUS, StepCost, step_cost
from cassr.training.objectives import Objective, StageObjective
from cassr.training.run import open_photographs
from cassr.training.samples.data import Share
from cassr.training.stages import Stage, build_objective, get_stage
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
        cost: of a pass at the planned batch, counted; None for a stage without a denoiser.
        disk: GiB by what is written.
        source: the model that the stage starts from, as an option; "" where it needs none.
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
    cost: StepCost | None
    disk: dict[str, float]
    source: str
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
        lines += [f"  {name:<24}{gib:>5.2f}" for name, gib in self.memory.items()]
        lines += [f"  {'sum':<24}{sum(self.memory.values()):>5.2f}"]
        lines += [f"  {'measured here':<24}{self.peak:>5.2f}  peak, one sample, checkpointed", ""]
        lines += [f"one step here: {self.step_seconds:.1f} s, loss {self.loss:.4f}", ""]
        lines += [*self._cost_lines(), "disk, GiB"]
        lines += [f"  {name:<34}{gib:>9.2f}" for name, gib in self.disk.items()] + [""]
        for processes in (1, PLANNED_PROCESSES):
            share = Share(s.batch_size, s.accumulation, 0, processes)
            lines += [
                f"on {processes} GPU{'s' * (processes > 1)}: {s.batch_size} samples each"
                f"{f' x {s.accumulation} passes' if s.accumulation > 1 else ''}, {share.step} a "
                f"step; {s.steps:,} steps see {s.steps * share.step:,} samples"
            ]
        lines += [
            f"  accelerate launch --num_processes {PLANNED_PROCESSES} -m bench train {self.stage} "
            f"--preset {self.preset}{self.source}",
            f"  Adam, learning rate {s.learning_rate:g}, {s.crop} px crops, loss {s.loss}",
            f"  degradation {' or '.join(s.degradations)}",
            "",
        ]
        return lines + [f"data {name}: {reason or 'complete'}" for name, reason in self.data]

    def _cost_lines(self) -> list[str]:
        """FLOPs by part, and how long a step takes on known GPUs."""
        if self.cost is None:
            return []
        s, whole = self.settings, sum(self.cost.flops.values())
        lines = [f"one pass of {s.batch_size} samples, TFLOP (a multiplication and an addition: 2)"]
        lines += [f"  {name:<34}{n / 1e12:>9.2f}" for name, n in self.cost.flops.items()]
        lines += [f"  {'all':<34}{whole / 1e12:>9.2f}", ""]
        kind = "TF32" if s.precision == "no" else "bf16"
        lines += [f"a step at {EFFICIENCY:.0%} of the peak in {kind}, and {s.steps:,} of them"]
        for name, gpu in GPUS.items():
            seconds = self.cost.seconds(gpu, s)
            lines += [
                f"  {name:<20}{seconds:>9.2f} s {s.steps * seconds / 86_400:>9.2f} days"
                f"  ({gpu.memory} GB of memory)"
            ]
        return [*lines, ""]

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
    modules, memory, peak = _modules(pipeline, objective), {}, _peak(device)
    memory = _memory(modules, settings)
    disk = _disk(modules, settings, get_stage(stage))
    cost = None
    if isinstance(objective, StageObjective):
        cost = step_cost(objective, settings, get_stage(stage).references and not settings.samples)
        memory |= {f"activations, {settings.batch_size} samples": _activations(cost, settings)}
    return TrainingPlan(
        stage=stage,
        preset=start.preset,
        settings=settings,
        modules=modules,
        memory=memory,
        peak=peak,
        step_seconds=seconds,
        loss=loss,
        cost=cost,
        disk=disk,
        source=_source_option(start, stage),
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


Modules = tuple[tuple[str, int, int], ...]


def _memory(modules: Modules, settings: TrainingSettings) -> dict[str, float]:
    everything = 4 * sum(parameters for _, parameters, _ in modules) / GIB
    trained = 4 * sum(count for _, _, count in modules) / GIB
    parts = {"weights": everything, "gradients": trained, "Adam's two means": 2 * trained}
    return parts | ({"averages (EMA)": trained} if settings.ema else {})


def _activations(cost: StepCost, settings: TrainingSettings) -> float:
    """GiB that are kept for the way back, at half the bytes in half precision."""
    return cost.activations / GIB / (1 if settings.precision == "no" else 2)


def _disk(modules: Modules, settings: TrainingSettings, stage: Stage) -> dict[str, float]:
    """GiB of checkpoints (two are kept, a third is being written) and of prepared samples."""
    trained = 4 * sum(count for _, _, count in modules) / GIB
    written = {"checkpoints": 3 * trained * (4 if settings.ema else 3), "model": trained}
    if not settings.samples:
        return written
    pixels = 3 * settings.crop**2
    latents = 2 * 4 * pixels / 48 if stage.latents else 0.0  # SD's are 1/48 of the values
    each = pixels * (1 + 1 / settings.scale**2) + latents + (pixels if stage.references else 0)
    return written | {"prepared samples": settings.samples * each / GIB}


def _source_option(start: Start, stage: str) -> str:
    """What a stage must be given to start from, ready to be typed."""
    if start.source:
        return f" --from {start.source}"
    if start.activation:
        return f" --activation {start.activation}"
    if get_stage(stage).references and get_preset(start.preset).base:
        return f" --from results/training/{start.preset}-activation/model"
    return ""


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
