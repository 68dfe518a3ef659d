"""Work spread over processes, forked from a server that has imported heavy libraries once.

They die with the process that started them, however that ends. One that dies or hangs costs the
task that it had in hand; another takes its place.
"""

import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from itertools import takewhile, tee
from multiprocessing.connection import wait
from typing import Any, TypeVar

from bench.base import leftovers
from bench.base.device import cores
from bench.base.errors import CannotWrite, WorkerDied
from bench.processes import stopping
from bench.processes.foreign import gpu_lost
from bench.processes.handle import GRACE, Worker, begun, no_interrupts, started
from bench.processes.steps import Steps

Task = TypeVar("Task")
Result = TypeVar("Result")
SPARE_DEATHS = 2
"""More than there are processes, in a row, without any task done: the next would die as well."""


def worker_count(asked: int | None, device: str, tasks: int, most: int | None = None) -> int:
    """Processes to use: as asked, else one per core on a CPU and one on any other device."""
    count = asked or (cores() if device == "cpu" else 1)
    return max(1, min(count, tasks, most or count))


@dataclass
class Workers:
    """A pool of `count` processes, or this very process when `count` is 1 and not `apart`.

    Attributes:
        threads: compute threads of each.
        preload: modules imported once before the processes are forked.
        apart: never work in this very process, so that nothing in a task can end it.
        overlap: in this very process, read the files of tasks in `Steps` ahead, and write behind.
        limit: seconds after which a task is given up with its process; none in this very process.
        tell: called with a task that takes long, and how long and where in words.
    """

    count: int
    threads: int = 1
    preload: Sequence[str] = ()
    apart: bool = False
    overlap: bool = False
    limit: float | None = None
    tell: Callable[[Any, str], None] = lambda task, text: None
    _workers: list[Worker] = field(default_factory=list)

    def begin(self) -> None:
        """Start what processes are forked from before there is a task for them."""
        if self.count > 1 or self.apart:
            with suppress(OSError, EOFError):  # whoever starts a process will meet it
                begun(self.preload)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *exc: object) -> None:
        until = time.monotonic() + (GRACE if exc[0] is None else 0)
        with no_interrupts():
            for each in self._workers:
                each.tasks.close()
            for each in self._workers:
                each.end(max(0.0, until - time.monotonic()))
        self._workers = []
        if isinstance(exc[1], CannotWrite):  # the others had files half written there
            leftovers.sweep.cache_clear()
            leftovers.sweep(exc[1].folder)

    def map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result | WorkerDied]]:
        """(task, result) as they are finished, in any order; one task a process is in hand.

        The result of a task that its process did not survive is the error that says so.

        Raises Interrupted where the user pressed Ctrl-C, or the command is to end once what is in
        hand is finished.
        """
        with stopping.at_request() as asked:
            open_ = takewhile(lambda _: not asked, tasks)
            if self.count > 1 or self.apart or (self.overlap and gpu_lost()):
                yield from self._map_pool(function, open_)
            elif self.overlap and isinstance(function, Steps):
                yield from self._map_overlapped(function, open_, asked)
            else:
                yield from self._map_here(function, open_)

    def _map_overlapped(
        self, function: Steps, tasks: Iterator[Any], asked: Sized
    ) -> Iterator[tuple[Any, Any]]:
        """Where the GPU is lost to this process, what is left goes to others."""
        one, left = tee(tasks)
        with threads(self.threads, *self.preload):
            for done in function.overlapped(one, asked):
                next(left)
                yield done
                if gpu_lost():
                    break
        if gpu_lost():
            yield from self._map_pool(function, left)

    def _map_here(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result]]:
        with threads(self.threads, *self.preload):
            for task in tasks:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    result = function(task)
                yield task, result

    def _map_pool(
        self, function: Callable[[Task], Result], tasks: Iterator[Task]
    ) -> Iterator[tuple[Task, Result | WorkerDied]]:
        deaths: list[WorkerDied] = []
        while self._hand_out(function, tasks):
            for each in self._ready():
                task, result = each.task, each.answer(self.limit)
                if isinstance(result, WorkerDied):
                    self._workers.remove(each)
                deaths = [*deaths, result] if isinstance(result, WorkerDied) else []
                yield task, result
            if len(deaths) >= self.count + SPARE_DEATHS:
                break
        gone = WorkerDied(f"not tried, since {len(deaths)} processes in a row ended before it")
        for task in [*(each.task for each in self._workers if each.busy), *tasks]:
            yield task, gone

    def _hand_out(self, function: Callable[[Any], Any], tasks: Iterator[Any]) -> bool:
        """Keep `count` processes at work while there are tasks; False if all are idle."""
        while sum(each.busy for each in self._workers) < self.count:
            try:
                task = next(tasks)
            except StopIteration:
                break
            self._idle().hand(function, task)
        return any(each.busy for each in self._workers)

    def _idle(self) -> Worker:
        for each in [each for each in self._workers if not each.busy]:
            if each.process.is_alive():
                return each
            self._workers.remove(each)
        self._workers.append(started(self.preload, self.threads))
        return self._workers[-1]

    def _ready(self) -> list[Worker]:
        """Those of the busy that answered, died or are out of time; waits until there are some."""
        busy = [each for each in self._workers if each.busy]
        while True:
            soonest = min(each.next_look(self.limit) for each in busy)
            found = wait(
                [thing for each in busy for thing in (each.tasks, each.process.sentinel)],
                max(0.0, soonest - time.monotonic()),
            )
            ready = [
                each
                for each in busy
                if each.tasks in found or each.process.sentinel in found or each.over(self.limit)
            ]
            if ready:
                return ready
            for each in busy:
                each.tell_if_slow(self.tell)


@contextmanager
def threads(count: int, *needed: str) -> Iterator[None]:
    """torch, where the modules `needed` or others have imported it, computes with `count` threads;
    afterwards with as many as before."""
    for name in needed:
        with suppress(Exception):  # the body will meet it
            import_module(name)
    torch = sys.modules.get("torch")
    before = torch and torch.get_num_threads()
    if torch:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if torch:
            torch.set_num_threads(before)
