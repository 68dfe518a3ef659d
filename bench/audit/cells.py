"""Cells of tables as read, and the values that they hold."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import NamedTuple

from bench.audit.names import direction, is_metric, metric_names, split_metric
from bench.audit.numbers import Comma, Number, is_missing, looks_numeric, numbers
from bench.audit.values import Mark, Unread, Value
from bench.base.text import counted


@dataclass(frozen=True)
class GridCell:
    """A cell without its markup.

    Attributes:
        marks: how each character is highlighted; none where nothing is.
        rows, columns: that it covers; below 0 rows, those above it.
        macro: one that the file does not define and that may stand for all of the text.
        block: how many rules stand above it.
    """

    text: str
    line: int = 0
    marks: tuple[Mark, ...] = ()
    rows: int = 1
    columns: int = 1
    macro: str = ""
    block: int = 0

    @property
    def spans(self) -> bool:
        return self.columns > 1 or self.rows not in (0, 1)

    @property
    def mark(self) -> Mark:
        """How the first number in it is highlighted."""
        marks = zip(self.text, self.marks, strict=False)
        return next((mark for char, mark in marks if char.isdigit()), "")

    @property
    def marked(self) -> bool:
        """Whether any of it is highlighted."""
        return any(self.marks)

    @property
    def number(self) -> Decimal | None:
        found = numbers(self.text)
        return found[0].value if not isinstance(found, str) and len(found) == 1 else None

    @property
    def numeric(self) -> bool:
        return looks_numeric(self.text)

    @property
    def missing(self) -> bool:
        return is_missing(self.text)


Grid = Sequence[Sequence[GridCell]]


def spaced(chars: Iterable[tuple[str, Mark]]) -> tuple[str, tuple[Mark, ...]]:
    """Text and marks; runs of blanks are one, those at the ends none."""
    found: list[tuple[str, Mark]] = []
    for char, mark in chars:
        if not char.isspace():
            found.append((char, mark))
        elif found and found[-1][0] != " ":
            found.append((" ", mark))
    text = "".join(char for char, _ in found).rstrip(" ")
    return text, tuple(mark for _, mark in found[: len(text)])


def spread(rows: Iterable[list[GridCell]]) -> list[list[GridCell]]:
    """Cells at their columns; what spans several is repeated in each of them."""
    below: dict[int, tuple[int, GridCell]] = {}
    grid: list[list[GridCell]] = []
    for row in rows:
        line: list[GridCell] = []
        for cell in row:
            for _ in range(cell.columns):
                column = len(line)
                left, above = below.get(column, (0, cell))
                if left:
                    below[column] = (left - 1, above)
                if cell.rows > 1:
                    below[column] = (cell.rows - 1, cell)
                repeated = replace(above, line=cell.line, block=cell.block)
                line.append(repeated if left and not cell.text else cell)
                for other in grid[cell.rows + 1 :] if cell.rows < -1 else []:
                    if column < len(other) and not other[column].text:
                        place = other[column]
                        other[column] = replace(cell, line=place.line, block=place.block)
        grid.append(line)
    return grid


def unfolded(rows: list[list[GridCell]]) -> list[list[GridCell]]:
    """The rows of a table that is set in several parts side by side, one part below the other."""
    heads = [cell.text for cell in rows[0]] if rows else [""]
    times = heads.count(heads[0])
    width = len(heads) // times
    if times < 2 or width < 2 or not heads[0] or heads != heads[:width] * times:
        return rows
    starts = range(width, len(heads), width)
    beside = [row[start : start + width] for start in starts for row in rows[1:]]
    return [*(row[:width] for row in rows), *beside]


def widened(heads: Grid) -> list[list[GridCell]]:
    """Headings above metrics, those that are written once above the first of several in each."""
    bottom = heads[-1] if heads else ()
    found = []
    for row in heads:
        wide: list[GridCell] = []
        for cell, below in zip(row, bottom, strict=True):
            left = wide[-1] if wide[1:] else cell  # not the heading of the names
            spread = row is not bottom and not cell.text and is_metric(below.text)
            wide.append(left if spread and not is_metric(left.text) else cell)
        found.append(wide)
    return found


class Printed(NamedTuple):
    """A table as read, and the text beside it."""

    rows: list[list[GridCell]]
    caption: str = ""


@dataclass(frozen=True)
class Shape:
    """A table's frame: how many columns hold names, what stands above each, what a comma means,
    which columns hold words instead of values, and whether a caption says what marks mean."""

    table: str
    labels: int
    heads: Sequence[str]
    comma: Comma
    passed: frozenset[int]
    told: bool

    def values_of(self, row: Sequence[GridCell]) -> Iterator[tuple[int, GridCell]]:
        for column in range(self.labels, len(row)):
            if column not in self.passed and not row[column].missing:
                yield column, row[column]


class About(NamedTuple):
    """What stands beside a cell, as printed, and whether the method's name is highlighted."""

    row: str
    dataset: str
    method: str
    metric: str
    named: bool


def values_in(
    cell: GridCell, shape: Shape, column: int, about: About, block: str = "", why_not: str = ""
) -> Iterator[Value | Unread]:
    """The values of a cell, one for each metric that is named for it; or why there are none."""
    names = metric_names(about.metric) or [about.metric]
    head, found = shape.heads[column], numbers(cell.text, shape.comma)
    reason = why_not or _unread_reason(cell, found, head, len(names))
    dataset = _bare(about.dataset)
    if reason or isinstance(found, str):
        compared = tuple((dataset, split_metric(name)[0]) for name in names if not why_not)
        yield Unread(shape.table, about.row, head, cell.text, reason, cell.line, compared)
        return
    for name, number in zip(names, found, strict=True):
        if number.value is not None:
            bare, stated = split_metric(name)
            yield Value(
                table=shape.table,
                dataset=dataset,
                method=_bare(about.method),
                metric=bare,
                value=number.value,
                better=direction(bare, stated),
                mark=cell.marks[number.start] if cell.marks else "",
                stated=stated,
                line=cell.line,
                block=block,
                named=about.named,
                told=shape.told,
            )


def _unread_reason(cell: GridCell, found: tuple[Number, ...] | str, head: str, metrics: int) -> str:
    if cell.macro:
        return f"\\{cell.macro} is not defined in the file"
    if isinstance(found, str):
        return found
    if not head:
        return "nothing stands above its column"
    if cell.spans:
        return "spans several rows or columns"
    if len(found) != metrics:
        return f"{counted(len(found), 'number')} for {counted(metrics, 'metric')}"
    return ""


def _bare(text: str) -> str:
    """A name without the number of its citation."""
    return " ".join(re.sub(r"\[+[\d,\s–-]+\]+", "", text).split())
