"""What `train` does: the only part of the harness that calls the training of `cassr`."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
import typer
from torch import Tensor

from bench.base.errors import BenchError
from bench.base.text import printable
from bench.base.types import Method
from bench.commands.shared import options as o
from bench.commands.shared.output import tell
from bench.commands.train.cut import say_skipped, translated
from bench.commands.train.options import Reading, Reporting, Settings, TrainingSource
from bench.running.shards import own_device
from cassr.config import TrainingSettings, get_preset
from cassr.photographs.sets import open_photographs
from cassr.training.plan import make_plan
from cassr.training.run import run
from cassr.training.samples.references import External
from cassr.training.stages import get_stage
from cassr.training.start import Start
from cassr.training.state import TrainingOptions
from cassr.training.train import TrainingOutcome, Validate

INTERRUPTED = 130


@dataclass(frozen=True)
class TrainingCommand:
    """A training run as the command line asks for it; attributes as its options."""

    stage: str
    source: TrainingSource
    settings: Settings
    reading: Reading
    reporting: Reporting
    device: str
    as_json: bool

    def __post_init__(self) -> None:
        with translated():
            get_stage(self.stage)
        if self.reading.streaming and self.settings.samples:
            raise BenchError(
                "--samples: expected photographs by number, found --streaming; leave one"
            )

    def plan(self) -> None:
        """Show what the run would be."""
        cpu = self._device() == "cpu"
        with translated():
            settings = self._settings()
            plan = make_plan(self.stage, self._start(), settings, self._places(), cpu)
        tell(self.as_json, asdict(plan), lambda: typer.echo(plan.text(), nl=False))

    def train(self) -> None:
        """Train, or go on training, and say how it ended."""
        cpu = self._device() == "cpu"
        with translated():
            settings = self._settings()
            outcome = run(
                self.stage,
                self._start(),
                open_photographs(self._places(), self.reading.streaming),
                settings,
                self._options(),
                cache=self.reading.cache,
                reference_method=self._reference_method(),
                validate=self._validate(),
                cpu=cpu,
                report=self._report_preparing,
                skip=say_skipped,
            )
        self._print_outcome(outcome)

    @property
    def out(self) -> Path:
        default = Path("results/training") / f"{self.source.preset}-{self.stage}"
        return self.source.out or default

    def _device(self) -> str:
        """Where this process computes: of several of a launcher's, each has a GPU of its own."""
        chosen, _ = own_device(self.device)
        if chosen.startswith("cuda:"):
            torch.cuda.set_device(chosen)
        return chosen

    def _settings(self) -> TrainingSettings:
        """The preset's settings of the stage with the options that were given."""
        defaults = get_preset(self.source.preset).training_for(self.stage, self.settings.loss)
        given: dict[str, Any] = asdict(self.settings) | {"loss": None}
        given["degradations"] = tuple(o.names("--degradation", given.pop("degradation"))) or None
        for switch in ("train_decoder", "gradient_checkpointing"):
            given[switch] = given[switch] or None
        try:
            return replace(defaults, **{k: v for k, v in given.items() if v is not None})
        except ValueError as error:
            raise BenchError(f"--{str(error).replace('_', '-', 1)}") from error

    def _start(self) -> Start:
        return Start(
            preset=self.source.preset,
            source=self.source.start or "",
            activation=self.source.activation,
            multiple_attention=self.source.attention,
            fresh=self.source.fresh,
            seed=self.settings.seed,
        )

    def _places(self) -> list[str]:
        default = "paper" if self.source.preset == "sd15" else "free"
        return o.names("--data", self.source.data) or [default]

    def _options(self) -> TrainingOptions:
        asked = asdict(self.reporting)
        del asked["validate_on"], asked["validate_limit"]  # they are `_validate`'s
        asked |= {"workers": self.reading.workers, "degrade_on": self.reading.degrade_on}
        return TrainingOptions(out=self.out, quiet=self.as_json, **asked)

    def _reference_method(self) -> External | None:
        """The method that makes reference images, loaded."""
        if not (name := self.source.reference_method):
            return None
        from bench.methods.find import find

        entry = find(name)
        if reason := entry.unavailable():
            raise BenchError(f"--reference-method {printable(name)}: {reason}")
        if entry.card.official is not None:
            raise BenchError(
                f"--reference-method {printable(name)}: expected a method that takes one image "
                "after the other, found a repository of its own"
            )
        method = cast(Method, entry.load(self._device()))

        def upscale(lr: Tensor, scale: int, seeds: Sequence[int]) -> Tensor:
            return method.upscale(lr.to("cpu"), scale=scale, seeds=seeds)

        return External(upscale, entry.fingerprint())

    def _validate(self) -> Validate | None:
        asked = self.reporting
        if not asked.validate_every:
            return None
        from bench.commands.train.validation import Validation

        return Validation(asked.validate_on, asked.validate_limit, get_stage(self.stage))

    def _report_preparing(self, layer: str, done: int, total: int) -> None:
        if not self.as_json:
            print(f"preparing {layer}: {done}/{total}", file=sys.stderr, flush=True)

    def _print_outcome(self, outcome: TrainingOutcome) -> None:
        if outcome.main:
            known = asdict(outcome) | {"model": outcome.model and str(outcome.model)}
            told = {name: known[name] for name in ("step", "finished", "skipped", "model")}
            goes_on = f"the same command goes on from {printable(self.out / 'checkpoints')}"
            stopped = f"stopped after step {outcome.step}; {goes_on}"
            done = f"{outcome.step} steps done: {printable(outcome.model)}"
            tell(self.as_json, told, done if outcome.finished else stopped)
            if outcome.skipped and not self.as_json:
                typer.echo(f"{len(outcome.skipped)} photographs could not be used", err=True)
        if outcome.interrupted and not outcome.finished:
            raise typer.Exit(INTERRUPTED)
