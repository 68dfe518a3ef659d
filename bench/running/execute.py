"""A suite from plan to results: upscale, score, collect."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np

from bench import metrics
from bench.base.errors import ImageError
from bench.base.progress import Progress
from bench.base.text import printable
from bench.files import images
from bench.results.power import POWER, detectable
from bench.results.repeats import over_seeds
from bench.running.cell import Cell
from bench.running.collect import RunOutcome, made_elsewhere, oddities, outcome_of
from bench.running.fill import fill
from bench.running.plan import Plan
from bench.running.score import Scorer


def execute(plan: Plan, progress: Progress) -> RunOutcome:
    """Upscale what is missing, score what is missing, collect. Safe to run again at any time."""
    plan.require_data()
    failures: dict[tuple[str, str], dict[str, str]] = {}
    for entry in plan.methods:
        for cell, (image, reason) in fill(plan.cells_of(entry), plan.options, progress):
            failures.setdefault((cell.dataset, entry.name), {})[image] = reason
    targets = plan.targets(failures)
    scorer = Scorer(plan.metrics, plan.store, plan.options.device)
    own = [target for _, group in targets for target in plan.options.shard.of(group)]
    scorer.score_missing(own, plan.options, progress)
    for name, odd in oddities(plan, scorer, targets).items():
        progress.say(f"{printable(name)}: {odd}")
    return outcome_of(plan, scorer, targets, failures)


def collect(plan: Plan) -> RunOutcome:
    """The results as far as the store knows them; computes nothing but distances of sets."""
    plan.require_data()
    scorer = Scorer(plan.metrics, plan.store, plan.options.device)
    return outcome_of(plan, scorer, plan.targets())


def stored(plan: Plan, kind: str = "") -> RunOutcome:
    """`collect`, also of scores that were made elsewhere: no metric or device need be here.

    Args:
        kind: of the device that made the scores; by default each metric's is that which made most.
    """
    plan.require_data()
    targets = plan.targets()
    made = made_elsewhere(plan, targets, kind)
    scorer = Scorer(plan.metrics, plan.store, plan.options.device, made)
    return outcome_of(plan, scorer, targets)


def unmeasured(plan: Plan) -> RunOutcome:
    """What is planned without any score, for published values alone; no data need be here."""
    return outcome_of(plan, Scorer((), plan.store, plan.options.device), ())


def dry_run(plan: Plan, seeds: int) -> list[dict[str, Any]]:
    """What a run would do: a row per method and dataset over all seeds, per dataset and metric.

    The first say how many `seconds` are `left`, None where that is not known, and by which `pace`.
    Then one per dataset and metric with the difference that the set tells apart.
    """
    shard, device = plan.options.shard, plan.options.device
    every = [one.cells for one in plans(plan, seeds)]
    rows: list[dict[str, Any]] = []
    for cell, *others in zip(*every, strict=True):
        repeated = [cell, *others] if cell.entry.card.seeded else [cell]
        rows.append(
            {
                "method": cell.entry.card.name,
                "dataset": cell.dataset,
                "images": len(shard.of(cell.pairs)) * len(repeated),
                "to_upscale": sum(len(each.pending(shard, device)) for each in repeated),
                "problem": cell.problem,
                **_time(plan, repeated),
            }
        )
    order = [entry.card.name for entry in plan.methods]
    rows.sort(key=lambda row: order.index(row["method"]))
    rows += [{"dataset": d.name, "problem": plan.missing.get(d.name, "")} for d in plan.datasets]
    rows += [{"metric": s.name, "problem": metrics.unavailable(s)} for s in plan.metrics]
    return [*rows, *_power(plan)]


def _time(plan: Plan, repeated: Sequence[Cell]) -> dict[str, Any]:
    """What is left of a method on a dataset, by what it took here, else by its card."""
    cell, shard, limit = repeated[0], plan.options.shard, plan.options.limit
    card = next(dataset.card for dataset in plan.datasets if dataset.name == cell.dataset)
    left = sum(each.stored(p) is None for each in repeated for p in shard.of(cell.pairs))
    if not cell.pairs and card:  # not made yet
        left = len(shard.of(range(card.images)[:limit])) * len(repeated)
    every = [line for each in plan.cells_of(cell.entry) for _, line in each.records()]
    taken = [line.seconds / line.pixels * 1e6 for line in every if line.seconds and line.pixels]
    pace, told, size = cell.entry.card.pace, "measured here", card.megapixels if card else 0
    size = median([line.pixels / 1e6 for _, line in cell.records() if line.pixels] or [size])
    if pace and not taken:
        taken, told = [pace.seconds / pace.megapixels], pace.source
    if not (taken and size and left):
        return {"left": left, "seconds": None if left else 0.0, "pace": ""}
    return {"left": left, "seconds": left * size * median(taken), "pace": told}


# -- several seeds -------------------------------------------------------------------------------

EDGE = 4
"""Pixels that L-STD leaves out, as CCSR's script does."""


def plans(plan: Plan, seeds: int) -> list[Plan]:
    """The plan with `seeds` seeds, from its own on; methods without noise are run once."""
    return [replace(plan, seed=plan.seed + i) for i in range(seeds)]


def _power(plan: Plan) -> Iterator[dict[str, Any]]:
    """A row per dataset and metric: which difference the set tells apart; see `results.power`."""
    per_image = tuple(spec for spec in plan.metrics if spec.kind == "image")
    if plan.missing or not per_image or len(plan.methods) < 2:
        return
    known = collect(replace(plan, metrics=per_image)).results
    sizes = {
        plan.shown[name]: len(
            {(bool(pair.group), pair.group or pair.id) for pair in manifest.pairs}
        )
        for name, manifest in plan.manifests.items()
    }
    for one in detectable(known, sizes):
        told = None if math.isnan(one.difference) else one.difference
        yield {
            "dataset": one.dataset,
            "metric": one.metric.name,
            "n": one.n,
            "detectable": told,
            "power": POWER,
            "source": one.source,
        }


def together(plans: Sequence[Plan], outcomes: Sequence[RunOutcome]) -> RunOutcome:
    """The outcomes of all seeds as one, whose scores are means over them."""
    if len(plans) == 1:
        return outcomes[0]
    runs = {plan.seed: outcome.results for plan, outcome in zip(plans, outcomes, strict=True)}
    failures = dict.fromkeys(failure for outcome in outcomes for failure in outcome.failures)
    results = over_seeds(runs, dict(_local_std(plans)))
    return replace(outcomes[0], results=results, failures=tuple(failures))


def _local_std(plans: Sequence[Plan]) -> Iterator[tuple[tuple[str, str, str], float]]:
    """L-STD of every image that a method which draws noise has for all seeds."""
    for cells in zip(*(plan.cells for plan in plans), strict=True):
        if not cells[0].entry.card.seeded or cells[0].entry.files is not None:
            continue
        for pair in cells[0].pairs:
            stored = [cell.stored(pair) for cell in cells]
            try:
                drawn = [images.read_rgb(one.path) for one in stored if one is not None]
            except ImageError:
                continue
            if len(drawn) == len(plans):
                inner = np.stack(drawn)[:, EDGE:-EDGE, EDGE:-EDGE] / 255.0
                key = (plans[0].shown[cells[0].dataset], cells[0].entry.card.name, pair.id)
                yield key, float(inner.std(axis=0).mean())
