"""One suite with several seeds: a plan for each, and their outcomes as one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bench.base.errors import ImageError
from bench.files import images
from bench.results.power import POWER, detectable
from bench.results.repeats import over_seeds
from bench.running import execute
from bench.running.collect import Outcome
from bench.running.plan import Plan

EDGE = 4
"""Pixels that L-STD leaves out, as CCSR's script does."""


def plans(plan: Plan, seeds: int) -> list[Plan]:
    """The plan with `seeds` seeds, from its own on; methods without noise are run once."""
    return [replace(plan, seed=plan.seed + i) for i in range(seeds)]


def dry_run(plan: Plan, seeds: int) -> list[dict[str, Any]]:
    """What a run would do, over all seeds; see `bench.running.execute.dry_run`."""
    noisy = {entry.card.name for entry in plan.methods if entry.card.seeded}
    rows, *others = map(execute.dry_run, plans(plan, seeds))
    for row, *more in zip(rows, *others, strict=True):
        if row.get("method") in noisy:
            for name in ("images", "to_upscale"):
                row[name] += sum(other[name] for other in more)
    return [*rows, *_power(plan)]


def _power(plan: Plan) -> Iterator[dict[str, Any]]:
    """A row per dataset and metric: which difference the set tells apart; see `results.power`."""
    per_image = tuple(spec for spec in plan.metrics if spec.kind == "image")
    if plan.missing or not per_image or len(plan.methods) < 2:
        return
    known = execute.collect(replace(plan, metrics=per_image)).results
    sizes = {
        name: len({(bool(pair.group), pair.group or pair.id) for pair in manifest.pairs})
        for name, manifest in plan.manifests.items()
    }
    for one in detectable(known, sizes):
        told = None if math.isnan(one.difference) else one.difference
        yield {
            **{"dataset": one.dataset, "metric": one.metric.name, "n": one.n},
            **{"detectable": told, "power": POWER, "source": one.source},
        }


def together(plans: Sequence[Plan], outcomes: Sequence[Outcome]) -> Outcome:
    """The outcomes of all seeds as one, whose scores are means over them."""
    if len(plans) == 1:
        return outcomes[0]
    runs = {plan.seed: outcome.results for plan, outcome in zip(plans, outcomes, strict=True)}
    failures = dict.fromkeys(failure for outcome in outcomes for failure in outcome.failures)
    return Outcome(over_seeds(runs, dict(_local_std(plans))), tuple(failures))


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
                key = (cells[0].dataset, cells[0].entry.card.name, pair.id)
                yield key, float(inner.std(axis=0).mean())
