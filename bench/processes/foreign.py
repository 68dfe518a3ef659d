"""Code of others, called so that whatever it raises or does to this process is one line of its own;
what ends the process past Python, or never comes back, `bench.processes.workers` meets."""

import os
import re
import signal
import sys
import sysconfig
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager, redirect_stdout
from pathlib import Path
from typing import TypeVar

from bench.base.errors import DEBUG, BenchError, Unavailable
from bench.base.text import printable
from bench.processes.stopping import Stopped

T = TypeVar("T")
MAX_MESSAGE = 300
_ASKED = re.compile(r"allocate:? (\d[\d.]* ?(?:[KMGTPE]i?B|bytes))")
OURS = str(Path(__file__).parents[1]) + os.sep
NOT_FOR_OTHERS: set[str] = set()
"""Variables that this process has set for its workers: no program of others is given them."""
LIBRARIES = tuple({sysconfig.get_path(name) + os.sep for name in ("stdlib", "purelib", "platlib")})


@contextmanager
def running(name: str, what: str = "method") -> Iterator[None]:
    """Run code of a method or metric in the body; its prints go to standard error, and the working
    folder is put back afterwards.

    Raises:
        Unavailable: the code raised anything at all, SystemExit too; says what and where.
        KeyboardInterrupt: the user pressed Ctrl-C, whatever the code made of it.
    """
    with _noted_interrupts() as pressed:
        try:
            with chdir("."), redirect_stdout(sys.stderr):
                yield
        except Stopped:
            raise
        except BenchError:
            if not pressed:
                raise
        except BaseException as error:
            if not pressed:
                raise Unavailable(f"{what} '{printable(name)}': {told(error)}") from error
        if pressed:
            raise KeyboardInterrupt


def each(method: str, items: Iterator[T]) -> Iterator[T]:
    """What a method yields; raises as `running`."""
    end = object()
    while True:
        with running(method):
            item = next(items, end)
        if item is end:
            return
        yield item  # type: ignore[misc]


def told(error: BaseException) -> str:
    """One line: what was raised, and the file and line of the code that it came from; with
    CASSR_BENCH_DEBUG it is not cut, and the traceback goes to standard error."""
    debug = bool(os.environ.get(DEBUG))
    if debug:
        traceback.print_exception(error)
    parts = [type(error).__name__, _message(error, None if debug else MAX_MESSAGE)]
    place = _place(error)
    return ": ".join(filter(None, parts)) + (f" ({place})" if place else "")


def _message(error: BaseException, most: int | None) -> str:
    try:
        text = str(error)
    except BaseException:
        return "(its message cannot be shown)"
    return printable(text if most is None or len(text) <= most else text[:most] + "…")


def _place(error: BaseException) -> str:
    """The innermost "FILE:LINE" that is neither ours nor a library's, else any that is not ours."""
    if isinstance(error, SyntaxError) and os.path.isfile(error.filename or ""):
        return shown(error.filename or "", error.lineno or 0)
    walked = traceback.walk_tb(error.__traceback__)
    return _innermost([(frame.f_code.co_filename, line) for frame, line in walked])


def place_in_dump(text: str) -> str:
    """The same of the last stack that faulthandler wrote; "" where there is none."""
    stack = text.rpartition("(most recent call first)")[2]
    found = re.findall(r'^  File "(.*)", line (\d+) in ', stack, re.MULTILINE)
    return _innermost([(file, int(line)) for file, line in reversed(found)])


def _innermost(places: Sequence[tuple[str, int]]) -> str:
    foreign = [(file, line) for file, line in places if not file.startswith((OURS, "<"))]
    own = [(file, line) for file, line in foreign if not file.startswith(LIBRARIES)]
    found = own or foreign
    return shown(*found[-1]) if found else ""


def shown(file: str, line: int) -> str:
    """FILE:LINE, from the working folder where it is below that."""
    here = Path(file).absolute()
    inside = here.is_relative_to(Path.cwd())
    return printable(f"{here.relative_to(Path.cwd()) if inside else here}:{line}")


@contextmanager
def _noted_interrupts() -> Iterator[list[int]]:
    """The Ctrl-Cs of the body, told from a KeyboardInterrupt that code raises by itself; none in
    processes that ignore Ctrl-C, as workers do, and in threads other than the main one."""
    pressed: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield pressed
        return

    def note(number: int, frame: object) -> None:
        pressed.append(number)
        before(number, frame)  # type: ignore[operator, arg-type]

    signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


# -- where memory runs out, or a GPU is lost -----------------------------------------------------


def within_memory(
    call: Callable[[], T], what: str, way: str, device: str, release: Callable[[], object] = tuple
) -> T:
    """What `call` gives; where memory runs out it is called once more, after `release` and after
    all is given back that was only kept for later.

    Raises:
        Unavailable: it ran out again; tells of `what`, how much was asked for, and the `way` on.
    """
    try:
        return call()
    except Exception as error:
        if gpu_lost(device) or not _ran_out(error):
            raise
    from accelerate.utils import release_memory  # heavy, and seldom needed

    # Out here, where no traceback holds on to what was computed.
    release()
    release_memory()
    try:
        return call()
    except Exception as error:
        if gpu_lost(device) or not (found := _ran_out(error)):
            raise
        asked = _ASKED.search(str(found))
        much = f" ({asked[1]} more asked for)" if asked else ""
        raise Unavailable(f"{what} needs more memory than there is{much}; {way}") from error


def _ran_out(error: BaseException | None) -> BaseException | None:
    """The error, or that which it comes from, that says that there is no memory."""
    while error is not None and not isinstance(error, MemoryError | RuntimeError):
        error = error.__cause__
    if isinstance(error, RuntimeError):
        from accelerate.utils.memory import should_reduce_batch_size

        text = _message(error, None)  # what it was raised with may be anything
        found = "out of memory" in text or should_reduce_batch_size(RuntimeError(text))
        return error if found else None
    return error


_lost: list[str] = []


def gpu_lost(device: str = "") -> bool:
    """Whether nothing that this process asks of a GPU will work again, as after an assertion that
    failed in a kernel; a `device` is asked anew, where something has failed on it."""
    if device.startswith("cuda") and not _lost:
        import torch

        try:
            torch.cuda.synchronize(device)
        except RuntimeError:
            _lost.append(device)
    return bool(_lost)
