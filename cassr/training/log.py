"""What a training run tells: a CSV of means, a bar in a terminal, lines elsewhere."""

import csv
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.text import Text
from torch import Tensor

from cassr.base.files import replacing


class TrainingLog:
    """Collects losses step by step; `log.csv` gets one row of means per interval.

    Args:
        path: the CSV; `validation.csv` lies beside it.
        step: that the run goes on from, of `steps`; later rows of a killed run are dropped.
        quiet: no bar and no lines.
        write: False leaves the files alone (all processes but the main one).
    """

    def __init__(self, path: Path, step: int, steps: int, *, quiet: bool, write: bool) -> None:
        self.step, self.steps, self.quiet = step, steps, quiet
        self._sums: dict[str, Tensor] = {}
        self._count, self._samples, self._waited = 0, 0, 0.0
        self._since = self._stepped = time.monotonic()
        self.bar = Progress(
            MofNCompleteColumn(),
            *Progress.get_default_columns(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=quiet or not sys.stderr.isatty(),
        )
        self._task = self.bar.add_task("", total=steps, completed=step)
        files = (path, path.with_name("validation.csv"))
        self._losses, self._scores = (_Table(file, step) if write else None for file in files)

    def add(
        self, losses: Mapping[str, Tensor], rate: float, samples: int, waited: float = 0.0
    ) -> None:
        """Count a step: its losses, each (), learning rate, number of samples, seconds without."""
        for name, value in losses.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._rate, self._count = rate, self._count + 1
        self._samples += samples
        self._waited += waited
        self._stepped = time.monotonic()
        self.bar.advance(self._task)

    def means(self, accelerator: Accelerator) -> dict[str, float]:
        """Means since the last call, over all processes; starts a new interval."""
        means = {name: total / self._count for name, total in self._sums.items()}
        reduced: Any = accelerator.reduce(means, "mean")
        now = time.monotonic()
        passed = max(now - self._since, 1e-9)
        made = {name: float(mean) for name, mean in reduced.items()} | {
            "learning_rate": self._rate,
            "samples_per_second": self._samples / passed,
            "data_wait": self._waited / passed,
        }
        self._sums, self._count, self._samples, self._waited = {}, 0, 0, 0.0
        self._since = self._stepped = now
        return made

    def write(self, step: int, values: Mapping[str, float], seconds: float) -> None:
        """Append a row and show it."""
        if self._losses is not None:
            self._losses.add(step, values, seconds=f"{seconds:.1f}")
        self.bar.update(self._task, description=f"loss {values['loss']:.4f}")
        if self.bar.disable:
            rate = values["samples_per_second"]
            left = timedelta(seconds=round(seconds / max(step, 1) * (self.steps - step)))
            self.say(
                f"step {step}/{self.steps}  loss {values['loss']:.4f}  {rate:.1f} samples/s  "
                f"{left} left"
            )

    def validated(self, step: int, scores: Mapping[str, float]) -> None:
        """Append scores to `validation.csv` and show them; their time is none of samples/s."""
        if self._scores is not None:
            self._scores.add(step, scores)
        self.say(f"step {step}: " + "  ".join(f"{k} {v:.4g}" for k, v in scores.items()))
        now = time.monotonic()
        self._since += now - self._stepped
        self._stepped = now

    def say(self, text: str) -> None:
        """A line above the bar."""
        if not self.quiet:
            self.bar.console.print(Text(text), soft_wrap=True)


class _Table:
    """A CSV by step, there as it was before or with the new row, whenever a run is killed."""

    def __init__(self, path: Path, step: int) -> None:
        """Of what is there, the finished rows up to a step."""
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        found = csv.DictReader(text[: text.rfind("\n") + 1].splitlines())
        numbered: list[dict[str, Any]] = [
            row for row in found if (row.get("step") or "").isdecimal()
        ]
        self.path, self.rows = path, [row for row in numbered if int(row["step"]) <= step]

    def add(self, step: int, values: Mapping[str, float], **more: str) -> None:
        """Columns that were not there are empty in the rows before; rows from `step` on go."""
        row = {"step": step, **{name: f"{value:.6g}" for name, value in values.items()}, **more}
        self.rows = [old for old in self.rows if int(old["step"]) < step] + [row]
        columns = list(dict.fromkeys(name for each in self.rows for name in each))
        with replacing(self.path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self.rows)


def is_log(path: Path) -> bool:
    """Whether a file is a table by step, as they are written here."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return next(csv.reader(file), [])[:1] == ["step"]
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
