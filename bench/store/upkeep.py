"""What lies where in a store, who used it last, and what of it nobody needs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from bench.base import leftovers
from bench.base.hashing import json_sha256
from bench.base.records import read_as, write_atomic
from bench.data.manifest import read_manifest
from bench.files.record_log import SET_ASIDE, RecordLog
from bench.store.images import ImageLine
from bench.store.scores import DAMAGED

KINDS = {"images": "*/*", "scores": "*", "features": "*", "datasets": "*"}
"""Where the folders of each kind are."""


class Use(BaseModel):
    """The last time that somebody (a suite with its options, a folder that was scored; the first
    value names it) needed parts of the store: folders, and hashes of test sets' manifests. When,
    is its file's time."""

    by: dict[str, Any]
    parts: list[str]


def write_use(root: Path, use: Use) -> None:
    path = root / "uses" / f"{json_sha256(use.by)[:16]}.json"
    write_atomic(path, json.dumps(use.model_dump()) + "\n")


@dataclass(frozen=True)
class Part:
    """A folder below the store that is kept or pruned as a whole; in seconds since the epoch, when
    the last of its files changed and when it was last `used` (0 if nobody noted that), `by` whom.
    """

    name: str
    files: int
    bytes: int
    changed: float
    used: float
    by: str


def parts(root: Path) -> list[Part]:
    """All parts of a store."""
    uses = _last_uses(root)
    return [
        _part(root, path, uses)
        for kind, pattern in KINDS.items()
        for path in sorted((root / kind).glob(pattern))
        if path.is_dir() and not path.name.startswith(".")
    ]


def _last_uses(root: Path) -> dict[str, tuple[float, str]]:
    """What was used -> when last, and by whom."""
    found: dict[str, tuple[float, str]] = {}
    for path in (root / "uses").glob("*.json"):
        use = read_as(path, Use)
        if use is not None:
            last = path.stat().st_mtime, str(next(iter(use.by.values()), ""))
            found |= {part: max(last, found.get(part, last)) for part in use.parts}
    return found


def _part(root: Path, path: Path, uses: dict[str, tuple[float, str]]) -> Part:
    name = path.relative_to(root).as_posix()
    manifest = read_manifest(path / "manifest.json")
    used, by = uses.get(manifest["sha256"] if manifest else name, (0.0, ""))
    stats = [file.stat() for file in _files(path)]
    changed = max((stat.st_mtime for stat in stats), default=0.0)
    return Part(name, len(stats), sum(stat.st_size for stat in stats), changed, used, by)


def _files(path: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(path):
        yield from (Path(folder, name) for name in names)


def spare(root: Path, age: float = 0) -> dict[Path, str]:
    """What nobody needs, and why: parts, images without a record, leftovers, what was set aside.

    What was made within a day stays, since somebody may be at it right now. Uses count until they
    are `age` seconds old, for ever where that is 0.
    """
    now = time.time()
    found: dict[Path, str] = {}
    for part in parts(root):
        path, fresh = root / part.name, part.changed > now - leftovers.FORGOTTEN
        if not fresh and (not part.used or 0 < age < now - part.used):
            found[path] = "not used for so long" if part.used else "nobody's last use needs it"
        elif part.name.startswith("images/"):
            found |= dict.fromkeys(_unrecorded(path, now), "no record names it")
    for path in _garbage(root):
        if not found.keys() & set(path.parents):
            found[path] = "left behind" if leftovers.is_abandoned(path) else "set aside as damaged"
    return found


def _unrecorded(folder: Path, now: float) -> list[Path]:
    known = {Path(record.file).name for record in RecordLog(folder / "records", ImageLine).good()}
    files = [path for path in folder.glob("*.png") if path.name not in known]
    return [path for path in files if path.stat().st_mtime < now - leftovers.FORGOTTEN]


def _garbage(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        for path in (Path(folder, name) for name in [*folders, *names]):
            damaged = path.name == SET_ASIDE or path.name.endswith(DAMAGED)
            if damaged or leftovers.is_abandoned(path):
                yield path
        folders[:] = [name for name in folders if name != SET_ASIDE and not name.startswith(".")]


def size(path: Path) -> int:
    """Bytes of a file, or of all in a folder."""
    return sum(file.stat().st_size for file in ([path] if path.is_file() else _files(path)))


def prune(root: Path, path: Path) -> None:
    """Remove a file or folder, and the folders that are empty then."""
    leftovers.remove(path)
    for parent in path.relative_to(root).parents[:-1]:
        try:
            (root / parent).rmdir()
        except OSError:
            return
