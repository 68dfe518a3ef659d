"""Results as a table that every text report prints: what is in which cell, marked and footnoted.

Two layouts of the same cells: methods as columns and rows grouped by dataset (the paper's
Table 1), or methods (variants) as rows and metrics as columns (its Tables 2 and 3).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bench.base.errors import DataError
from bench.base.text import printable
from bench.base.types import MetricSpec
from bench.results.results import Item, Layout, Results, summarize

if TYPE_CHECKING:
    import pandas as pd

Mark = Literal["", "best", "second", "undecided"]
Marking = Literal["best", "significant"]
"""What is marked: best and second best, or the best and all that are not told apart from it."""
DASH = "–"
UNDECIDED = "†"
"""Beside a mean that no test tells apart from the best one."""


@dataclass(frozen=True)
class Label:
    """A heading and the numbers of its footnotes."""

    text: str
    notes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Cell:
    """A mean as printed (a dash where there is none), its mark and its footnotes' numbers."""

    text: str
    mark: Mark = ""
    notes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Row:
    """Headings at the left (one per `Table.heads`) and a cell per `Table.columns`."""

    labels: tuple[Label, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Group:
    """The rows of one dataset; `count` says how many images the means are over ("" unknown)."""

    label: Label
    count: str
    rows: tuple[Row, ...]

    @property
    def heading(self) -> str:
        return f"{self.label.text}, {self.count}" if self.count else self.label.text


@dataclass(frozen=True)
class Table:
    """A laid out table. All text is printable on one line; nothing is escaped yet.

    Attributes:
        heads: headings of the row labels: ("Metric",), ("Method",) or the variants' columns.
        columns: methods or metrics.
        footnotes: the text of number i is ``footnotes[i - 1]``.
        notes: what holds for the whole table.
        single: one dataset alone, methods as rows: the dataset belongs into the caption.
        marking: what the marks of the cells mean.
        comparisons: how many a test was corrected for, where the marks are those of a test.
    """

    title: str
    heads: tuple[str, ...]
    columns: tuple[Label, ...]
    groups: tuple[Group, ...]
    footnotes: tuple[str, ...]
    notes: tuple[str, ...]
    single: bool
    marking: Marking = "best"
    comparisons: str = ""


class _Footnotes:
    """Texts numbered from 1 in the order they are first asked for."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, *texts: str) -> tuple[int, ...]:
        shown = [printable(text) for text in texts if text]
        return tuple(self._numbers.setdefault(text, len(self._numbers) + 1) for text in shown)

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(self._numbers)


def marks(means: Sequence[float], better: Literal["higher", "lower"]) -> list[Mark]:
    """Which of the means is best and second best.

    Decided on the unrounded means, so two cells that print alike may differ in their mark; only
    equal unrounded means share one. NaN is never marked. A best needs at least two means, a
    second best at least three: the lesser of two is no distinction.
    """
    known = [mean for mean in means if not math.isnan(mean)]
    ranked = sorted(set(known), reverse=better == "higher")
    best = ranked[0] if len(known) > 1 else None
    second = ranked[1] if len(known) > 2 and len(ranked) > 1 else None
    return [_mark(mean, best, second) for mean in means]


def _mark(mean: float, best: float | None, second: float | None) -> Mark:
    if math.isnan(mean):
        return ""
    return "best" if mean == best else "second" if mean == second else ""


def make_table(results: Results, layout: Layout | None = None) -> Table:
    """Lay results out, by default as `results.layout` says. Footnote numbers do not depend on it.

    Raises:
        DataError: there is no dataset, method or metric, or a score is there twice.
    """
    if not (results.datasets and results.methods and results.metrics):
        raise DataError("a report needs at least one dataset, method and metric; found none of one")
    layout = layout or results.layout
    summary = summarize(results)
    footnotes = _Footnotes()
    methods = {m.name: _item_label(m, footnotes) for m in results.methods}
    datasets = {d.name: _dataset_label(d, summary, footnotes, results) for d in results.datasets}
    cells = _cells(results, summary, footnotes)
    by_rows = layout == "methods-as-rows"
    heads = _variant_heads(results) if by_rows else ("Metric",)
    arrange = _method_rows if by_rows else _metric_rows
    return Table(
        title=printable(results.title),
        heads=heads,
        columns=_metric_labels(results) if by_rows else tuple(methods.values()),
        groups=tuple(
            Group(
                datasets[d.name], _count(summary, d.name), arrange(results, d.name, methods, cells)
            )
            for d in results.datasets
        ),
        footnotes=footnotes.texts,
        notes=tuple(printable(note) for note in results.notes),
        single=by_rows and len(results.datasets) == 1,
        marking="best" if results.groups is None else "significant",
        comparisons=_comparisons(results, summary),
    )


def count_comparisons(sizes: Iterable[int]) -> str:
    """How many comparisons verdicts were corrected for, in words."""
    known = sorted(set(sizes)) or [0]
    low, high = known[0], known[-1]
    count = str(high) if low == high else f"{low}–{high}"
    return f"{count} comparison{'' if high == 1 else 's'} per dataset and metric"


def _comparisons(results: Results, summary: pd.DataFrame) -> str:
    """Of the groups: every two methods that have a mean are compared."""
    if results.groups is None:
        return ""
    known = summary[summary["n"] > 0].groupby(["dataset", "metric"]).size()
    return count_comparisons(math.comb(int(known[key]), 2) for key in results.groups)


def _item_label(item: Item, footnotes: _Footnotes) -> Label:
    named = item.note.startswith(f"{item.title}:")
    note = item.note if named or not item.note else f"{item.title}: {item.note}"
    return Label(printable(item.title), footnotes.number(note))


def _dataset_label(
    dataset: Item, summary: pd.DataFrame, footnotes: _Footnotes, results: Results
) -> Label:
    label = _item_label(dataset, footnotes)
    shared = footnotes.number(*_common_set_notes(dataset, summary, results))
    return Label(label.text, label.notes + shared)


def _common_set_notes(dataset: Item, summary: pd.DataFrame, results: Results) -> list[str]:
    """One sentence per size of common set that is smaller than the dataset."""
    own = summary[(summary["dataset"] == dataset.name) & (summary["n"] > 0)]
    titles = {metric.name: metric.title for metric in results.metrics}
    sizes: dict[tuple[int, int], list[str]] = {}
    smaller = own[own["n"] < own["images"]].drop_duplicates("metric")
    for row in smaller.to_dict("records"):
        sizes.setdefault((row["n"], row["images"]), []).append(titles[row["metric"]])
    return [
        f"{', '.join(names)}: means over the {n} of {images} images that every method has"
        for (n, images), names in sizes.items()
    ]


def _count(summary: pd.DataFrame, dataset: str) -> str:
    own = summary[summary["dataset"] == dataset]
    images = int(own["images"].max()) if len(own) else 0
    sizes = sorted({int(n) for n in own["n"] if n > 0})
    if not images:
        return ""
    if len(sizes) > 1:
        return f"n = {sizes[0]}–{sizes[-1]}"
    return f"n = {images}" if not sizes or sizes[0] == images else f"n = {sizes[0]} of {images}"


_Key = tuple[str, str, str]


def _cells(results: Results, summary: pd.DataFrame, footnotes: _Footnotes) -> dict[_Key, Cell]:
    """Cells by dataset, metric and method."""
    specs = {metric.name: metric for metric in results.metrics}
    cells: dict[_Key, Cell] = {}
    for (dataset, metric), group in summary.groupby(["dataset", "metric"], sort=False):
        spec, rows = specs[str(metric)], group.to_dict("records")
        for row, mark in zip(rows, _marks(results, spec, rows), strict=True):
            text = DASH if math.isnan(row["mean"]) else f"{row['mean']:z.{spec.digits}f}"
            notes = footnotes.number(_cell_note(row))
            cells[str(dataset), str(metric), row["method"]] = Cell(text, mark, notes)
    return cells


def _marks(
    results: Results, metric: MetricSpec, rows: Sequence[Mapping[Hashable, Any]]
) -> list[Mark]:
    """The marks of one dataset and metric: plain, or of the best and what no test tells apart."""
    ranked = marks([row["mean"] for row in rows], metric.better)
    if results.groups is None:
        return ranked
    group = results.groups.get((rows[0]["dataset"], metric.name), frozenset())
    return [
        ("best" if mark == "best" else "undecided") if row["method"] in group else ""
        for row, mark in zip(rows, ranked, strict=True)
    ]


def _cell_note(row: Mapping[Hashable, Any]) -> str:
    reason = row["reason"] or "not computed"
    if row["n"] == 0:
        return str(reason)
    if not row["missing"]:
        return ""
    return f"no score for {row['missing']} of {row['images']} images: {reason}"


def _metric_labels(results: Results) -> tuple[Label, ...]:
    return tuple(Label(printable(f"{m.title} {m.arrow}")) for m in results.metrics)


def _metric_rows(
    results: Results, dataset: str, methods: Mapping[str, Label], cells: Mapping[_Key, Cell]
) -> tuple[Row, ...]:
    return tuple(
        Row((label,), tuple(cells[dataset, metric.name, method] for method in methods))
        for metric, label in zip(results.metrics, _metric_labels(results), strict=True)
    )


def _method_rows(
    results: Results, dataset: str, methods: Mapping[str, Label], cells: Mapping[_Key, Cell]
) -> tuple[Row, ...]:
    return tuple(
        Row(
            _variant_labels(method, methods[method.name], _variant_heads(results)),
            tuple(cells[dataset, metric.name, method.name] for metric in results.metrics),
        )
        for method in results.methods
    )


def _variant_heads(results: Results) -> tuple[str, ...]:
    """The columns that tell variants apart where every method names them, else "Method"."""
    heads = dict.fromkeys(head for method in results.methods for head in method.variant)
    complete = heads and all(heads.keys() == method.variant.keys() for method in results.methods)
    return tuple(printable(head) for head in heads) if complete else ("Method",)


def _variant_labels(method: Item, label: Label, heads: tuple[str, ...]) -> tuple[Label, ...]:
    if heads == ("Method",):
        return (label,)
    values = {printable(head): printable(value) for head, value in method.variant.items()}
    first, *rest = (values[head] for head in heads)
    return (Label(first, label.notes), *(Label(value) for value in rest))
