"""Ablations whose trainings are repeated: which differences are more than images and seeds.

Written only for results whose methods name a training seed; see `bench.results.seed_stats`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.base.records import write_atomic
from bench.base.types import TRAINING_SEED
from bench.files.safe_csv import SEVEN_DIGITS, write_csv
from bench.reports.tables.layout import DASH, count_comparisons
from bench.reports.tables.markdown import escape, line, number, p_value
from bench.results.bootstrap import MIN_IMAGES, RESAMPLES
from bench.results.results import Item, Results
from bench.results.seed_stats import (
    Configuration,
    SeedCell,
    SeedPair,
    SeedStatistics,
    configurations,
    seed_statistics,
)
from bench.results.view import PLAIN, View

if TYPE_CHECKING:
    import pandas as pd

ROWS = "ablation.csv"
PAGE = "ablation.md"
TEXTS = ("dataset", "metric", "configuration", "against", "verdict", "reason")
WHOLE = ("n", "seeds")
COLUMNS = (
    *("dataset", "metric", "configuration", "against", "n", "seeds", "value", "low", "high"),
    *("seed_spread", "p", "holm_p", "verdict", "reason"),
)
PAIR_HEADS = (
    *("metric", "configuration", "against", "n", "difference", "Holm p", "seed spread"),
    "verdict",
)


def render(results: Results, out: Path, _view: View = PLAIN) -> list[Path]:
    """Write ``ablation.csv`` and ``ablation.md``; nothing where no method names its seed."""
    if not configurations(results):
        return []
    found = seed_statistics(results)
    write_csv(_frame(found), out / ROWS, SEVEN_DIGITS)
    write_atomic(out / PAGE, "\n".join(_page(results, found)) + "\n")
    return [out / ROWS, out / PAGE]


# -- the CSV file --------------------------------------------------------------------------------


def _frame(found: SeedStatistics) -> pd.DataFrame:
    """Rows of `COLUMNS`: a configuration's mean where `against` is empty, else a difference."""
    import pandas as pd

    rows = [*map(_cell_row, found.cells), *map(_pair_row, found.pairs)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    kinds = dict.fromkeys(COLUMNS, "float") | dict.fromkeys(TEXTS, "object")
    return frame.astype(kinds | dict.fromkeys(WHOLE, "Int64"))


def _cell_row(cell: SeedCell) -> dict[str, Any]:
    return {
        "dataset": cell.dataset,
        "metric": cell.metric.name,
        "configuration": cell.configuration.label,
        "against": "",
        "n": cell.n,
        "seeds": len(cell.seed_means),
        "value": cell.mean,
        "low": cell.mean - cell.half,
        "high": cell.mean + cell.half,
        "seed_spread": cell.spread,
        "verdict": "",
        "reason": cell.reason,
    }


def _pair_row(pair: SeedPair) -> dict[str, Any]:
    return {
        **_cell_row(pair.a),
        "against": pair.b.configuration.label,
        "seeds": min(len(pair.a.seed_means), len(pair.b.seed_means)),
        "value": pair.difference,
        "low": pair.low,
        "high": pair.high,
        "seed_spread": pair.spread,
        "p": pair.p,
        "holm_p": pair.holm_p,
        "verdict": pair.verdict,
        "reason": pair.reason,
    }


# -- the page ------------------------------------------------------------------------------------


def _page(results: Results, found: SeedStatistics) -> Iterator[str]:
    yield f"### {escape(results.title)}: differences, images and training seeds"
    yield ""
    yield _explanation(found)
    for dataset in results.datasets:
        cells = [cell for cell in found.cells if cell.dataset == dataset.name]
        pairs = [pair for pair in found.pairs if pair.a.dataset == dataset.name]
        yield ""
        yield f"#### {escape(dataset.title)}"
        yield ""
        yield from _means(results, found.configurations, cells)
        yield from _missing(cells)
        yield from _verdicts(pairs)
    yield from _notes(results, found.configurations)


def _explanation(found: SeedStatistics) -> str:
    return (
        "How to read it: a row is one configuration, averaged over its training seeds: the mean "
        "± half of its 95 % interval over images (symmetric bootstrap-t, "
        f"{RESAMPLES} resamples), in brackets the spread over training seeds (largest less "
        "smallest mean of a seed). Below, every two configurations: one is *better* only if the "
        "paired test on the same images says so (Student's t corrected for skewness, Holm over "
        f"{count_comparisons(found.comparisons.values())}, level {found.alpha:g}; its interval in "
        "brackets leaves out zero exactly there), and every seed "
        "of one is on the same side of every seed of the other, and the difference is larger than "
        "the spread of either. All else is *none*, with the noise that may explain it. Below "
        f"{MIN_IMAGES} images, for metrics of a whole set and without a second training seed "
        "nothing is claimed. The p-value knows of images only, and two seeds are a coarse check: "
        "where training noise is all there is, about one pair in five passes it (three seeds: one "
        "in twenty); and metrics of the same networks are not independent of each other."
    )


def _means(
    results: Results, known: Sequence[Configuration], cells: Sequence[SeedCell]
) -> Iterator[str]:
    """A row per configuration, a column per metric in the order of the table."""
    heads = _heads(known)
    metrics = [f"{escape(metric.title)} {metric.arrow}" for metric in results.metrics]
    yield line([*(map(escape, heads or ("Configuration",))), *metrics])
    yield line(["---"] * (len(heads) or 1) + ["---:"] * len(metrics))
    for own in known:
        labels = [own.settings[head] for head in heads] or [own.label]
        row = [_mean(cell) for cell in cells if cell.configuration is own]
        yield line([*map(escape, labels), *row])


def _heads(known: Sequence[Configuration]) -> tuple[str, ...]:
    """The columns that tell configurations apart, where all of them have the same ones."""
    heads = tuple(known[0].settings)
    same = all(own.settings.keys() == known[0].settings.keys() for own in known)
    return heads if same else ()


def _mean(cell: SeedCell) -> str:
    if math.isnan(cell.mean):
        return DASH
    digits = cell.metric.digits
    half = "" if math.isnan(cell.half) else f" ± {number(cell.half, digits)}"
    return f"{number(cell.mean, digits)}{half} ({number(cell.spread, digits)})"


def _missing(cells: Sequence[SeedCell]) -> Iterator[str]:
    """A line per reason, with the metrics and, if not all, the configurations that it is for."""
    groups: dict[str, list[SeedCell]] = {}
    for cell in cells:
        if cell.reason:
            groups.setdefault(cell.reason, []).append(cell)
    every = len({cell.configuration.label for cell in cells})
    if groups:
        yield ""
    for reason, own in groups.items():
        titles = ", ".join(dict.fromkeys(cell.metric.title for cell in own))
        labels = dict.fromkeys(cell.configuration.label for cell in own)
        where = "" if len(labels) == every else f" ({'; '.join(labels)})"
        yield f"- {escape(f'{titles}{where}: {reason}')}"


def _verdicts(pairs: Sequence[SeedPair]) -> Iterator[str]:
    """A row per metric and two configurations that both have scores."""
    known = [pair for pair in pairs if pair.a.seed_means and pair.b.seed_means]
    yield ""
    if not known:
        yield "No two configurations have scores to compare."
        return
    yield line(PAIR_HEADS)
    yield line(["---"] * 3 + ["---:"] * 4 + ["---"])
    for pair in known:
        yield line(_pair_cells(pair))


def _pair_cells(pair: SeedPair) -> list[str]:
    metric = pair.a.metric
    ends = [number(end, metric.digits, "+") for end in (pair.low, pair.high)]
    interval = "" if math.isnan(pair.low) else f" ({' to '.join(ends)})"
    verdict = f"none: {escape(pair.reason)}" if pair.verdict == "none" else f"**{pair.verdict}**"
    return [
        f"{escape(metric.title)} {metric.arrow}",
        escape(pair.a.configuration.label),
        escape(pair.b.configuration.label),
        DASH if pair.a.n is None else str(pair.a.n),
        f"{number(pair.difference, metric.digits, '+')}{interval}",
        p_value(pair.holm_p),
        number(pair.spread, metric.digits),
        verdict,
    ]


def _notes(results: Results, known: Sequence[Configuration]) -> Iterator[str]:
    """The notes of datasets, methods and the table, each once, and which methods are left out."""
    shown = [(own.label, item) for own in known for item in own.methods.values()]
    lines = [
        *_item_notes([(dataset.title, dataset) for dataset in results.datasets]),
        *_item_notes(shown),
        *results.notes,
    ]
    left = [method.title for method in results.methods if TRAINING_SEED not in method.variant]
    if left:
        lines.append(f"Not here, since they name no training seed: {'; '.join(left)}")
    if lines:
        yield ""
    yield from (f"- {escape(text)}" for text in lines)


def _item_notes(items: Sequence[tuple[str, Item]]) -> list[str]:
    """A line per note, after the labels of what it is about unless that is all of them."""
    labels: dict[str, dict[str, None]] = {}
    for label, item in items:
        if item.note:
            labels.setdefault(item.note, {})[label] = None
    every = len(dict(items))
    return [
        note if len(own) == every > 1 else f"{'; '.join(own)}: {note}"
        for note, own in labels.items()
    ]
