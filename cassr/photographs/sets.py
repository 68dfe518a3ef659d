"""The sets of photographs that are trained on, as cards; all lie below one folder."""

import hashlib
import os
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import StringConstraints

from cassr.base.errors import TrainingError
from cassr.base.files import replacing
from cassr.degradation.parameters import Frozen
from cassr.photographs import qt_resources
from cassr.photographs.read import Photographs, Stream, in_folders, open_hub

CARDS = Path(__file__).parent / "cards"
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._()-]*$")]
"""A name on a card that becomes a file's or folder's."""
PAPER = ("div2k", "div8k", "flickr2k", "ost", "ffhq10k")


class ListedFile(Frozen):
    """A photograph of a package, with its own licence.

    Attributes:
        name: in the set's folder.
        path: in the package; "archive.rcc!/place" inside a Qt resource archive.
    """

    name: FileName
    package: str
    path: str
    sha256: str
    licence: str
    author: str


class TrainingSet(Frozen):
    """A card.

    Attributes:
        source: page that it is had from.
        archives: addresses of the archives, where they are public.
        layout: what its folder holds.
        pattern: glob of its photographs below its folder.
        images: how many there are.
        limit: only the first so many are used.
        least_side: the shortest side of its smallest photograph, 0 where unknown.
        hub: a hub dataset with the same photographs.
        packages: Debian packages that hold the listed files.
    """

    name: FileName
    title: str
    source: str
    layout: str
    pattern: str
    images: int
    least_side: int
    licence: str
    archives: tuple[str, ...] = ()
    limit: int | None = None
    hub: str = ""
    packages: tuple[str, ...] = ()
    paper: str = ""
    note: str = ""
    files: tuple[ListedFile, ...] = ()


@lru_cache(maxsize=1)
def training_sets() -> dict[str, TrainingSet]:
    """All cards by name."""
    texts = (path.read_text("utf-8") for path in sorted(CARDS.glob("*.toml")))
    cards = [TrainingSet(**tomllib.loads(text)) for text in texts]
    return {card.name: card for card in cards}


def root() -> Path:
    """Where training sets lie: CASSR_TRAINING_DATA, or the user's cache."""
    if own := os.environ.get("CASSR_TRAINING_DATA"):
        return Path(own).expanduser()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return cache / "cassr-bench" / "training"


def open_photographs(places: Sequence[str], streaming: bool = False) -> Photographs | Stream:
    """Photographs of folders, files, training sets by name ("paper": all five) and "hf:NAME".

    Raises TrainingError: a place that cannot be used, or several with `streaming`.
    """
    hub = [place.removeprefix("hf:") for place in places if place.startswith("hf:")]
    if streaming:
        if len(places) != 1 or not hub:
            raise TrainingError("streaming: expected exactly one --data hf:NAME")
        return open_hub(hub[0], streaming=True)
    local = [file for place in places if not place.startswith("hf:") for file in _named(place)]
    found: list[Any] = [*in_folders(local)] if local else []
    for name in hub:
        found += open_hub(name)
    if not found:
        raise TrainingError("data: expected folders, images or hf:NAME, found none")
    return found


def _named(place: str) -> list[Path]:
    """A path as it is, a training set as its files."""
    if place == "paper":
        return [file for name in PAPER for file in photographs(name)]
    if Path(place).exists() or os.sep in place:
        return [Path(place)]
    return photographs(place)


def photographs(name: str) -> list[Path]:
    """The files of a set, in order; those of packages are fetched if they are not there.

    Raises TrainingError: unknown set, or one that is incomplete: with where it is had from.
    """
    if name not in training_sets():
        known = ", ".join(training_sets())
        raise TrainingError(f"training set {name!r}: expected one of {known}, a path or hf:NAME")
    card = training_sets()[name]
    if card.packages and problem(card):
        fetch_packages(card)
    if reason := problem(card):
        raise TrainingError(reason)
    return _files(card)


def problem(card: TrainingSet) -> str:
    """Why a set cannot be used here; "" when it can."""
    folder = root() / card.name
    found = len(_files(card)) if folder.is_dir() else 0
    wanted = card.limit or card.images
    if found >= wanted:
        return _damaged(card)
    return (
        f"{folder}: expected {wanted} images of {card.title} ({card.layout}), found {found}; get "
        f"it from {card.source} under its terms ({card.licence})"
        + (f", or train on --data hf:{card.hub}" if card.hub else "")
    )


def _files(card: TrainingSet) -> list[Path]:
    return sorted((root() / card.name).glob(card.pattern))[: card.limit]


def _damaged(card: TrainingSet) -> str:
    for listed in card.files:
        path = root() / card.name / listed.name
        found = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(found).hexdigest() != listed.sha256:
            return f"{path}: missing, or not the file that {listed.package} holds; delete it"
    return ""


def fetch_packages(card: TrainingSet) -> Path:
    """Take files out of Debian packages, installing none; TrainingError: no apt, or no package."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise TrainingError(
            f"{root() / card.name}: expected {card.images} images out of the Debian packages "
            f"{', '.join(card.packages)}; there is no apt-get here: unpack them by hand"
        )
    target = root() / card.name
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target) as place:
        for package in card.packages:
            _run("apt-get", "download", package, cwd=place)
        for archive in Path(place).glob("*.deb"):
            _run("dpkg-deb", "-x", str(archive), f"{place}/content", cwd=place)
        for listed in card.files:
            _take(listed, Path(place), target)
    return target


def _take(listed: ListedFile, place: Path, target: Path) -> None:
    """Move a file of the unpacked packages into the set.

    Its part lies in `place`, which each fetching process has to itself, and out of the set's
    sight: a set's pattern may match a part's name.
    """
    outer, _, inner = listed.path.partition("!")
    try:
        found = (place / "content" / outer).read_bytes()
        found = qt_resources.read_file(found, inner) if inner else found
    except (OSError, KeyError, ValueError) as error:
        raise TrainingError(f"package {listed.package}: {listed.path}: {error}") from error
    if hashlib.sha256(found).hexdigest() != listed.sha256:
        raise TrainingError(
            f"package {listed.package}: {listed.path} is another file than the card lists; "
            "another version of the package?"
        )
    with replacing(target / listed.name, place) as part:
        part.write_bytes(found)


def _run(*command: str, cwd: str) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        raise TrainingError(
            f"{' '.join(command[:3])}: {lines[-1]}; `apt-get update` first, or unpack the package "
            "by hand"
        )
