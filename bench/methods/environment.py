"""The environment of an official repository: an interpreter, packages, and a first start in it."""

import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from bench.base import leftovers
from bench.base.errors import Unavailable
from bench.base.text import printable
from bench.methods import lock, probe
from bench.methods.installation import Installation, ask, call, importing, interpreter

_FREEZE = (
    "import importlib.metadata as m; found = {(d.metadata['Name'], d.version) for d in "
    "m.distributions()}; print(*sorted('%s==%s' % each for each in found), sep='\\n')"
)
_VERSION = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"


def use_as_is(where: Installation, python: Path | None) -> str:
    """Take an interpreter with all that is installed in it."""
    if python is None:
        raise Unavailable("--as-is: give the interpreter with --python FILE")
    where.remember(python=str(_existing(python)))
    return f"environment: {printable(python)}, used as it is"


def build(where: Installation, python: Path | None, conda: bool, log: IO[str]) -> str:
    """Make an environment without packages, unless there is one."""
    folder = where.root / "environment"
    made = interpreter(folder, conda)
    if made.is_file() and where.record().get("environment_made"):
        return f"environment: is there, {printable(folder)}"
    leftovers.remove(folder)
    version = where.official.python
    command = _conda(version, folder) if conda else venv_command(version, python, folder)
    call(command, log, "conda create" if conda else "making the environment")
    where.remember(python=str(made), environment_made=True)
    return f"environment: built in {printable(folder)}"


def _existing(python: Path) -> Path:
    if not python.is_file():
        raise Unavailable(f"--python {printable(python)}: expected an interpreter, found no file")
    return python.absolute()


def _conda(version: str, folder: Path) -> list[str]:
    conda = shutil.which("conda") or shutil.which("mamba") or shutil.which("micromamba")
    if conda is None:
        raise Unavailable("--conda: no conda, mamba or micromamba on the PATH")
    return [conda, "create", "--yes", "--prefix", str(folder), f"python={version}", "pip"]


def venv_command(version: str, given: Path | None, folder: Path) -> list[str]:
    """What makes a venv: the interpreter as given, one of that version, or uv, which gets one;
    Unavailable, with those that were tried, where there is none."""
    python, failed = _interpreter(version, given)
    if python:
        return [str(python), "-m", "venv", str(folder)]
    uv = shutil.which("uv")
    if uv and given is None:
        return [uv, "venv", "--seed", "--python", version, str(folder)]
    tried = "".join(f"; {reason}" for reason in failed) or f", found no python{version}"
    raise Unavailable(
        f"Python {version} is needed{tried}; install it, or give another one with --python FILE, "
        "or use --conda, or install uv, which gets one by itself"
    )


def _interpreter(version: str, given: Path | None) -> tuple[Path | None, list[str]]:
    """The first interpreter that runs, is of that version and makes venvs; why others do not."""
    failed: list[str] = []
    for python in [_existing(given)] if given else _candidates(version):
        found, reason = ask(python, _VERSION)
        if found == version or (given and found):
            return python, failed
        failed.append(f"{printable(python)}: {reason or f'is Python {found}'}")
    return None, failed


def _candidates(version: str) -> Iterator[Path]:
    name = f"python{version}"
    on_path = [found for each in os.get_exec_path() if (found := shutil.which(name, path=each))]
    yield from map(Path, on_path)
    if f"{sys.version_info.major}.{sys.version_info.minor}" == version:
        yield Path(sys.executable)
    # A shim of pyenv's is on the PATH whether or not its version is selected.
    roots = [Path.home() / ".pyenv", *(Path(found).parents[1] for found in on_path)]
    for root in dict.fromkeys(roots):
        yield from sorted(root.glob(f"versions/{version}.*/bin/{name}"), reverse=True)


def install(where: Installation, log: IO[str]) -> str:
    """Install the card's lock, or without one what the card lists; nothing that is there."""
    if are_there(where):
        return "packages: are there"
    made_for = sys.platform == "linux" and platform.machine() == "x86_64"
    alike = made_for and ask(where.python, _VERSION)[0] == where.official.python
    locked = lock.read(where.card) if alike else ""
    return _locked(where, locked, log) if locked else _listed(where, log)


def are_there(where: Installation) -> bool:
    """Whether they were installed for this card, and work."""
    record = where.record()
    known = record.get("packages_wanted", where.wanted_packages) == where.wanted_packages
    works = known and not importing(where)
    return bool(record.get("packages_installed")) and works


def _locked(where: Installation, locked: str, log: IO[str]) -> str:
    """First what sources are built with, then all; nothing but what the lock names."""
    uv = shutil.which("uv")
    own = [str(where.python), "-m", "pip", "install", "--disable-pip-version-check"]
    install = [uv, "pip", "install", "--python", str(where.python)] if uv else own
    builders = [*lock.BUILDERS, *where.official.build]
    for name, part in (("builders", lock.only(locked, builders)), ("lock", locked)):
        file = where.root / f"{name}.txt"
        file.write_text(part, encoding="utf-8")
        strictly = ["--require-hashes", "--no-deps", "--no-build-isolation", "-r", str(file)]
        call([*install, *strictly], log, "installing the lock", where.repo)
    count = len(list(lock.packages(locked)))
    return f"packages: {count} installed as locked{', by uv' if uv else ''}"


def _listed(where: Installation, log: IO[str]) -> str:
    official = where.official
    pip = [str(where.python), "-m", "pip", "install", "--disable-pip-version-check"]
    files = [["-r", file] for file in official.requirements]
    for wanted in filter(None, (official.build, *files, official.packages)):
        call([*pip, *wanted], log, f"pip install {' '.join(wanted)}", where.repo)
    return "packages: installed"


def freeze(where: Installation) -> list[str]:
    """What the environment holds, for the record; [] where it cannot be listed."""
    return ask(where.python, _FREEZE)[0].splitlines()


def start(where: Installation, log: IO[str]) -> Iterator[str]:
    """Start each of the card's scripts with --help, as it will be started; Unavailable, with what
    ended it, where one does not start."""
    for script in dict.fromkeys(command[0] for command in where.official.commands):
        found = _started(where, script, log)
        where.remember(kernels=found["kernels"])
        if found["code"] == 0:
            lines = found["help"].splitlines()
            usage = next((line for line in lines if line.startswith("usage:")), "(nothing)")
            yield f"start: {script} prints its help: {printable(usage)}"
        elif where.official.gpu and "CUDA" in found["ended"]:
            yield f"start: {script} starts until it asks for a GPU: {printable(found['ended'])}"
        else:
            raise Unavailable(f"{script} does not start: {printable(found['ended'])}")
        for name in sorted(found["missing"].keys() - set(where.official.unreached)):
            yield f"start: not installed: {printable(name)}, named in {found['missing'][name]}"


def _started(where: Installation, script: str, log: IO[str]) -> dict[str, Any]:
    result = where.root / "start.json"
    result.unlink(missing_ok=True)
    command = [str(where.python), str(Path(probe.__file__)), str(result), script]
    call(command, log, f"starting {script}", where.repo, where.environment())
    return dict(json.loads(result.read_text(encoding="utf-8")))
