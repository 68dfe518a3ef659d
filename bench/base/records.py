"""Append-only records on disk that survive a kill at any instant and many writers at once.

Every process that writes gets a file of its own, so nothing is ever locked or rewritten; merging
is reading. A line counts only when it is whole and says what a line of its kind must say.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.base.errors import SetAside, StoreError
from bench.base.text import printable

_FICLONE = 0x40049409


class Line(BaseModel):
    """What a line must say; it may say more, which is kept."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)


L = TypeVar("L", bound=Line)
M = TypeVar("M", bound=BaseModel)


class RecordLog(Generic[L]):
    """A folder of JSON-lines files; one of them is this object's own, made at its first append."""

    def __init__(self, folder: Path, kind: type[L]) -> None:
        self.folder = folder
        self.kind = kind
        self._file: IO[bytes] | None = None

    def __iter__(self) -> Iterator[L]:
        """All good lines, in the order of file names and lines; a file's bad ones are named."""
        for path in sorted(self.folder.glob("*.jsonl")):
            with suppress(FileNotFoundError):  # another process removed it meanwhile
                yield from self._good_lines(path)

    def append(self, record: dict[str, Any]) -> None:
        line = json.dumps(record, ensure_ascii=True, sort_keys=True) + "\n"
        try:
            self._own_file().write(line.encode())
        except OSError as error:
            raise StoreError(
                f"{printable(self.folder)}: cannot write a record ({error.strerror}); "
                "make room or choose another place with --store"
            ) from error

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def remove(self) -> None:
        """Close it and remove the folder's records, everyone's."""
        self.close()
        for path in self.folder.glob("*.jsonl"):
            path.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()

    def _own_file(self) -> IO[bytes]:
        while self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # another process removed the folder meanwhile
                # Unbuffered: each record is one write call.
                self._file = open(self.folder / f"{secrets.token_hex(6)}.jsonl", "xb", buffering=0)
        return self._file

    def _good_lines(self, path: Path) -> Iterator[L]:
        bad: list[tuple[int, str]] = []
        for number, line in enumerate(_whole_lines(path), start=1):
            try:
                yield self._read(line)
            except (ValueError, RecursionError) as error:
                bad.append((number, _what_is_wrong(error)))
        if bad:
            number, why = bad[0]
            more = f"; and {len(bad) - 1} more lines" if len(bad) > 1 else ""
            _set_aside(path, f"line {number} is set aside ({why}{more}); it is computed again")

    def _read(self, line: bytes) -> L:
        try:
            return self.kind.model_validate_json(line)
        except ValidationError:
            # A file's name that is no Unicode is kept as lone surrogates, which only json reads.
            return self.kind.model_validate(json.loads(line))


def _whole_lines(path: Path) -> list[bytes]:
    """Without the last one where a killed process left it, or a living one has it, unfinished."""
    try:
        return path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreError(f"{printable(path)}: cannot be read ({error.strerror})") from error


def read_as(path: Path, kind: type[M]) -> M | None:
    """What a JSON file of ours says; None when it is missing or (then it is named) damaged."""
    try:
        return kind.model_validate(json.loads(path.read_bytes()))
    except OSError:
        return None
    except (ValueError, RecursionError) as error:
        _set_aside(path, f"is set aside ({_what_is_wrong(error)}); what it said is made anew")
        return None


def _set_aside(path: Path, why: str) -> None:
    warnings.warn(f"{printable(path)}: {why}", SetAside, stacklevel=2)


def _what_is_wrong(error: Exception) -> str:
    """Why JSON was not taken, on one line."""
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_url=False)[0]
        ours = first["type"] == "value_error"
        why = str(first["ctx"]["error"]) if ours else first["msg"].lower()
        field = printable(".".join(str(part) for part in first["loc"]))
        return f"{field}: {why}" if field else why
    return "is nested too deeply" if isinstance(error, RecursionError) else "is not valid JSON"


class Watcher(Protocol):
    """Who is told of files before they are put in place, and knows which it was told of."""

    def before(self, path: Path, digest: str) -> None:
        """`path` is about to get content of this sha256; raises to refuse it."""
        ...

    def is_ours(self, path: Path) -> bool:
        """Whether the file is there as it was announced."""
        ...


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
    """Copy a file, sharing its blocks where the file system can; never a link to it."""
    with part_of(path) as part, source.open("rb") as file, part.open("wb") as copy:
        if not _shared(file.fileno(), copy.fileno()):
            shutil.copyfileobj(file, copy, 1 << 20)


def _shared(source: int, target: int) -> bool:
    """Clone a whole file (Btrfs, XFS and others under Linux)."""
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


@contextmanager
def part_of(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place at the end, unless something fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".part-", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        for watcher in _watchers_of(path):
            watcher.before(path, _sha256(part))
        os.chmod(part, 0o644)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
