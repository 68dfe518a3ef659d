"""What a run needs, found and checked before any work starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from bench import metrics
from bench.base.errors import CardError, DataError
from bench.base.progress import Progress
from bench.base.text import printable
from bench.base.types import Manifest, MetricSpec
from bench.data import find as data
from bench.methods.entry import Entry
from bench.methods.find import find as find_method
from bench.methods.finished import DATASET
from bench.running.cell import Cell
from bench.running.options import RunOptions
from bench.running.score import Scorer
from bench.store.store import Store
from bench.suites.find import SuiteCard


@dataclass(frozen=True)
class Plan:
    """Everything a run needs, checked before any work starts.

    `unavailable` holds methods that cannot run here, by name, with the reason; `missing` datasets
    likewise, which must be there before anything is done.
    """

    suite: SuiteCard
    options: RunOptions
    store: Store
    methods: tuple[Entry, ...]
    datasets: tuple[data.Dataset, ...]
    metrics: tuple[MetricSpec, ...]
    manifests: Mapping[str, Manifest]
    unavailable: Mapping[str, str]
    seed: int
    missing: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Every method on every dataset, as the store knew it when they were first asked for."""
        pairs = {name: manifest.pairs for name, manifest in self.manifests.items()}
        seed, why = self.seed, self.unavailable
        return tuple(
            Cell.open(entry, each, pairs[each.name], self.store, seed, why.get(entry.name, ""))
            for each in self.datasets
            for entry in self.methods
        )

    @cached_property
    def scorer(self) -> Scorer:
        """The metrics, as they and the store were when they were first asked for."""
        return Scorer(self.metrics, self.store, self.options.device)

    @cached_property
    def shown(self) -> Mapping[str, str]:
        """Datasets by what results call them: without the path of a folder on this machine."""
        return data.public_names(dataset.name for dataset in self.datasets)

    def cells_of(self, entry: Entry) -> list[Cell]:
        return [cell for cell in self.cells if cell.entry is entry]

    def require_data(self) -> None:
        """Raise DataError if a dataset is missing; names each archive once."""
        archives = {d.name: d.card.archive.name for d in self.datasets if d.card and d.card.archive}
        reasons: dict[str, str] = {}
        for name, reason in self.missing.items():
            reasons.setdefault(archives.get(name, name), reason)
        if reasons:
            raise DataError("; ".join(reasons.values()))


def make_plan(suite: SuiteCard, options: RunOptions, progress: Progress) -> Plan:
    """Find everything the suite names, and make or check its datasets.

    Raises:
        BenchError: an unknown name, an unreadable card, a dataset that cannot be made, a folder of
            images that would be scored against several datasets.
    """
    store = Store(options.store)
    entries = tuple(find_method(name) for name in suite.methods)
    specs = tuple(metrics.find(name) for name in suite.metrics)
    sets = tuple(data.find(name, options.scale, options.modcrop) for name in suite.datasets)
    _refuse_repeated("method", [entry.card.name for entry in entries])
    _refuse_repeated("dataset", [dataset.name for dataset in sets])
    _refuse_repeated("metric", [spec.name for spec in specs])
    scales = [dataset.scale for dataset in sets]
    missing = {d.name: reason for d in sets if (reason := d.problem(options.datasets))}
    manifests = {d.name: Manifest(d.name, (), "", d.scale) for d in sets}  # of what is missing
    there = [dataset for dataset in sets if dataset.name not in missing]
    manifests |= {dataset.name: manifest_of(dataset, options, progress) for dataset in there}
    for entry in entries:
        _refuse_shared_files(entry, manifests)
    return Plan(
        suite=suite,
        options=options,
        store=store,
        methods=entries,
        datasets=sets,
        metrics=specs,
        manifests=manifests,
        unavailable={entry.name: why for entry in entries if (why := entry.unavailable(*scales))},
        seed=suite.seed if options.seed is None else options.seed,
        missing=missing,
    )


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
        for path in entry.finished(dataset, manifest.pairs).files.values():
            if owner.setdefault(path, dataset) != dataset:
                raise DataError(
                    f"{printable(entry.name)}: {printable(path.name)} would be scored as an image "
                    f"of {printable(owner[path])} and of {printable(dataset)}; name the set that "
                    "it is of with --datasets, or give a folder for each set, under names of their "
                    f"own: folder:PATH/{DATASET}@{printable(entry.card.title)}"
                )


def manifest_of(dataset: data.Dataset, options: RunOptions, progress: Progress) -> Manifest:
    """A dataset's pairs, made where they are not there yet, as many as the options allow; DataError
    where it cannot be made."""
    with progress.step(f"data {dataset.title}") as advance:
        manifest = dataset.manifest(options.datasets, advance)
    if manifest.recipe.get("note"):
        progress.say(f"{dataset.title}: {manifest.recipe['note']}")
    if options.limit is None or options.limit >= len(manifest.pairs):
        return manifest
    return replace(manifest, pairs=manifest.pairs[: options.limit])
