"""Files of ours on disk: each appears whole or not at all, and is believed only when it fits."""

import errno
import json
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from bench.base import leftovers
from bench.base.errors import CannotWrite, SetAside
from bench.base.hashing import file_sha256
from bench.base.text import printable

M = TypeVar("M", bound=BaseModel)
LEVELS = 6
"""Of a field's place, as messages name it."""
SHOWN = 60
"""Characters of a text that a field must not have."""


def read_as(path: Path, kind: type[M]) -> M | None:
    """What a JSON file of ours says; None when it is missing or (then it is named) damaged."""
    found = read_or_why(path, kind)
    if isinstance(found, str):
        say_set_aside(path, f"is set aside ({found}); what it said is made anew")
        return None
    return found


def read_or_why(path: Path, kind: type[M]) -> M | str | None:
    """What a JSON file of ours says, how it is damaged, or None when it is missing."""
    if path.exists() and not path.is_file():
        return "is a folder or device"
    try:
        return kind.model_validate(json.loads(path.read_bytes()))
    except OSError:
        return None
    except (ValueError, RecursionError) as error:
        return what_is_wrong(error)


def say_set_aside(path: Path, why: str) -> None:
    warnings.warn(f"{printable(path)}: {why}", SetAside, stacklevel=2)


def what_is_wrong(error: Exception) -> str:
    """Why a record was not taken, on one line."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        field = printable(".".join(str(part) for part in first["loc"][:LEVELS]))
        lead = f"field '{field}': " if field else ""
        if first["type"] == "value_error":
            return lead + printable(first["ctx"]["error"])
        told = isinstance(first["input"], str) and first["type"] != "json_invalid"  # the whole file
        found = f", found '{first['input'][:SHOWN]}'" if told else ""
        return lead + printable(first["msg"][:1].lower() + first["msg"][1:] + found)
    return "is nested too deeply" if isinstance(error, RecursionError) else "is not valid JSON"


class Watcher(Protocol):
    """Who is told of files before they are put in place, and knows which it was told of."""

    def before(self, path: Path, digest: str) -> None:
        """`path` is about to get content of this sha256; raises to refuse it."""

    def is_ours(self, path: Path) -> bool:
        """Whether the file is there as it was announced."""


_watchers: dict[Path, Watcher] = {}


@contextmanager
def announced(folder: Path, watcher: Watcher) -> Iterator[None]:
    """Meanwhile tell `watcher` of each file that is put below `folder`."""
    _watchers[folder] = watcher
    try:
        yield
    finally:
        del _watchers[folder]


def _watchers_of(path: Path) -> list[Watcher]:
    return [_watchers[folder] for folder in path.parents if folder in _watchers]


def is_as_written(path: Path) -> bool:
    """Whether a file is there and, where writing is watched, as it was written."""
    return path.exists() and all(watcher.is_ours(path) for watcher in _watchers_of(path))


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file so that it appears whole or not at all."""
    data = content.encode() if isinstance(content, str) else content
    with part_of(path) as part:
        part.write_bytes(data)


def copy_atomic(source: Path, path: Path) -> None:
    """Copy a file; never a link to it."""
    with part_of(path) as part:
        shutil.copyfile(source, part)


@contextmanager
def part_of(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place at the end, unless something fails;
    CannotWrite where there is no room, or nothing may be written there."""
    part = leftovers.temporary(path.parent, "part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        leftovers.sweep(path.parent)
        part.open("xb").close()
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        yield part
        for watcher in _watchers_of(path):
            watcher.before(path, file_sha256(part))
        os.chmod(part, 0o644)
        os.replace(part, path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in _REFUSES and _is_of(error, part):
            raise cannot_write(path, error) from error
        raise


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSES = (
    *NO_ROOM,
    *(errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EISDIR, errno.ENAMETOOLONG),
)


def _is_of(error: OSError, part: Path) -> bool:
    """Whether an error is of writing this file; writing to an open one names none, copying both."""
    return error.filename is None or str(part) in (error.filename, error.filename2)


def cannot_write(path: Path, error: OSError) -> CannotWrite:
    """What to raise where the system refused to write `path`."""
    remedy = "make room" if error.errno in NO_ROOM else "choose a place that can be written"
    return CannotWrite(
        f"{printable(path)}: cannot be written ({(error.strerror or str(error)).lower()}); what is "
        f"finished is kept: {remedy} and run again",
        path.parent,
    )
