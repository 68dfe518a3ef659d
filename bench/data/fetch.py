"""Get test sets ahead of time: download their archives, or take one that is at hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.base.errors import BenchError
from bench.base.progress import Progress
from bench.base.text import printable
from bench.data.card import DatasetCard
from bench.data.find import dataset_cards
from bench.remote import archives


def fetch_data(names: Sequence[str], progress: Progress, dry_run: bool) -> list[dict[str, Any]]:
    """Fetch the archives of datasets, each archive once; one failure does not stop the others.

    Returns:
        A row per archive: file, for (datasets), size, state, failed.
    """
    cards = dataset_cards()
    wanted: dict[str, list[DatasetCard]] = {}
    for card in (cards[name] for name in names if name in cards):
        if card.archive is not None:
            wanted.setdefault(card.archive.name, []).append(card)
    return [_fetch(users, progress, dry_run) for users in wanted.values()]


def _fetch(users: Sequence[DatasetCard], progress: Progress, dry_run: bool) -> dict[str, Any]:
    archive, first = users[0].archive, users[0].name
    assert archive is not None
    row = {"file": archive.name, "for": [card.name for card in users], "size": archive.size}
    try:
        if archives.find(archive) is not None:
            archives.locate(archive, first)
            return {**row, "state": "is here, checked", "failed": False}
        if dry_run:
            state = f"would be fetched from {archive.url}" if archive.url else ""
            state = state or archives.how_to_get(archive, first)
            return {**row, "state": state, "failed": False}
        with progress.step(archive.name) as advance:
            path = archives.fetch(archive, first, advance)
    except BenchError as error:
        return {**row, "state": str(error), "failed": True}
    return {**row, "state": f"fetched to {printable(path)}", "failed": False}


def adopt(names: Sequence[str], given: Path) -> list[dict[str, Any]]:
    """Take the archive (or folder of its files) of one dataset from where somebody has it.

    Raises:
        BenchError: not exactly one dataset that has an archive, or another file than expected.
    """
    cards = dataset_cards()
    archive = cards[names[0]].archive if len(names) == 1 and names[0] in cards else None
    if archive is None:
        raise BenchError("--from: give the name of one dataset that is published as an archive")
    path = archives.adopt(archive, given)
    return [
        {
            "file": archive.name,
            "for": list(names),
            "size": archive.size,
            "state": f"taken from {printable(given)}, kept at {printable(path)}",
            "failed": False,
        }
    ]
