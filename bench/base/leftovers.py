"""Temporary files and folders, by whose names it is known whether somebody still works on them."""

import hashlib
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir, mkdtemp

_NAME = re.compile(
    r"\.(?:part|unpacking|cassr-bench)-(?:([0-9a-f]{8})-(\d{1,9})-[a-z0-9_]{8}|[a-z0-9_]{8})"
)
SCRATCH = ".cassr-bench-"
FORGOTTEN = 24 * 3600
"""Seconds after which what another machine has left is nobody's; clocks differ by less."""


def temporary(folder: Path, kind: str) -> Path:
    """A new name in `folder` that says which process made it; `kind` is "part" or "unpacking"."""
    return folder / f".{kind}-{_here()}-{os.getpid()}-{secrets.token_hex(4)}"


def scratch(within: Path | None = None) -> TemporaryDirectory[str]:
    """A folder of this process, by default where the system has such; those of dead processes are
    removed."""
    place = within or Path(gettempdir())
    sweep(place, SCRATCH)  # others keep files there too
    return TemporaryDirectory(prefix=f"{SCRATCH}{_here()}-{os.getpid()}-", dir=place)


@contextmanager
def work_folder(beside: Path) -> Iterator[Path]:
    """A folder of a foreign program's run; afterwards only the files directly in it are left."""
    runs = beside / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    work = Path(mkdtemp(prefix=time.strftime("%Y%m%d-%H%M%S-"), dir=runs))
    try:
        yield work
    finally:
        for path in work.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)


@cache
def _here() -> str:
    """This machine since it was started (two may have one name) and, as containers have process
    numbers of their own, this container."""
    place = platform.node()
    with suppress(OSError):
        place += Path("/proc/sys/kernel/random/boot_id").read_text("ascii")
        place += os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(place.encode()).hexdigest()[:8]


def is_abandoned(path: Path) -> bool:
    """Whether this is a temporary file or folder that no living process works on."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        return False
    if match[1] == _here():
        import psutil

        try:  # nobody may ever ask for the exit code of a killed one, as in a container
            return bool(psutil.Process(int(match[2])).status() == psutil.STATUS_ZOMBIE)
        except psutil.Error as error:
            return isinstance(error, psutil.NoSuchProcess)
    with suppress(OSError):  # scratch of another machine keeps its time while it is used
        old = path.lstat().st_mtime < time.time() - FORGOTTEN
        return old and not path.name.startswith(SCRATCH)
    return False


def remove(path: Path) -> None:
    """Remove a file or folder of ours; somebody else may have done so meanwhile."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError):
            path.unlink()


@cache
def sweep(folder: Path, start: str = ".") -> None:
    """Remove what was abandoned directly in a folder, of names that start so, the first time that
    it is asked for."""
    with suppress(OSError):
        for entry in os.scandir(folder):
            if entry.name.startswith(start) and is_abandoned(Path(entry.path)):
                remove(Path(entry.path))
