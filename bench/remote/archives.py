"""Archives, folders and other files, read to their end without trusting them."""

import json
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from codecs import getincrementaldecoder
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from bench.base.errors import DataError
from bench.base.text import printable

MAX_MEMBERS = 1_000_000
MAX_MEMBER_BYTES = 1 << 30
"""One image file of more than 1 GiB is none."""
MAX_BYTES = 200 << 30
MAX_GROWTH = 100
"""Times an archive's size that its files may have, beyond the first `FREE_BYTES`."""
FREE_BYTES = 256 << 20
_DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError),
    *(RuntimeError, ValueError),  # a method or password that zipfile has not, absurd fields
)

_PICKLES = (".pth", ".pt", ".ckpt", ".pkl", ".bin")
_ARCHIVES = re.compile(r".*\.(zip|npz|tar|tgz|tar\.\w+)", re.IGNORECASE)
_SHOWN = 80
_HEAD = 512


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
    try:
        reader, most, total = _reader(path), MAX_BYTES, 0
        if not path.is_dir():
            most = min(most, FREE_BYTES + MAX_GROWTH * path.stat().st_size)
        for count, member in enumerate(reader(path), start=1):
            total += member.size
            _require_sane(path, member, limit)
            if count > MAX_MEMBERS or total > most:
                why = "is one too many: absurd number or size of files"
                raise _refused(path, member.path, why)
            yield member
    except _DAMAGE as error:
        raise DataError(f"{printable(path)}: {_is_damaged(error)}") from error


def _reader(path: Path) -> Callable[[Path], Iterator[Member]]:
    if path.is_dir():
        return _in_folder
    if path.is_file():  # no pipe or device, which may never end
        if zipfile.is_zipfile(path):
            return _in_zip
        if tarfile.is_tarfile(path):
            return _in_tar
    raise DataError(f"{printable(path)}: expected a zip or tar archive, found neither")


def _is_damaged(error: Exception) -> str:
    if isinstance(error, RuntimeError) and "password" in str(error):
        return "is encrypted; unpack it by hand and give the folder with --from"
    if isinstance(error, OSError) and error.errno:
        return f"cannot be read ({error.strerror})"
    return f"is damaged ({printable(error) or type(error).__name__})"


def _require_sane(path: Path, member: Member, limit: int | None) -> None:
    parts = PurePosixPath(member.path.replace("\\", "/")).parts
    if not parts or ".." in parts or parts[0] == "/" or re.match(r"[A-Za-z]:", parts[0]):
        raise _refused(path, member.path, "leaves the archive")
    if limit is not None and member.size > limit:
        raise _refused(path, member.path, f"has {member.size} bytes, an image has fewer")


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
            yield Member(info.name, info.size, lambda info=info: archive.extractfile(info))  # type: ignore[misc, arg-type]
        _require_end(archive)


def _require_end(archive: tarfile.TarFile) -> None:
    """tarfile takes a damaged header for the end, and reads no compressed file to its checksum."""
    file = archive.fileobj
    assert file is not None  # it was opened to be read
    file.seek(archive.offset)
    if any(file.read(tarfile.BLOCKSIZE)):
        raise tarfile.ReadError(f"bad header at byte {archive.offset}")
    while file.read(1 << 20):
        pass


def extract(member: Member, target: Path) -> None:
    """Write one member to `target`; DataError where it is longer than declared, or the archive is
    damaged."""
    target.parent.mkdir(parents=True, exist_ok=True)
    left = member.size
    try:
        with member.open() as source, target.open("wb") as file:
            while chunk := source.read(1 << 20):
                left -= len(chunk)
                if left < 0:
                    raise DataError(f"'{printable(member.path)}' is longer than declared")
                file.write(chunk)
    except _DAMAGE as error:
        reason = f"the archive {_is_damaged(error)}"
        if isinstance(error, OSError) and error.errno:
            where = printable(target.parent)
            reason = f"cannot be unpacked to {where} ({error.strerror}); make room"
        raise DataError(f"'{printable(member.path)}': {reason}") from error


def matches(path: str, pattern: str) -> bool:
    """Whether a member's path fits a pattern in which `*` stays in one folder and `**` does not."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    known = {"**/": r"(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.fullmatch("".join(known.get(p, re.escape(p)) for p in parts), path) is not None


# -- whether a file without a published hash is whole and of its kind ---------------------------


def text_in(path: Path) -> str:
    """The beginning of a file that is text, for people: an error's page, say; "" for any other."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    try:
        text = getincrementaldecoder("utf-8")().decode(head).strip()  # less a letter cut in two
    except UnicodeDecodeError:
        return ""
    if not text or any(ord(c) < 32 and c not in "\t\r\n\f" for c in text):
        return ""
    kind = "a web page" if re.match(r"(?i)<(!doctype )?html", text) else "text"
    return f"{kind} ('{printable(text[:_SHOWN])}')"


def damage(path: Path, name: str) -> str:
    """Why a file cannot be what its name says, read to its end where that tells; "" if it can."""
    if not path.stat().st_size:
        return "is empty"
    if (text := text_in(path)) and not (name.lower().endswith(".json") and _is_settings(path)):
        return f"is {text}"
    if _ARCHIVES.fullmatch(name):
        return _damaged_archive(path)
    if name.lower().endswith(".safetensors"):
        return _damaged_tensors(path)
    return _damaged_pickle(path) if name.lower().endswith(_PICKLES) else ""


def _is_settings(path: Path) -> bool:
    """Whether a file is a JSON object, and not one that tells an error."""
    with suppress(ValueError, RecursionError):
        found = json.loads(path.read_bytes())
        return isinstance(found, dict) and "error" not in found
    return False


def _damaged_archive(path: Path) -> str:
    try:
        deque(members(path, limit=None), maxlen=0)
    except DataError as error:
        return str(error).removeprefix(f"{printable(path)}: ")
    return ""


def _damaged_tensors(path: Path) -> str:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            return ""
    except SafetensorError as error:
        return f"is no whole .safetensors file ({printable(error)})"


def _damaged_pickle(path: Path) -> str:
    """torch's files are zips, whose directory comes last, or bare pickles."""
    with path.open("rb") as file:
        start = file.read(2)
    if start == b"PK":
        return "" if zipfile.is_zipfile(path) else "is cut short"
    return "" if start[:1] == b"\x80" else "is no file of weights"
