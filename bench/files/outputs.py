"""What commands write for people: never over an input, nor over a file that we did not write.

What is written is recorded in a folder `.cassr-bench` beside it, by the hash of its content and
before it is put in its place. A file that is not ours, or was edited since, has another hash.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

from bench.base.errors import BenchError
from bench.base.records import announced, write_atomic
from bench.base.text import printable, slug
from bench.files.image_folders import RECORDS
from bench.files.images import file_sha256
from bench.files.record_log import Line, RecordLog


def files_in(folders: Iterable[Path]) -> list[Path]:
    """What is directly in those of the folders that are there."""
    return [file for folder in folders if folder.is_dir() for file in folder.iterdir()]


def ignores_case(folder: Path) -> bool:
    """Whether `A` and `a` are one name where a folder is or will be."""
    for place in (folder.absolute(), *folder.absolute().parents):
        other = place.parent / place.name.swapcase()
        if str(other) != str(place) and place.exists():
            return other.exists() and other.samefile(place)
    return False


FIELDS = ("of", "part", "sha256")


class WrittenLine(Line):
    """A file that was written, or was about to be."""

    file: str
    sha256: str


class Inputs:
    """Files that a command reads, recognised by any path, link or spelling of their names."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._files: set[tuple[int, int]] = set()
        self._names: set[str] = set()
        for file in files:
            self._names.add(_spelled(file))
            with suppress(OSError):
                self._files.add(_identity(file))

    def refuse(self, path: Path, option: str) -> None:
        """Raise BenchError if `path` is one of them."""
        known = _spelled(path) in self._names
        with suppress(OSError):
            known = known or _identity(path) in self._files
        if known:
            raise BenchError(
                f"{option} {printable(path)}: expected a place for output, found one of the "
                "inputs; choose another, inputs are never replaced"
            )


def _spelled(path: Path) -> str:
    return os.path.realpath(path).casefold()


def _identity(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_dev, stat.st_ino


def require_free(
    path: Path, ours: Callable[[str], bool], option: str, inputs: Inputs, overwrite: bool = False
) -> None:
    """Refuse to write to a place where there is somebody else's file.

    Args:
        ours: whether a file of this hash, at this place, was written by us.
        overwrite: replace it all the same, unless it is an input.

    Raises:
        BenchError: names the option, the file and what to do.
    """
    inputs.refuse(path, option)
    if not os.path.lexists(path):
        return
    if not path.is_file():
        raise BenchError(
            f"{option} {printable(path)}: expected a file or nothing there, found a folder, a "
            "device or a broken link; choose another place"
        )
    if not overwrite and not ours(file_sha256(path)):
        raise BenchError(
            f"{option} {printable(path)}: a file is there that was not written by this command, "
            "or was changed since; choose another place, move it away, or give --overwrite"
        )


def require_folder(folder: Path, option: str) -> None:
    """Refuse what is no folder and cannot become one; BenchError, which names the file that is in
    the way."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir():
        raise BenchError(
            f"{option} {printable(folder)}: expected a folder, found the file "
            f"{printable(nearest)}; choose another place"
        )


class Output:
    """A folder, or files of one, that a command writes and may write anew.

    Inside `with`, whatever `bench.base.records` writes below the folder is checked and recorded
    first; at the end what was written before and not now is removed, as far as it is still ours.

    Attributes:
        folder: of the files.
        option: that named it, for messages.
    """

    def __init__(
        self,
        folder: Path,
        record: str,
        option: str,
        *,
        inputs: Iterable[Path] = (),
        overwrite: bool = False,
    ) -> None:
        self.folder, self.option, self.overwrite = folder, option, overwrite
        self._inputs = Inputs(inputs)
        self._list = folder / RECORDS / f"{record}.json"
        self._log = RecordLog(folder / RECORDS / record, WrittenLine, unsealed=True)
        self._known: dict[str, set[str]] | None = None
        self._now: dict[str, str] = {}
        self._one_at_a_time = Lock()

    def check(self, names: Iterable[str]) -> None:
        """Refuse before any work what `write` would refuse, as far as names are known; BenchError
        where the folder cannot be one, or a file is there that is not ours."""
        require_folder(self.folder, self.option)
        for name in names:
            self._require_free(self.folder / name)

    def is_ours(self, path: Path) -> bool:
        """Whether a file is as we wrote it."""
        if not path.is_file():
            return False
        name, found = self._name(path), file_sha256(path)
        ours = self._wrote(name, found)
        if ours:
            self._now[name] = found
        return ours

    @contextmanager
    def writing(self) -> Iterator[None]:
        """While this is open, whatever is written below the folder is checked and recorded."""
        try:
            with announced(self.folder, self):
                yield
        finally:
            self._log.close()

    def finish(self, parts: Mapping[str, Sequence[Path]], of: str = "") -> None:
        """Keep the list of what is there now, and remove what is there no longer.

        Args:
            parts: the files of each part that was made now. Files of other parts stay where they
                are made `of` the same.
            of: hash of what the files were made from.
        """
        before = self._listed()
        now: dict[str, dict[str, str]] = {}
        for part, files in parts.items():
            for file in files:
                name = self._name(file)
                digest = self._now.get(name) or file_sha256(file)
                now[name] = {"of": of, "part": part, "sha256": digest}
        for name, entry in before.items():
            if name not in now and entry["of"] == of and entry["part"] not in parts:
                now[name] = entry
        for name in {*before, *self._read()} - now.keys():
            self._remove(name)
        write_atomic(self._list, json.dumps({"files": now}, indent=1, sort_keys=True) + "\n")
        self._log.remove()

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def before(self, path: Path, digest: str) -> None:
        with self._one_at_a_time:
            self._require_free(path, digest)
            self._now[self._name(path)] = digest
            self._log.append({"file": self._name(path), "sha256": digest})

    def _require_free(self, path: Path, digest: str = "") -> None:
        def ours(found: str) -> bool:
            return found == digest or self._wrote(self._name(path), found)

        require_free(path, ours, self.option, self._inputs, self.overwrite)

    def _wrote(self, name: str, digest: str) -> bool:
        """What is unknown is looked up anew, for other processes may write here too."""
        if digest == self._now.get(name):
            return True
        if self._known is None or digest not in self._known.get(name, ()):
            self._known = self._read()
        return digest in self._known.get(name, ())

    def _read(self) -> dict[str, set[str]]:
        """Every name that was written, with the hashes that it had."""
        known = {name: {entry["sha256"]} for name, entry in self._listed().items()}
        for record in self._log:
            known.setdefault(record.file, set()).add(record.sha256)
        return known

    def _listed(self) -> dict[str, dict[str, str]]:
        try:
            files = dict(json.loads(self._list.read_text(encoding="utf-8"))["files"])
            return {name: {key: entry[key] for key in FIELDS} for name, entry in files.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def _remove(self, name: str) -> None:
        path = self.folder / name
        # The list may be a stranger's, and a folder in here a link to another place.
        inside = path.parent.resolve().is_relative_to(self.folder.resolve())
        if inside and path.is_relative_to(self.folder) and self.is_ours(path):
            path.unlink()
            for parent in path.relative_to(self.folder).parents[:-1]:
                with suppress(OSError):
                    (self.folder / parent).rmdir()


class SingleFile(Output):
    """The output that is one file, checked at once; BenchError where another file is there, or one
    of the inputs."""

    def __init__(
        self, path: Path, option: str, *, inputs: Iterable[Path] = (), overwrite: bool = False
    ) -> None:
        record = f"file-{slug(path.name)}"
        super().__init__(path.parent, record, option, inputs=inputs, overwrite=overwrite)
        self.path = path
        self.check([path.name])

    def write(self, content: str | bytes) -> None:
        with self.writing():
            write_atomic(self.path, content)
        self.finish({"": [self.path]})
