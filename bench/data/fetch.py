"""Get test sets ahead of time: download their archives, or take one that is at hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.base.errors import BenchError, DataError
from bench.base.progress import Progress
from bench.base.records import copy_atomic
from bench.base.remote_file import Archive
from bench.base.text import printable
from bench.data.find import dataset_cards, find_card
from bench.remote import weights
from bench.remote.fetch import fetch_row


def fetch_data(names: Sequence[str], progress: Progress, dry_run: bool) -> list[dict[str, Any]]:
    """Fetch the archives of datasets (names of cards, or their files ending in .toml), each once; a
    row per archive, see `fetch_row`. One failure does not stop the others."""
    wanted: dict[str, tuple[Archive, list[str]]] = {}
    for name in names:
        archive = find_card(name).archive
        if archive is not None:
            wanted.setdefault(archive.name, (archive, []))[1].append(name)
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
