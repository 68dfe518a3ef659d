"""Append-only records on disk that survive a kill at any instant and many writers at once.

Every process that writes gets a file of its own, so nothing is ever locked or rewritten; merging
is reading. A line counts only when it is whole, its checksum fits, and it says what a line of its
kind must say; any other is kept in a file of its own and named, once.
"""

import errno
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.base.errors import CannotWrite, StoreError
from bench.base.records import cannot_write, say_set_aside, what_is_wrong, write_atomic
from bench.base.text import printable

_SEALED = re.compile(rb'\{"check": "([0-9a-f]{16})", ')
SET_ASIDE = "set-aside"
"""The folder, beside records, of the lines that were set aside."""


class Line(BaseModel):
    """What a line must say; it may say more, which is kept."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)


L = TypeVar("L", bound=Line)


class RecordLog(Generic[L]):
    """A folder of JSON-lines files; one of them is this object's own, made at its first append. If
    `unsealed`, lines without a checksum are taken, as earlier versions wrote them."""

    def __init__(self, folder: Path, kind: type[L], *, unsealed: bool = False) -> None:
        self.folder = folder
        self.kind = kind
        self.unsealed = unsealed
        self._file: IO[bytes] | None = None

    def __iter__(self) -> Iterator[L]:
        """All good lines, in the order of file names and lines; bad ones are set aside."""
        for path in self.files():
            bad = []
            for number, (line, found) in enumerate(self.read(path), start=1):
                if not isinstance(found, str):
                    yield found
                elif self._is_new(path, line):
                    bad.append((number, found))
            if bad:
                number, why = bad[0]
                more = f"; and {len(bad) - 1} more lines" if len(bad) > 1 else ""
                say_set_aside(
                    path, f"line {number} is set aside ({why}{more}); it is computed again"
                )

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*.jsonl"))

    def read(self, path: Path) -> Iterator[tuple[bytes, L | str]]:
        """Each whole line of a file, and what it says or why that is not believed."""
        for line in whole_lines(path):
            body = opened(line, self.unsealed)
            try:
                yield line, self._record(body) if body else "its checksum does not fit"
            except (ValueError, RecursionError) as error:
                yield line, what_is_wrong(error)

    def good(self) -> Iterator[L]:
        """All good lines; nothing is said of bad ones."""
        for path in self.files():
            yield from (found for _, found in self.read(path) if not isinstance(found, str))

    def append(self, record: dict[str, Any]) -> None:
        """Add a record, which is not empty."""
        line = sealed(record)
        try:
            if self._own_file().write(line) != len(line):  # as when a disk is about to be full
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self.close()  # the next record begins a file of its own
            raise cannot_write(self.folder, error) from error

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def remove(self) -> None:
        """Close it and remove the folder's records, everyone's."""
        self.close()
        for path in self.files():
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

    def _record(self, line: bytes) -> L:
        try:
            return self.kind.model_validate_json(line)
        except ValidationError:
            # A file's name that is no Unicode is kept as lone surrogates, which only json reads.
            return self.kind.model_validate(json.loads(line))

    def _is_new(self, path: Path, line: bytes) -> bool:
        """Keep a bad line; whether it was not kept before."""
        name = f"{path.stem}-{hashlib.sha256(line).hexdigest()[:12]}"
        kept = self.folder / SET_ASIDE / name
        if kept.exists():
            return False
        with suppress(CannotWrite):  # what may only be read is named each time
            write_atomic(kept, line + b"\n")
        return True


def sealed(record: dict[str, Any]) -> bytes:
    """A record as a line of JSON with the checksum of its other bytes in front."""
    body = json.dumps(record, ensure_ascii=True, sort_keys=True)[1:].encode()
    return b'{"check": "%s", %s\n' % (_checksum(body), body)


def opened(line: bytes, unsealed: bool) -> bytes | None:
    """The record of a line as JSON; None where its checksum does not fit, or is not there."""
    match = _SEALED.match(line)
    if match is None:
        return line if unsealed else None
    body = line[match.end() :]
    return b"{" + body if match[1] == _checksum(body) else None


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest()[:16].encode()


def rewrite(path: Path, lines: Iterable[bytes]) -> None:
    """Put other lines in place of a file of records, or nothing where there are none."""
    content = b"".join(line.rstrip(b"\n") + b"\n" for line in lines)
    if content:
        write_atomic(path, content)
    else:
        path.unlink(missing_ok=True)


def whole_lines(path: Path) -> list[bytes]:
    """Without the last one where a killed process left it, or a living one has it, unfinished."""
    if path.exists() and not path.is_file():
        raise StoreError(f"{printable(path)}: expected a file of records, found a folder or device")
    try:
        return path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:  # another process removed it meanwhile
        return []
    except OSError as error:
        raise StoreError(f"{printable(path)}: cannot be read ({error.strerror})") from error
