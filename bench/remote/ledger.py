"""Hashes of files: as seen first under a name, and by path, size and time of change."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, Field, StrictInt, StrictStr

from bench.base.errors import BenchError
from bench.base.hashing import file_sha256
from bench.base.records import read_as, write_atomic

_PATIENCE = 30
"""Seconds that a writer waits for the others."""


class _Said(BaseModel):
    seen: dict[str, StrictStr] = Field(default_factory=dict)
    files: dict[str, tuple[StrictInt, StrictInt, StrictStr]] = Field(default_factory=dict)


@dataclass(frozen=True)
class Ledger:
    """One JSON file, changed under a lock, so that no writer loses another's entry."""

    path: Path

    def seen(self, key: str) -> str:
        """The hash first seen under a name; "" when there is none."""
        return self._read().seen.get(key, "")

    def remember(self, key: str, digest: str) -> None:
        self._change(lambda said: said.seen.setdefault(key, digest))

    def forget(self, key: str) -> None:
        if self.seen(key):
            self._change(lambda said: said.seen.pop(key, None))

    def sha256(self, file: Path) -> str:
        """Hash of a file's bytes; computed again when its size or time of change is another."""
        file = file.resolve()
        stat = file.stat()
        known = self._read().files.get(str(file))
        if known and known[:2] == (stat.st_size, stat.st_mtime_ns):
            return known[2]
        digest = file_sha256(file)
        entry = (stat.st_size, stat.st_mtime_ns, digest)
        self._change(lambda said: said.files.update({str(file): entry}))
        return digest

    def _read(self) -> _Said:
        return read_as(self.path, _Said) or _Said()

    def _change(self, change: Callable[[_Said], object]) -> None:
        """A cache that cannot be written costs time, never the run."""
        from filelock import FileLock  # only where something is new

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.path}.lock", timeout=_PATIENCE):
                said = self._read()
                change(said)
                write_atomic(self.path, json.dumps(said.model_dump(), indent=1, sort_keys=True))
        except (OSError, BenchError):  # a lock that nobody gives back is the first
            return
