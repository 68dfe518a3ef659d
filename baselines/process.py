"""A foreign program as a process: its log kept small, ended with all that it started."""

import os
import re
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from bench.base.text import printable
from bench.processes.worker import die_with_parent

MARK = "CASSR_BENCH_PROCESS"
"""Variable that a program and all its children hold, whatever sessions they make for themselves."""
LOG_BYTES = 8 << 20
"""A longer log is cut down to its beginning and its end."""
KEPT_BYTES = 1 << 20
"""Of either."""


class Process:
    """One start of a program; ``code`` is its exit code after `end`.

    Args:
        log: where it writes to, both streams.
        folder: that it is started in.
        environment: all of its variables.
    """

    def __init__(
        self, command: Sequence[str], log: Path, folder: Path, environment: Mapping[str, str]
    ) -> None:
        self.log = log
        self._mark = uuid.uuid4().hex
        with log.open("ab") as file:  # appended to, so that it can be cut while it is written
            self._child = subprocess.Popen(  # noqa: S603 - no shell; arguments come from a card
                command,
                cwd=folder,
                env={**environment, MARK: self._mark},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent if os.name == "posix" else None,
            )

    def runs(self, seconds: float) -> bool:
        """Whether it has not ended after so many seconds; its end is noticed sooner."""
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(seconds)
        shorten(self.log)
        return self._child.poll() is None

    def end(self) -> int:
        """End the program and everything that it started; the program's exit code."""
        with suppress(ProcessLookupError):
            if os.name == "posix":
                os.killpg(self._child.pid, signal.SIGKILL)
            else:
                self._child.kill()
        code = self._child.wait()
        deadline = time.monotonic() + 5  # one may start another just before it is ended
        while (left := list(_marked(self._mark))) and time.monotonic() < deadline:
            for process in left:
                with suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(left, timeout=0.05)
        shorten(self.log)
        return code


def _marked(mark: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has ended, or is another user's
            if process.environ().get(MARK) == mark:
                yield process


def shorten(log: Path) -> None:
    """Leave out the middle of a log that has become too long."""
    size = log.stat().st_size
    if size <= LOG_BYTES:
        return
    with log.open("r+b") as file:
        file.seek(size - KEPT_BYTES)
        tail = file.read()
        file.truncate(KEPT_BYTES)
        file.seek(KEPT_BYTES)
        left_out = size - KEPT_BYTES - len(tail)
        file.write(f"\n[... {left_out} bytes left out ...]\n".encode() + tail)


def last_line(log: Path) -> str:
    """The last line of a log, as a terminal would show it (a progress bar's last state)."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        text = file.read().decode(errors="replace")
    lines = [part.strip() for part in re.split(r"[\r\n]", text) if part.strip()]
    return printable(lines[-1])[:200] if lines else "(nothing)"
