"""Work spread over processes: each computes with its own share of the cores, one image at a time.

The processes are forked from a server that has imported the heavy libraries once. They die with
the process that started them, also when that one is killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from types import ModuleType
from typing import Any, TypeVar

from bench.base.errors import Interrupted, WorkerDied

Task = TypeVar("Task")
Result = TypeVar("Result")
IN_FLIGHT_PER_WORKER = 4
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


class Workers:
    """A pool of `count` processes, or this very process when `count` is 1 and not `apart`.

    Args:
        count: number of processes.
        threads: compute threads of each.
        preload: modules imported once before the processes are forked.
        apart: never work in this very process, so that nothing in a task can end it.
    """

    def __init__(
        self, count: int, threads: int = 1, preload: Sequence[str] = (), apart: bool = False
    ) -> None:
        self.count = count
        self.apart = apart
        self.threads = threads
        self.preload = list(preload)
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=exc[0] is None, cancel_futures=True)
            self._pool = None

    def map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result]]:
        """(task, result) as they are finished, in any order; a few tasks at a time are in flight.

        Raises:
            WorkerDied: a worker process did.
            Interrupted: the user pressed Ctrl-C.
        """
        try:
            if self.count == 1 and not self.apart:
                yield from self._map_here(function, tasks)
            else:
                yield from self._map_pool(function, tasks)
        except KeyboardInterrupt:
            raise Interrupted("stopped; what is finished is kept, run again to go on") from None
        except BrokenProcessPool as error:
            raise WorkerDied(
                "a worker process died, for lack of memory, by a crash or by os._exit; what is "
                "finished is kept: run again, with fewer --workers where memory is short"
            ) from error

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
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result]]:
        pool = self._started()
        waiting = iter(tasks)
        running: dict[Future[Result], Task] = {}
        while True:
            for task in islice(waiting, self.count * IN_FLIGHT_PER_WORKER - len(running)):
                with _no_main():
                    running[pool.submit(function, task)] = task
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield running.pop(future), future.result()

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self.count,
                mp_context=_context(self.preload),
                initializer=_initialize,
                initargs=(self.threads,),
            )
        return self._pool


def _context(preload: list[str]) -> Any:
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    # The server's OpenMP must not start threads before it forks.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # An image's memory is reused for the next one rather than given back to the system each time.
    for name, size in ALLOCATOR.items():
        os.environ.setdefault(name, str(size))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(preload)
    return context


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


def _initialize(threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")  # of third-party networks: nothing their user could act on
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    import torch

    torch.set_num_threads(threads)


def _die_with(parent: Any) -> None:
    parent.join()
    os._exit(1)
