"""Methods by name: those of cards, and those that people bring as files and folders."""

import os
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.base.cards import MAX_TITLE, read_card, read_folder
from bench.base.errors import BenchError, CardError, UnknownName, WeightsError
from bench.base.lazy import require_known
from bench.base.registry import Registry
from bench.base.remote_file import Weight
from bench.base.text import printable
from bench.base.types import MetricSpec
from bench.files import own_code
from bench.files.images import file_sha256
from bench.methods import finished, own_file, own_function
from bench.methods.card import MethodCard
from bench.methods.entry import Entry
from bench.methods.finished import DATASET
from bench.remote import weights

CARD_FOLDERS = (("baselines", "cards"),)


@cache
def method_cards() -> Registry[MethodCard]:
    folders = [read_folder(package, folder, MethodCard) for package, folder in CARD_FOLDERS]
    return Registry("method", (card for cards in folders for card in cards.values()))


@cache
def all_methods() -> Registry[MethodCard]:
    """Every method that has a name: those of the cards, their variants and trainings."""
    return Registry("method", (each for card in method_cards().values() for each in card.methods()))


def matching(name: str) -> list[str]:
    """The names that `name` stands for: itself, or all that its `*` can be filled to; UnknownName
    where there is none."""
    if "*" not in name or is_brought(name):
        return [name]
    found = [known for known in all_methods() if fnmatchcase(known, name)]
    if not found:
        raise UnknownName(
            f"no method is called '{printable(name)}' (`cassr-bench list methods` shows all)"
        )
    return found


def find(name: str) -> Entry:
    """The method called `name`.

    Names: a card's or its variant's; `spandrel:FILE` (weights spandrel knows);
    `folder:PATH[@NAME]` (finished images, matched by stem; `{dataset}` in PATH stands for the
    dataset's name, `{stem}` in its last part says how files are named); `FILE.py[:NAME[(...)]]`
    (a function `upscale`, or what is named, made with these arguments); `FILE.onnx`;
    `diffusers:FOLDER` (a pipeline); `FILE.toml` (a card).

    Raises:
        UnknownName, CardError, WeightsError, ImageError, Unavailable: what was expected and found.
    """
    if name.startswith("folder:"):
        return _folder(name)
    if name.startswith(own_function.PREFIX):
        return _python_function(name)
    if name.endswith(".toml"):
        entry = find_program(name)
        if entry.card.official and entry.card.official.scores:
            raise CardError(f"{printable(name)}: is the card of a metric; give it with --metrics")
        return entry
    for pattern, fields in _BROUGHT.items():
        if match := re.fullmatch(pattern, name, re.DOTALL):
            return _brought(name, fields, **match.groupdict(""))
    return Entry(name, all_methods().find(name))


@cache
def metric_cards() -> dict[str, MethodCard]:
    """The metrics with a program of their own."""
    return read_folder("baselines", "metrics", MethodCard)


def find_program(name: str) -> Entry:
    """A method, or the program of a metric; raises as `find`."""
    if name.endswith(".toml"):
        return Entry(name, _card_by_path(Path(name)), file=Path(name))
    return Entry(name, metric_cards()[name]) if name in metric_cards() else find(name)


def metric(name: str) -> MetricSpec:
    """The metric of a card, or of a file with one; CardError where it is a method's."""
    entry = find_program(name)
    card, official = entry.card, entry.card.official
    if official is None or official.scores is None:
        raise CardError(f"{printable(name)}: expected [official.scores] of a metric, found none")
    told = ("better", "reference", "range", "bounds", "digits")
    return MetricSpec(
        **{field: getattr(official.scores, field) for field in told},
        name=printable(entry.file.name) if entry.file else card.name,  # its own may be another's
        title=card.title,
        means=card.summary,
        source=card.paper,
        factory=card.factory,
        licence=card.licence,
        weights=tuple(card.weights),
        version=card.version,
        file=entry.file,
        program=entry,
    )


def is_brought(name: str) -> bool:
    """Whether it names a file or folder of the user's, or a function."""
    known = name.startswith(("folder:", own_function.PREFIX)) or name.endswith(".toml")
    return known or any(re.fullmatch(pattern, name, re.DOTALL) for pattern in _BROUGHT)


class _GivenCard(MethodCard):
    """A method that is a file or folder of the user's: its name is free text and never a path."""

    name: str


def _card_by_path(file: Path) -> MethodCard:
    card, packaged = read_card(file, MethodCard), method_cards().values()
    require_known(file, [card.factory], [known.factory for known in packaged])
    require_known(file, [card.lookup], [known.lookup for known in packaged])
    # What pip builds may run: NAME @ URL anybody's, and of an index whatever has that name.
    require_known(file, card.packages, [name for known in packaged for name in known.packages])
    # Its commands would run in what was set up for a card of that name, and unpickle its weights.
    own, known = (card.official, card.weights), [(each.official, each.weights) for each in packaged]
    require_known(file, ["the program of [official]"] if own[0] and own not in known else [], [])
    return card


def _own_card(name: str, factory: str, summary: str, **more: Any) -> MethodCard:
    said = {"factory": factory, "summary": summary, "licence": "unknown", **more}
    try:
        name.encode()  # no file of results can hold half a character
        return _GivenCard(name=name, title=printable(name), **said)
    except (ValidationError, UnicodeEncodeError) as error:
        raise BenchError(
            f"method '{printable(name)}': expected a name of 1 to {MAX_TITLE} characters of "
            "Unicode; rename the file, or name the folder as in folder:PATH@NAME"
        ) from error


_BROUGHT: dict[str, dict[str, Any]] = {
    r"spandrel:(?P<file>.+)": {"factory": "baselines.spandrel_models:SpandrelNetwork"},
    r"diffusers:(?P<folder>.+)": {"seeded": True},
    own_file.NAME.pattern: {"seeded": True},
    r"(?P<file>.+\.onnx)": {"packages": ["onnxruntime>=1.17"]},
}
"""What methods that are files are called -> fields of their cards."""


def _brought(
    name: str, fields: Mapping[str, Any], file: str = "", folder: str = "", call: str = ""
) -> Entry:
    """A method that is a file, or a folder of diffusers', with all that belongs to it."""
    path = Path(file or os.path.join(folder, own_file.INDEX))
    title = Path(os.path.abspath(folder)).name if folder else path.stem
    said: dict[str, Any] = {"weights": [_given(path)], **fields}
    said.setdefault("factory", "bench.methods:UserMethod")
    if call:
        own_file.require_defined(path, call)
        title, said["options"] = f"{title}:{call}", {"call": call}
    parts = own_code.hashes(path) if path.suffix == ".py" else {}
    for part in Path(folder).rglob("*") if folder else ():
        if part.is_file():
            parts[part.relative_to(folder).as_posix()] = weights.sha256(part)
    card = _own_card(title, summary="brought as a file", **said)
    return Entry(name, card, modules=parts, file=path)


def _python_function(name: str) -> Entry:
    function, sha256 = own_function.registered(name)
    said = {"options": {"name": name, "sha256": sha256}, "seeded": True, "max_workers": 1}
    factory = "bench.methods.own_function:FunctionMethod"
    return Entry(name, _own_card(function.__name__, factory, "a Python function", **said))


def _folder(name: str) -> Entry:
    path, title = finished.path_and_title(name.removeprefix("folder:"))
    note = "finished images given as a folder; not run here"
    card = _own_card(title, "", "finished images", note=note)
    folder, naming = finished.folder_and_naming(path)
    files = cache(lambda dataset: finished.images_of(folder.replace(DATASET, dataset)))
    if DATASET not in folder:
        files("")  # it is there, and can be read
    return Entry(name, card, files, naming)


def _given(file: Path) -> Weight:
    if not file.is_file():
        raise WeightsError(f"{printable(file)}: expected a file that is a method, found none there")
    return Weight(name=file.name, url=file.resolve().as_uri(), sha256=file_sha256(file))
