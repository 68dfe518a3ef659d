"""Reports whose content cannot have changed are not made again.

What a report was made from is remembered in the user's cache, not in the report's folder, whose
bytes depend on the results alone. One that another folder still holds is copied from there.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.base.hashing import json_sha256
from bench.base.records import copy_atomic, write_atomic
from bench.remote.weights import cache_dir
from bench.results import published
from bench.results.results import Results
from bench.results.view import View


class Rendered:
    """What was rendered of the results into `out` by earlier runs, and from what.

    Attributes:
        of: hash of the results themselves, whatever of them is shown and how.
    """

    def __init__(self, results: Results, view: View, out: Path) -> None:
        self.results, self.view, self.out = results, view, out
        self.of = json_sha256([results.provenance, _scores(results)])
        self._key = _key(results, view)
        self._known = _remembered(out)
        self._last = cache_dir() / "rendered" / f"{self._key[:16]}.txt"
        self._elsewhere = out
        with suppress(OSError, ValueError):
            self._elsewhere = Path(self._last.read_text(encoding="utf-8"))

    def files(self, name: str, shows: Sequence[str] = ()) -> list[Path] | None:
        """The files of report `name`, if there are any and they are still what would be rendered.

        Args:
            shows: reports that it shows where they are there.
        """
        return _unchanged(self.out, self._known.get(name), self._key_beside(shows))

    def copied(self, name: str, shows: Sequence[str] = ()) -> list[Path] | None:
        """As `files`, after copying them from where the very same was rendered last."""
        folder = self._elsewhere
        there = _unchanged(folder, _remembered(folder).get(name), self._key_beside(shows))
        files = {file: self.out / file.relative_to(folder) for file in there or ()}
        for source, file in files.items():
            copy_atomic(source, file)
        return [*files.values()] or None

    def remember(self, name: str, files: list[Path], shows: Sequence[str] = ()) -> None:
        written = [[str(file.relative_to(self.out)), _stamp(file)] for file in files]
        self._known[name] = {"key": self._key_beside(shows), "files": written}
        write_atomic(_memory(self.out), json.dumps(self._known))
        write_atomic(self._last, str(self.out.resolve()))

    def _key_beside(self, shows: Sequence[str]) -> str:
        there = [self._known[name] for name in shows if self.files(name) is not None]
        return json_sha256([self._key, there]) if there else self._key


def _memory(out: Path) -> Path:
    return cache_dir() / "rendered" / f"{json_sha256(str(out.resolve()))[:16]}.json"


def _remembered(out: Path) -> dict[str, Any]:
    """By report, what was rendered into `out` and from what."""
    with suppress(OSError, ValueError, TypeError):
        return dict(json.loads(_memory(out).read_text(encoding="utf-8")))
    return {}


def _unchanged(out: Path, entry: Any, key: str) -> list[Path] | None:
    """The files of a report in `out`, if they are those of this key and as they were written."""
    if not (entry and entry["files"]) or entry["key"] != key:
        return None
    files = [out / relative for relative, _ in entry["files"]]
    stamps = [stamp for _, stamp in entry["files"]]
    return files if [_stamp(file) for file in files] == stamps else None


def _key(results: Results, view: View) -> str:
    """Hash of everything a report is made from: results, view, pictures and our own code."""
    names = (field.name for field in dataclasses.fields(results) if field.name != "scores")
    fields = sorted((name, getattr(results, name)) for name in names)
    pictures = [_stamp(path) for path in results.files()]
    groups = sorted((key, sorted(group)) for key, group in (view.groups or {}).items())
    shown = repr((dataclasses.replace(view, groups=view.groups and {}), groups))
    return json_sha256([repr(fields), shown, _scores(results), pictures, _code()])


def _scores(results: Results) -> str:
    return results.once("csv", lambda: results.scores.to_csv(index=False))


def _code() -> list[list[int]]:
    package = Path(__file__).parents[1]
    files = (file for folder in (package, published.folder()) for file in folder.rglob("*.*"))
    return [_stamp(file) for file in sorted(files) if file.suffix != ".pyc"]


def _stamp(path: Path) -> list[int]:
    try:
        stat = path.stat()
    except OSError:
        return []
    return [stat.st_size, stat.st_mtime_ns]
