"""Commands killed by SIGKILL at random instants and started again: same bytes, nothing left behind.

Each kill has a store and outputs of its own. The main process alone is killed, so that what is
started again meets the workers of the killed one. A kill is drawn from the time that the command
takes undisturbed; a third of the commands are killed twice.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.store.upkeep import check

METHOD = """
import torch

def upscale(lr, *, scale, seeds):
    noise = torch.rand(lr.shape, generator=torch.Generator().manual_seed(seeds[0]))
    return torch.nn.functional.interpolate(0.9 * lr + 0.1 * noise, scale_factor=scale)
"""
CHOICE = ["--datasets", "quick-bicubic", "--metrics", "psnr_y,gmsd", "--limit", "4"]
SUITE = ["quick", "--methods", "nearest,noisy.py", *CHOICE]
REPORTS = ["--reports", "csv,markdown,latex,excel,html,statistics"]
COMMANDS = {
    "run": ["run", *SUITE, *REPORTS, "--offline", "--workers", "2", "--out", "made/reports"],
    "upscale": [
        *("upscale", "--method", "noisy.py", "--input", "lr", "--output", "made/big"),
        *("--workers", "2"),
    ],
    "score": [
        *("score", "--sr", "sr", "--hr", "hr", "--metrics", "psnr_y,ssim_y,gmsd"),
        *("--csv", "made/scores.csv", "--workers", "2", "--offline"),
    ],
    "report": ["report", *SUITE, *REPORTS, "--out", "made/reports"],
    "gate": [
        *("gate", *SUITE, "--reference", "made/reference.toml", "--update", "--offline"),
        *("--workers", "2"),
    ],
    "export": ["export", *SUITE, "--images", "--out", "made/export"],
    "import": ["import", *SUITE, "given", "--label", "theirs", "--out", "made/merged"],
}
KILLED = 4
"""Times that each command is begun and killed."""
FILLED = ("report", "export", "import")
"""Commands that find a store with a finished run; the others begin with the test set alone."""


def run(command: str, folder: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    """A command, killed by SIGKILL after so many seconds; raises TimeoutExpired then."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.run(
        [sys.executable, "-m", "bench", *COMMANDS[command], "--store", "store"],
        cwd=folder,
        env={**environment, "HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=seconds,
    )


def finish(command: str, folder: Path) -> None:
    done = run(command, folder, 600)
    if done.returncode != 0 or "Traceback" in done.stderr:
        raise SystemExit(f"{command} in {folder} ended with {done.returncode}:\n{done.stderr}")


def kill(command: str, folder: Path, after: float) -> bool:
    """Whether it was still running."""
    try:
        run(command, folder, after)
    except subprocess.TimeoutExpired:
        return True
    return False


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each command to start from, by command."""
    root = tmp_path_factory.mktemp("kills")
    base = root / "base"
    base.mkdir()
    (base / "noisy.py").write_text(METHOD, encoding="utf-8")
    finish("run", base)
    (test_set,) = base.glob("store/datasets/quick-bicubic-*")
    for side in ("lr", "hr"):
        shutil.copytree(test_set / side, base / side)
    (base / "sr").mkdir()
    for name in sorted(path.name for path in (base / "hr").iterdir()):
        shutil.copy(base / "hr" / name, base / "sr" / name)
    finish("export", base)
    (base / "made" / "export").rename(base / "given")
    shutil.rmtree(base / "made")
    bare = Path(shutil.copytree(base, root / "bare", symlinks=True))
    for name in ("images", "scores", "uses"):
        shutil.rmtree(bare / "store" / name)
    return {command: base if command in FILLED else bare for command in COMMANDS}


def bytes_of(folder: Path) -> dict[str, bytes]:
    """What a command made, and the store's images; records are in files of random names."""
    files = [*folder.glob("made/**/*"), *folder.glob("store/images/*/*/*.png")]
    made = [
        p for p in files if p.is_file() and (".cassr-bench" not in p.parts or p.suffix != ".jsonl")
    ]
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(made)}


def left_behind(folder: Path) -> list[str]:
    names = [path for path in folder.rglob("*") if path.name.startswith((".part-", ".unpacking-"))]
    return [str(path.relative_to(folder)) for path in names]


def wrong(folder: Path, expected: dict[str, bytes]) -> list[str]:
    """What is not as it was without a kill."""
    found = bytes_of(folder)
    differ = [n for n in found.keys() | expected.keys() if found.get(n) != expected.get(n)]
    problems = [f"{problem.path}: {problem.what}" for problem in check(folder / "store")]
    return [*sorted(differ), *problems, *left_behind(folder)]


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_killed_command_goes_on_to_the_same_bytes(
    origin: dict[str, Path], tmp_path: Path, command: str
) -> None:
    chance = random.Random(command)
    calm = Path(shutil.copytree(origin[command], tmp_path / "calm", symlinks=True))
    began = time.monotonic()
    finish(command, calm)
    seconds, in_its_work = time.monotonic() - began, 0
    for _ in range(KILLED):
        folder = Path(shutil.copytree(origin[command], tmp_path / "killed", symlinks=True))
        for _ in range(chance.choice((1, 1, 2))):
            in_its_work += kill(command, folder, chance.uniform(0.2, 1) * seconds)
        finish(command, folder)
        assert wrong(folder, bytes_of(calm)) == []
        shutil.rmtree(folder)
    assert in_its_work, "no kill came in time"
