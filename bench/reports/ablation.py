"""Ablations whose trainings are repeated: which differences are more than images and seeds.

Written only for results whose methods name a training seed; see `bench.results.seed_stats`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.base.types import TRAINING_SEED
from bench.files.safe_csv import SEVEN_DIGITS, write_files
from bench.reports.tables.layout import count_comparisons
from bench.reports.tables.markdown import filled
from bench.results import bootstrap
from bench.results.results import Item, Results
from bench.results.seed_stats import Configuration, SeedCell, SeedPair, seed_statistics
from bench.results.view import PLAIN, View

COLUMNS = [
    *("dataset", "metric", "configuration", "against", "n", "seeds", "value", "low", "high"),
    *("seed_spread", "p", "holm_p", "verdict", "reason"),
]
"""A row is a configuration's mean where `against` is empty, else a difference."""


def render(results: Results, out: Path, _view: View = PLAIN) -> list[Path]:
    """Write ``ablation.csv`` and ``ablation.md``; nothing where no method names its seed."""
    found = seed_statistics(results)
    if not found.configurations:
        return []
    heads = found.configurations[0].settings
    same = all(own.settings.keys() == heads.keys() for own in found.configurations)
    page = filled(
        "pages/ablation.md",
        results=results,
        found=found,
        heads=tuple(heads) if same else (),  # the columns that tell configurations apart
        missing=_missing,
        below=_notes(results, found.configurations),
        comparisons=count_comparisons(found.comparisons.values()),
        rules=bootstrap,
    )
    rows = [*map(_cell_row, found.cells), *map(_pair_row, found.pairs)]
    frame = pd.DataFrame(rows, columns=COLUMNS).astype({"n": "Int64", "seeds": "Int64"})
    return write_files(out, {"ablation.csv": frame, "ablation.md": page}, SEVEN_DIGITS)


def _cell_row(cell: SeedCell) -> dict[str, Any]:
    return {
        **vars(cell),  # dataset, n and reason
        "metric": cell.metric.name,
        "configuration": cell.configuration.label,
        **{"against": "", "verdict": ""},
        "seeds": len(cell.seed_means),
        "value": cell.mean,
        "low": cell.mean - cell.half,
        "high": cell.mean + cell.half,
        "seed_spread": cell.spread,
    }


def _pair_row(pair: SeedPair) -> dict[str, Any]:
    return {
        **_cell_row(pair.a),
        **vars(pair),  # interval, p, verdict and reason
        "against": pair.b.configuration.label,
        "seeds": min(len(pair.a.seed_means), len(pair.b.seed_means)),
        "value": pair.difference,
        "seed_spread": pair.spread,
    }


def _missing(cells: Sequence[SeedCell]) -> Iterator[str]:
    """A line per reason, with the metrics and, if not all, the configurations that it is for."""
    every = len({cell.configuration.label for cell in cells})
    for reason in dict.fromkeys(cell.reason for cell in cells if cell.reason):
        own = [cell for cell in cells if cell.reason == reason]
        titles = ", ".join(dict.fromkeys(cell.metric.title for cell in own))
        labels = dict.fromkeys(cell.configuration.label for cell in own)
        where = "" if len(labels) == every else f" ({'; '.join(labels)})"
        yield f"{titles}{where}: {reason}"


def _notes(results: Results, known: Sequence[Configuration]) -> list[str]:
    """The notes of datasets, methods and the table, each once, and which methods are left out."""
    shown = [(own.label, item) for own in known for item in own.methods.values()]
    datasets = [(dataset.title, dataset) for dataset in results.datasets]
    lines = [*_item_notes(datasets), *_item_notes(shown), *results.notes]
    left = [method.title for method in results.methods if TRAINING_SEED not in method.variant]
    if left:
        lines.append(f"Not here, since they name no training seed: {'; '.join(left)}")
    return lines


def _item_notes(items: Sequence[tuple[str, Item]]) -> list[str]:
    """A line per note, after the labels of what it is about unless that is all of them."""
    every = len(dict(items))
    lines: list[str] = []
    for note in dict.fromkeys(item.note for _, item in items if item.note):
        own = dict.fromkeys(label for label, item in items if item.note == note)
        lines.append(note if len(own) == every > 1 else f"{'; '.join(own)}: {note}")
    return lines
