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

MAX_TITLE = 200
Title = Annotated[str, Field(min_length=1, max_length=MAX_TITLE)]
Names = Annotated[list[Title], Field(min_length=1, max_length=1000)]
"""A list that means "all" where it is left out; given empty, it is refused."""
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


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
    model_config = ConfigDict(extra="forbid", frozen=True)


T = TypeVar("T", bound=Card)


def read_card(path: Path | Traversable, kind: type[T]) -> T:
    """Read and check one card; CardError as `parse_toml` and `checked` say."""
    return checked(path, parse_toml(path, read_text(path)), kind)


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
    if LONG_KEY.search(text):
        raise CardError(f"{printable(path)}: is not valid TOML (nested too deeply)")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise CardError(f"{printable(path)}: is not valid TOML (nested too deeply)") from error
    except ValueError as error:
        raise CardError(f"{printable(path)}: is not valid TOML ({printable(error)})") from error


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
