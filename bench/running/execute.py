"""A suite from plan to results: upscale, score, collect."""

from __future__ import annotations

from typing import Any

from bench import metrics
from bench.base.progress import Progress
from bench.running.collect import Outcome, made_elsewhere, outcome_of
from bench.running.fill import fill
from bench.running.plan import Plan
from bench.running.score import Scorer, score_missing


def execute(plan: Plan, progress: Progress) -> Outcome:
    """Upscale what is missing, score what is missing, collect. Safe to run again at any time."""
    plan.require_data()
    failures = {
        (cell.dataset, cell.entry.name, failure.image_id): failure.reason
        for entry in plan.methods
        for cell in plan.cells_of(entry)
        for failure in fill(cell, plan.options, progress)
    }
    targets = plan.targets(failures)
    scorer = Scorer(plan.metrics, plan.store, plan.options.device)
    score_missing(scorer, plan.own(targets), plan.options.workers, progress)
    return outcome_of(plan, scorer, targets, failures)


def collect(plan: Plan) -> Outcome:
    """The results as far as the store knows them; computes nothing but distances of sets."""
    plan.require_data()
    scorer = Scorer(plan.metrics, plan.store, plan.options.device)
    return outcome_of(plan, scorer, plan.targets())


def stored(plan: Plan, kind: str = "") -> Outcome:
    """`collect`, also of scores that were made elsewhere: no metric or device need be here.

    Args:
        kind: of the device that made the scores; by default each metric's is that which made most.
    """
    plan.require_data()
    targets = plan.targets()
    made = made_elsewhere(plan, targets, kind)
    scorer = Scorer(plan.metrics, plan.store, plan.options.device, made)
    return outcome_of(plan, scorer, targets)


def unmeasured(plan: Plan) -> Outcome:
    """What is planned without any score, for published values alone; no data need be here."""
    return outcome_of(plan, Scorer((), plan.store, plan.options.device), ())


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
