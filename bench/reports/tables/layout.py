"""Results as a table that every text report prints: what is in which cell, marked and footnoted.

Two layouts of the same cells: methods as columns and rows grouped by dataset (the paper's
Table 1), or methods (variants) as rows and metrics as columns (its Tables 2 and 3).
"""

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from bench.base.errors import DataError
from bench.base.text import printable
from bench.base.types import MetricSpec
from bench.reports.tables.table import Group, Label, Mark, Row, Table, TableCell
from bench.results.results import SET_METRIC, Item, Results, summarize
from bench.results.view import PLAIN, View

if TYPE_CHECKING:
    import pandas as pd

DASH = "–"
NOT_COMPUTED = "not computed"


class _Footnotes(dict[str, int]):
    """Texts numbered from 1 in the order they are first asked for."""

    def number(self, *texts: str) -> tuple[int, ...]:
        shown = [printable(text) for text in texts if text]
        return tuple(self.setdefault(text, len(self) + 1) for text in shown)


def marks(means: Sequence[float], better: Literal["higher", "lower"]) -> list[Mark]:
    """Which of the means is best and second best; equals share a mark.

    NaN is never marked. A best needs at least two means, a second best at least three: the lesser
    of two is no distinction.
    """
    known = [mean for mean in means if not math.isnan(mean)]
    ranked = sorted(set(known), reverse=better == "higher")
    places: tuple[Mark, ...] = ("best", "second")
    names = dict(zip(ranked, places[: max(0, len(known) - 1)], strict=False))
    return [names.get(mean, "") for mean in means]


def make_table(results: Results, view: View = PLAIN) -> Table:
    """Lay results out. Numbers of footnotes do not depend on the layout.

    A metric that no method has a value for is named in a note instead, unless no metric has one.

    Raises:
        DataError: there is no dataset, method or metric, or a score is there twice.
    """
    if not (results.datasets and results.methods and results.metrics):
        raise DataError("a report needs at least one dataset, method and metric; found none of one")
    summary = summarize(results)
    absent = _absent(results.metrics, summary, view)
    metrics = tuple(metric for metric in results.metrics if metric.name not in absent)
    summary = summary[summary["metric"].isin([metric.name for metric in metrics])]
    footnotes = _Footnotes()
    methods = _item_labels(results.methods, footnotes)
    datasets = _item_labels(results.datasets, footnotes)
    titles = {metric.name: metric.title for metric in metrics}
    for name, label in datasets.items():
        shared = footnotes.number(*_common_set_notes(name, summary, titles))
        datasets[name] = replace(label, notes=label.notes + shared)
    cells = _cells(metrics, summary, view, footnotes)
    by_rows = view.layout == "methods-as-rows"
    heads, variants = _variants(results.methods, methods)
    below = _not_here(results.metrics, absent)
    labels = {m.name: Label(printable(f"{m.title} {m.arrow}")) for m in metrics}

    def rows(dataset: str) -> Iterator[Row]:
        if by_rows:
            for method, own in variants.items():
                yield Row(own, tuple(cells[dataset, metric, method] for metric in labels))
        else:
            for metric, label in labels.items():
                yield Row((label,), tuple(cells[dataset, metric, method] for method in methods))

    return Table(
        title=printable(results.title),
        heads=heads if by_rows else ("Metric",),
        columns=tuple((labels if by_rows else methods).values()),
        metrics=metrics,
        groups=tuple(
            Group(label, _count(results, summary, name), tuple(rows(name)))
            for name, label in datasets.items()
        ),
        footnotes=tuple(footnotes),
        notes=tuple(map(printable, [*_intervals(results, view, metrics), *below, *results.notes])),
        single=by_rows and len(results.datasets) == 1,
        marking="best" if view.groups is None else "significant" if view.groups else "none",
        comparisons=_comparisons(view.groups, summary) if view.groups else "",
    )


def _absent(metrics: Iterable[MetricSpec], summary: "pd.DataFrame", view: View) -> dict[str, str]:
    """Metrics that tables leave out, with what gets them or else why they are not here."""
    known = set(summary.loc[summary["n"] > 0, "metric"])
    if view.every_metric or not known:
        return {}
    reasons, remedy = summary.groupby("metric")["reason"].first(), view.remedy or {}
    names = (metric.name for metric in metrics if metric.name not in known)
    return {name: remedy.get(name) or reasons[name] or NOT_COMPUTED for name in names}


def _intervals(results: Results, view: View, shown: Sequence[MetricSpec]) -> Iterator[str]:
    """What intervals are, and why some or all are not there."""
    if view.half_widths:
        yield "±: half of the mean's 95 % interval over images"
    elif view.half_widths is not None:
        from bench.results.table_stats import statistics  # heavy

        if reasons := set(statistics(results).cells["reason"]) - {"", SET_METRIC}:
            yield f"no intervals: {'; '.join(sorted(reasons))}"
    of_sets = [metric.title for metric in shown if metric.kind == "set"]
    if of_sets and "published" not in results.provenance:  # which has values of whole sets alone
        yield f"{', '.join(of_sets)}: no interval and no test; {SET_METRIC}"


def _not_here(metrics: Sequence[MetricSpec], absent: Mapping[str, str]) -> list[str]:
    """A line for all metrics of which the same is to be said."""
    lines = []
    for text in dict.fromkeys(absent.values()):
        titles = [metric.title for metric in metrics if absent.get(metric.name) == text]
        lines.append(f"not here: {', '.join(titles)}; {text}")
    return lines


def count_comparisons(sizes: Iterable[int]) -> str:
    """How many comparisons verdicts were corrected for, in words."""
    if not (known := sorted(set(sizes))):
        return "all comparisons per dataset and metric"
    low, high = known[0], known[-1]
    count = str(high) if low == high else f"{low}–{high}"
    return f"{count} comparison{'' if high == 1 else 's'} per dataset and metric"


def _comparisons(groups: Iterable[tuple[str, str]], summary: "pd.DataFrame") -> str:
    """Of the groups: every two methods that have a mean are compared."""
    known = summary[summary["n"] > 0].groupby(["dataset", "metric"]).size()
    return count_comparisons(math.comb(int(known[key]), 2) for key in groups)


def _item_labels(items: Sequence[Item], footnotes: _Footnotes) -> dict[str, Label]:
    """By name; a footnote that holds for several names them all."""
    notes = {item.name: item.note.removeprefix(f"{item.title}:").strip() for item in items}
    labels = {}
    for item in items:
        note = notes[item.name]
        titles = (other.title for other in items if notes[other.name] == note)
        text = note and f"{', '.join(titles)}: {note}"
        labels[item.name] = Label(printable(item.title), footnotes.number(text))
    return labels


def _common_set_notes(
    dataset: str, summary: "pd.DataFrame", titles: Mapping[str, str]
) -> list[str]:
    """One sentence per size of common set that is smaller than the dataset."""
    own = summary[(summary["dataset"] == dataset) & (summary["n"] > 0)]
    smaller = own[own["n"] < own["images"]].drop_duplicates("metric")
    return [
        f"{', '.join(titles[name] for name in group['metric'])}: means over the {n} of {images} "
        "images that every method has"
        for (n, images), group in smaller.groupby(["n", "images"], sort=False)
    ]


def _count(results: Results, summary: "pd.DataFrame", dataset: str) -> str:
    own = summary[summary["dataset"] == dataset]
    images = int(own["images"].max()) if len(own) else 0
    sizes = sorted({int(n) for n in own["n"] if n > 0}) or [images]
    if not images:  # published means, of which the images are not known
        return ""
    if len(sizes) > 1:
        return f"n = {sizes[0]}–{sizes[-1]}"
    if sizes[0] != images:
        return f"n = {sizes[0]} of {images}"
    return f"n = {images}{_photographs(results, dataset)}"


def _photographs(results: Results, dataset: str) -> str:
    if not (known := results.photographs(dataset)):
        return ""
    from bench.results.paired import numbered  # heavy

    scores = results.scores
    images = scores.loc[(scores["dataset"] == dataset) & (scores["image"] != ""), "image"].unique()
    numbers = numbered(images, known)
    return "" if numbers is None else f" ({int(numbers.max()) + 1} photographs)"


def _cells(
    metrics: Iterable[MetricSpec], summary: "pd.DataFrame", view: View, footnotes: _Footnotes
) -> dict[tuple[str, str, str], TableCell]:
    specs = {metric.name: metric for metric in metrics}
    cells: dict[tuple[str, str, str], TableCell] = {}
    for (dataset, metric), group in summary.groupby(["dataset", "metric"], sort=False):
        spec, rows = specs[str(metric)], group.to_dict("records")
        for row, mark in zip(rows, _marks(view, spec, rows), strict=True):
            reason = printable(_cell_note(row))
            place = (str(dataset), str(metric), row["method"])
            half = (view.half_widths or {}).get(place)
            notes = footnotes.number(reason)
            cells[place] = TableCell(float(row["mean"]), spec.digits, mark, reason, notes, half)
    return cells


def _marks(view: View, metric: MetricSpec, rows: Sequence[Mapping[Hashable, Any]]) -> list[Mark]:
    """The marks of one dataset and metric: plain, by the means as printed, which nothing else can
    tell apart; or of the best and what no test tells apart."""
    means = [row["mean"] for row in rows]
    if view.groups is None:
        return marks([round(float(mean), metric.digits) for mean in means], metric.better)
    ranked = marks(means, metric.better)
    group = view.groups.get((rows[0]["dataset"], metric.name), frozenset())
    return [
        ("best" if mark == "best" else "undecided") if row["method"] in group else ""
        for row, mark in zip(rows, ranked, strict=True)
    ]


def _cell_note(row: Mapping[Hashable, Any]) -> str:
    reason = row["reason"] or NOT_COMPUTED
    if row["n"] and row["missing"]:
        return f"no score for {row['missing']} of {row['images']} images: {reason}"
    return "" if row["n"] else str(reason)


def _variants(
    methods: Sequence[Item], labels: Mapping[str, Label]
) -> tuple[tuple[str, ...], dict[str, tuple[Label, ...]]]:
    """Headings that tell variants apart, and each method's labels below them.

    Where not every method names the same ones the heading is "Method", with its title below.
    """
    heads = dict.fromkeys(head for method in methods for head in method.variant)
    if not heads or any(heads.keys() != method.variant.keys() for method in methods):
        return ("Method",), {name: (label,) for name, label in labels.items()}
    rows = {}
    for method in methods:
        first, *rest = (printable(method.variant[head]) for head in heads)
        notes = labels[method.name].notes
        rows[method.name] = (Label(first, notes), *map(Label, rest))
    return tuple(map(printable, heads)), rows
