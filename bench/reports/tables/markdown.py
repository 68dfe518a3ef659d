"""The table as GitHub-flavoured Markdown, for a README or a job summary."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from bench.base.records import write_atomic
from bench.base.text import printable
from bench.reports.tables.layout import DASH, UNDECIDED, Group, Label, Table, TableCell, make_table
from bench.results.results import Results
from bench.results.view import PLAIN, View

FILE_NAME = "table.md"
MARKS = {"": "{}", "best": "**{}**", "second": "*{}*", "undecided": f"{{}}{UNDECIDED}"}
LEGENDS = {
    "best": "**best**, *second best*; ↑ higher is better, ↓ lower is better.",
    "significant": f"**best**, {UNDECIDED} not told apart from the best (paired test, Holm "
    "over {}, level 5 %; nothing is marked where no test is possible); ↑ higher is better, "
    "↓ lower is better.",
}
_SPECIAL = re.compile(r"([\\`*_\[\]|~$#])")


def render(results: Results, out: Path, view: View = PLAIN) -> list[Path]:
    """Write ``table.md``."""
    write_atomic(out / FILE_NAME, markdown(results, view))
    return [out / FILE_NAME]


def markdown(results: Results, view: View = PLAIN) -> str:
    """The table with title, legend, footnotes and notes."""
    return "\n".join(_lines(make_table(results, view))) + "\n"


def _lines(table: Table) -> Iterator[str]:
    yield f"### {escape(table.title)}"
    yield ""
    if table.single:
        yield _heading(table.groups[0])
        yield ""
    yield from _grid(table)
    yield ""
    yield LEGENDS[table.marking].format(table.comparisons)
    yield from below(table, escape)


def below(table: Table, escape: Callable[[str], str]) -> Iterator[str]:
    """Footnotes and notes, each on a line of its own in Markdown and HTML."""
    for number, text in enumerate(table.footnotes, 1):
        yield f"<br><sup>{number}</sup> {escape(text)}"
    for note in table.notes:
        yield f"<br>{escape(note)}"


def _grid(table: Table) -> Iterator[str]:
    left = [] if table.single else ["Dataset"]
    heads = [*left, *map(escape, table.heads)]
    yield line([*heads, *map(_label, table.columns)])
    yield line(["---"] * len(heads) + ["---:"] * len(table.columns))
    for group in table.groups:
        for i, row in enumerate(group.rows):
            dataset = [] if table.single else [_heading(group) if i == 0 else ""]
            yield line([*dataset, *map(_label, row.labels), *map(_cell, row.cells)])


def line(cells: Iterable[str]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def _heading(group: Group) -> str:
    return f"{escape(group.heading)}{superscript(group.label.notes)}"


def _label(label: Label) -> str:
    return f"{escape(label.text)}{superscript(label.notes)}"


def _cell(cell: TableCell) -> str:
    return f"{MARKS[cell.mark].format(cell.text)}{superscript(cell.notes)}"


def superscript(notes: Sequence[int]) -> str:
    return f"<sup>{','.join(map(str, notes))}</sup>" if notes else ""


def escape(text: str) -> str:
    """Text that Markdown and HTML show as it is: one line, no markup, no link, no new cell."""
    as_text = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", as_text).replace("@", "&#64;")


def number(value: float | None, digits: int, sign: str = "") -> str:
    """As printed in text: a dash for None and NaN, a sign for infinity."""
    if value is None or math.isnan(value):
        return DASH
    return f"{value:{sign}z.{digits}f}".replace("inf", "∞")


def p_value(value: float) -> str:
    if math.isnan(value):
        return DASH
    return f"{value:.2g}" if value >= 0.001 else "< 0.001"
