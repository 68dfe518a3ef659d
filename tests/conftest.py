"""Fixtures: real images and weights where they are at hand, small synthetic ones elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pictures import photo

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


@pytest.fixture
def clean_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches, so that nothing on this machine changes a test."""
    home = tmp_path / "home"
    for variable, folder in (
        ("XDG_CACHE_HOME", home / "cache"),
        ("TORCH_HOME", home / "torch"),
        ("HF_HOME", home / "hf"),
        ("CASSR_BENCH_CACHE", home / "bench"),
        ("CASSR_BENCH_STORE", home / "store"),
    ):
        monkeypatch.setenv(variable, str(folder))
    for variable in ("CASSR_BENCH_MIRROR", "CASSR_BENCH_SUBSTITUTE_WEIGHTS", "CASSR_BENCH_DEBUG"):
        monkeypatch.delenv(variable, raising=False)
    return home


Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cli(clean_home: Path, tmp_path: Path) -> Cli:
    """Run the command line in a process of its own, in an empty folder, 80 columns wide."""
    folder = tmp_path / "cwd"
    folder.mkdir()

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bench", *map(str, arguments)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **environment},
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=600,
        )

    return run


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
