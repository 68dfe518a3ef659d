"""Inside a worker process: tasks come in, results go out; whatever a task does stays in here.

Nothing reaches our standard output. Ctrl-C and signals that end a command are the business of the
process that started this one, with which it dies.
"""

import ctypes
import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

from bench.base.errors import BenchError, Unavailable, WorkerDied
from bench.base.text import printable
from bench.processes.foreign import gpu_lost, told
from bench.processes.stopping import ENDING

WHERE = getattr(signal, "SIGUSR1", None)
"""Asks a worker to say where it is."""
_leave = os._exit


def serve(tasks: Connection, places: Connection, threads: int) -> None:
    """Answer (function, task) by (whether it was done, result or error, whether a GPU is lost),
    until that or the last; where Python stands is written to `places` when the process crashes,
    leaves by `os._exit` or is asked."""
    own = os.getpid()
    _stay_apart()
    _tell_places(places.fileno())
    while True:
        try:
            asked = tasks.recv_bytes()
        except (EOFError, OSError):
            return
        done, found = answered(partial(_understood, asked, threads))
        if os.getpid() != own:  # a copy that the task forked and let come back
            _leave(0)
        _send(tasks, (done, found, gpu_lost()))
        if gpu_lost():
            return


def answered(understood: Callable[[], tuple[Callable[[Any], Any], Any]]) -> tuple[bool, Any]:
    """What a task gives, or the error that it raises, told in one line."""
    try:
        function, task = understood()
        return True, function(task)
    except BenchError as error:
        return False, error
    except BaseException as error:
        return False, Unavailable(told(error))


def _understood(asked: bytes, threads: int) -> Any:
    try:
        _compute_with(threads)
        return ForkingPickler.loads(asked)
    except (ImportError, MemoryError, OSError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise WorkerDied(
            f"a worker process cannot load what it needs ({printable(lines[-1])}); where memory "
            "is limited (ulimit -v), raise the limit"
        ) from error


@cache
def _compute_with(threads: int) -> None:
    os.environ["OMP_NUM_THREADS"] = str(threads)  # read by what is not imported yet
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def _send(tasks: Connection, answer: tuple[bool, Any, bool]) -> None:
    try:
        tasks.send(answer)
    except OSError:
        return
    except Exception as error:  # it cannot be pickled
        tasks.send((False, Unavailable(told(error)), answer[2]))


def die_with_parent() -> None:
    """Be killed when the process (on Linux: the thread) that started this one ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _stay_apart() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in ENDING:
        signal.signal(number, lambda *_: None)  # unlike SIG_IGN it is not inherited by programs
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    warnings.simplefilter("ignore")  # of third-party networks: nothing their user could act on
    with suppress(OSError):
        os.dup2(2, 1)
    die_with_parent()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_be_a_child)
    threading.Thread(target=_die_with_main, daemon=True).start()


def _be_a_child() -> None:
    """Of a copy that a task forks: it can be ended as usual, and ends with the worker."""
    die_with_parent()
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL)


def _die_with_main() -> None:
    """The parent may be the server that forks; this waits for the process behind it."""
    main = multiprocessing.parent_process()
    if main is not None:
        main.join()
        _leave(1)


def _tell_places(file: int) -> None:
    if os.name == "nt":  # where a connection is no file
        return
    os.set_blocking(file, False)
    faulthandler.enable(file, all_threads=False)
    if WHERE is not None:
        faulthandler.register(WHERE, file, all_threads=False)
    own = os.getpid()

    def leave(code: int) -> None:
        if os.getpid() == own:
            faulthandler.dump_traceback(file, all_threads=False)
        _leave(code)

    os._exit = leave  # type: ignore[assignment]
