"""How a command is ended from outside.

Ctrl-C ends it at once; SIGTERM and SIGHUP (a closed session) once what is in hand is finished, and
at once when they come again. Either way it is one line, and what is finished is kept.
"""

import os
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from bench.base.errors import Interrupted

ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
_noted: list[int] | None = None


class Stopped(KeyboardInterrupt):
    """A signal of ENDING came, outside of `at_request`."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def install() -> None:
    """Act on the signals; one that whoever started us had ignored (nohup) stays ignored."""
    if threading.current_thread() is threading.main_thread():
        for number in ENDING:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _end)


@contextmanager
def at_request() -> Iterator[list[int]]:
    """In the body a first signal is put on the list that this gives, and the body looks at it; what
    ends the body, or was to end it, is raised as Interrupted."""
    global _noted
    before, _noted = _noted, []
    try:
        yield _noted
        if _noted:
            raise interrupted(_noted[0])
    except Stopped as error:
        raise interrupted(error.number) from None
    except KeyboardInterrupt:
        raise interrupted() from None
    finally:
        _noted = before


def interrupted(number: int = signal.SIGINT) -> Interrupted:
    """The error that a signal is told by."""
    by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
    error = Interrupted(f"stopped{by}; what is finished is kept, run again to go on")
    error.exit_code = 128 + number
    return error


def _end(number: int, frame: object) -> None:
    if number == getattr(signal, "SIGHUP", None):
        _leave_terminal()
    if _noted == []:
        _noted.append(number)
    else:
        raise Stopped(number)


def _leave_terminal() -> None:
    """Print into nothing where the terminal is gone, so that no write fails."""
    for stream in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(stream).st_mode):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
