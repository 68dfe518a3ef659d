"""The training loop: one for all stages, on one CPU, one GPU or many (accelerate)."""

import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object, send_to_device
from torch import Tensor
from torch.utils.data import Dataset

from cassr.base.errors import TrainingError
from cassr.base.told import together
from cassr.config import TrainingSettings
from cassr.photographs.read import Stream
from cassr.pipeline import CasSRPipeline
from cassr.training import checkpoints
from cassr.training.samples.data import Share, loader
from cassr.training.samples.recipe import Sample, degraded, recipe_of
from cassr.training.samples.references import References
from cassr.training.schedule import learning_rate, settled, worker_count
from cassr.training.stages import build_objective
from cassr.training.state import RunState, TrainingOptions

Validate = Callable[[CasSRPipeline, int, Path], Mapping[str, float]]
"""(pipeline with the averaged weights, step, folder for pictures) -> scores by name."""

FIRST_IMAGES = 256
"""HR crops that networks are initialised and scaled by."""


@dataclass(frozen=True)
class TrainingOutcome:
    """How a call of `train` ended.

    Attributes:
        step: steps done in all.
        finished: False where it was stopped before the last step.
        interrupted: stopped by Ctrl-C or SIGTERM.
        skipped: reason by photograph that could not be used.
        model: folder of the trained model, None unless finished.
        main: this is the process that speaks for all.
    """

    step: int
    finished: bool
    interrupted: bool
    skipped: Mapping[str, str]
    model: Path | None
    main: bool = True


def train(
    stage: str,
    pipeline: CasSRPipeline,
    pairs: Dataset | Stream,
    settings: TrainingSettings,
    run: TrainingOptions,
    *,
    references: References | None = None,
    validate: Validate | None = None,
    cpu: bool = False,
) -> TrainingOutcome:
    """Train a stage, or go on training it.

    Args:
        pipeline: holds the modules; they are changed in place.
        pairs: `TrainingPairs` or `PreparedSamples` by the settings' recipe, or a stream.
        references: makes the reference images of samples without; the model's stage 1 if None.
        validate: called every `run.validate_every` steps and at the end, on the main process.
        cpu: leave a GPU alone.

    Raises TrainingError: settings that do not fit the run's folder, data or model that cannot be
    used, a loss that is not finite.
    """
    settings = settled(settings, on_gpu=not cpu and torch.cuda.is_available())
    torch.set_float32_matmul_precision("high" if settings.tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = settings.tf32
    accelerator = Accelerator(mixed_precision=settings.precision, cpu=cpu, project_dir=run.out,
                              gradient_accumulation_steps=settings.accumulation,
                              log_with=None if run.tracker == "none" else run.tracker)  # fmt: skip
    main = accelerator.is_main_process
    objective = build_objective(stage, pipeline, settings)
    objective.references = references or objective.references
    pipeline.to(accelerator.device)
    if settings.gradient_checkpointing:
        checkpoint_gradients(pipeline)
    pipeline.optimize()
    pipeline.set_progress_bar_config(disable=True)
    images = torch.empty(0)
    if objective.needs_images:
        first = next(loader(pairs, recipe_of(settings), Share(FIRST_IMAGES)))
        images = first["hr"].to(accelerator.device)
    objective.start(images)
    state = RunState(accelerator, objective, settings, run, stage)
    model = run.out / "model"
    if state.step >= settings.steps and model.is_dir():
        return TrainingOutcome(state.step, True, False, state.skipped, model, main)
    if main:
        checkpoints.remove(model)
    accelerator.init_trackers(stage)
    with _stop_flag() as asked, state.log.bar:
        _loop(state, pairs, asked, validate)
        state.save()
        interrupted = asked()
    finished = state.step >= settings.steps
    if finished:
        _finish(state, images, validate)
    accelerator.end_training()
    made = model if finished else None
    return TrainingOutcome(state.step, finished, interrupted, state.skipped, made, main)


def _loop(
    state: RunState, pairs: Dataset | Stream, asked: Callable[[], bool], validate: Validate | None
) -> None:
    """Steps until the last one, the time limit or a signal."""
    run, settings, log = state.run, state.settings, state.log
    on_gpu = state.accelerator.device.type == "cuda"
    workers = worker_count(run.workers, on_gpu)
    recipe = recipe_of(settings, degrade=run.degrade_on == "cpu")
    batches = loader(pairs, recipe, state.share(), first_step=state.step, workers=workers,
                     pin_memory=on_gpu)  # fmt: skip
    started, before = time.monotonic(), state.seconds
    while state.step < settings.steps:
        losses, waited = _step(state, batches)
        state.step += 1
        state.seconds = before + time.monotonic() - started
        log.add(losses, learning_rate(settings, state.step - 1), state.share().step, waited)
        if _due(run.log_every, state.step) or state.step == settings.steps:
            values = log.means(state.accelerator)
            log.write(state.step, values, state.seconds)
            state.accelerator.log(values, step=state.step)
        if _due(run.validate_every, state.step) and state.step < settings.steps:
            _validate(state, validate)
        late = run.minutes and time.monotonic() - started > 60 * run.minutes
        if asked() or late:
            state.accelerator.set_trigger()
        if state.accelerator.check_trigger():  # set by any process
            break
        if _due(run.checkpoint_every, state.step) and state.step < settings.steps:
            state.save()


def _step(state: RunState, batches: Iterator[Sample]) -> tuple[dict[str, Tensor], float]:
    """One step of the optimizer: means of the losses over its passes, seconds without samples."""
    accelerator, settings = state.accelerator, state.settings
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(settings, state.step)
    sums: dict[str, Tensor] = {}
    waited = 0.0
    for _ in range(settings.accumulation):
        asked = time.monotonic()
        batch = next(batches)
        waited += time.monotonic() - asked
        state.note_skipped(batch.pop("skipped"))
        with accelerator.accumulate(state.wrapped):
            # What is read here as numbers stays here: to read it from a GPU is to wait for it.
            moved: Any = send_to_device(batch, accelerator.device, True, ["seed", "index"])
            losses = state.wrapped(degraded(moved, recipe_of(settings)))
            accelerator.backward(losses["loss"])
            if settings.clip and accelerator.sync_gradients:
                accelerator.clip_grad_norm_(list(state.trained.values()), settings.clip)
            state.optimizer.step()
            state.optimizer.zero_grad()
        for name, value in losses.items():
            sums[name] = sums.get(name, torch.zeros_like(value)) + value.detach()
    if state.averages is not None:
        state.averages.step(list(state.trained.values()))
    means = {name: value / settings.accumulation for name, value in sums.items()}
    if not torch.isfinite(means["loss"]):
        raise TrainingError(
            f"step {state.step + 1}: the loss is {means['loss'].item()}; lower the learning rate, "
            f"or take another precision than {settings.precision!r}; checkpoints are kept"
        )
    return means, waited


def _validate(state: RunState, validate: Validate | None) -> None:
    with together(gather_object):
        if validate is not None and state.accelerator.is_main_process:
            with state.averaged(), torch.no_grad():
                pipeline = state.objective.pipeline
                scores = dict(validate(pipeline, state.step, state.run.out / "validation"))
            state.log.validated(state.step, scores)
            state.accelerator.log({f"validation/{k}": v for k, v in scores.items()}, state.step)


def _finish(state: RunState, first_images: Tensor, validate: Validate | None) -> None:
    """Put the averaged weights in place for good, validate, save the model."""
    if state.averages is not None:
        state.averages.copy_to(list(state.trained.values()))
        state.averages = None
    state.objective.finish(first_images)
    with together(gather_object):
        if state.accelerator.is_main_process:
            save_model(state.objective.pipeline, state.run.out / "model")
    _validate(state, validate)


def save_model(pipeline: CasSRPipeline, folder: Path) -> None:
    """The whole pipeline, or its adapters where Stable Diffusion has its own place."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    if pipeline.config["base"]:
        pipeline.save_adapters(part)
    else:
        pipeline.save_pretrained(part)
    checkpoints.remove(folder)
    part.replace(folder)


def checkpoint_gradients(pipeline: CasSRPipeline) -> None:
    """Less memory, more time: activations are computed again on the way back."""
    for module in (pipeline.unet, pipeline.controlnet, pipeline.activation):
        if getattr(module, "_supports_gradient_checkpointing", False):
            module.enable_gradient_checkpointing()


def _due(every: int, step: int) -> bool:
    return every > 0 and step % every == 0


@contextmanager
def _stop_flag() -> Iterator[Callable[[], bool]]:
    """Ctrl-C, SIGTERM and SIGHUP end the run after the current step; a second Ctrl-C at once."""
    asked: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)

    names = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
    heeded = [getattr(signal, name) for name in names if hasattr(signal, name)]
    kept = {
        s: signal.signal(s, remember) for s in heeded if signal.getsignal(s) is not signal.SIG_IGN
    }
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
