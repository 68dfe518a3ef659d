"""Processes of their own that need not import the large libraries again.

One server has imported them and our own modules, and forks for every command: what a command sees
(arguments, folder, environment, streams, exit) is what `python -m bench` sees, but for the seconds
of importing. So does the server of multiprocessing that a command or a test starts for its workers.
What reads the environment while it is imported is imported later, or read anew in a real process.
Tests talk to it over a socket, so that those of several processes share one.
"""

import atexit
import ctypes
import gc
import json
import os
import pkgutil
import runpy
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from multiprocessing import util
from pathlib import Path
from types import ModuleType
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


TIMEOUT = 600


class Server:
    """Runs commands in forks of a Python that has imported the libraries, several at once.

    Args:
        address: of a server that is there; a new one otherwise, which ends with this process.
    """

    def __init__(self, address: str = "") -> None:
        self.address = address
        if not address:
            self._start()
        self.environment = {"HF_HOME": str(Path(self.address).with_name("hf"))}
        """What commands must have in common with it."""
        self.program = Path(self.address).with_name("cassr-bench")
        """An executable file that is the command line, for scripts and launchers."""

    def _start(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        self.address = str(folder / "socket")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.address)
            listener.listen()
            self._process = subprocess.Popen(
                [sys.executable, __file__, "serve", str(listener.fileno())],
                env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HOME": str(folder / "hf")},
                stdin=subprocess.PIPE,
                pass_fds=[listener.fileno()],
            )
        atexit.register(self.close)
        program = folder / "cassr-bench"
        client = f'export HF_HOME={shlex.quote(str(folder / "hf"))}\nexec {self.python} "$@"'
        program.write_text(f"#!/bin/sh\n{client}\n")
        program.chmod(0o755)

    @property
    def python(self) -> str:
        """How a Python is started that has imported the libraries, for `-c CODE`."""
        return shlex.join([sys.executable, "-S", "-E", __file__, self.address])

    def run(
        self,
        arguments: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        timeout: float,
        alone: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """`python -m bench ARGUMENTS` in `cwd`; what takes too long is killed, see `Started`."""
        started = Started(
            lambda files: Fork(self.address, "bench", arguments, files, str(cwd), env)
        )
        return started.done(timeout, alone)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._folder.cleanup()
        atexit.unregister(self.close)


class Fork:
    """A process in a fork of the server, as one sees a process that one started.

    Args:
        run: `bench` for `python -m bench WORDS`; else a script to run, or code after `CODE`.
        files: descriptors that it gets under their own numbers, or as its standard streams.
    """

    def __init__(
        self,
        address: str,
        run: str,
        words: Sequence[str],
        files: Sequence[int],
        cwd: str | None = None,
        env: Mapping[str, str] = os.environ,
    ) -> None:
        numbers = [0, 1, 2, *files[3:]]
        told = {"run": run, "words": list(words), "numbers": numbers, "blocked": _blocked()}
        told |= {"cwd": cwd or os.getcwd(), "env": dict(env)}
        content = json.dumps(told).encode()
        self._server = socket.socket(socket.AF_UNIX)
        self._server.connect(address)
        socket.send_fds(self._server, [_number(len(content))], files)
        self._server.sendall(content)
        self.pid = self._answer()
        self.returncode: int | None = None

    def _answer(self) -> int:
        found = self._server.recv(8, socket.MSG_WAITALL)
        assert len(found) == 8, "the server has ended"
        return int.from_bytes(found, "big", signed=True)

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._server], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("cassr-bench", timeout or 0)
            self.returncode = self._answer()
            self._server.close()
        return self.returncode

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode


class Started:
    """A command that runs in a session of its own: what it says, how it ends, signals for it."""

    def __init__(self, start: Callable[[Sequence[int]], Fork | subprocess.Popen]) -> None:
        self._said = [tempfile.TemporaryFile() for _ in range(2)]
        with open(os.devnull, "rb") as nothing:
            self._process = start([stream.fileno() for stream in (nothing, *self._said)])
        self.pid = self._process.pid
        self.wait, self.poll = self._process.wait, self._process.poll

    def _text(self, stream: int) -> str:
        number = self._said[stream].fileno()
        content = os.pread(number, os.fstat(number).st_size, 0)
        return "\n".join(content.decode("utf-8", "surrogateescape").split("\r\n"))

    @property
    def stdout(self) -> str:
        """What it said so far."""
        return self._text(0)

    @property
    def stderr(self) -> str:
        return self._text(1)

    def until(self, seen: Callable[[], object]) -> None:
        """Wait until something is seen, or the end."""
        while self.poll() is None and not seen():
            time.sleep(0.01)

    def kill(self, number: int = signal.SIGKILL) -> None:
        with suppress(ProcessLookupError):  # it may just have ended
            os.kill(self.pid, number)

    def done(
        self, timeout: float = TIMEOUT, alone: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """What became of it; killed where that takes too long, with its workers or `alone`."""
        try:
            code = self.wait(timeout)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                (os.kill if alone else os.killpg)(self.pid, signal.SIGKILL)
            self.wait()
            raise
        found = subprocess.CompletedProcess("cassr-bench", code, self.stdout, self.stderr)
        for stream in self._said:
            stream.close()
        return found


def _number(value: int) -> bytes:
    return value.to_bytes(8, "big", signed=True)


def _blocked() -> list[int]:
    return [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())]


FORKSERVER = "multiprocessing.forkserver"
CODE = "-c"


def serve_workers(server: Callable[[], Server]) -> None:
    """Let the server of multiprocessing that this process starts be a fork of the server, too.

    A small process stands for it among this one's children.
    """
    start = util.spawnv_passfds

    def started(path: bytes, words: Sequence[str], files: Sequence[int]) -> int:
        if FORKSERVER in words[-1]:
            stand_in = (sys.executable, "-S", "-E", __file__, server().address, CODE, words[-1])
            path, words = os.fsencode(sys.executable), [*stand_in, *map(str, files)]
        return start(path, words, files)

    util.spawnv_passfds = started


def _serve(listener: socket.socket) -> dict:
    """Returns in each fork, with its request; never in the server."""
    _import_ahead()
    woken, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    clients: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([sys.stdin, listener, woken], [], [])
        if sys.stdin in ready:
            os._exit(0)
        if woken in ready:
            woken.recv(1 << 10)
            _tell_ends(clients)
        if listener in ready:
            client, _ = listener.accept()
            request = _received(client)
            child = os.fork()
            if child == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for opened in (listener, woken, waker, client, *clients.values()):
                    opened.close()
                return request
            for number in request["files"]:
                os.close(number)
            clients[child] = client
            with suppress(OSError):
                client.sendall(_number(child))


def _received(client: socket.socket) -> dict:
    size, files, *_ = socket.recv_fds(client, 8, 8)
    told = client.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
    return {**json.loads(told), "files": files}


def _tell_ends(clients: dict[int, socket.socket]) -> None:
    while clients:
        child, status = os.waitpid(-1, os.WNOHANG)
        if not child:
            return
        with suppress(OSError), clients.pop(child) as client:
            client.sendall(_number(os.waitstatus_to_exitcode(status)))


def _import_ahead() -> None:
    for library in LIBRARIES:
        import_module(library)
    for package in OURS:
        found = pkgutil.walk_packages([str(ROOT / package)], f"{package}.")
        for name in [package, *(module.name for module in found)]:
            if not name.endswith(LATER):
                import_module(name)
    del sys.modules[ACTS]
    _read_cards()
    _compile_pages()
    assert threading.active_count() == 1
    for library_end in weakref.finalize._registry:  # type: ignore[attr-defined]
        library_end.atexit = False
    gc.freeze()
    _join_pages()


HUGE = 2 << 20
COLLAPSE = 25
"""MADV_COLLAPSE of Linux 6.1."""


def _join_pages() -> None:
    """Lay memory in huge pages where the system can: a fork copies an entry for 512 of them."""
    if sys.platform != "linux":
        return
    advise = ctypes.CDLL(None).madvise
    for line in Path("/proc/self/maps").read_text("ascii").splitlines():
        span, rights, _, _, _, *name = line.split(maxsplit=5)
        first, end = (int(address, 16) for address in span.split("-"))
        if rights == "rw-p" and name in ([], ["[heap]"]):
            for start in range(-(-first // HUGE) * HUGE, end - HUGE + 1, HUGE):
                advise(ctypes.c_void_p(start), ctypes.c_size_t(HUGE), COLLAPSE)


def _read_cards() -> None:
    """What our packages carry and say of themselves, which nearly every command asks for."""
    from bench.base.version import versions
    from bench.data.find import dataset_cards
    from bench.methods.find import metric_cards
    from bench.suites.find import suite_cards
    from bench.suites.protocols import protocols

    for known in (versions, dataset_cards, metric_cards, suite_cards, protocols):
        known()


def _compile_pages() -> None:
    """Templates of reports, for commands that fill them."""
    from bench.reports.tables import latex, markdown

    for filled, endings in (
        (markdown.environment(markdown.escape), ["md"]),
        (latex.environment(latex.escape, **latex.DELIMITERS), ["tex"]),
    ):
        for page in filled.list_templates(endings):
            filled.get_template(page)


def _take_over(told: dict, files: Sequence[int]) -> None:
    """Open files, folder, environment and blocked signals, as if started with them."""
    import fcntl  # Windows has none

    apart = [fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 1 << 8) for file in files]
    for file in files:
        os.close(file)
    for number, file in zip(told["numbers"], apart, strict=True):
        os.dup2(file, number)
        os.close(file)
    os.chdir(told["cwd"])
    os.environ.clear()
    os.environ.update(told["env"])
    signal.pthread_sigmask(signal.SIG_SETMASK, told["blocked"])


def _open_streams() -> None:
    sys.stdin = open(0, encoding="utf-8", closefd=False)
    sys.stdout = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)
    sys.stderr = open(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)
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
        if FORKSERVER not in words[-1] or self._ours.fileno() < 0:
            return self._start(path, words, files)
        told = {"code": words[-1], "numbers": list(files), "blocked": _blocked()}
        told |= {"env": dict(os.environ), "cwd": os.getcwd()}
        socket.send_fds(self._ours, [json.dumps(told).encode()], list(files))
        self._ours.close()
        return self._pid

    def _await(self, theirs: socket.socket) -> NoReturn:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        said, files, *_ = socket.recv_fds(theirs, 1 << 20, 8)
        if not said:
            os._exit(0)
        theirs.close()
        told = json.loads(said)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _take_over(told, files)
        _end_after(lambda: exec(told["code"], {"__name__": "__main__"}))


def _run(request: dict) -> None:
    sys.path[0] = request["cwd"]
    sys.argv[1:] = request["words"]
    if request["run"] == "bench":
        runpy.run_module("bench", run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(request["run"], run_name="__main__")


def _end_after(act: Callable[[], object]) -> NoReturn:
    """What Python does at its end, but for taking the libraries apart."""
    code: object = 0
    try:
        act()
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
    os._exit(code & 0xFF if isinstance(code, int) else 1)


def _serve_for_ever(listener: socket.socket) -> NoReturn:
    request = _serve(listener)
    _take_over(request, request["files"])
    if request["run"] == CODE:
        main = sys.modules["__main__"] = ModuleType("__main__")
        _end_after(lambda: exec(request["words"][0], vars(main)))
    os.setsid()
    _open_streams()
    Twin()
    _end_after(lambda: _run(request))


def _stand_in(address: str, words: list[str]) -> int:
    """Be a fork of the server, as whoever started this sees it."""
    if CODE in words[:2]:
        code, *files = words[words.index(CODE) + 1 :]
        ended = Fork(address, CODE, [code], [0, 1, 2, *map(int, files)]).wait()
    else:
        ended = Fork(address, "bench", words, [0, 1, 2]).wait()
    return ended if ended >= 0 else 128 - ended


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        _serve_for_ever(socket.socket(fileno=int(sys.argv[2])))
    sys.exit(_stand_in(sys.argv[1], sys.argv[2:]))
