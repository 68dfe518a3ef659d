"""Datasets by name (cards, `folder:PATH`, `hf:NAME`), each a way to a manifest; cards' archives."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from bench.base.cards import read_card, read_folder
from bench.base.errors import BenchError, DataError
from bench.base.lazy import require_known
from bench.base.progress import Advance, Progress
from bench.base.records import copy_atomic
from bench.base.registry import Registry
from bench.base.remote_file import Archive
from bench.base.text import printable
from bench.base.types import Manifest
from bench.data.card import DatasetCard
from bench.data.from_card import build, problem
from bench.data.from_hub import build_from_hub, parse
from bench.data.manifest import GROUPS, by_file
from bench.data.pairing import scan_folder
from bench.remote import weights
from bench.remote.fetch import card_file, fetch_row


@cache
def dataset_cards() -> Registry[DatasetCard]:
    return Registry("dataset", read_folder("bench.data", "cards", DatasetCard).values())


@dataclass(frozen=True)
class Dataset:
    """A named source of a manifest.

    Attributes:
        manifest: makes or reads it: (folder of datasets, progress) -> Manifest.
        problem: why it cannot be made here and how to mend that, "" when it can; looks only.
        card: of one that has a card.
    """

    name: str
    title: str
    scale: int
    manifest: Callable[[Path, Advance], Manifest]
    problem: Callable[[Path], str] = lambda root: ""
    licence: str = "unknown"
    note: str = ""
    card: DatasetCard | None = None


def find(name: str, scale: int = 4, modcrop: bool = False) -> Dataset:
    """The dataset called `name`.

    Names: a card's; `folder:PATH` (with `lr` and `hr` in it, or LR images alone, and `groups.csv`
    where several images are from one photograph);
    `hf:OWNER/NAME[@REVISION][:SPLIT[:LR,HR]]`; `FILE.toml` (a card, by path or address). `modcrop`,
    as `scale`, counts for a folder.

    Raises:
        UnknownName, CardError, DataError: with what was expected and found.
    """
    if name.startswith("folder:"):
        folder = Path(name.removeprefix("folder:"))

        def scan(root: Path, progress: Advance) -> Manifest:
            return by_file(scan_folder(folder, scale, root, progress, modcrop), folder / GROUPS)

        return Dataset(name, printable(folder.resolve().name), scale, scan)
    if name.startswith("hf:"):
        make = partial(build_from_hub, name, scale)
        return Dataset(name, parse(name).repository, scale, make)
    card = find_card(name)
    return Dataset(
        card.name,
        card.title,
        card.scale,
        manifest=lambda root, progress: build(card, root, progress, name),
        problem=lambda root: problem(card, root, name),
        licence=card.licence,
        note=card.note,
        card=card,
    )


def find_card(name: str) -> DatasetCard:
    """The card called `name`, or that in the file or at the address `name` (ending in .toml)."""
    if not name.endswith(".toml"):
        return dataset_cards().find(name)
    path = card_file(name)
    card = read_card(path, DatasetCard)
    known = [name for each in dataset_cards().values() for name in _code(each)]
    require_known(path, _code(card), known)
    return card


def _code(card: DatasetCard) -> list[str]:
    return [card.degradation.function, card.degradation.version] if card.degradation else []


def public_names(datasets: Iterable[str]) -> dict[str, str]:
    """Name -> the name without the path of a folder on this machine; they stay distinct."""
    names: dict[str, str] = {}
    for dataset in datasets:
        kind, folder, path = dataset.partition("folder:")
        alone = f"{folder}{Path(path).resolve().name}" if folder and not kind else dataset
        name = base = alone.encode("utf-8", "backslashreplace").decode()
        number = 2
        while name in names.values():
            name, number = f"{base}-{number}", number + 1
        names[dataset] = name
    return names


# -- ahead of time -------------------------------------------------------------------------------


def fetch_data(names: Sequence[str], progress: Progress, dry_run: bool) -> list[dict[str, Any]]:
    """Fetch the archives of datasets that have one, each once; a row per archive, see `fetch_row`.
    One failure does not stop the others."""
    wanted: dict[str, tuple[Archive, list[str]]] = {}
    for name in names:
        card = find(name).card
        if card is not None and card.archive is not None:
            wanted.setdefault(card.archive.name, (card.archive, []))[1].append(name)
    rows = []
    for archive, users in wanted.values():
        page = archive.page or archive.url
        how = f"{f'get it from {page} and ' if page else ''}run: cassr-bench fetch {users[0]}"
        rows.append(fetch_row(archive, users, f"{how} --from PATH", progress, dry_run))
    return rows


def adopt(names: Sequence[str], given: Path) -> list[dict[str, Any]]:
    """Take the archive (or folder of its files) of one dataset from where somebody has it;
    BenchError: not exactly one dataset that has an archive, or another file than expected."""
    ours = len(names) == 1 and (names[0] in dataset_cards() or names[0].endswith(".toml"))
    archive = find_card(names[0]).archive if ours else None
    if archive is None:
        raise BenchError("--from: give the name of one dataset that is published as an archive")
    state = f"taken from {printable(given)}, kept at {printable(_adopted(archive, given))}"
    row = {"file": archive.name, "for": list(names), "size": archive.size}
    return [{**row, "state": state, "failed": False}]


def _adopted(archive: Archive, given: Path) -> Path:
    target = weights.home(archive)
    if given.is_file():
        if not target.exists():
            weights.forget(archive)
        weights.check(archive, given)
        copy_atomic(given, target)
        return target
    if not given.is_dir():
        what = "something else" if given.exists() else "nothing"
        raise DataError(f"--from {printable(given)}: expected an archive or folder, found {what}")
    weights.link_or_copy(given, target)
    return target
