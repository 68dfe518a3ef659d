"""Append-only records on disk that survive a kill at any instant and many writers at once.

Every process that writes gets a file of its own, so nothing is ever locked or rewritten; merging
is reading. A line counts only when it is whole.
"""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from bench.errors import StoreError
from bench.text import printable


class RecordLog:
    """A folder of JSON-lines files; one of them is this object's own, made at its first append."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file: IO[bytes] | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """All whole records, in the order of file names and lines."""
        for path in sorted(self.folder.glob("*.jsonl")):
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

    def _own_file(self) -> IO[bytes]:
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
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


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file so that it appears whole or not at all."""
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".part-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
