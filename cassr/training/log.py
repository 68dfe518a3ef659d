"""What a training run tells: a CSV of means, a bar in a terminal, lines elsewhere."""

from __future__ import annotations

import csv
import io
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from cassr.base.files import replacing

if TYPE_CHECKING:
    from accelerate import Accelerator


class TrainingLog:
    """Collects losses step by step; `log.csv` gets one line of means per interval.

    Lines after the step that a run goes on from are dropped, so the file of a killed and resumed
    run has each step once.

    Args:
        path: the CSV; first column "step".
        step: that the run goes on from.
        steps: in all.
        quiet: no bar and no lines.
        write: False leaves the CSV alone (all processes but the main one).
    """

    def __init__(self, path: Path, step: int, steps: int, *, quiet: bool, write: bool) -> None:
        self.path, self.step, self.steps, self.quiet, self.write_csv = (
            path,
            step,
            steps,
            quiet,
            write,
        )
        self.last_loss = math.nan
        self._sums: dict[str, Tensor] = {}
        self._count, self._samples = 0, 0
        self._since = self._stepped = time.monotonic()
        self._bar: Any = None
        self._task: Any = None
        if write:
            path.parent.mkdir(parents=True, exist_ok=True)
            _cut(path, step)

    def __enter__(self) -> TrainingLog:
        if not self.quiet and sys.stderr.isatty():
            self._bar = _bar()
            self._task = self._bar.add_task("", total=self.steps, completed=self.step, loss="")
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def add(self, losses: Mapping[str, Tensor], rate: float, samples: int) -> None:
        """Count a step: its losses, each (), learning rate and number of samples."""
        for name, value in losses.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._rate, self._count = rate, self._count + 1
        self._samples += samples
        self._stepped = time.monotonic()
        if self._bar is not None:
            self._bar.advance(self._task)

    def means(self, accelerator: Accelerator) -> dict[str, float]:
        """Means since the last call, over all processes; starts a new interval."""
        values: dict[str, float] = {}
        for name, total in self._sums.items():
            mean: Any = accelerator.reduce(total / self._count, "mean")
            values[name] = float(mean)
        self.last_loss = values["loss"]
        values["learning_rate"] = self._rate
        now = time.monotonic()
        values["samples_per_second"] = self._samples / max(now - self._since, 1e-9)
        self._sums, self._count, self._samples = {}, 0, 0
        self._since = self._stepped = now
        return values

    def write(self, step: int, values: Mapping[str, float], seconds: float) -> None:
        """Append a line and show it."""
        row = {
            "step": step,
            **{k: f"{v:.6g}" for k, v in values.items()},
            "seconds": f"{seconds:.1f}",
        }
        if self.write_csv:
            _append(self.path, row)
        if self._bar is not None:
            self._bar.update(self._task, loss=f"loss {values['loss']:.4f}")
        elif not self.quiet:
            rate = values["samples_per_second"]
            left = seconds / max(step, 1) * (self.steps - step)
            self.say(
                f"step {step}/{self.steps}  loss {values['loss']:.4f}  {rate:.1f} samples/s  "
                f"{_clock(left)} left"
            )

    def validated(self, step: int, scores: Mapping[str, float]) -> None:
        """Append validation scores to `validation.csv` and show them.

        The time since the last step was the validation's and does not count for samples/s.
        """
        row = {"step": step, **{k: f"{v:.6g}" for k, v in scores.items()}}
        if self.write_csv:
            path = self.path.with_name("validation.csv")
            _cut(path, step - 1)
            _append(path, row)
        self.say(f"step {step}: " + "  ".join(f"{k} {v:.4g}" for k, v in scores.items()))
        now = time.monotonic()
        self._since += now - self._stepped
        self._stepped = now

    def say(self, text: str) -> None:
        """A line above the bar."""
        if self.quiet:
            return
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        MofNCompleteColumn(),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[loss]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def _append(path: Path, row: Mapping[str, Any]) -> None:
    """Add a line; columns that the file lacks are added to it, empty in the lines before."""
    columns = _columns(path)
    if new := [name for name in row if name not in columns]:
        columns += new
        _widen(path, columns)
    with path.open("a", newline="", encoding="utf-8") as file:
        csv.DictWriter(file, columns).writerow(row)


def is_log(path: Path) -> bool:
    """Whether a file is a table by step, as they are written here."""
    try:
        return _columns(path)[:1] == ["step"]
    except (OSError, UnicodeDecodeError, csv.Error):
        return False


def _columns(path: Path) -> list[str]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file), [])


def _widen(path: Path, columns: Sequence[str]) -> None:
    text = path.read_text("utf-8") if path.is_file() else ""
    whole = io.StringIO(newline="")
    writer = csv.DictWriter(whole, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(csv.DictReader(io.StringIO(text)))
    _replace(path, whole.getvalue())


def _cut(path: Path, step: int) -> None:
    """Drop lines of later steps, and a line that was not finished."""
    if not path.is_file():
        return
    with path.open(newline="", encoding="utf-8") as file:
        lines = file.read().splitlines(keepends=True)
    kept = [
        line
        for number, line in enumerate(lines)
        if line.endswith("\n") and (number == 0 or _step_of(line) <= step)
    ]
    _replace(path, "".join(kept))


def _replace(path: Path, text: str) -> None:
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", newline="")


def _step_of(line: str) -> float:
    first = line.split(",", 1)[0]
    return int(first) if first.isdigit() else math.inf


def _clock(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
