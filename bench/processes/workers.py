"""Work spread over processes: each computes with its own share of the cores, one image at a time.

The processes are forked from a server that has imported the heavy libraries once. They die with
the process that started them, also when that one is killed. One that dies or hangs costs the task
that it had in hand; another takes its place.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from types import ModuleType
from typing import Any, TypeVar

from bench.base.errors import WorkerDied
from bench.processes import server, stopping, worker
from bench.processes.foreign import place_in_dump

Task = TypeVar("Task")
Result = TypeVar("Result")
SPARE_DEATHS = 2
"""More than there are processes, in a row, without any task done: the next would die as well."""
GRACE = 2.0
"""Seconds that a process may take to end by itself when there is nothing left to do."""
PATIENCE = 60.0
"""Seconds after which it is said what is being waited for; the next time after twice as long."""
ALLOCATOR = {"MALLOC_TRIM_THRESHOLD_": 1 << 28, "MALLOC_MMAP_THRESHOLD_": 1 << 25}
"""glibc's malloc: free bytes that a process keeps, and the size from which it asks the system."""


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker_count(asked: int | None, device: str, tasks: int, most: int | None = None) -> int:
    """Processes to use: as asked, else one per core on a CPU and one on any other device."""
    if device != "cpu":
        return 1
    count = asked if asked else cores()
    return max(1, min(count, tasks, most or count))


def _silent(task: Any, text: str) -> None:
    pass


@dataclass
class Workers:
    """A pool of `count` processes, or this very process when `count` is 1 and not `apart`.

    Attributes:
        count: number of processes.
        threads: compute threads of each.
        preload: modules imported once before the processes are forked.
        apart: never work in this very process, so that nothing in a task can end it.
        limit: seconds after which a task is given up with its process; none in this very process.
        tell: called with a task that takes long, and how long and where in words.
    """

    count: int
    threads: int = 1
    preload: Sequence[str] = ()
    apart: bool = False
    limit: float | None = None
    tell: Callable[[Any, str], None] = _silent
    _workers: list[_Worker] = field(default_factory=list)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exc: object) -> None:
        until = time.monotonic() + (GRACE if exc[0] is None else 0)
        with _no_interrupts():
            for each in self._workers:
                each.tasks.close()
            for each in self._workers:
                each.end(max(0.0, until - time.monotonic()))
        self._workers = []

    def map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result | WorkerDied]]:
        """(task, result) as they are finished, in any order; one task a process is in hand.

        The result of a task that its process did not survive is the error that says so.

        Raises:
            Interrupted: the user pressed Ctrl-C, or the command is to end once what is in hand is
                finished.
        """
        with stopping.finishing() as asked:
            open_ = _until(asked, iter(tasks))
            try:
                if self.count == 1 and not self.apart:
                    yield from self._map_here(function, open_)
                else:
                    yield from self._map_pool(function, open_)
            except stopping.Stopped as error:
                raise stopping.interrupted(error.number) from None
            except KeyboardInterrupt:
                raise stopping.interrupted() from None
            if asked:
                raise stopping.interrupted(asked[0])

    def _map_here(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result]]:
        with threads(self.threads):
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

    def _idle(self) -> _Worker:
        for each in [each for each in self._workers if not each.busy]:
            if each.process.is_alive():
                return each
            self._workers.remove(each)
        self._workers.append(_started(self.preload, self.threads))
        return self._workers[-1]

    def _ready(self) -> list[_Worker]:
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


def _until(asked: list[int], tasks: Iterator[Task]) -> Iterator[Task]:
    """The tasks, but none any more once somebody asked to end."""
    while not asked:
        try:
            task = next(tasks)
        except StopIteration:
            return
        yield task


@dataclass
class _Worker:
    """A process, as its parent knows it; `task` is what it has in hand where it is `busy`."""

    process: Any
    tasks: Connection
    places: Connection
    task: Any = None
    busy: bool = False
    since: float = 0.0
    patience: float = PATIENCE

    def hand(self, function: Callable[[Any], Any], task: Any) -> None:
        self.task, self.busy = task, True
        self.since, self.patience = time.monotonic(), PATIENCE
        with suppress(OSError):  # it died just now, which is noticed where its answer is taken
            self.tasks.send((function, task))

    def answer(self, limit: float | None) -> Any:
        """The result of the task, or why there is none; then the process is gone."""
        self.busy = False
        try:
            done, found = self.tasks.recv() if self.tasks.poll() else (True, self._died(limit))
        except (EOFError, OSError):
            return self._died(limit)
        if not done:
            raise found
        return found

    def _died(self, limit: float | None) -> WorkerDied:
        if self.process.is_alive() and limit is not None and self.over(limit):
            place = self.where()
            self.end(0)
            why = f"took longer than {limit:g} s; raise --image-timeout if it needs that"
        else:
            self.end(GRACE)
            why, place = _how(self.process.exitcode), place_in_dump(self._dumped())
        return WorkerDied(why + (f" ({place})" if place else ""))

    def next_look(self, limit: float | None) -> float:
        return self.since + min(self.patience, limit or self.patience)

    def over(self, limit: float | None) -> bool:
        return limit is not None and time.monotonic() >= self.since + limit

    def tell_if_slow(self, tell: Callable[[Any, str], None]) -> None:
        if time.monotonic() >= self.since + self.patience:
            place = self.where()
            tell(self.task, f"{self.patience:.0f} s so far" + (f" ({place})" if place else ""))
            self.patience *= 2

    def where(self) -> str:
        """The FILE:LINE at which it is; "" where that cannot be told."""
        if worker.WHERE is None:
            return ""
        self._dumped()
        with suppress(OSError):
            os.kill(self.process.pid, worker.WHERE)
            self.places.poll(0.5)
            time.sleep(0.05)  # several writes make one dump
        return place_in_dump(self._dumped())

    def _dumped(self) -> str:
        found = b""
        with suppress(OSError):
            while self.places.poll():
                part = os.read(self.places.fileno(), 1 << 16)
                if not part:
                    break
                found += part
        return found.decode(errors="replace")

    def end(self, seconds: float) -> None:
        """Wait for its end, then make one."""
        self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _how(code: int | None) -> str:
    if code == -signal.SIGKILL:
        return "its process was killed, perhaps for lack of memory: try fewer --workers"
    if code is not None and code < 0:
        return f"its process crashed by {signal.Signals(-code).name}"
    return f"its process ended by itself with exit code {code}"


def _started(preload: Sequence[str], threads: int) -> _Worker:
    context = _context(preload)
    tasks, far_tasks = context.Pipe()
    places, far_places = context.Pipe(duplex=False)
    process = context.Process(target=worker.serve, args=(far_tasks, far_places, threads))
    try:
        with _no_main():
            process.start()
    except (OSError, EOFError) as error:
        raise WorkerDied(
            f"no worker process can be started ({error or type(error).__name__}), perhaps for lack "
            "of memory: try fewer --workers, or raise the limit (ulimit -v)"
        ) from error
    far_tasks.close()
    far_places.close()
    return _Worker(process, tasks, places)


def _context(preload: Sequence[str]) -> Any:
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    # The server's OpenMP must not start threads before it forks.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # An image's memory is reused for the next one rather than given back to the system each time.
    for name, size in ALLOCATOR.items():
        os.environ.setdefault(name, str(size))
    os.environ[server.PRELOAD] = ",".join(preload)
    in_main = threading.current_thread() is threading.main_thread()
    os.environ[server.MORTAL] = "1" if in_main else ""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([server.__name__])
    resource_tracker.ensure_running()  # which lets signals through again
    with _no_interrupts():
        forkserver.ensure_running()
    return context


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Meanwhile no signal ends this process, and never one that is started."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, *stopping.ENDING})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _no_main() -> Iterator[None]:
    """Let a process that is started run nothing of the script that starts it, guarded or not."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with `count` threads; afterwards with as many as before."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
