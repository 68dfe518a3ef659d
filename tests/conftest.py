"""Fixtures: real images and weights where they are at hand, small synthetic ones elsewhere."""

import atexit
import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from pictures import photo
from PIL import Image
from warm_start import START_UP, Fork, Server, Started, serve_workers

from bench.base.remote_file import Archive
from bench.data.find import find_card
from bench.data.from_card import build
from bench.remote import weights

# Helpers that assert, or hold fixtures of several modules.
pytest.register_assert_rewrite(
    "official_example", "page_example", "table_example", "export_example"
)
pytest.register_assert_rewrite("store_example", "training_example")

# Where the tests are started by nohup or in a shell's background, commands would ignore these.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Tests that were compiled once, and modules of commands that start anew, are not compiled again.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

ROOT = Path(__file__).parents[1]
os.environ.setdefault("OMP_NUM_THREADS", "1")


def _shared_folder() -> Path | None:
    given = os.environ.get("CASSR_SHARED")
    candidates = [Path(given)] if given else [ROOT.parent / "shared"]
    return next((path for path in candidates if (path / "golden").is_dir()), None)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with golden images and real weights (CASSR_SHARED, or beside the checkout)."""
    folder = _shared_folder()
    if folder is None:
        pytest.skip("no golden images at hand; set CASSR_SHARED to the folder that has them")
    return folder


@pytest.fixture(scope="session")
def golden(shared: Path) -> Path:
    return shared / "golden"


@pytest.fixture(scope="session")
def real_weights(shared: Path) -> Path:
    return shared / "weights"


CACHES = {
    "XDG_CACHE_HOME": "cache",
    "TORCH_HOME": "torch",
    "HF_HOME": "hf",
    "CASSR_BENCH_CACHE": "bench",
    "CASSR_BENCH_STORE": "store",
}
UNSET = ("CASSR_BENCH_MIRROR", "CASSR_BENCH_SUBSTITUTE_WEIGHTS", "CASSR_BENCH_DEBUG")


@pytest.fixture
def clean_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches, so that nothing on this machine changes a test."""
    home = tmp_path / "home"
    for variable, folder in CACHES.items():
        monkeypatch.setenv(variable, str(home / folder))
    for variable in UNSET:
        monkeypatch.delenv(variable, raising=False)
    return home


FORKS = hasattr(os, "fork")
SERVER = "CASSR_BENCH_TESTS_SERVER"
"""Names the one server, for the workers of xdist, and for this file imported by a test."""


@cache
def _warm_server() -> Server:
    server = Server(os.environ.get(SERVER, ""))
    os.environ[SERVER] = server.address
    return server


def pytest_configure(config: pytest.Config) -> None:
    if FORKS and getattr(config.option, "numprocesses", None):
        _warm_server()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(specs: list[Any]) -> None:
    """The processes that share the tests have imported the libraries, too."""
    for spec in specs if FORKS else ():
        spec.python = _warm_server().python


def pytest_collection_finish() -> None:
    """What is imported by now stays: our own calls of `gc.collect` need not look through it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _warm_workers() -> None:
    """Worker processes that tests start themselves need not import the libraries either."""
    if FORKS:
        serve_workers(_warm_server)


class Cli:
    """The command line in a process of its own, 80 columns wide, with empty caches.

    Attributes:
        program: an executable file that is the same, for scripts and launchers.
    """

    def __init__(self, home: Path, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder, self._warm = folder, _warm_server() if FORKS else None
        clean = {name: value for name, value in os.environ.items() if name not in UNSET}
        clean |= {name: str(home / cache) for name, cache in CACHES.items()}
        clean |= {"PYTHONPATH": str(ROOT), "COLUMNS": "80"}
        self._environment = clean | (self._warm.environment if self._warm else {})

    @property
    def program(self) -> str:
        return str(self._warm.program) if self._warm else f"{sys.executable} -m bench"

    def start(self, *arguments: object, script: Path | None = None, **environment: str) -> Started:
        """Begin `python -m bench ARGUMENTS`, or a script that imports it."""
        words, env = list(map(str, arguments)), {**self._environment, **environment}
        if self._warm is None or any(name.startswith(START_UP) for name in environment):
            command = [sys.executable, *([script] if script else ["-m", "bench"]), *words]
            return Started(
                lambda streams: subprocess.Popen(
                    command,
                    cwd=self._folder,
                    env=env,
                    stdin=streams[0],
                    stdout=streams[1],
                    stderr=streams[2],
                    start_new_session=True,
                )
            )
        server, run, folder = self._warm.address, str(script or "bench"), str(self._folder)
        return Started(lambda streams: Fork(server, run, words, streams, folder, env))

    def __call__(self, *arguments: object, **how: Any) -> subprocess.CompletedProcess[str]:
        return self.start(*arguments, **how).done()


@pytest.fixture
def cli(clean_home: Path, tmp_path: Path) -> Cli:
    """Run the command line with empty caches, in an empty folder."""
    return Cli(clean_home, tmp_path / "cwd")


@cache
def _quick_sets() -> Path:
    """The test sets of the suite `quick`, made once for all tests."""
    if SERVER in os.environ:
        folder = Path(os.environ[SERVER]).parent
    else:
        kept = tempfile.TemporaryDirectory()
        atexit.register(kept.cleanup)
        folder = Path(kept.name)
    with FileLock(folder / "sets.lock"):
        if not (folder / "sets").is_dir():
            for name in ("quick-bicubic", "quick-realistic"):
                build(find_card(name), folder / "part")
            (folder / "part").rename(folder / "sets")
    return folder / "sets"


def plant_quick_sets(store: Path) -> None:
    """Give a store that is not there yet the test sets of `quick`, as its first run makes them."""
    shutil.copytree(_quick_sets(), store / "datasets")


@pytest.fixture
def quick_sets(clean_home: Path) -> None:
    """Let the store of `cli` have the test sets of `quick`, for tests of what comes after."""
    plant_quick_sets(clean_home / "store")


@pytest.fixture
def place(clean_home: Path) -> Callable[[Path, str], Path]:
    """Put an archive where `fetch` would."""

    def put(path: Path, name: str) -> Path:
        target = weights.home(Archive(name=name))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
        (clean_home / "bench" / "weights.json").unlink(missing_ok=True)
        return target

    return put


@pytest.fixture
def image_folders(tmp_path: Path) -> tuple[Path, Path]:
    """SR and HR folders with three matching 128x128 PNGs."""
    sr, hr = tmp_path / "sr", tmp_path / "hr"
    sr.mkdir()
    hr.mkdir()
    for index in range(3):
        pixels = photo(128, 128, index)
        Image.fromarray(pixels).save(hr / f"img{index}.png")
        noisy = pixels.astype(int) + np.random.default_rng(index).integers(-6, 7, pixels.shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(sr / f"img{index}.png")
    return sr, hr
