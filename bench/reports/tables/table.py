"""What every format shows: a table laid out, with its marks and footnotes."""

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.base.text import in_digits
from bench.base.types import MetricSpec

Mark = Literal["", "best", "second", "undecided"]
Marking = Literal["best", "significant", "none"]
"""What is marked: best and second best, the best and all that are not told apart from it, or
nothing, where no test is possible."""
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
        half_width: of its 95 % interval, printed beside it; None where none is shown.
        reason: why there is none, or why it is over fewer images; footnotes `notes` say so.
    """

    mean: float
    digits: int
    mark: Mark = ""
    reason: str = ""
    notes: tuple[int, ...] = ()
    half_width: float | None = None

    @property
    def text(self) -> str:
        """The mean as printed, with its interval where it has one; a dash where there is none."""
        return in_digits(self.mean, self.digits) + self.beside

    @property
    def beside(self) -> str:
        """Half of its interval as printed behind it; "" where none is shown."""
        half = self.half_width
        return "" if half is None else f" ± {in_digits(half, self.digits)}"


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
    def heading(self) -> Label:
        """The dataset and its count."""
        text = f"{self.label.text}, {self.count}" if self.count else self.label.text
        return Label(text, self.label.notes)


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

    def below(self, where: Literal["terminal", "excel"]) -> Iterator[str]:
        """Legend, footnotes and notes in plain text."""
        legends = tomllib.loads(Path(__file__).with_name("legends.toml").read_text("utf-8"))
        yield legends[where][self.marking].format(self.comparisons)
        for number, text in enumerate(self.footnotes, 1):
            yield f"[{number}] {text}"
        yield from self.notes
