"""Leaderboards that were really measured, kept as exports in `results/measured`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.data.find import public_names
from bench.exchange.bundle import read_bundle
from bench.exchange.measured import Measured, of_results, unlike
from bench.exchange.merge import Import, merge
from bench.results.published import folder
from bench.results.results import Results


def exports() -> list[Path]:
    """The exports, in the order of their names; none in an installation without them."""
    return sorted((folder().parent / "measured").glob("*.json"))


def beside(results: Results) -> Results:
    """The results with the kept methods that they have not, where test set and metric are the same.

    What is not the same is left out and named in a note.
    """
    for path in exports():
        results = _beside(results, Import(f"measured/{path.name}", read_bundle(path)))
    return results


def _beside(results: Results, kept: Import) -> Results:
    called = public_names(item.name for item in results.datasets)
    own, theirs = of_results(results, names=called), kept.bundle.measured
    if not own.datasets.keys() & theirs.datasets.keys():
        return results
    lines = unlike(own, theirs, "here", "there")
    same = _only_same(own, theirs, lines)
    notes = tuple(f"left out of {kept.source}: {line}" for line in lines)
    results = replace(results, notes=(*results.notes, *notes))
    if not (same.datasets and same.metrics and same.methods):
        return results
    bundle = kept.bundle.model_copy(update={"measured": same})
    return merge(results, [Import(kept.source, bundle)])


def _only_same(own: Measured, theirs: Measured, differing: list[str]) -> Measured:
    """What of `theirs` can stand beside `own` and is not in it."""

    def agrees(what: str, name: str) -> bool:
        return not any(line.startswith(f"{what} {name}:") for line in differing)

    def shared(what: str) -> dict[str, Any]:
        ours, known = getattr(own, f"{what}s"), getattr(theirs, f"{what}s")
        return {name: known[name] for name in known if name in ours and agrees(what, name)}

    datasets, metrics = shared("dataset"), shared("metric")
    methods = {name: theirs.methods[name] for name in theirs.methods if name not in own.methods}
    scores = [
        cell
        for cell in theirs.scores
        if cell.dataset in datasets and cell.metric in metrics and cell.method in methods
    ]
    told = {"datasets": datasets, "metrics": metrics, "methods": methods, "scores": scores}
    return theirs.model_copy(update=told)
