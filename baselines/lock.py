"""Make the lock of a card: `python -m baselines.lock NAME CLONE` writes cards/locks/NAME.txt.

uv resolves what the card and the requirement files of its repository name. What they leave open is
taken as it was on the day of the pinned commit, as its authors had it.
"""

import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.methods import lock
from bench.methods.card import Official
from bench.methods.find import find_program
from bench.methods.installation import git

HERE = Path(__file__).parent / "cards" / "locks"
BUILDERS = ["setuptools<70", "wheel"]  # later ones have no pkg_resources, which old sources import


def main(name: str, clone: str) -> None:
    card = find_program(name).card
    assert card.official is not None
    text = lock.head(card) + "".join(_lines(_resolve(card.official, clone)))
    HERE.mkdir(exist_ok=True)
    (HERE / f"{name}.txt").write_text(text, encoding="utf-8")


def _requirements(official: Official, clone: str) -> Iterator[str]:
    """What the repository's files ask for, but for what the card decides."""
    decided = {lock.plain(name) for name in [*official.packages, *official.without]}
    for file in official.requirements:
        for line in git(["-C", clone, "show", f"{official.commit}:{file}"]).splitlines():
            wanted = line.partition("#")[0].strip()
            if wanted and not wanted.startswith("-") and _name(wanted) not in decided:
                yield wanted


def _name(wanted: str) -> str:
    """The package of a requirement; of a bare address of git's the repository."""
    named, _, address = wanted.partition(" @ ")[0].partition("://")
    path = address.partition("/")[2].partition("@")[0].partition("#")[0]
    return lock.plain(path.removesuffix(".git").rpartition("/")[2] or named)


def _resolve(official: Official, clone: str) -> dict[str, Any]:
    named = {lock.plain(package) for package in official.packages}
    builders = [builder for builder in BUILDERS if lock.plain(builder) not in named]
    wanted = [*_requirements(official, clone), *official.packages, *builders]
    dropped = [f"{name}; python_version < '0'" for name in official.without]
    committed = git(["-C", clone, "log", "-1", "--format=%cs", official.commit])
    with tempfile.TemporaryDirectory() as folder:
        for file, lines in (("in", wanted), ("overrides", [*official.packages, *dropped])):
            Path(folder, file).write_text("\n".join([*lines, ""]), encoding="utf-8")
        command = ["uv", "pip", "compile", "--quiet", "--no-config", "--format", "pylock.toml"]
        command += ["--python-version", official.python, "--python-platform", "linux"]
        command += ["--exclude-newer", official.as_of or committed]
        command += ["--overrides", "overrides", "in", "--output-file", "pylock.toml"]
        subprocess.run(command, cwd=folder, check=True)  # noqa: S603 - no shell
        return tomllib.loads(Path(folder, "pylock.toml").read_text(encoding="utf-8"))


def _lines(resolved: dict[str, Any]) -> Iterator[str]:
    """Each package with the hashes of its wheels for this platform, or of its source."""
    for package in resolved["packages"]:
        archives = package.get("wheels") or [package["sdist"]]
        hashes = sorted(archive["hashes"]["sha256"] for archive in archives)
        yield f"{package['name']}=={package['version']}"
        yield "".join(f" \\\n    --hash=sha256:{digest}" for digest in hashes) + "\n"


if __name__ == "__main__":
    main(*sys.argv[1:])
