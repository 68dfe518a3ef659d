"""Progress of long work on standard error: bars in a terminal, a line each minute elsewhere."""

import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from bench.base.device import cores

Advance = Callable[[int, int], None]
"""Called with (done, total)."""
MINUTE = 60.0
Item = TypeVar("Item")
Result = TypeVar("Result")


def silent(done: int, total: int) -> None:
    """Tells nobody; an `Advance`."""


def several_at_once(
    function: Callable[[Item], Result], items: Collection[Item], progress: Advance
) -> Iterator[Result]:
    """The results in order, computed by threads."""
    with ThreadPoolExecutor(cores()) as pool:
        for done, result in enumerate(pool.map(function, items), start=1):
            yield result
            progress(done, len(items))


class Progress:
    """Shows one step at a time; `quiet` shows nothing."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self._said: set[str] = set()

    @contextmanager
    def step(self, title: str, total: int = 0) -> "Iterator[Live]":
        """A step called `title`; yields what reports how far it is. `total` is how much there is to
        do, where that is known before anything is done."""
        if self.quiet:
            yield Live(silent)
        else:
            with (_bar if sys.stderr.isatty() else _lines)(title, total, self.whole) as live:
                yield live

    def whole(self) -> str:
        """What is shown behind each step, of all that it is a part of."""
        return ""

    def say(self, text: str) -> None:
        """Print a line beside what is shown, once."""
        if not self.quiet and text not in self._said:
            self._said.add(text)
            print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Live:
    """An `Advance`; in a terminal `line` shows the last line that a foreign program wrote."""

    advance: Advance
    line: Callable[[str], None] = lambda text: None

    def __call__(self, done: int, total: int) -> None:
        self.advance(done, total)


def pace(done: int, total: int, seconds: float) -> str:
    """ "3.1/s, 40 s left", "25 s each, 2 h 05 min left"; "" where nothing is known yet."""
    if not done or seconds <= 0:
        return ""
    rate = done / seconds
    speed = f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.0f} s each"
    return f"{speed}, {time_in_words((total - done) / rate)} left"


def time_in_words(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"


@contextmanager
def _lines(title: str, total: int, whole: Callable[[], str]) -> Iterator[Live]:
    """For logs: a line at the start, each minute and at the end."""
    start, state, over = time.monotonic(), [0, total], threading.Event()

    def show() -> None:
        seconds = time.monotonic() - start
        how = pace(*state, seconds) if state[0] < state[1] else ""  # type: ignore[call-arg]
        far = f"{state[0]}/{state[1]}" if state[1] else time_in_words(seconds)
        text = f"{title}: {far}" + (f", {how}" if how else "")
        print("; ".join(filter(None, (text, whole()))), file=sys.stderr, flush=True)

    def each_minute() -> None:
        while not over.wait(MINUTE):
            show()

    def advance(done: int, total: int) -> None:
        state[:] = done, total
        if done == total and total > 0:
            show()

    if total:
        show()
    clock = threading.Thread(target=each_minute, daemon=True)
    clock.start()
    try:
        yield Live(advance)
    finally:
        over.set()
        clock.join()


@contextmanager
def _bar(title: str, total: int, whole: Callable[[], str]) -> Iterator[Live]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[pace]}", markup=False),
        TextColumn("{task.fields[last]}", style="dim", markup=False),
    )
    start = time.monotonic()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total or None, pace="", last="")

        def advance(done: int, total: int) -> None:
            how = "; ".join(filter(None, (pace(done, total, time.monotonic() - start), whole())))
            bar.update(task, completed=done, total=total, pace=how)

        yield Live(advance, lambda text: bar.update(task, last=text))
