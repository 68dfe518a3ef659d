"""Names that come from outside, made safe to print and to use as file names."""

import os
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from bench.base.errors import CardError

_UNSAFE = re.compile(r"(?ai)[^a-z0-9._+-]+|\.\Z|\A(?:con|prn|aux|nul|com\d|lpt\d)(?=\.|\Z)")
"""Also ends and names that Windows has no files of."""
_SPACED_FOLDERS = re.compile(r"(?<![\w/.])/(?!/)(?:[^/]+/)+")
_BELOW_CUT = re.compile(r"\0(?:[^/\s:;]+/)*")
_FOLDERS = re.compile(r"(?:file://)?(?<![\w/.])/(?!/)(?:[^/\s:;]+/)+")
_WINDOWS_FOLDERS = re.compile(
    r"(?:file:///?)?(?<!\w)(?:[A-Za-z]:|\\\\\w[\w.$-]*)\\(?:[^\\/:*?\"<>|\n]+\\(?!\\))*"
)
_MARKED = ("=", "+", "-", "@", "\\t", "\\r", "'")
"""How formulas begin, and what is taken for the mark of one."""
MAX_SLUG = 80


def printable(name: object) -> str:
    """`name` on one line: control characters (newlines, terminal escapes) are shown as escapes."""
    text = str(name)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def first_line(error: object) -> str:
    """What an error says, without what follows in other lines; its kind where it says nothing."""
    return printable(next(iter(str(error).strip().splitlines()), type(error).__name__))


def slug(name: str) -> str:
    """A file name that stays inside its folder; equal only for equal names.

    Names made only of letters, digits and ``._+-`` stay as they are; any other gets a short hash.
    """
    safe = _UNSAFE.sub("_", name).lstrip(".")[:MAX_SLUG]
    if safe == name and safe:
        return safe
    import hashlib

    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{safe or 'x'}-{digest}"


def inside(folder: Path, name: str) -> Path:
    """The file or folder `name` in a folder; CardError where it would lie elsewhere."""
    if name in ("", ".", "..") or Path(name).name != name:
        raise CardError(
            f"expected a plain file name in {printable(folder)}, found '{printable(name)}'"
        )
    return folder / name


@lru_cache
def without_folders(text: str) -> str:
    """`text` with file names instead of absolute paths; addresses stay as they are.

    A folder whose name has spaces is known by being there; what it holds is shown from there on.
    """
    while (shorter := _SPACED_FOLDERS.sub(_from_known_folder, text)) != text:
        text = shorter
    return _FOLDERS.sub("", _WINDOWS_FOLDERS.sub("", _BELOW_CUT.sub("", text)))


def _from_known_folder(path: re.Match[str]) -> str:
    parts = path[0].split("/")
    ends = range(len(parts) - 1, 1, -1)
    known = next((end for end in ends if os.path.isdir("/".join(parts[:end]))), 0)
    return "\0" + "/".join(parts[known:]) if known else path[0]


def spreadsheet_text(text: str) -> str:
    """`text` for a CSV field: on one line, and with an apostrophe where it would be a formula."""
    shown = printable(text)
    return f"'{shown}" if shown.startswith(_MARKED) else shown


def of_spreadsheet(field: str) -> str:
    """The text that `spreadsheet_text` made a field of, but for what it shows as escapes."""
    return field.removeprefix("'") if field[1:].startswith(_MARKED) else field


def in_digits(value: float, digits: int) -> str:
    """A number with so many decimals, never a negative zero; a dash for NaN."""
    return "–" if value != value else f"{value:z.{digits}f}"


def in_words(size: float) -> str:
    """Bytes as people say them: 64 B, 820 kB, 46 MB, 1.2 GB."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.{unit == 'GB':d}f} {unit}"
    return f"{size:.0f} B"


def counted(number: int, what: str) -> str:
    """ "1 cell", "2 cells"."""
    return f"{number} {what}{'s' * (number != 1)}"


def suggestion(name: str, known: Iterable[str]) -> str:
    """`"; did you mean X?"` for the nearest known name, or `""`."""
    from difflib import get_close_matches

    near = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""
