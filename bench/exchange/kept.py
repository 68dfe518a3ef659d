"""Leaderboards that were really measured, kept as exports in `results/measured`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.data.find import public_names
from bench.exchange.measured import of_results, unlike
from bench.exchange.merge import Import, merge
from bench.exchange.reading import read_bundle
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
    notes = tuple(f"left out of {kept.source}: {line}" for line in lines)
    results = replace(results, notes=(*results.notes, *notes))
    cells = [
        cell
        for cell in theirs.scores
        if cell.dataset in own.datasets
        and cell.metric in own.metrics
        and cell.method not in own.methods
        and not any(
            line.startswith((f"dataset {cell.dataset}:", f"metric {cell.metric}:"))
            for line in lines
        )
    ]
    if not cells:
        return results
    bundle = kept.bundle.model_copy(update={"measured": theirs.of_cells(cells)})
    return merge(results, [Import(kept.source, bundle)])
