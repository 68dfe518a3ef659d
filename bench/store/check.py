"""Whether everything in a store is as it was written, and what mends it where it is not."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.base.errors import DataError
from bench.base.progress import Advance, several_at_once, silent
from bench.data.manifest import damage, read_manifest
from bench.files.images import file_sha256
from bench.files.record_log import RecordLog, rewrite
from bench.store.images import ImageLine
from bench.store.scores import ScoreLine, read_features, set_aside


@dataclass(frozen=True)
class Problem:
    """A file that is not as it was written, and what sets it aside to be computed again."""

    path: Path
    what: str
    mend: Callable[[], None]


def check(root: Path, progress: Advance = silent) -> list[Problem]:
    """Read everything in a store and hold it against its checksums; nothing is changed."""
    kinds: dict[str, Callable[[Path], Iterator[Problem]]] = {
        "images/*/*": _images,
        "scores/*": lambda folder: _lines(RecordLog(folder, ScoreLine)),
        "features/*/*.npy": _features,
        "datasets/*/manifest.json": _manifest,
    }
    checks = [partial(kind, path) for p, kind in kinds.items() for path in sorted(root.glob(p))]
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
