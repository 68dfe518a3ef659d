"""Processes of their own that need not import the large libraries again.

One server has imported them, and forks for every command: what a command sees (arguments, folder,
environment, streams, exit) is what `python -m bench` sees, but for the seconds of importing.
Only libraries are imported ahead that read nothing of the environment while they are.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIBRARIES = (
    "numpy",
    "torch",
    "pandas",
    "scipy.stats",
    "PIL.Image",
    "cv2",
    "pydantic",
    "rich.table",
)
START_UP = ("PYTHON", "LC_", "LANG", "OMP_", "MKL_", "LD_", "MALLOC_")
"""Variables that a Python reads only while it starts: with these a command needs a real one."""


class Server:
    """Runs commands in forks of a Python that has imported the libraries."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._streams = tempfile.TemporaryDirectory()

    def run(
        self, arguments: list[str], cwd: Path, env: dict[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """`python -m bench ARGUMENTS` in `cwd`."""
        streams = [str(Path(self._streams.name, name)) for name in ("stdout", "stderr")]
        request = {
            "arguments": arguments,
            "cwd": str(cwd),
            "env": env,
            "streams": streams,
            "timeout": timeout,
        }
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        if code == TIMED_OUT:
            raise subprocess.TimeoutExpired(arguments, timeout)
        texts = [Path(stream).read_text("utf-8", errors="surrogateescape") for stream in streams]
        return subprocess.CompletedProcess(arguments, code, *texts)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._streams.cleanup()


TIMED_OUT = 1000


def _serve() -> dict:
    """Returns in each fork, with its request; never in the server."""
    for library in LIBRARIES:
        __import__(library)
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            return request
        print(_wait(child, request["timeout"]), flush=True)
    os._exit(0)


def _wait(child: int, timeout: float) -> int:
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(child, signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, timeout)
    _, status = os.waitpid(child, 0)
    late = signal.setitimer(signal.ITIMER_REAL, 0)[0] == 0
    return TIMED_OUT if late else os.waitstatus_to_exitcode(status)


def _become(request: dict) -> None:
    """Take over folder, environment and streams, as if started so."""
    os.setsid()
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.path[0] = request["cwd"]
    sys.argv[1:] = request["arguments"]
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for number, target in ((0, os.devnull), *zip((1, 2), request["streams"], strict=True)):
        opened = os.open(target, os.O_RDONLY if number == 0 else flags)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0, encoding="utf-8", closefd=False)
    sys.stdout = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr


def _run() -> int:
    """The exit code, after what Python does at its end but for taking the libraries apart."""
    try:
        runpy.run_module("bench", run_name="__main__", alter_sys=True)
        code: object = 0
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # waits for threads, as the end of a Python does
    atexit._run_exitfuncs()
    if not isinstance(code, int):
        print(code, file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return code & 0xFF if isinstance(code, int) else 1


if __name__ == "__main__":
    _become(_serve())
    os._exit(_run())
