"""A dry run of training: everything built at random weights, one step, and what the rest takes."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files

import psutil
import torch
from jinja2 import StrictUndefined, Template

from cassr.base.errors import TrainingError
from cassr.config import TrainingSettings, get_preset
from cassr.photographs.sets import PAPER, open_photographs, problem, training_sets
from cassr.pipeline import CasSRPipeline
from cassr.sampling.loop import vae_factor
from cassr.training.cost import EFFICIENCY, GPUS, StepCost, step_cost
from cassr.training.objectives import Objective, StageObjective
from cassr.training.run import NETWORKS
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

    def text(self) -> str:
        """For a terminal of 80 columns."""
        text = files("cassr.training").joinpath("plan.txt.jinja").read_text("utf-8")
        template = Template(text, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
        memory = self.memory | {"sum": sum(self.memory.values())}
        flops = {name: n / 1e12 for name, n in self.cost.flops.items()} if self.cost else {}
        return template.render(
            plan=self,
            s=self.settings,
            memory=memory | {"peak here, one sample, checkpointed": self.peak},
            flops=flops | {"all": sum(flops.values())},
            efficiency=EFFICIENCY,
            gpus=GPUS,
            most=PLANNED_PROCESSES,
        )


def make_plan(
    stage: str, start: Start, settings: TrainingSettings, places: Sequence[str], cpu: bool
) -> TrainingPlan:
    """Build all at random, run a step on random pixels; TrainingError: unknown preset, stage."""
    kind, pipeline = get_stage(stage), load_start(replace(start, random=True), stage)
    pipeline.set_progress_bar_config(disable=True)
    objective = build_objective(stage, pipeline, settings)
    checkpoint_gradients(pipeline)
    device = torch.device("cpu" if cpu or not torch.cuda.is_available() else "cuda")
    pipeline.to(device)
    loss, seconds = _one_step(objective, settings, device)
    modules, peak, cost = _modules(pipeline, objective), peak_memory(device), None
    trained = 4 * sum(count for _, _, count in modules) / GIB
    weights = 4 * sum(parameters for _, parameters, _ in modules) / GIB
    memory = {"weights": weights, "gradients": trained, "Adam's two means": 2 * trained}
    if settings.ema:
        memory["averages (EMA)"] = trained
    if isinstance(objective, StageObjective):
        cost = step_cost(objective, settings, kind.references and not settings.samples)
        half = 1 if settings.precision == "no" else 2
        memory[f"activations, {settings.batch_size} samples"] = cost.activations / GIB / half
    names = [name for place in places for name in (PAPER if place == "paper" else (place,))]
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
        disk=_disk(trained, settings, kind, pipeline),
        source=_source_option(start, kind),
        data=tuple((name, _data_problem(name)) for name in names),
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
    return float(loss.detach()), time.monotonic() - started  # the first waits for a GPU


def _modules(pipeline: CasSRPipeline, objective: Objective) -> tuple[tuple[str, int, int], ...]:
    trained = {id(p) for p in objective.trained().values()}
    found = []
    for name in NETWORKS:
        if (network := getattr(pipeline, name)) is not None:
            sizes = {id(p): p.numel() for p in network.parameters()}
            changed = sum(size for key, size in sizes.items() if key in trained)
            found.append((name, sum(sizes.values()), changed))
    return tuple(found)


def _disk(
    trained: float, settings: TrainingSettings, stage: Stage, pipeline: CasSRPipeline
) -> dict[str, float]:
    """GiB of checkpoints (two are kept, a third is being written) and of prepared samples."""
    written = {"checkpoints": 3 * trained * (4 if settings.ema else 3), "model": trained}
    if not settings.samples:
        return written
    pixels = 3 * settings.crop**2
    cells = (settings.crop / vae_factor(pipeline.vae)) ** 2
    latents = 2 * 4 * cells * pipeline.vae.config.latent_channels if stage.latents else 0.0
    each = pixels * (1 + 1 / settings.scale**2) + latents + (pixels if stage.references else 0)
    return written | {"prepared samples": settings.samples * each / GIB}


def _source_option(start: Start, stage: Stage) -> str:
    """What a stage must be given to start from, ready to be typed."""
    if start.source:
        return f" --from {start.source}"
    if start.activation:
        return f" --activation {start.activation}"
    if stage.references and get_preset(start.preset).base:
        return f" --from results/training/{start.preset}-activation/model"
    return ""


def peak_memory(device: torch.device) -> float:
    """GiB that this process has held at most: of the GPU, or of this machine."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / GIB
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset) / GIB
    import resource  # Windows has none

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIB


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
