"""`train`: CasSR's stages, exactly as the paper says or as options say otherwise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.base.device import resolve_device
from bench.base.errors import BenchError
from bench.base.lazy import resolve
from bench.base.text import printable
from bench.commands import options as o
from bench.commands.output import print_json, progress

if TYPE_CHECKING:
    from bench.base.progress import Progress

INTERRUPTED = 130
PACKAGE = "cassr"
"""Training lives in the model's package, which this one names but never imports."""


def train(
    stage: Annotated[
        str,
        typer.Argument(
            help="activation (stage 1) or guidance (stage 2); for the miniature also vae, prior, "
            "texture."
        ),
    ],
    preset: Annotated[
        str, typer.Option(help="sd15, the paper's model, or mini.", metavar="sd15|mini")
    ] = "sd15",
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; default: results/training/PRESET-STAGE.")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="Photographs: folders, files, hf:NAME, or a training set's name; comma list or "
            "repeated. Default: paper (all five sets) for sd15, free for mini."
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Folder or hub id to start from; default: Stable Diffusion 1.5, or nothing.",
        ),
    ] = None,
    activation: Annotated[
        str | None,
        typer.Option(
            help="Kind of stage 1; default: MODEL's, or scedit.", metavar="scedit|controlnet|lr"
        ),
    ] = None,
    attention: Annotated[
        bool | None,
        typer.Option(
            "--attention/--no-attention",
            help="Multiple attention in stage 2; default: as MODEL, or with.",
            show_default=False,
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="New weights for the stage, whatever MODEL has.")
    ] = False,
    loss: Annotated[
        str,
        typer.Option(help="noise is Eq. 3; image compares what one step makes.", metavar="NAME"),
    ] = "noise",
    steps: Annotated[int | None, typer.Option(min=1, help="Steps in all.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Samples per process and forward pass.")
    ] = None,
    accumulation: Annotated[
        int | None, typer.Option(min=1, help="Forward passes of one step.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(min=0, help="Of Adam.")] = None,
    warmup: Annotated[int | None, typer.Option(min=0, help="Steps to the learning rate.")] = None,
    decay: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of the steps in which it falls to 0.")
    ] = None,
    clip: Annotated[
        float | None, typer.Option(min=0, help="Largest norm of the gradient; 0: any.")
    ] = None,
    ema: Annotated[
        float | None, typer.Option(min=0, max=1, help="Decay of the averaged weights; 0: none.")
    ] = None,
    crop: Annotated[int | None, typer.Option(min=4, help="Side of the HR crops, pixels.")] = None,
    degradation: Annotated[
        list[str] | None,
        typer.Option(help="full, mild, light, clean; several: one each by chance."),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            min=0, help="So many different pairs, computed once with their latents; 0: no end."
        ),
    ] = None,
    prompt_dropout: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of null prompts, for guidance.")
    ] = None,
    degraded_share: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Prior: share that stays degraded, as CFG's negative."),
    ] = None,
    gradient_weight: Annotated[float | None, typer.Option(min=0, help="Of the image loss.")] = None,
    amplitude_weight: Annotated[
        float | None, typer.Option(min=0, help="Of the image loss.")
    ] = None,
    grid_weight: Annotated[
        float | None, typer.Option(min=0, help="Of the image loss: against patterns.")
    ] = None,
    adversarial_weight: Annotated[
        float | None, typer.Option(min=0, help="Weight of a critic in the image loss; 0: none.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="Of forward and backward pass.", metavar="no|bf16|fp16")
    ] = None,
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Less memory, more time.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of data, noise and new weights.")] = 0,
    streaming: Annotated[
        bool, typer.Option("--streaming", help="Fetch rows of one hf:NAME while training.")
    ] = False,
    cache: Annotated[
        Path | None, typer.Option(help="Where --samples are kept; default: beside the run.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that prepare samples.")] = 0,
    log_every: Annotated[int, typer.Option(min=1, help="Steps between lines of log.csv.")] = 50,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 1000,
    keep: Annotated[int, typer.Option(min=1, help="Checkpoints that are kept.")] = 2,
    validate_every: Annotated[
        int, typer.Option(min=0, help="Steps between validations; 0: none.")
    ] = 0,
    validate_on: Annotated[
        str, typer.Option(help="Suite whose test sets are validated on.", metavar="SUITE")
    ] = "quick",
    validate_limit: Annotated[
        int, typer.Option(min=1, help="Images of each of its test sets.")
    ] = 4,
    tracker: Annotated[
        str, typer.Option(help="Where losses go beside log.csv.", metavar="none|tensorboard|wandb")
    ] = "none",
    minutes: Annotated[
        float,
        typer.Option(min=0, help="Stop with a checkpoint after so much training; 0: never."),
    ] = 0.0,
    device: o.Device = "auto",
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Build all of it at random, run one step, show parameters, memory and the plan.",
        ),
    ] = False,
    as_json: o.AsJson = False,
) -> None:
    """Train a stage of CasSR.

    The same command goes on where it was stopped or killed. On several GPUs or machines:
    accelerate launch -m bench train guidance ...
    """
    o.one_of("--preset", preset, "sd15", "mini")
    o.one_of("--activation", activation or "scedit", "scedit", "controlnet", "lr")
    o.one_of("--loss", loss, "noise", "image")
    o.one_of("--precision", precision, "no", "bf16", "fp16")
    o.one_of("--tracker", tracker, "none", "tensorboard", "wandb")
    o.one_of("stage", stage, "activation", "guidance", "prior", "texture", "vae")
    if streaming and samples:
        raise BenchError("--samples: expected photographs by number, found --streaming; leave one")
    changes = {
        "steps": steps, "batch_size": batch_size, "accumulation": accumulation,
        "learning_rate": learning_rate, "warmup": warmup, "decay": decay, "clip": clip, "ema": ema,
        "crop": crop, "samples": samples,
        "degradations": tuple(o.names("--degradation", degradation)) or None,
        "prompt_dropout": prompt_dropout, "degraded_share": degraded_share,
        "gradient_weight": gradient_weight,
        "amplitude_weight": amplitude_weight, "grid_weight": grid_weight,
        "adversarial_weight": adversarial_weight, "precision": precision,
        "gradient_checkpointing": gradient_checkpointing or None, "seed": seed,
    }  # fmt: skip
    folder = out or Path("results/training") / f"{preset}-{stage}"
    run_options = {
        "out": folder,
        "workers": workers, "log_every": log_every, "checkpoint_every": checkpoint_every,
        "keep": keep, "validate_every": validate_every, "tracker": tracker, "minutes": minutes,
        "quiet": as_json,
    }  # fmt: skip
    origin = {
        "preset": preset, "source": start or "", "activation": activation,
        "multiple_attention": attention, "fresh": fresh, "seed": seed,
    }  # fmt: skip
    places = o.names("--data", data) or ["paper" if preset == "sd15" else "free"]
    chosen = resolve_device(device)
    cpu = chosen == "cpu"
    if chosen.startswith("cuda:"):
        resolve("torch.cuda:set_device")(chosen)
    try:
        settings = _settings(preset, stage, loss, changes)
        if dry_run:
            _print_plan(stage, origin, settings, places, cpu, as_json)
            return
        outcome = resolve(f"{PACKAGE}.training_run:run")(
            stage,
            resolve(f"{PACKAGE}.training_run:Start")(**origin),
            resolve(f"{PACKAGE}.training_run:open_photographs")(places, streaming),
            settings,
            resolve(f"{PACKAGE}.train:RunOptions")(**run_options),
            cache=cache,
            validate=_validation(validate_every, validate_on, validate_limit, stage),
            cpu=cpu,
            **_preparation(progress(as_json)),
        )
    except resolve(f"{PACKAGE}.errors:TrainingError") as error:
        raise BenchError(printable(error)) from error
    _print_outcome(outcome, folder, as_json)


def _settings(preset: str, stage: str, loss: str, changes: dict[str, Any]) -> Any:
    """The preset's settings of a stage with the options that were given."""
    defaults = resolve(f"{PACKAGE}.config:get_preset")(preset).training_for(stage, loss)
    try:
        return replace(defaults, **{k: v for k, v in changes.items() if v is not None})
    except ValueError as error:
        raise BenchError(f"--{str(error).replace('_', '-', 1)}") from error


def _validation(every: int, suite: str, limit: int, stage: str) -> Any:
    if not every:
        return None
    from bench.commands.train.validation import Validation

    return Validation(suite, limit, stage)


def _preparation(shown: Progress) -> dict[str, Any]:
    """Callbacks that show how preparing is getting on."""
    import sys

    def report(layer: str, done: int, total: int) -> None:
        if not shown.quiet:
            print(f"preparing {layer}: {done}/{total}", file=sys.stderr, flush=True)

    def skip(name: str, reason: str) -> None:
        print(f"skipped {printable(name)}: {printable(reason)}", file=sys.stderr, flush=True)

    return {"report": report, "skip": skip}


def _print_plan(
    stage: str, origin: dict[str, Any], settings: Any, places: list[str], cpu: bool, as_json: bool
) -> None:
    make = resolve(f"{PACKAGE}.training_plan:make_plan")
    plan = make(stage, resolve(f"{PACKAGE}.training_run:Start")(**origin), settings, places, cpu)
    if as_json:
        print_json(plan.as_dict())
    else:
        for line in plan.lines():
            typer.echo(line)


def _print_outcome(outcome: Any, out: Path, as_json: bool) -> None:
    if not outcome.main:
        pass
    elif as_json:
        print_json(
            {
                "step": outcome.step,
                "finished": outcome.finished,
                "skipped": dict(outcome.skipped),
                "model": str(outcome.model) if outcome.model else None,
            }
        )
    elif outcome.finished:
        typer.echo(f"{outcome.step} steps done: {printable(outcome.model)}")
    else:
        typer.echo(
            f"stopped after step {outcome.step}; the same command goes on from "
            f"{printable(out / 'checkpoints')}"
        )
    if outcome.skipped and outcome.main and not as_json:
        typer.echo(f"{len(outcome.skipped)} photographs could not be used", err=True)
    if outcome.interrupted and not outcome.finished:
        raise typer.Exit(INTERRUPTED)
