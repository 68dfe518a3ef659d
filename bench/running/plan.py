"""What a run needs, found and checked before any work starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench import metrics
from bench.base.errors import BenchError, CardError, DataError
from bench.base.progress import Progress
from bench.base.text import printable
from bench.base.types import Manifest, MetricSpec
from bench.data import find as data
from bench.methods.find import DATASET, Entry
from bench.methods.find import find as find_method
from bench.running.store import Store
from bench.running.upscale import require_scale
from bench.suites.card import SuiteCard

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class RunOptions:
    """What the command line can choose.

    Attributes:
        shard: (i, n): only the i-th of n parts of every dataset, i from 1.
        workers: processes; None means one per core on a CPU.
        seed: instead of the suite's.
        limit: only the first images of every dataset.
        apart: methods never run in this process, so that they cannot end it.
    """

    store: Path
    device: str = "cpu"
    workers: int | None = None
    shard: tuple[int, int] = (1, 1)
    seed: int | None = None
    limit: int | None = None
    scale: int = 4
    apart: bool = False


@dataclass(frozen=True)
class Plan:
    """Everything a run needs, checked before any work starts.

    `unavailable` holds methods that cannot run here, by name, with the reason; `missing` datasets
    likewise, which must be there before anything is done.
    """

    suite: SuiteCard
    methods: tuple[Entry, ...]
    datasets: tuple[data.Dataset, ...]
    metrics: tuple[MetricSpec, ...]
    manifests: Mapping[str, Manifest]
    unavailable: Mapping[str, str]
    seed: int
    missing: Mapping[str, str] = field(default_factory=dict)


def make_plan(suite: SuiteCard, options: RunOptions, progress: Progress) -> Plan:
    """Find everything the suite names, and make or check its datasets.

    Raises:
        BenchError: an unknown name, an unreadable card, a dataset that cannot be made, a folder of
            images that would be scored against several datasets.
    """
    Store(options.store)
    entries = tuple(find_method(name) for name in suite.methods)
    specs = tuple(metrics.get(name) for name in suite.metrics)
    sets = tuple(data.find(name, options.scale) for name in suite.datasets)
    for what, names in (
        ("method", [entry.card.name for entry in entries]),
        ("dataset", [dataset.name for dataset in sets]),
        ("metric", [spec.name for spec in specs]),
    ):
        _refuse_repeated(what, names)
    manifests, missing = {}, {}
    for dataset in sets:
        reason = dataset.problem(options.store / "datasets")
        if reason:
            missing[dataset.name] = reason
            manifests[dataset.name] = Manifest(dataset.name, (), "", dataset.scale)
            continue
        with progress.step(f"data {dataset.title}") as advance:
            manifest = dataset.manifest(options.store / "datasets", advance)
        manifests[dataset.name] = _limited(manifest, options.limit)
    for entry in entries:
        _refuse_shared_files(entry, manifests)
    return Plan(
        suite=suite,
        methods=entries,
        datasets=sets,
        metrics=specs,
        manifests=manifests,
        unavailable=_unavailable(entries, sets),
        seed=suite.seed if options.seed is None else options.seed,
        missing=missing,
    )


def _require_data(plan: Plan) -> None:
    if plan.missing:
        raise DataError("; ".join(dict.fromkeys(plan.missing.values())))


def _refuse_repeated(what: str, names: Sequence[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise CardError(f"{what} '{repeated[0]}' is named twice; name each once")
    if not names:
        raise CardError(f"no {what} is named; expected at least one")


def _refuse_shared_files(entry: Entry, manifests: Mapping[str, Manifest]) -> None:
    """A finished image belongs to one test set; sets that name theirs alike hide which."""
    if entry.files is None:
        return
    owner: dict[Path, str] = {}
    for dataset, manifest in manifests.items():
        files = entry.files(dataset)
        for path in (files[pair.id] for pair in manifest.pairs if pair.id in files):
            if owner.setdefault(path, dataset) != dataset:
                raise DataError(
                    f"{printable(entry.name)}: {printable(path.name)} would be scored as an image "
                    f"of {printable(owner[path])} and of {printable(dataset)}; name the set that "
                    "it is of with --datasets, or give a folder for each set: "
                    f"folder:PATH/{DATASET}@{printable(entry.card.title)}"
                )


def _unavailable(entries: Sequence[Entry], sets: Sequence[data.Dataset]) -> dict[str, str]:
    reasons = {}
    for entry in entries:
        reason = entry.unavailable()
        for dataset in sets:
            try:
                require_scale(entry, dataset.scale)
            except BenchError as error:
                reason = reason or str(error)
        if reason:
            reasons[entry.name] = reason
    return reasons


def _limited(manifest: Manifest, limit: int | None) -> Manifest:
    if limit is None or limit >= len(manifest.pairs):
        return manifest
    return replace(manifest, pairs=manifest.pairs[:limit])
