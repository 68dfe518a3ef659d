"""An official repository with sins on demand, and three inputs for it."""

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Cli
from pictures import photo
from PIL import Image
from stand_in import make_repository, write_card

from bench.base.lazy import TRUST
from bench.base.progress import Progress
from bench.methods.setup import SetupOptions, setup

AS_IS = SetupOptions(python=Path(sys.executable), as_is=True)


@dataclass
class StandIn:
    """A repository with one commit, set up once for all, and a folder of three inputs."""

    folder: Path
    origin: Path
    commit: str
    inputs: Path
    installed: Path

    def card(self, sin: str = "", more: str = "") -> Path:
        return write_card(self.folder / "card.toml", self.origin, self.commit, sin, more)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Path]:
    """The repository, its commit, and what `setup` makes of a card without more of its own."""
    folder = tmp_path_factory.mktemp("origin")
    commit = make_repository(folder / "origin")
    card = write_card(folder / "card.toml", folder / "origin", commit)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(TRUST, "1")
        patched.setenv("CASSR_BENCH_CACHE", str(folder / "cache"))
        setup(str(card), AS_IS, Progress(quiet=True))
    return folder / "origin", commit, folder / "cache" / "methods"


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in's card is a program; a command line made later lets it run."""
    monkeypatch.setenv(TRUST, "1")


@pytest.fixture
def stand_in(clean_home: Path, tmp_path: Path, origin: tuple[Path, str, Path]) -> StandIn:
    folder = tmp_path / "stand-in"
    inputs = folder / "inputs"
    inputs.mkdir(parents=True)
    for index, name in enumerate(("first", "second", "third")):
        Image.fromarray(photo(24, 32, index)).save(inputs / f"{name}.png")
    repository, commit, installed = origin
    return StandIn(folder, repository, commit, inputs, installed)


def ready(stand_in: StandIn, sin: str = "", more: str = "") -> Path:
    card = stand_in.card(sin, more)
    if more:
        setup(str(card), AS_IS, Progress(quiet=True))
    else:
        here = Path(os.environ["CASSR_BENCH_CACHE"]) / "methods"
        shutil.copytree(stand_in.installed, here, dirs_exist_ok=True)
    return card


def upscale(cli: Cli, stand_in: StandIn, card: Path) -> tuple[int, dict, Path]:
    output = stand_in.folder / "output"
    done = cli(
        *("upscale", "--method", card, "--input", stand_in.inputs, "--output", output),
        *("--device", "cpu", "--json"),
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout), output
