"""A suite from cards to results: plan, upscale, score, collect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import metrics
from bench.base.cards import TRAINING_SEED, SuiteCard, pick, read_card, read_folder
from bench.base.errors import BenchError, CardError, DataError
from bench.base.progress import Progress
from bench.base.text import printable
from bench.base.types import Manifest, MetricSpec
from bench.base.workers import Workers, cores, worker_count
from bench.data import find as data
from bench.methods.find import DATASET, Entry, all_methods, matching
from bench.methods.find import find as find_method
from bench.results.results import Results
from bench.running.collect import results_of, targets_of
from bench.running.score import Scorer, Target, modules
from bench.running.store import Store
from bench.running.upscale import Failure, pending, require_scale, upscale
from bench.running.upscale_set import upscale_set

if TYPE_CHECKING:
    pass

RECORDED_VERSIONS = ("torch", "torchvision", "pyiqa", "spandrel", "diffusers", "numpy", "pillow")


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


def suite_cards() -> dict[str, SuiteCard]:
    cards = read_folder("bench", "suites", SuiteCard)
    return {name: _spelled_out(card) for name, card in cards.items()}


def find_suite(name: str) -> SuiteCard:
    """The suite called `name`, or the card in the file `name` (ending in .toml)."""
    if name.endswith(".toml"):
        return _spelled_out(read_card(Path(name), SuiteCard))
    return pick(suite_cards(), name, "suite")


def _spelled_out(suite: SuiteCard) -> SuiteCard:
    """The suite with each method by its own name."""
    methods = [(asked, name) for asked in suite.methods for name in matching(asked)]
    variants = {name: headings for name, headings in suite.variants.items() if "*" not in name}
    for asked, name in methods:
        if asked in suite.variants:
            variants[name] = _with_training_seed(name, suite.variants[asked])
    return suite.model_copy(update={"methods": [m for _, m in methods], "variants": variants})


def _with_training_seed(method: str, headings: dict[str, str]) -> dict[str, str]:
    card = all_methods().get(method)
    seed = card.training_seed if card else None
    return headings if seed is None else {**headings, TRAINING_SEED: str(seed)}


def chosen(
    suite: SuiteCard,
    methods: Sequence[str] = (),
    datasets: Sequence[str] = (),
    metrics: Sequence[str] = (),
) -> SuiteCard:
    """The suite with other methods, datasets or metrics where some are given."""
    given = {"methods": methods, "datasets": datasets, "metrics": metrics}
    update: dict[str, Any] = {key: list(names) for key, names in given.items() if names}
    if not set(datasets) <= set(suite.datasets):
        update |= {"title": "", "note": ""}  # they speak of the suite's own test sets
    return _spelled_out(suite.model_copy(update=update))


def plan(suite: SuiteCard, options: RunOptions, progress: Progress) -> Plan:
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


# -- doing ---------------------------------------------------------------------------------------


Failures = dict[tuple[str, str, str], str]
"""(dataset, method as typed, image id) -> why there is no SR image."""


@dataclass(frozen=True)
class Outcome:
    """What a run leaves: the results and every image or file that failed, as (what, reason)."""

    results: Results
    failures: tuple[tuple[str, str], ...]


def execute(plan: Plan, options: RunOptions, progress: Progress) -> Outcome:
    """Upscale what is missing, score what is missing, collect. Safe to run again at any time."""
    _require_data(plan)
    store = Store(options.store)
    failures: Failures = {}
    for entry in plan.methods:
        if entry.name not in plan.unavailable and entry.files is None:
            for dataset in plan.datasets:
                for failure in _upscale(plan, entry, dataset, store, options, progress):
                    failures[dataset.name, entry.name, failure.image_id] = failure.reason
    targets = targets_of(plan, store, failures)
    scorer = Scorer(plan.metrics, store, options.device)
    _score(scorer, _sharded(targets, options.shard), options, progress)
    return _outcome(plan, options, scorer, targets, failures)


def collect(plan: Plan, options: RunOptions) -> Outcome:
    """The results as far as the store knows them; computes nothing but distances of sets."""
    _require_data(plan)
    store = Store(options.store)
    targets = targets_of(plan, store, {})
    scorer = Scorer(plan.metrics, store, options.device)
    return _outcome(plan, options, scorer, targets, {})


def _outcome(
    plan: Plan,
    options: RunOptions,
    scorer: Scorer,
    targets: Sequence[Target],
    failures: Failures,
) -> Outcome:
    refused = [item for manifest in plan.manifests.values() for item in manifest.refused]
    failed = [(f"{m} on {d}: {printable(i)}", why) for (d, m, i), why in failures.items()]
    return Outcome(results_of(plan, options, scorer, targets), (*refused, *failed))


def _upscale(
    plan: Plan,
    entry: Entry,
    dataset: data.Dataset,
    store: Store,
    options: RunOptions,
    progress: Progress,
) -> list[Failure]:
    pairs = _shard(plan.manifests[dataset.name].pairs, options.shard)
    images = store.images(entry.card.name, entry.fingerprint(), dataset.name)
    tasks = pending(entry, pairs, images, seed=plan.seed, device=options.device)
    if not tasks:
        return []
    if entry.card.official is not None:
        return upscale_set(entry, tasks, images, progress, seed=plan.seed, device=options.device)
    with (
        _workers(tasks, options, entry.card.max_workers, upscaling=True) as workers,
        progress.step(f"{entry.card.title} on {dataset.title}") as advance,
    ):
        return upscale(tasks, images, workers, advance)


def _score(
    scorer: Scorer, targets: Sequence[Target], options: RunOptions, progress: Progress
) -> None:
    jobs = scorer.jobs(targets)
    if not jobs:
        return
    with (
        _workers(jobs, options, preload=modules(scorer.usable)) as workers,
        progress.step("scores") as advance,
    ):
        scorer.run(jobs, workers, advance)


def _workers(
    tasks: Sequence[Any],
    options: RunOptions,
    most: int | None = None,
    upscaling: bool = False,
    preload: Sequence[str] = ("torch",),
) -> Workers:
    """Scores are computed with one thread each, so that they do not depend on the machine."""
    count = worker_count(options.workers, options.device, len(tasks), most)
    threads = max(1, cores() // count) if upscaling else 1
    return Workers(count, threads, preload, apart=upscaling and options.apart)


def _shard(items: Sequence[Any], shard: tuple[int, int]) -> list[Any]:
    index, count = shard
    return list(items)[index - 1 :: count]


def _sharded(targets: Sequence[Target], shard: tuple[int, int]) -> list[Target]:
    ids = {
        dataset: sorted({t.image for t in targets if t.dataset == dataset})
        for dataset in {t.dataset for t in targets}
    }
    own = {dataset: set(_shard(images, shard)) for dataset, images in ids.items()}
    return [target for target in targets if target.image in own[target.dataset]]


def dry_run(plan: Plan, options: RunOptions) -> list[dict[str, Any]]:
    """What a run would do: a row per method and dataset, per dataset and per metric."""
    store = Store(options.store)
    rows: list[dict[str, Any]] = []
    for entry in plan.methods:
        for dataset in plan.datasets:
            images = len(_shard(plan.manifests[dataset.name].pairs, options.shard))
            rows.append(
                {
                    "method": entry.card.name,
                    "dataset": dataset.name,
                    "images": images,
                    "to_upscale": _count_pending(plan, entry, dataset, store, options),
                    "problem": plan.unavailable.get(entry.name, ""),
                }
            )
    rows += [{"dataset": d.name, "problem": plan.missing.get(d.name, "")} for d in plan.datasets]
    rows += [{"metric": s.name, "problem": metrics.unavailable(s)} for s in plan.metrics]
    return rows


def _count_pending(
    plan: Plan, entry: Entry, dataset: data.Dataset, store: Store, options: RunOptions
) -> int:
    if entry.files is not None or entry.name in plan.unavailable:
        return 0
    pairs = _shard(plan.manifests[dataset.name].pairs, options.shard)
    images = store.images(entry.card.name, entry.fingerprint(), dataset.name)
    return len(pending(entry, pairs, images, seed=plan.seed, device=options.device))
