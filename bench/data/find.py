"""Datasets by name: cards, `folder:PATH` and `hf:NAME`, each a way to a manifest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.base.cards import pick, read_card, read_folder
from bench.base.errors import DataError
from bench.base.text import printable
from bench.base.types import Manifest
from bench.data import downscale
from bench.data import from_archive as archive_sets
from bench.data.card import DatasetCard
from bench.data.from_hub import build_from_hub, parse
from bench.data.from_photos import build_from_photos, packaged_photo, photo_collections
from bench.data.manifest import Progress
from bench.data.pairing import pair_files, scan_folder

__all__ = [
    "Dataset",
    "build",
    "dataset_cards",
    "downscale",
    "find",
    "packaged_photo",
    "pair_files",
    "photo_collections",
    "scan_folder",
]


def dataset_cards() -> dict[str, DatasetCard]:
    return read_folder("bench.data", "cards", DatasetCard)


@dataclass(frozen=True)
class Dataset:
    """A named source of a manifest.

    Attributes:
        manifest: makes or reads it: (folder of datasets, progress) -> Manifest.
        problem: why it cannot be made here and how to mend that, "" when it can; looks only.
    """

    name: str
    title: str
    scale: int
    licence: str
    summary: str
    note: str
    manifest: Callable[[Path, Progress], Manifest]
    problem: Callable[[Path], str] = lambda root: ""


def find(name: str, scale: int = 4) -> Dataset:
    """The dataset called `name`.

    Names: a card's; `folder:PATH` (with `lr` and `hr` in it, or LR images alone);
    `hf:OWNER/NAME[@REVISION][:SPLIT[:LR,HR]]`; `FILE.toml` (a card).

    Raises:
        UnknownName, CardError, DataError: with what was expected and found.
    """
    if name.startswith("folder:"):
        folder = Path(name.removeprefix("folder:"))
        return _given(
            name,
            printable(folder.resolve().name),
            scale,
            lambda root, progress: scan_folder(folder, scale, root, progress),
        )
    if name.startswith("hf:"):
        return _given(
            name,
            parse(name).repository,
            scale,
            lambda root, progress: build_from_hub(name, scale, root, progress),
        )
    return _from_card(find_card(name), name)


def find_card(name: str) -> DatasetCard:
    """The card called `name`, or the one in the file `name` (ending in .toml)."""
    if name.endswith(".toml"):
        return read_card(Path(name), DatasetCard)
    return pick(dataset_cards(), name, "dataset")


def _given(
    name: str, title: str, scale: int, manifest: Callable[[Path, Progress], Manifest]
) -> Dataset:
    return Dataset(name, title, scale, "unknown", "images given by the user", "", manifest)


def _from_card(card: DatasetCard, asked: str) -> Dataset:
    return Dataset(
        name=card.name,
        title=card.title,
        scale=card.scale,
        licence=card.licence,
        summary=card.summary,
        note=card.note,
        manifest=lambda root, progress: build(card, root, progress, asked),
        problem=lambda root: problem(card, root, asked),
    )


def build(
    card: DatasetCard,
    root: Path,
    progress: Progress = lambda done, total: None,
    asked: str = "",
) -> Manifest:
    """Make a card's LR and HR files below `root`, once, and describe them.

    Files are written before the manifest, so a manifest always describes whole files; a set whose
    files were changed since is made again.

    Raises:
        DataError: what it is made from is missing, or is not what the card names.
    """
    if card.archive is not None:
        return archive_sets.build_from_archive(card, root, asked or card.name, progress)
    return build_from_photos(card, root, progress)


def problem(card: DatasetCard, root: Path, asked: str = "") -> str:
    """Why a card's set cannot be made here, in one line; "" when it can or is there already."""
    if card.archive is None or archive_sets.is_built(card, root):
        return ""
    try:
        archive_sets.locate(card, asked or card.name)
    except DataError as error:
        return str(error)
    return ""
