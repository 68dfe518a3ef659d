"""A suite from plan to results: upscale, score, collect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench import metrics
from bench.base.progress import Progress
from bench.base.text import printable
from bench.running.collect import Outcome, results_of
from bench.running.fill import fill
from bench.running.plan import Plan
from bench.running.score import Scorer, Target, score_missing

Failures = Mapping[tuple[str, str, str], str]
"""(dataset, method as typed, image id) -> why there is no SR image."""


def execute(plan: Plan, progress: Progress) -> Outcome:
    """Upscale what is missing, score what is missing, collect. Safe to run again at any time."""
    plan.require_data()
    failures = {
        (cell.dataset, cell.entry.name, failure.image_id): failure.reason
        for entry in plan.methods
        for cell, failure in fill(plan.cells_of(entry), plan.options, progress)
    }
    targets = _targets(plan, failures)
    scorer = Scorer(plan.metrics, plan.store, plan.options.device)
    score_missing(scorer, _own(plan, targets), plan.options.workers, progress)
    return _outcome(plan, scorer, targets, failures)


def collect(plan: Plan) -> Outcome:
    """The results as far as the store knows them; computes nothing but distances of sets."""
    plan.require_data()
    scorer = Scorer(plan.metrics, plan.store, plan.options.device)
    return _outcome(plan, scorer, _targets(plan, {}), {})


def _targets(plan: Plan, failures: Failures) -> list[Target]:
    return [
        cell.target(pair, failures.get((cell.dataset, cell.entry.name, pair.id), ""))
        for cell in plan.cells
        for pair in cell.pairs
    ]


def _own(plan: Plan, targets: Sequence[Target]) -> list[Target]:
    """Those of this process's part of each dataset."""
    shard = plan.options.shard
    own = {(name, pair.id) for name, m in plan.manifests.items() for pair in shard.of(m.pairs)}
    return [target for target in targets if (target.dataset, target.image) in own]


def _outcome(plan: Plan, scorer: Scorer, targets: Sequence[Target], failures: Failures) -> Outcome:
    refused = [item for manifest in plan.manifests.values() for item in manifest.refused]
    failed = [(f"{m} on {d}: {printable(i)}", why) for (d, m, i), why in failures.items()]
    return Outcome(results_of(plan, scorer, targets), (*refused, *failed))


def dry_run(plan: Plan) -> list[dict[str, Any]]:
    """What a run would do: a row per method and dataset, per dataset and per metric."""
    shard, device = plan.options.shard, plan.options.device
    rows: list[dict[str, Any]] = [
        {
            "method": entry.card.name,
            "dataset": cell.dataset,
            "images": len(shard.of(cell.pairs)),
            "to_upscale": len(cell.pending(shard, device)),
            "problem": cell.problem,
        }
        for entry in plan.methods
        for cell in plan.cells_of(entry)
    ]
    rows += [{"dataset": d.name, "problem": plan.missing.get(d.name, "")} for d in plan.datasets]
    rows += [{"metric": s.name, "problem": metrics.unavailable(s)} for s in plan.metrics]
    return rows
