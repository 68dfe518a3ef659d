"""Append-only records on disk that survive a kill at any instant and many writers at once.

Every process that writes gets a file of its own, so nothing is ever locked or rewritten; merging
is reading. A line counts only when it is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Protocol

from bench.errors import StoreError
from bench.text import printable

_FICLONE = 0x40049409


class RecordLog:
    """A folder of JSON-lines files; one of them is this object's own, made at its first append."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file: IO[bytes] | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """All whole records, in the order of file names and lines."""
        for path in sorted(self.folder.glob("*.jsonl")):
            with suppress(FileNotFoundError):  # another process removed it meanwhile
                yield from _whole_lines(path)

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


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n"):
            continue
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record


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
