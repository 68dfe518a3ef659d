"""A suite from cards to results: plan, upscale, score, collect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench import metrics
from bench.base.progress import Progress
from bench.base.text import printable
from bench.base.workers import Workers, cores, worker_count
from bench.data import find as data
from bench.methods.find import Entry
from bench.results.results import Results
from bench.running.collect import results_of, targets_of
from bench.running.plan import Plan, RunOptions, _require_data
from bench.running.score import Scorer, Target, modules
from bench.running.store import Store
from bench.running.upscale import Failure, pending, upscale
from bench.running.upscale_set import upscale_set

if TYPE_CHECKING:
    pass

RECORDED_VERSIONS = ("torch", "torchvision", "pyiqa", "spandrel", "diffusers", "numpy", "pillow")


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
