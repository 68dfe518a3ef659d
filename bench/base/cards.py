"""Cards: TOML files that describe methods, datasets and suites, checked when read."""

import re
import tomllib
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from bench.base.errors import CardError
from bench.base.records import what_is_wrong
from bench.base.text import printable

MAX_BYTES = 2**20
"""Of a card's file."""
LONG_KEY = re.compile(r"""(?<![\w"'.-])(?:[\w"'-]++[ \t]*+\.[ \t]*+){100}""")
"""A dotted key of a hundred parts; reading one takes time that grows with the square of them."""

LARGEST = 2**63 - 1
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What no text has; line ends and tabs it may have."""

BREAKING = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What breaks or turns a line, or is no text; all spaces and joiners of names of files are."""


def _on_one_line(title: str) -> str:
    if not BREAKING.search(title):
        return title
    raise ValueError(f"expected printable text on one line, found {title!r}")


MAX_TITLE = 200
Title = Annotated[str, Field(min_length=1, max_length=MAX_TITLE), AfterValidator(_on_one_line)]
Names = Annotated[list[Title], Field(min_length=1, max_length=1000)]
"""A list that means "all" where it is left out; given empty, it is refused."""
Count = Annotated[int, Field(ge=1, le=LARGEST, strict=True)]
Natural = Annotated[int, Field(ge=0, le=LARGEST, strict=True)]
Amount = Annotated[float, Field(ge=0)]


def _plain(name: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._()+-]*", name):
        return name
    raise ValueError(f"expected a plain file name of letters, digits and ._()+-, found {name!r}")


def _downward(path: str) -> str:
    if path.startswith(("/", "~")) or "\\" in path or ":" in path or ".." in path.split("/"):
        raise ValueError(f"expected a path that stays in its folder, found {path!r}")
    return path


FileName = Annotated[str, AfterValidator(_plain)]
"""A name on a card that becomes a file's or folder's."""
PathInside = Annotated[str, AfterValidator(_downward)]
"""A path on a card, relative to a folder that it does not lead out of."""


class Card(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


T = TypeVar("T", bound=Card)


def read_card(path: Path | Traversable, kind: type[T]) -> T:
    """Read and check one card; CardError as `parse_toml` and `checked` say, and for a number or
    a text that is none, wherever it stands."""
    said = parse_toml(path, read_text(path))
    if strange := _strange(said):
        raise CardError(f"{printable(path)}: {strange}")
    return checked(path, said, kind)


def _strange(said: dict[str, Any]) -> str:
    """What no card means: a whole number beyond 64 bits, a control character."""
    left: list[tuple[str, Any]] = list(said.items())
    while left:
        key, value = left.pop()
        if isinstance(value, dict):
            left += value.items()
        elif isinstance(value, list):
            left += ((key, each) for each in value)
        elif isinstance(value, int) and abs(value) > LARGEST:
            return f"field '{printable(key)}': expected a number of at most {LARGEST}"
        elif _CONTROL.search(f"{key}{value}"):
            return f"field '{printable(key)}': expected text without control characters"
    return ""


def checked(path: Path | Traversable, said: Any, kind: type[T]) -> T:
    """What a file says, as a card; CardError for a field that is unknown, missing or of the wrong
    type, which it names."""
    try:
        return kind.model_validate(said)
    except ValidationError as error:
        fields = f"fields of a {kind.__name__} are {', '.join(kind.model_fields)}"
        raise CardError(f"{printable(path)}: {what_is_wrong(error)}; {fields}") from error


def read_text(path: Path | Traversable, most: int = MAX_BYTES) -> str:
    """A text file of at most `most` bytes, UTF-8 with or without a byte order mark; CardError where
    it cannot be read, is larger or is something else."""
    shown = printable(path)
    if isinstance(path, Path) and path.exists() and not (path.is_file() or path.is_dir()):
        raise CardError(f"{shown}: expected a file, found a pipe or device")
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
        if len(content) > most:
            raise CardError(f"{shown}: is larger than {most >> 20} MiB; is it the right file?")
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise CardError(f"{shown}: cannot be read ({error.strerror or 'unreadable'})") from error
    except UnicodeDecodeError as error:
        wrong = f"is not UTF-8 (byte {error.start}); save it as UTF-8"
        raise CardError(f"{shown}: {wrong}") from error
    except ValueError as error:  # a name that no file can have
        raise CardError(f"{shown}: cannot be read ({printable(error)})") from error


def parse_toml(path: Path | Traversable, text: str) -> dict[str, Any]:
    """What a TOML file says; `path` is for the message; CardError where it is none, or is nested
    beyond reason."""
    why = "nested too deeply"
    try:
        if not LONG_KEY.search(text):
            return tomllib.loads(text)
    except ValueError as error:
        why = printable(error)
    except RecursionError:
        pass
    raise CardError(f"{printable(path)}: is not valid TOML ({why})")


def read_folder(package: str, folder: str, kind: type[T]) -> dict[str, T]:
    """All cards of a package's folder, keyed by file stem, which must be the card's name."""
    cards: dict[str, T] = {}
    entries = [f for f in files(package).joinpath(folder).iterdir() if f.name.endswith(".toml")]
    for file in sorted(entries, key=lambda f: f.name):
        card = read_card(file, kind)
        stem = file.name.removesuffix(".toml")
        if getattr(card, "name", stem) != stem:
            raise CardError(f"{printable(file)}: a card's name must be its file's: '{stem}'")
        cards[stem] = card
    return cards


def whole_match(pattern: str, text: str) -> Any:
    """The match of a card's pattern with all of a text, or None; CardError where it takes long."""
    import regex  # re cannot be stopped

    try:
        return regex.fullmatch(pattern, text, timeout=1)
    except TimeoutError:
        why = f"pattern {pattern!r}: expected a match within a second, in '{text}'"
        raise CardError(printable(f"{why}; repeat no repeats")) from None
