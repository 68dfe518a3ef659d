"""Fixtures: real images and weights where they are at hand, small synthetic ones elsewhere."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from pictures import photo
from PIL import Image
from warm_start import START_UP, Server

from bench.data.find import find_card
from bench.data.from_card import build

# Where the tests are started by nohup or in a shell's background, commands would ignore these.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

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


@cache
def _warm_server() -> Server:
    server = Server()
    atexit.register(server.close)
    return server


TIMEOUT = 600
Cli = Callable[..., subprocess.CompletedProcess[str]]


def make_cli(home: Path, folder: Path) -> Cli:
    """A function that runs the command line in a process of its own, 80 columns wide."""
    folder.mkdir(parents=True)
    warm = _warm_server() if hasattr(os, "fork") else None
    clean = {name: value for name, value in os.environ.items() if name not in UNSET}
    clean |= {name: str(home / cache) for name, cache in CACHES.items()}
    clean |= {"PYTHONPATH": str(ROOT), "COLUMNS": "80", **(warm.environment if warm else {})}

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        words, env = list(map(str, arguments)), {**clean, **environment}
        if warm is None or any(name.startswith(START_UP) for name in environment):
            return subprocess.run(
                [sys.executable, "-m", "bench", *words],
                cwd=folder,
                env=env,
                capture_output=True,
                text=True,
                errors="surrogateescape",
                timeout=TIMEOUT,
            )
        return warm.run(words, folder, env, TIMEOUT)

    return run


@pytest.fixture
def cli(clean_home: Path, tmp_path: Path) -> Cli:
    """Run the command line with empty caches, in an empty folder."""
    return make_cli(clean_home, tmp_path / "cwd")


@cache
def _quick_sets() -> Path:
    """The test sets of the suite `quick`, made once for all tests of this process."""
    kept = tempfile.TemporaryDirectory()
    atexit.register(kept.cleanup)
    for name in ("quick-bicubic", "quick-realistic"):
        build(find_card(name), Path(kept.name))
    return Path(kept.name)


def plant_quick_sets(store: Path) -> None:
    """Give a store that is not there yet the test sets of `quick`, as its first run makes them."""
    shutil.copytree(_quick_sets(), store / "datasets")


@pytest.fixture
def quick_sets(clean_home: Path) -> None:
    """Let the store of `cli` have the test sets of `quick`, for tests of what comes after."""
    plant_quick_sets(clean_home / "store")


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
