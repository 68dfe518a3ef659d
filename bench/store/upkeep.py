"""What lies where in a store, who used it last, what of it nobody needs, and what is not as it was
written."""

import json
import os
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from bench.base import leftovers
from bench.base.errors import DataError
from bench.base.hashing import json_sha256
from bench.base.progress import Advance, several_at_once, silent
from bench.base.records import read_as, write_atomic
from bench.base.text import printable
from bench.data.manifest import FILE, damage, read_manifest
from bench.files.images import file_sha256
from bench.files.record_log import SET_ASIDE, RecordLog, rewrite
from bench.store.images import ImageLine
from bench.store.scores import DAMAGED, ScoreLine, read_features, set_aside

_HASH = "[0-9a-f]" * 12
KINDS = {
    "images": f"*-{_HASH}/*",
    "scores": f"*-{_HASH}",
    "features": _HASH,
    "datasets": f"*-{_HASH}*",
}
"""Where the folders of each kind are: a store may share its folder with what is somebody else's,
and that has no hash in its name."""
_SET = re.compile(f".*-{_HASH}|folder-{_HASH}[0-9a-f]{{4}}")
_UNFINISHED = {FILE + DAMAGED, "lr", "hr"}


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
    """All parts of a store; OSError for a folder that cannot be read."""
    _require_readable(root)
    uses = _last_uses(root)
    return [_part(root, path, uses) for path in _folders(root)]


def _require_readable(root: Path) -> None:
    """Raise OSError for a folder whose content would be taken for not there."""

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # somebody removed it meanwhile
            raise error

    for kind in KINDS:
        for _ in os.walk(root / kind, onerror=refuse):
            pass


def _folders(root: Path) -> list[Path]:
    found = (path for kind in KINDS for path in _matching(root, f"{kind}/{KINDS[kind]}"))
    found = (path for path in found if path.is_dir() and not path.name.startswith("."))
    return [path for path in found if path.parent != root / "datasets" or _is_set(path)]


def _matching(root: Path, pattern: str) -> list[Path]:
    """What a pattern names, in order; no links nor what is behind one, but that of a whole kind."""
    above = len(root.parts) + 2  # the root, its kind and itself
    found = ((path, path.parents[: len(path.parts) - above]) for path in root.glob(pattern))
    return sorted(p for p, on in found if not any(step.is_symlink() for step in (p, *on)))


def _is_set(path: Path) -> bool:
    """Whether a folder has the name of a test set, and its manifest or, of one whose making was
    killed, nothing but images."""
    _, folders, files = next(os.walk(path), ("", [], []))
    others = {name for name in (*folders, *files) if not name.startswith(".part-")} - _UNFINISHED
    return bool(_SET.fullmatch(path.name)) and (FILE in (*folders, *files) or not others)


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
    stats = list(_stats(path))
    changed = max((stat.st_mtime for stat in stats), default=0.0)
    return Part(name, len(stats), sum(stat.st_size for stat in stats), changed, used, by)


def _stats(path: Path) -> Iterator[os.stat_result]:
    """Of all files in a folder, links themselves; what somebody removed meanwhile is left out."""
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(FileNotFoundError):
                yield Path(folder, name).lstat()


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
            found[path] = (
                "not used within that time" if part.used else "no recorded use refers to it"
            )
        elif part.name.startswith("images/"):
            found |= dict.fromkeys(_unrecorded(path, now), "no record names it")
    for path in _garbage(root):
        if not found.keys() & set(path.parents):
            found[path] = "left behind" if leftovers.is_abandoned(path) else "set aside as damaged"
    return found


def _unrecorded(folder: Path, now: float) -> list[Path]:
    known = {Path(record.file).name for record in RecordLog(folder / "records", ImageLine).good()}
    files = [path for path in folder.glob("*.png") if path.name not in known]
    return [path for path in files if path.lstat().st_mtime < now - leftovers.FORGOTTEN]


def _garbage(root: Path) -> Iterator[Path]:
    """Leftovers wherever we write, and in our folders what was set aside."""
    for place in (root, root / "uses", *(root / kind for kind in KINDS)):
        yield from filter(leftovers.is_abandoned, place.glob(".*"))
    for folder, folders, names in (step for part in _folders(root) for step in os.walk(part)):
        for path in (Path(folder, name) for name in [*folders, *names]):
            damaged = path.name == SET_ASIDE or path.name.endswith(DAMAGED)
            if damaged or leftovers.is_abandoned(path):
                yield path


def size(path: Path) -> int:
    """Bytes of a file, or of all in a folder."""
    stats = _stats(path) if path.is_dir() else [path.lstat()]
    return sum(stat.st_size for stat in stats)


def prune(root: Path, path: Path) -> str:
    """Remove a file or folder, and the folders that are empty then; where it stays, say so."""
    with suppress(OSError):
        leftovers.remove(path)
    if os.path.lexists(path):
        return f"{printable(path)}: cannot be removed, or not all of it; may you write?"
    with suppress(OSError):
        for parent in path.relative_to(root).parents[:-1]:
            (root / parent).rmdir()
    return ""


# -- what is not as it was written ---------------------------------------------------------------


@dataclass(frozen=True)
class Problem:
    """A file that is not as it was written, and what sets it aside to be computed again."""

    path: Path
    what: str
    mend: Callable[[], None]


def check(root: Path, progress: Advance = silent) -> list[Problem]:
    """Read everything in a store and hold it against its checksums; nothing is changed. OSError for
    a folder that cannot be read."""
    _require_readable(root)
    kinds: dict[str, Callable[[Path], Iterator[Problem]]] = {
        "images/{images}": _images,
        "scores/{scores}": lambda folder: _lines(RecordLog(folder, ScoreLine)),
        "features/{features}/*.npy": _features,
        "datasets/{datasets}/manifest.json": _manifest,
    }
    found_by = ((kind, _matching(root, p.format(**KINDS))) for p, kind in kinds.items())
    checks = [partial(kind, path) for kind, paths in found_by for path in paths]
    found = several_at_once(lambda check: [*check()], checks, progress)
    return [problem for problems in found for problem in problems]


def _images(folder: Path) -> Iterator[Problem]:
    log = RecordLog(folder / "records", ImageLine)
    yield from _lines(log)
    hashes: dict[str, set[str]] = {}
    for record in log.good():
        hashes.setdefault(Path(record.file).name, set()).add(record.sha256)
    for name, known in sorted(hashes.items()):
        path, mend = folder / name, partial(_forget, log, name)
        if not path.is_file():
            yield Problem(path, "is recorded, but not there", mend)
        elif file_sha256(path) not in known:
            yield Problem(path, "is not the file that was recorded", mend)


def _forget(log: RecordLog[ImageLine], name: str) -> None:
    """Set an image aside, and drop what is recorded of it."""
    if (log.folder.parent / name).exists():
        set_aside(log.folder.parent / name)
    for path in log.files():
        lines = list(log.read(path))
        kept = [b for b, r in lines if isinstance(r, str) or Path(r.file).name != name]
        if len(kept) < len(lines):
            rewrite(path, kept)


def _lines(log: RecordLog[Any]) -> Iterator[Problem]:
    for path in log.files():
        for number, (_, found) in enumerate(log.read(path), start=1):
            if isinstance(found, str):
                mend = partial(_drop_bad, log, path)
                yield Problem(path, f"line {number} is not as it was written ({found})", mend)


def _drop_bad(log: RecordLog[Any], path: Path) -> None:
    """Leave a file's good lines; to read it puts each bad one into a file of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        list(log)
    rewrite(path, [line for line, found in log.read(path) if not isinstance(found, str)])


def _features(path: Path) -> Iterator[Problem]:
    try:
        read_features(path)
    except DataError as error:
        yield Problem(path, str(error).rpartition(": ")[2], partial(set_aside, path))


def _manifest(path: Path) -> Iterator[Problem]:
    if not _is_set(path.parent):
        return
    mend, why = partial(set_aside, path), damage(path)
    if why:
        yield Problem(path, f"is not as it was written ({why})", mend)
        return
    for pair in (read_manifest(path) or {"pairs": ()})["pairs"]:
        for file in filter(None, (pair["lr"], pair["hr"])):
            if _is_altered(file, path.parent):
                what = "is not there, or not the file that its test set was made with"
                yield Problem(Path(file["path"]), what, mend)


def _is_altered(file: Mapping[str, Any], folder: Path) -> bool:
    """Of people's own files, only one that was altered under its old size and time."""
    path = Path(file["path"])
    ours = path.is_relative_to(folder.resolve())
    if not path.is_file():
        return ours
    stat = path.stat()
    same = (stat.st_size, stat.st_mtime_ns) == (file["size"], file["mtime_ns"])
    return (ours or same) and file_sha256(path) != file["sha256"]
