"""All that a suite needs, in the order in which failures are cheapest, and how it is got."""

import importlib
import shutil
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from bench import metrics
from bench.base.errors import BenchError, Unavailable
from bench.base.progress import Progress
from bench.base.text import in_words, printable
from bench.data.find import fetch_data
from bench.data.find import find as find_data
from bench.data.from_card import is_built
from bench.methods import environment
from bench.methods.entry import Entry
from bench.methods.find import find as find_method
from bench.methods.installation import Installation, call
from bench.methods.setup import SetupOptions, setup
from bench.remote import hub, weights
from bench.suites.fetch import fetch, of_catalogue
from bench.suites.find import SuiteCard

ENVIRONMENT = 6 * 10**9
"""Bytes of an environment, about: the largest that was built while cards were written."""
QUIET = Progress(quiet=True)
Row = dict[str, Any]


def needs(suite: SuiteCard, root: Path, gpu_here: bool) -> list[Row]:
    """What a suite needs, as rows of `fetch_row` with licence and the most bytes `unpacked`; sizes
    are asked for. Methods whose environment cannot be had need no weights.

    Args:
        root: where test sets are made.
        gpu_here: whether it is run on this machine; else its GPU does not matter.
    """
    entries = [find_method(name) for name in suite.methods]
    programs = [s.program for s in map(metrics.find, suite.metrics) if s.program]
    own = [e for e in (*entries, *programs) if e.card.official]
    official = {e.name: _official(e, gpu_here) for e in own}
    used = [e for e in entries if not (e.name in official and official[e.name][0]["problem"])]
    found = [
        *fetch_data(_unmade(suite, root), QUIET, dry_run=True),
        *(_row(f"package {p}", e, "pip") for e in used for p in e.absent_packages()),
        *chain(*official.values()),
        *fetch([*(entry.name for entry in used), *of_catalogue(suite)], QUIET, dry_run=True),
        # What nobody publishes is a dash in the table, no failure.
        *(_row(f"model {entry.name}", entry, "") for entry in used if entry.card.lookup),
    ]
    licences = {entry.name: entry.card.licence for entry in entries}
    licences |= {name: metrics.find(name).licence for name in suite.metrics}
    licences |= {name: find_data(name).licence for name in suite.datasets}
    packed = {name for e in used if e.card.official for name in e.card.official.unpack}
    with ThreadPoolExecutor(8) as asking:
        rows = [row for row in asking.map(_asked, found) if row["state"]]
    for row in rows:
        user = row["for"][0]
        new = row["file"] in packed and not row["here"]
        unpacked = _of_sets(row) if user in suite.datasets else row["size"] if new else 0
        row |= {"licence": licences[user], "unpacked": unpacked}
    return rows


def _of_sets(row: Row) -> int:
    """Bytes of the sets made of an archive, each twice: as its own files, for as long, and as PNGs
    of ours, which have at most three a pixel; of images of unknown size those of the archive."""
    total = 0
    for name in row["for"]:
        card = find_data(name).card
        assert card is not None
        pixels = card.images * card.megapixels * 1e6 * (1 + 1 / card.scale**2)
        total += 2 * int(3 * pixels or row["size"])
    return total


def get(suite: SuiteCard, rows: Sequence[Row], root: Path, progress: Progress) -> Iterator[str]:
    """Get what is not here; of methods whose environment fails no weights. Yields a line for each
    failure, none of which is an obstacle to the rest."""
    own = [name for name in suite.methods if not find_method(name).card.official]
    yield from _failed(fetch_data(_unmade(suite, root), progress, dry_run=False))
    for row in (row for row in rows if not row["here"]):
        kind, _, name = row["file"].partition(" ")
        try:
            if kind in ("package", "environment") and row["problem"]:
                raise BenchError(row["problem"])
            if kind == "package":
                _install(name, progress)
            elif kind == "environment":
                setup(row["for"][0], SetupOptions(), progress)
        except BenchError as error:
            yield f"{row['file']}: {error}"
    yield from _failed(fetch([*own, *of_catalogue(suite)], progress, dry_run=False))


def coming(rows: Sequence[Row]) -> int:
    """Bytes to come, as far as that is known."""
    return sum(row["size"] for row in rows if not row["here"])


@dataclass
class Disk:
    """Where something is put: the bytes that it will take and that are free there."""

    folder: Path
    free: int
    wanted: int = 0

    def __str__(self) -> str:
        wanted, free = in_words(self.wanted), in_words(self.free)
        return f"{printable(self.folder)}: {wanted} are wanted, {free} are free"


def disks(suite: SuiteCard, rows: Sequence[Row], root: Path) -> list[Disk]:
    """That of the cache and that of the test sets; one where they are the same."""
    found: dict[int, Disk] = {}
    sets = sum(row["unpacked"] for row in rows if row["for"][0] in suite.datasets)
    others = sum(row["unpacked"] for row in rows) - sets
    for place, wanted in ((weights.cache_dir(), coming(rows) + others), (root, sets)):
        path = place.absolute()
        folder = next(each for each in (path, *path.parents) if each.exists())
        free = shutil.disk_usage(folder).free
        found.setdefault(folder.stat().st_dev, Disk(folder, free)).wanted += wanted
    return list(found.values())


def _failed(rows: Sequence[Row]) -> list[str]:
    return [f"{row['file']}: {row['state']}" for row in rows if row["failed"]]


def _row(what: str, entry: Entry, source: str, problem: str = "", **known: Any) -> Row:
    row: Row = {"file": what, "for": [entry.name], "sources": [source] if source else []}
    state = f"would come from {source}" if source else entry.unavailable()
    return row | {"size": 0, "here": False, "problem": problem, "state": state, **known}


def _asked(row: Row) -> Row:
    """The row with what its address says: of a file not here how large it is, or why not."""
    from bench.remote.download import offered  # heavy: only to fetch

    problem = row["problem"]
    for address in () if row["here"] else row["sources"]:
        size, problem = offered(address) if "://" in address else (0, row["problem"])
        if not problem:
            return {**row, "size": row["size"] or size}
    return {**row, "problem": problem}


def _unmade(suite: SuiteCard, root: Path) -> list[str]:
    """The test sets that are still to be made of an archive."""
    cards = {name: find_data(name).card for name in suite.datasets}
    return [name for name, c in cards.items() if c and c.archive and not is_built(c, root)]


def _install(package: str, progress: Progress) -> None:
    weights.cache_dir().mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "install", package]
    with (
        (weights.cache_dir() / "prepare.log").open("a", encoding="utf-8") as log,
        progress.step(package),
    ):
        call(pip, log, f"pip install {package}")
    importlib.invalidate_caches()


def _official(entry: Entry, gpu_here: bool) -> list[Row]:
    """An official repository with its environment, `here` only with all of its files; and the
    folders of the hub that it wants, which setup gets."""
    where, problem = Installation(entry.card), ""
    checks = {check.what: check for check in where.checks()}
    gpu = checks.pop("GPU", None)
    built = checks["repository"].state == checks["environment"].state == "ok"
    try:
        if gpu_here and gpu and gpu.state != "ok":
            raise Unavailable(f"GPU: {gpu.found}; {gpu.mend}")
        if not built:
            environment.venv_command(where.official.python, None, where.root)
    except Unavailable as error:
        problem = str(error)
    address = where.official.repository.split("://")[-1]
    here = not problem and all(check.state == "ok" for check in checks.values())
    installs = where.official.requirements or where.official.packages
    size = ENVIRONMENT if installs and not (built or problem) else 0
    rows = [_row(f"environment {entry.card.name}", entry, address, problem, size=size, here=here)]
    for each in where.official.snapshots if not problem else ():
        name, here = each.repository, checks[each.repository].state == "ok"
        size, reason = (0, "") if here else hub.offered(name, each.revision, each.files or None)
        rows.append(_row(name, entry, "the hub", reason, size=size, here=here))
    return rows
