"""Progress of long work on standard error: bars in a terminal, a line per step elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

Advance = Callable[[int, int], None]
"""Called with (done, total)."""


class Progress:
    """Shows one step at a time; `quiet` shows nothing."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet

    @contextmanager
    def step(self, title: str) -> Iterator[Advance]:
        """A step called `title`; yields the function that reports how far it is."""
        if self.quiet:
            yield lambda done, total: None
        elif sys.stderr.isatty():
            with _bar(title) as advance:
                yield advance
        else:
            yield _Line(title)

    @contextmanager
    def live(self, title: str) -> Iterator[Live]:
        """A step by a foreign program, whose last line is shown while it runs in a terminal."""
        if self.quiet or not sys.stderr.isatty():
            with self.step(title) as advance:
                yield Live(advance, lambda text: None)
        else:
            with _live_bar(title) as live:
                yield live


@dataclass(frozen=True)
class Live:
    """Reports how far a foreign program is, and its last line."""

    advance: Advance
    line: Callable[[str], None]


class _Line:
    """Prints the first and the last state only, for logs."""

    def __init__(self, title: str) -> None:
        self.title = title

    def __call__(self, done: int, total: int) -> None:
        if done == total and total > 0:
            print(f"{self.title}: {done}/{total}", file=sys.stderr, flush=True)


@contextmanager
def _live_bar(title: str) -> Iterator[Live]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    last = TextColumn("{task.fields[last]}", style="dim", markup=False)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        last,
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None, last="")
        yield Live(
            lambda done, total: bar.update(task, completed=done, total=total),
            lambda text: bar.update(task, last=text),
        )


@contextmanager
def _bar(title: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
