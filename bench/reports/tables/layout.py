"""Results as a table that every text report prints: what is in which cell, marked and footnoted.

Two layouts of the same cells: methods as columns and rows grouped by dataset (the paper's
Table 1), or methods (variants) as rows and metrics as columns (its Tables 2 and 3).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bench.base.errors import DataError
from bench.base.text import in_digits, printable
from bench.base.types import MetricSpec
from bench.results.results import Item, Results, summarize
from bench.results.view import PLAIN, View

if TYPE_CHECKING:
    import pandas as pd

Mark = Literal["", "best", "second", "undecided"]
Marking = Literal["best", "significant"]
"""What is marked: best and second best, or the best and all that are not told apart from it."""
DASH = "–"
NOT_COMPUTED = "not computed"
UNDECIDED = "†"
"""Beside a mean that no test tells apart from the best one."""


@dataclass(frozen=True)
class Label:
    """A heading and the numbers of its footnotes."""

    text: str
    notes: tuple[int, ...] = ()

    def __str__(self) -> str:
        return self.text + bracketed(self.notes)


def bracketed(notes: Sequence[int]) -> str:
    """Numbers of footnotes in plain text."""
    return f" [{','.join(map(str, notes))}]" if notes else ""


@dataclass(frozen=True)
class TableCell:
    """All that any format shows of a mean.

    Attributes:
        mean: unrounded; NaN where there is none.
        digits: decimals printed.
        reason: why there is none, or why it is over fewer images; "" for neither.
        notes: numbers of the footnotes that say so.
    """

    mean: float
    digits: int
    mark: Mark = ""
    reason: str = ""
    notes: tuple[int, ...] = ()

    @property
    def text(self) -> str:
        """The mean as printed, a dash where there is none."""
        return in_digits(self.mean, self.digits)


@dataclass(frozen=True)
class Row:
    """Headings at the left (one per `Table.heads`) and a cell per `Table.columns`."""

    labels: tuple[Label, ...]
    cells: tuple[TableCell, ...]


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
        metrics: those that are laid out, in their order.
        footnotes: the text of number i is ``footnotes[i - 1]``.
        notes: what holds for the whole table.
        single: one dataset alone, methods as rows: the dataset belongs into the caption.
        marking: what the marks of the cells mean.
        comparisons: how many a test was corrected for, where the marks are those of a test.
    """

    title: str
    heads: tuple[str, ...]
    columns: tuple[Label, ...]
    metrics: tuple[MetricSpec, ...]
    groups: tuple[Group, ...]
    footnotes: tuple[str, ...]
    notes: tuple[str, ...]
    single: bool
    marking: Marking = "best"
    comparisons: str = ""

    def below(self, legends: Mapping[Marking, str]) -> Iterator[str]:
        """Legend, footnotes and notes in plain text."""
        yield legends[self.marking].format(self.comparisons)
        for number, text in enumerate(self.footnotes, 1):
            yield f"[{number}] {text}"
        yield from self.notes


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


def make_table(results: Results, view: View = PLAIN) -> Table:
    """Lay results out. Numbers of footnotes do not depend on the layout.

    A metric that no method has a value for is named in a note instead, unless no metric has one.

    Raises:
        DataError: there is no dataset, method or metric, or a score is there twice.
    """
    if not (results.datasets and results.methods and results.metrics):
        raise DataError("a report needs at least one dataset, method and metric; found none of one")
    summary = summarize(results)
    absent = _absent(results, summary, view)
    metrics = tuple(metric for metric in results.metrics if metric.name not in absent)
    summary = summary[summary["metric"].isin([metric.name for metric in metrics])]
    footnotes = _Footnotes()
    methods = _item_labels(results.methods, footnotes)
    datasets = _item_labels(results.datasets, footnotes)
    titles = {metric.name: metric.title for metric in metrics}
    shared = {
        d.name: footnotes.number(*_common_set_notes(d, summary, titles)) for d in results.datasets
    }
    cells = _cells(metrics, summary, view, footnotes)
    by_rows = view.layout == "methods-as-rows"
    labels = _metric_labels(metrics)
    return Table(
        title=printable(results.title),
        heads=_variant_heads(results) if by_rows else ("Metric",),
        columns=tuple(labels.values()) if by_rows else tuple(methods.values()),
        metrics=metrics,
        groups=tuple(
            Group(
                Label(datasets[d.name].text, datasets[d.name].notes + shared[d.name]),
                _count(summary, d.name),
                _method_rows(results, d.name, methods, labels, cells)
                if by_rows
                else _metric_rows(d.name, methods, labels, cells),
            )
            for d in results.datasets
        ),
        footnotes=footnotes.texts,
        notes=tuple(map(printable, [*_not_here(results.metrics, absent), *results.notes])),
        single=by_rows and len(results.datasets) == 1,
        marking="best" if view.groups is None else "significant",
        comparisons=_comparisons(view, summary),
    )


def _absent(results: Results, summary: pd.DataFrame, view: View) -> dict[str, str]:
    """Metrics that tables leave out, with what gets them or else why they are not here."""
    known = set(summary.loc[summary["n"] > 0, "metric"])
    if view.every_metric or not known:
        return {}
    reasons = summary.groupby("metric")["reason"].first()
    remedy = view.remedy or {}
    return {
        metric.name: remedy.get(metric.name) or reasons[metric.name] or NOT_COMPUTED
        for metric in results.metrics
        if metric.name not in known
    }


def _not_here(metrics: Iterable[MetricSpec], absent: Mapping[str, str]) -> list[str]:
    """A line for all metrics of which the same is to be said."""
    titles: dict[str, list[str]] = {}
    for metric in metrics:
        if metric.name in absent:
            titles.setdefault(absent[metric.name], []).append(metric.title)
    return [f"not here: {', '.join(names)}; {text}" for text, names in titles.items()]


def count_comparisons(sizes: Iterable[int]) -> str:
    """How many comparisons verdicts were corrected for, in words."""
    known = sorted(set(sizes)) or [0]
    low, high = known[0], known[-1]
    count = str(high) if low == high else f"{low}–{high}"
    return f"{count} comparison{'' if high == 1 else 's'} per dataset and metric"


def _comparisons(view: View, summary: pd.DataFrame) -> str:
    """Of the groups: every two methods that have a mean are compared."""
    if view.groups is None:
        return ""
    known = summary[summary["n"] > 0].groupby(["dataset", "metric"]).size()
    return count_comparisons(math.comb(int(known[key]), 2) for key in view.groups)


def _item_labels(items: Sequence[Item], footnotes: _Footnotes) -> dict[str, Label]:
    """By name; a footnote that holds for several names them all."""
    titles: dict[str, list[str]] = {}
    for item in items:
        titles.setdefault(_own_note(item), []).append(item.title)
    return {
        item.name: Label(printable(item.title), footnotes.number(_named(note, titles[note])))
        for item in items
        for note in [_own_note(item)]
    }


def _own_note(item: Item) -> str:
    return item.note.removeprefix(f"{item.title}:").strip()


def _named(note: str, titles: Sequence[str]) -> str:
    return f"{', '.join(titles)}: {note}" if note else ""


def _common_set_notes(dataset: Item, summary: pd.DataFrame, titles: Mapping[str, str]) -> list[str]:
    """One sentence per size of common set that is smaller than the dataset."""
    own = summary[(summary["dataset"] == dataset.name) & (summary["n"] > 0)]
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


def _cells(
    metrics: Iterable[MetricSpec], summary: pd.DataFrame, view: View, footnotes: _Footnotes
) -> dict[_Key, TableCell]:
    """Cells by dataset, metric and method."""
    specs = {metric.name: metric for metric in metrics}
    cells: dict[_Key, TableCell] = {}
    for (dataset, metric), group in summary.groupby(["dataset", "metric"], sort=False):
        spec, rows = specs[str(metric)], group.to_dict("records")
        for row, mark in zip(rows, _marks(view, spec, rows), strict=True):
            reason = printable(_cell_note(row))
            cells[str(dataset), str(metric), row["method"]] = TableCell(
                float(row["mean"]), spec.digits, mark, reason, footnotes.number(reason)
            )
    return cells


def _marks(view: View, metric: MetricSpec, rows: Sequence[Mapping[Hashable, Any]]) -> list[Mark]:
    """The marks of one dataset and metric: plain, or of the best and what no test tells apart."""
    ranked = marks([row["mean"] for row in rows], metric.better)
    if view.groups is None:
        return ranked
    group = view.groups.get((rows[0]["dataset"], metric.name), frozenset())
    return [
        ("best" if mark == "best" else "undecided") if row["method"] in group else ""
        for row, mark in zip(rows, ranked, strict=True)
    ]


def _cell_note(row: Mapping[Hashable, Any]) -> str:
    reason = row["reason"] or NOT_COMPUTED
    if row["n"] == 0:
        return str(reason)
    if not row["missing"]:
        return ""
    return f"no score for {row['missing']} of {row['images']} images: {reason}"


def _metric_labels(metrics: Iterable[MetricSpec]) -> dict[str, Label]:
    return {m.name: Label(printable(f"{m.title} {m.arrow}")) for m in metrics}


def _metric_rows(
    dataset: str,
    methods: Mapping[str, Label],
    metrics: Mapping[str, Label],
    cells: Mapping[_Key, TableCell],
) -> tuple[Row, ...]:
    return tuple(
        Row((label,), tuple(cells[dataset, metric, method] for method in methods))
        for metric, label in metrics.items()
    )


def _method_rows(
    results: Results,
    dataset: str,
    methods: Mapping[str, Label],
    metrics: Iterable[str],
    cells: Mapping[_Key, TableCell],
) -> tuple[Row, ...]:
    return tuple(
        Row(
            _variant_labels(method, methods[method.name], _variant_heads(results)),
            tuple(cells[dataset, metric, method.name] for metric in metrics),
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
