"""The table as a piece of HTML, as a notebook shows it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from bench.reports.tables.layout import UNDECIDED, Group, Label, Table, TableCell, make_table
from bench.reports.tables.markdown import below, superscript
from bench.results.results import Results
from bench.results.view import PLAIN, View

MARKS = {"": "{}", "best": "<b>{}</b>", "second": "<u>{}</u>", "undecided": f"{{}}{UNDECIDED}"}
LEGENDS = {
    "best": "<b>best</b>, <u>second best</u>; ↑ higher is better, ↓ lower is better.",
    "significant": f"<b>best</b>, {UNDECIDED} not told apart from the best (Holm over {{}}).",
}


def html(results: Results, view: View = PLAIN) -> str:
    """Caption, table, legend, footnotes and notes."""
    return "\n".join(_lines(make_table(results, view))) + "\n"


def _lines(table: Table) -> Iterator[str]:
    yield f"<table><caption>{escape(table.title)}</caption>"
    heads = ("Dataset", *table.heads)
    yield _row("th", [*map(escape, heads), *map(_label, table.columns)])
    for group in table.groups:
        yield from _group(group)
    yield "</table>"
    yield f"<p>{LEGENDS[table.marking].format(escape(table.comparisons))}"
    yield from below(table, escape)
    yield "</p>"


def _group(group: Group) -> Iterator[str]:
    heading = escape(group.heading) + superscript(group.label.notes)
    for i, row in enumerate(group.rows):
        first = heading if i == 0 else ""
        yield _row("td", [first, *map(_label, row.labels), *map(_cell, row.cells)])


def _row(tag: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{cell}</{tag}>' for cell in cells)}</tr>"


def _label(label: Label) -> str:
    return f"{escape(label.text)}{superscript(label.notes)}"


def _cell(cell: TableCell) -> str:
    return f"{MARKS[cell.mark].format(escape(cell.text))}{superscript(cell.notes)}"
