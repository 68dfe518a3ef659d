"""Commands killed by SIGKILL at random instants and started again: same bytes, nothing left behind.

    python tests/test_kills.py --minutes 60 --seed 3

goes on killing for so long. Each kill has a store and outputs of its own. Half of the times the
main process alone is killed, so that what is started again meets the workers of the killed one. A
kill is drawn from the time that the command takes; a third are killed twice.
"""

import argparse
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from conftest import ROOT, plant_quick_sets
from pictures import photo
from PIL import Image
from test_store import to_layout_1
from warm_start import Server

from bench.base.leftovers import FORGOTTEN
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
RUN = ["run", *SUITE, *REPORTS, "--offline", "--out", "made/reports"]
STORE = ["--store", "store"]
COMMANDS = {
    "run": [*RUN, *STORE, "--workers", "2"],
    "run on a cluster": [*RUN, *STORE, "--on", "ray"],
    "upscale": [
        *("upscale", "--method", "noisy.py", "--input", "lr", "--output", "made/big"),
        *(*STORE, "--workers", "2"),
    ],
    "score": [
        *("score", "--sr", "sr", "--hr", "hr", "--metrics", "psnr_y,ssim_y,gmsd", *STORE),
        *("--csv", "made/scores.csv", "--workers", "2", "--offline"),
    ],
    "report": ["report", *SUITE, *REPORTS, *STORE, "--out", "made/reports"],
    "gate": [
        *("gate", *SUITE, "--reference", "made/reference.toml", "--update", "--offline", *STORE),
        *("--workers", "2"),
    ],
    "export": ["export", *SUITE, *STORE, "--images", "--out", "made/export"],
    "import": ["import", *SUITE, "given", *STORE, "--label", "theirs", "--out", "made/merged"],
    "train": [
        *("train", "activation", "--preset", "mini", "--data", "hr", "--out", "made/training"),
        *("--crop", "32", "--batch-size", "2", "--samples", "4", "--device", "cpu"),
        *("--steps", "6", "--checkpoint-every", "2", "--log-every", "1", "--warmup", "0"),
    ],
    "cut": ["cut", "large", "--out", "made/crops", "--side", "48", "--workers", "2"],
    "check": ["store", "check", "--repair", *STORE],
    "prune": ["store", "prune", *STORE],
    "take over": ["store", "info", *STORE],
}
KILLED = 4
"""Times that each command is begun and killed."""
BARE = ("run", "run on a cluster", "upscale", "score", "gate")
"""Commands that find a store with the test set alone; the others one with a finished run."""
TIMES = ("log.csv", ".log", "run.json", "state.json")
"""Ends of the names of files that hold times of the clock."""


def damage(store: Path) -> None:
    """A bit of an image, a line of scores and one of a record."""
    image = sorted(store.glob("images/*/*/*.png"))[0]
    image.write_bytes(image.read_bytes()[:-9] + b"?" + image.read_bytes()[-8:])
    for records in ("scores/*/*.jsonl", "images/*/*/records/*.jsonl"):
        path = sorted(store.glob(records))[-1]
        path.write_bytes(path.read_bytes().replace(b"0", b"1", 30))


def forget(store: Path) -> None:
    """Let all be long ago, and nobody know who used it."""
    shutil.rmtree(store / "uses")
    long_ago = time.time() - 2 * FORGOTTEN
    for path in store.rglob("*"):
        os.utime(path, (long_ago, long_ago))


BEFORE: dict[str, Callable[[Path], None]] = {
    "check": damage,
    "prune": forget,
    "take over": to_layout_1,
}
"""What happens to a command's store before it begins."""


def run(server: Server, command: str, folder: Path, seconds: float, alone: bool = False) -> str:
    """What a command says on standard error; raises TimeoutExpired where it was killed."""
    environment = {**os.environ, **server.environment, "PYTHONPATH": str(ROOT)}
    environment |= {"HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
    environment |= {"CASSR_BENCH_CACHE": str(folder / "cache" / "bench")}
    done = server.run(COMMANDS[command], folder, environment, seconds, alone)
    if done.returncode != 0 or "Traceback" in done.stderr:
        raise AssertionError(f"{command} in {folder}: {done.returncode}\n{done.stderr}")
    return done.stderr


def kill(server: Server, command: str, folder: Path, after: float, alone: bool) -> bool:
    """Whether it was still running."""
    try:
        run(server, command, folder, after, alone)
    except subprocess.TimeoutExpired:
        return True
    return False


def make_origins(server: Server, root: Path) -> dict[str, Path]:
    """A folder for each command to start from, by command."""
    base = root / "base"
    base.mkdir()
    (base / "noisy.py").write_text(METHOD, encoding="utf-8")
    plant_quick_sets(base / "store")
    bare = Path(shutil.copytree(base, root / "bare", symlinks=True))
    run(server, "run", base, 600)
    for folder in (base, bare):
        (test_set,) = folder.glob("store/datasets/quick-bicubic-*")
        for side in ("lr", "hr"):
            shutil.copytree(test_set / side, folder / side)
        shutil.copytree(folder / "hr", folder / "sr")
    (base / "large").mkdir()
    for index in range(3):
        Image.fromarray(photo(150, 200, index)).save(base / "large" / f"{index}.png")
    run(server, "export", base, 600)
    (base / "made" / "export").rename(base / "given")
    shutil.rmtree(base / "made")
    return {command: bare if command in BARE else base for command in COMMANDS}


def bytes_of(folder: Path) -> dict[str, bytes]:
    """What a command made, and the store; records are in files of random names."""
    files = [*folder.glob("made/**/*"), *folder.glob("store/**/*")]
    made = [p for p in files if p.is_file() and p.suffix != ".jsonl" and "uses" not in p.parts]
    kept = [path for path in made if not path.name.endswith(TIMES)]
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(kept)}


def left_behind(folder: Path) -> list[str]:
    starts = (".part-", ".unpacking-", ".cassr-bench-", ".step-")
    names = [path for path in folder.rglob("*") if path.name.startswith(starts)]
    return [str(path.relative_to(folder)) for path in names]


def wrong(folder: Path, expected: dict[str, bytes]) -> list[str]:
    """What is not as it was without a kill."""
    found = bytes_of(folder)
    differ = [n for n in found.keys() | expected.keys() if found.get(n) != expected.get(n)]
    problems = [f"{problem.path}: {problem.what}" for problem in check(folder / "store")]
    return [*sorted(differ), *problems, *left_behind(folder)]


class Campaign:
    """Kills, each of a fresh copy of what a command starts from."""

    def __init__(self, server: Server, root: Path, chance: random.Random) -> None:
        self.server, self.root, self.chance = server, root, chance
        self.origins = make_origins(server, root)
        self.seconds: dict[str, float] = {}
        self._calm: dict[str, dict[str, bytes]] = {}

    def _fresh(self, command: str, name: str) -> Path:
        folder = Path(shutil.copytree(self.origins[command], self.root / name, symlinks=True))
        BEFORE.get(command, lambda store: None)(folder / "store")
        return folder

    def calm(self, command: str) -> dict[str, bytes]:
        """What a command makes undisturbed; notes the seconds that it takes."""
        if command not in self._calm:
            folder = self._fresh(command, "calm")
            began = time.monotonic()
            run(self.server, command, folder, 600)
            self.seconds[command] = time.monotonic() - began
            self._calm[command] = bytes_of(folder)
            shutil.rmtree(folder)
        return self._calm[command]

    def kill(self, command: str) -> int:
        """How many kills came in time; AssertionError where something is not as it was."""
        expected, folder, in_time = self.calm(command), self._fresh(command, "killed"), 0
        for _ in range(self.chance.choice((1, 1, 2))):
            after, alone = self.chance.random() * self.seconds[command], self.chance.random() < 0.5
            if kill(self.server, command, folder, after, alone):
                in_time += 1
            else:  # this machine is less busy than it was
                self.seconds[command] = min(after, 0.9 * self.seconds[command])
        run(self.server, command, folder, 600)
        problems = wrong(folder, expected)
        assert problems == [], f"{command}, killed after {after:.3f} s (alone: {alone})"
        shutil.rmtree(folder)
        return in_time


@contextmanager
def cluster(root: Path) -> Iterator[None]:
    """A Ray cluster of two cores, which commands find."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch, socket.create_server(("127.0.0.1", 0)) as free:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        port = free.getsockname()[1]
        head = {"num_cpus": 2, "include_dashboard": False, "ray_client_server_port": port}
        free.close()
        nodes = Cluster(initialize_head=True, head_node_args=head)
        patch.setenv("RAY_ADDRESS", nodes.address)
        yield
        nodes.shutdown()


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    pytest.importorskip("ray.cluster_utils", reason="Ray is not installed")
    root = tmp_path_factory.mktemp("kills")
    with cluster(root), closing(Server()) as server:
        yield Campaign(server, root, random.Random(0))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="commands are killed as forks")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_killed_command_goes_on_to_the_same_bytes(campaign: Campaign, command: str) -> None:
    assert sum(campaign.kill(command) for _ in range(KILLED)), "no kill came in time"


def main() -> None:
    """Kill commands in turn until the time is over; what fails is kept, and told at once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", default=",".join(COMMANDS))
    given = parser.parse_args()
    killed, failed = Counter[str](), 0
    root = Path(tempfile.mkdtemp(prefix="kills-"))
    with cluster(root), closing(Server()) as server:
        campaign = Campaign(server, root, random.Random(given.seed))
        end = time.monotonic() + 60 * given.minutes
        while time.monotonic() < end:
            for command in given.commands.split(","):
                try:
                    killed[command] += campaign.kill(command)
                except AssertionError as error:
                    failed += 1
                    kept = (root / "killed").rename(root / f"failed-{failed}")
                    print(f"FAILED, kept in {kept}: {error}", flush=True)
            print(f"{killed.total()} kills, {failed} failed: {dict(killed)}", flush=True)
    if not failed:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
