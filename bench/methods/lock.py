"""Locks beside our cards: every package of an environment with version and hash, for pip.

The head names what it was made from, so that a card which was changed does not get it.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterator
from importlib.resources import files

from bench.methods.card import MethodCard, Official

FOLDER = ("baselines", "cards", "locks")
BUILDERS = ("setuptools", "wheel", "packaging")
"""Installed before the rest: sources are built with these (wheel 0.46 imports packaging)."""


def made_from(official: Official) -> str:
    """A digest of everything on a card that its lock follows from."""
    fields = ("commit", "python", "build", "requirements", "packages", "without", "as_of")
    told = official.model_dump(mode="json", include=set(fields))
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def head(card: MethodCard) -> str:
    """The first line of a card's lock."""
    assert card.official is not None
    python = card.official.python
    return f"# {card.name}, Python {python}, Linux x86-64; of card {made_from(card.official)}\n"


def read(card: MethodCard) -> str:
    """The lock of a card; "" where there is none that was made from it as it is."""
    package, *folders = FOLDER
    file = files(package).joinpath(*folders, f"{card.name}.txt")
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    return text if text.startswith(head(card)) else ""


def packages(text: str) -> Iterator[tuple[str, str]]:
    """Name of each package of a lock, and its lines."""
    for lines in re.findall(r"^[^\s#].*\n(?:[ \t]+.*\n)*", text, re.MULTILINE):
        yield lines.partition("==")[0], lines


def only(text: str, names: Collection[str]) -> str:
    """The part of a lock that installs the packages of these names."""
    wanted = {plain(name) for name in names}
    return "".join(lines for name, lines in packages(text) if name in wanted)


def plain(requirement: str) -> str:
    """The name in a requirement, as locks write it."""
    name = re.split(r"[^A-Za-z0-9._-]", requirement.strip(), maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()
