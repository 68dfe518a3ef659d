"""Archives of test sets: fetched whole or not at all, read without trusting them."""

from __future__ import annotations

import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from bench.base.errors import DataError, WeightsError
from bench.base.records import copy_atomic
from bench.base.text import inside, printable
from bench.base.types import Weight
from bench.remote import weights
from bench.remote.card import Archive
from bench.remote.download import download

MAX_MEMBERS = 1_000_000
MAX_MEMBER_BYTES = 1 << 30
"""One image file of more than 1 GiB is none."""
MAX_BYTES = 200 << 30
Progress = Callable[[int, int], None]


def home(archive: Archive) -> Path:
    """Where the archive is kept."""
    return inside(weights.cache_dir() / "archives", archive.name)


def find(archive: Archive) -> Path | None:
    """The archive on this machine, in our cache or in a mirror directory; unchecked."""
    mirror = weights.mirror()
    places = [home(archive)]
    if mirror and "://" not in mirror:
        places.append(Path(mirror).expanduser() / archive.name)
    return next((path for path in places if path.exists()), None)


def locate(archive: Archive, dataset: str) -> Path:
    """The archive on this machine, checked.

    Raises:
        DataError: it is missing (says how to get it) or is another file than expected.
    """
    path = find(archive)
    if path is None:
        raise DataError(how_to_get(archive, dataset))
    if path.is_file():
        _check(archive, path)
    return path


def how_to_get(archive: Archive, dataset: str) -> str:
    """What is missing, and the command or page that mends it."""
    size = f" ({archive.size / 1e9:.1f} GB)" if archive.size else ""
    command = f"cassr-bench fetch {dataset}"
    if archive.url:
        return f"{archive.name}{size} is not on this machine; run: {command}"
    return (
        f"{archive.name}{size} is not on this machine and has no direct address; get it from "
        f"{archive.page}, then run: {command} --from PATH"
    )


def fetch(archive: Archive, dataset: str, progress: Progress) -> Path:
    """Download the archive from the first address that gives it, resumed and checked.

    Raises:
        DataError: no address, or every one failed.
    """
    found = find(archive)
    if found is not None:
        return locate(archive, dataset)
    base = weights.mirror().rstrip("/")
    mirrored = [f"{base}/{archive.name}"] if "://" in base else []
    addresses = [*mirrored, *([archive.url] if archive.url else []), *archive.mirrors]
    failures = []
    for address in addresses:
        try:
            download(
                address,
                home(archive),
                _as_weight(archive),
                lambda _, done, total: progress(done, total),
            )
            return home(archive)
        except WeightsError as error:
            failures.append(str(error))
    if not failures:
        raise DataError(how_to_get(archive, dataset))
    by_hand = f"or get it from {archive.page or archive.url} and run: cassr-bench fetch {dataset}"
    raise DataError(f"{'; '.join(failures)}; {by_hand} --from PATH")


def adopt(archive: Archive, given: Path) -> Path:
    """Take an archive, or a folder of its files, that somebody already has.

    Raises:
        DataError: there is nothing, or it is another file than expected.
    """
    if not given.exists():
        raise DataError(f"--from {printable(given)}: expected an archive or folder, found nothing")
    target = home(archive)
    if given.is_file():
        _check(archive, given)
        copy_atomic(given, target)
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    part.symlink_to(given.resolve(), target_is_directory=True)
    os.replace(part, target)
    return target


def _check(archive: Archive, path: Path) -> None:
    if archive.size and path.stat().st_size != archive.size:
        raise DataError(
            f"{printable(path)}: has {path.stat().st_size} bytes, expected {archive.size}"
        )
    try:
        weights.check(_as_weight(archive), path)
    except WeightsError as error:
        raise DataError(str(error)) from error


def _as_weight(archive: Archive) -> Weight:
    return Weight(
        name=archive.name,
        url=archive.url,
        folder="archives",
        sha256=archive.sha256,
        size=archive.size,
    )


# -- reading -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Member:
    """One file in an archive: its path there, and a way to read it."""

    path: str
    size: int
    open: Callable[[], IO[bytes]]


def members(path: Path, limit: int | None = MAX_MEMBER_BYTES) -> Iterator[Member]:
    """The regular files of a zip, a tar or a folder, in the order of the archive.

    `limit` is the most bytes that one of them may have.

    Raises:
        DataError: not an archive, damaged, or with a member that no honest archive has: a path
            that leaves it, a link, a device, absurd numbers or sizes.
    """
    count, total = 0, 0
    try:
        for member in _reader(path)(path):
            count, total = count + 1, total + member.size
            _require_sane(path, member, count, total, limit)
            yield member
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise DataError(f"{printable(path)}: is damaged ({printable(error)})") from error


def _reader(path: Path) -> Callable[[Path], Iterator[Member]]:
    if path.is_dir():
        return _in_folder
    if zipfile.is_zipfile(path):
        return _in_zip
    if tarfile.is_tarfile(path):
        return _in_tar
    raise DataError(f"{printable(path)}: expected a zip or tar archive, found neither")


def _require_sane(path: Path, member: Member, count: int, total: int, limit: int | None) -> None:
    parts = PurePosixPath(member.path.replace("\\", "/")).parts
    if not parts or ".." in parts or parts[0] == "/" or re.match(r"[A-Za-z]:", parts[0]):
        raise _refused(path, member.path, "leaves the archive")
    if limit is not None and member.size > limit:
        raise _refused(path, member.path, f"has {member.size} bytes, an image has fewer")
    if count > MAX_MEMBERS or total > MAX_BYTES:
        raise _refused(path, member.path, "is one too many: absurd number or size of files")


def _refused(path: Path, member: str, why: str) -> DataError:
    return DataError(f"{printable(path)}: refused, its member '{printable(member)}' {why}")


def _in_folder(folder: Path) -> Iterator[Member]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            inside = path.relative_to(folder).as_posix()
            yield Member(inside, path.stat().st_size, lambda path=path: path.open("rb"))  # type: ignore[misc]


def _in_zip(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                raise _refused(path, info.filename, "is a link or no regular file")
            yield Member(info.filename, info.file_size, lambda info=info: archive.open(info))  # type: ignore[misc]


def _in_tar(path: Path) -> Iterator[Member]:
    with tarfile.open(path) as archive:
        for info in archive:
            if info.isdir():
                continue
            if not info.isreg():
                raise _refused(path, info.name, "is a link or no regular file")
            yield Member(info.name, info.size, lambda info=info: _tar_file(archive, info))  # type: ignore[misc]


def _tar_file(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(info)
    assert file is not None  # it is a regular file
    return file


def extract(member: Member, target: Path) -> None:
    """Write one member to `target`, never more bytes than it declared.

    Raises:
        DataError: it is longer than declared, or the archive is damaged.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    left = member.size
    try:
        with member.open() as source, target.open("wb") as file:
            while chunk := source.read(1 << 20):
                left -= len(chunk)
                if left < 0:
                    raise DataError(f"'{printable(member.path)}' is longer than declared")
                file.write(chunk)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError) as error:
        raise DataError(
            f"'{printable(member.path)}' cannot be read, the archive is damaged ({error})"
        ) from error


def matches(path: str, pattern: str) -> bool:
    """Whether a member's path fits a pattern in which `*` stays in one folder and `**` does not."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    known = {"**/": r"(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.fullmatch("".join(known.get(p, re.escape(p)) for p in parts), path) is not None
