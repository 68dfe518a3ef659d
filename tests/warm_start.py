"""Processes of their own that need not import the large libraries again.

One server has imported them and our own modules, and forks for every command: what a command sees
(arguments, folder, environment, streams, exit) is what `python -m bench` sees, but for the seconds
of importing. So does the server of multiprocessing that a command starts for its workers. What
reads the environment while it is imported is imported later, or read anew in a real process.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from multiprocessing import util
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parents[1]
LIBRARIES = (
    "bitsandbytes",
    "cv2",
    "diffusers",
    "matplotlib.pyplot",
    "pandas",
    "rich.table",
    "scipy.stats",
    "skimage.data",
    "torch._dynamo",
    "torchvision",
    "transformers",
)
OURS = ("baselines", "bench", "cassr")
LATER = ("__main__", "pyiqa_loading")
"""Of ours; pyiqa looks at TORCH_HOME while it is imported."""
ACTS = "bench.processes.server"
"""The module that is imported for what it does."""
START_UP = ("PYTHON", "LC_", "LANG", "OMP_", "MKL_", "LD_", "MALLOC_", "HF_", "MPL")
"""Variables that are read only while Python starts or a library is imported: where a command's
differ from the server's, it is a Python that starts."""


class Server:
    """Runs commands in forks of a Python that has imported the libraries."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.environment = {"HF_HOME": str(Path(self._folder.name, "hf"))}
        """What commands must have in common with it."""
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            env={**os.environ, "PYTHONPATH": str(ROOT), **self.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        arguments: list[str],
        cwd: Path,
        env: dict[str, str],
        timeout: float,
        alone: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """`python -m bench ARGUMENTS` in `cwd`; what takes too long is killed, with its workers or
        `alone`."""
        streams = [str(Path(self._folder.name, name)) for name in ("stdout", "stderr")]
        request = {
            "arguments": arguments,
            "cwd": str(cwd),
            "env": env,
            "streams": streams,
            "timeout": timeout,
            "alone": alone,
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
        self._folder.cleanup()


TIMED_OUT = 1000


def _serve() -> dict:
    """Returns in each fork, with its request; never in the server."""
    _import_ahead()
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            return request
        kill = os.kill if request["alone"] else os.killpg
        print(_wait(child, request["timeout"], kill), flush=True)
    os._exit(0)


def _import_ahead() -> None:
    for library in LIBRARIES:
        import_module(library)
    for package in OURS:
        found = pkgutil.walk_packages([str(ROOT / package)], f"{package}.")
        for name in [package, *(module.name for module in found)]:
            if not name.endswith(LATER):
                import_module(name)
    del sys.modules[ACTS]
    assert threading.active_count() == 1
    gc.freeze()


def _wait(child: int, timeout: float, kill: Callable[[int, int], None]) -> int:

    def end(*_: object) -> None:
        with suppress(ProcessLookupError):  # it ended just now
            kill(child, signal.SIGKILL)

    signal.signal(signal.SIGALRM, end)
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


class Twin:
    """A fork made before the command began, which becomes the server of its workers."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            self._ours.close()
            self._await(theirs)
        theirs.close()
        self._start = util.spawnv_passfds
        util.spawnv_passfds = self.start

    def start(self, path: str, words: Sequence[str], files: Sequence[int]) -> int:
        """In place of multiprocessing's: give these open files to a Python that runs `words`."""
        if "multiprocessing.forkserver" not in words[-1] or self._ours.fileno() < 0:
            return self._start(path, words, files)
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        told = {"code": words[-1], "files": list(files), "env": dict(os.environ)}
        told |= {"cwd": os.getcwd(), "blocked": [int(number) for number in blocked]}
        socket.send_fds(self._ours, [json.dumps(told).encode()], list(files))
        self._ours.close()
        return self._pid

    def _await(self, theirs: socket.socket) -> NoReturn:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        said, files, *_ = socket.recv_fds(theirs, 1 << 20, 8)
        if not said:
            os._exit(0)
        told = json.loads(said)
        apart = [fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 1 << 8) for file in files]
        theirs.close()
        for number, file in zip(told["files"], apart, strict=True):
            os.dup2(file, number)
            os.close(file)
        os.chdir(told["cwd"])
        os.environ.clear()
        os.environ.update(told["env"])
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, told["blocked"])
        code = 0
        try:
            exec(told["code"], {"__name__": "__main__"})
        except SystemExit as ended:
            code = int(ended.code or 0)
        except BaseException:
            traceback.print_exc()
            code = 1
        os._exit(code)


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
    Twin()
    os._exit(_run())
