"""Reports whose content cannot have changed are not made again.

What a report was made from is remembered in the user's cache, not in the report's folder, whose
bytes depend on the results alone. One that another folder still holds is copied from there.
"""

import dataclasses
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.base.errors import CannotWrite
from bench.base.hashing import json_sha256
from bench.base.records import write_atomic
from bench.base.version import versions
from bench.remote.weights import cache_dir
from bench.results import published
from bench.results.results import Results
from bench.results.view import View

DRAWN_BY = ("matplotlib", "numpy", "pandas", "pillow", "scipy", "xlsxwriter", "fonttools",
            "jinja2", "markdown-it-py")  # fmt: skip
"""Libraries that a report's bytes depend on."""
LATEST = 64
"""Results of which it is remembered where they were rendered."""


class Rendered:
    """What was rendered of the results by earlier runs, into `out` or elsewhere.

    Attributes:
        of: hash of the results themselves, whatever of them is shown and how.
    """

    def __init__(self, results: Results, view: View, out: Path) -> None:
        self.results, self.view, self.out = results, view, out
        self.of = json_sha256([results.provenance, _scores(results)])
        self._memory = cache_dir() / "rendered" / f"{_key(results, view)}.json"
        self._known: dict[str, Any] = {}
        with suppress(OSError, ValueError, TypeError, RecursionError):
            self._known = dict(json.loads(self._memory.read_text(encoding="utf-8")))

    def files(self, name: str, shows: Sequence[str] = ()) -> list[Path] | None:
        """The files of report `name` in `out`, if they are still what would be rendered.

        Args:
            shows: reports that it shows where they are there.
        """
        folder, files = self._unchanged(name, shows)
        return [self.out / file for file in files] if folder == self.out.resolve() else None

    def copied(self, name: str, shows: Sequence[str] = ()) -> list[Path] | None:
        """As `files`, copied from where they are, if that is elsewhere."""
        folder, files = self._unchanged(name, shows)
        targets = [self.out / file for file in files]
        for file, target in zip(files, targets, strict=True):
            try:
                content = (folder / file).read_bytes()
            except OSError:  # somebody may be at that folder right now
                return None
            if not target.is_file() or target.read_bytes() != content:
                write_atomic(target, content)
        return targets if files and self._unchanged(name, shows)[1] else None

    def remember(self, name: str, files: list[Path], shows: Sequence[str] = ()) -> None:
        written = [[str(file.relative_to(self.out)), _stamp(file)] for file in files]
        made = {"out": str(self.out.resolve()), "beside": self._beside(shows), "files": written}
        self._known[name] = made
        with suppress(CannotWrite, OSError):  # without a memory reports are made again, that is all
            write_atomic(self._memory, json.dumps(self._known))
            known = sorted(self._memory.parent.glob("*.json"), key=lambda file: _stamp(file)[1:])
            for old in known[:-LATEST]:
                old.unlink(missing_ok=True)

    def _unchanged(self, name: str, shows: Sequence[str]) -> tuple[Path, list[str]]:
        """Where report `name` was rendered last; its files, if they are there as they were."""
        with suppress(LookupError, TypeError, ValueError):  # unknown, or not as we write it
            entry = self._known[name]
            folder, files = Path(entry["out"]), dict(entry["files"])
            same = all(_stamp(folder / file) == stamp for file, stamp in files.items())
            if files and same and entry["beside"] == self._beside(shows):
                return folder, [*files]
        return Path(), []

    def _beside(self, shows: Sequence[str]) -> list[Any]:
        return [self._known[name]["files"] for name in shows if self.files(name) is not None]


def _key(results: Results, view: View) -> str:
    """Hash of everything a report is made from: results, view, pictures, code."""
    names = (field.name for field in dataclasses.fields(results) if field.name != "scores")
    fields = sorted((name, getattr(results, name)) for name in names)
    pictures = [_stamp(path) for path in results.files()]
    groups = sorted((key, sorted(group)) for key, group in (view.groups or {}).items())
    shown = repr((dataclasses.replace(view, groups=view.groups and {}), groups))
    made_by = [_code(), versions(DRAWN_BY)]
    return json_sha256([repr(fields), shown, _scores(results), pictures, made_by])


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
