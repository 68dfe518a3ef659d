"""A worker process, as the process that started it knows it."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from types import ModuleType
from typing import Any

from bench.base.errors import WorkerDied
from bench.processes import server, stopping, worker
from bench.processes.foreign import NOT_FOR_OTHERS, place_in_dump

GRACE = 2.0
"""Seconds that a process may take to end by itself when there is nothing left to do."""
PATIENCE = 60.0
"""Seconds after which it is said what is being waited for; the next time after twice as long."""
VARIABLES = {
    "OMP_NUM_THREADS": "1",  # the server's OpenMP must not start threads before it forks
    "MALLOC_TRIM_THRESHOLD_": str(1 << 28),  # bytes that glibc keeps for the next image
    "MALLOC_MMAP_THRESHOLD_": str(1 << 25),  # from which size on it asks the system each time
}


@dataclass
class Worker:
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
            told = self.tasks.poll()
            done, found, last = self.tasks.recv() if told else (True, self._died(limit), False)
        except (EOFError, OSError):
            return self._died(limit)
        if last:
            self.end(GRACE)
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
    if code == -9:  # SIGKILL, which Windows does not name
        return "its process was killed, perhaps for lack of memory: try fewer --workers"
    if code is not None and code < 0:
        names = {each.value: each.name for each in signal.Signals}
        return f"its process crashed by {names.get(-code, f'signal {-code}')}"
    return f"its process ended by itself with exit code {code}"


def started(preload: Sequence[str], threads: int) -> Worker:
    """A new process; raises WorkerDied where there can be none."""
    context = begun(preload)
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
    return Worker(process, tasks, places)


def begun(preload: Sequence[str]) -> Any:
    """What makes processes: on Linux by a server, started here, that imports `preload` first."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    absent = VARIABLES.keys() - os.environ.keys()
    NOT_FOR_OTHERS.update(absent)
    os.environ.update({name: VARIABLES[name] for name in absent})
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([server.__name__])
    resource_tracker.ensure_running()  # which lets signals through again
    in_main = threading.current_thread() is threading.main_thread()
    os.environ[server.PRELOAD] = ",".join(preload)
    os.environ[server.MORTAL] = "1" if in_main else ""
    try:
        with no_interrupts():
            forkserver.ensure_running()
    finally:
        # Meant for the server alone: any other process that is started would act on them too.
        for name in (server.PRELOAD, server.MORTAL):
            os.environ.pop(name, None)
    return context


@contextmanager
def no_interrupts() -> Iterator[None]:
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
