"""What an audit speaks of: printed values, contradictions, cells that were not read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from bench.base.types import Better

Mark = str
"""How a value is highlighted: one of RANKS; "marked" where those look alike; "any" where that says
nothing; "colour NAME" where the table must tell what it means; "" for not at all."""
RANKS: tuple[Mark, ...] = ("best", "second", "third")
Kind = Literal["marks", "margin", "rank", "comparison", "differs", "identical", "direction"]


@dataclass(frozen=True)
class Value:
    """One printed value.

    Attributes:
        table: as people find it: "Table 1", "paper.tex, table 2".
        better: None where neither an arrow nor a known metric tells.
        who: the same for one configuration whose `method` is printed under several names.
        stated: the direction an arrow claims, None without an arrow.
        line: of its file, 0 where that says nothing.
        block: the part of the table between rules or below a heading, "" where there is one.
        named: whether its method's name is highlighted, too.
        told: whether it is said beside the table what its marks mean.
    """

    table: str
    dataset: str
    method: str
    metric: str
    value: Decimal
    better: Better | None
    mark: Mark = ""
    who: str = ""
    stated: Better | None = None
    line: int = 0
    block: str = ""
    named: bool = False
    told: bool = False

    @property
    def name(self) -> str:
        return self.who or self.method

    @property
    def place(self) -> str:
        at = f" (line {self.line})" if self.line else ""
        return all_of(self.table, self.dataset, self.metric, self.method) + at

    @property
    def shown(self) -> str:
        return f"{self.method} {self.value}"

    @property
    def step(self) -> Decimal:
        """One in the last digit that is printed."""
        return Decimal(1).scaleb(int(self.value.as_tuple().exponent))


@dataclass(frozen=True)
class Statement:
    """What is said, and where."""

    place: str
    says: str


@dataclass(frozen=True)
class Finding:
    """Two statements that cannot both hold."""

    kind: Kind
    first: Statement
    second: Statement
    detail: str = ""


@dataclass(frozen=True)
class Unread:
    """A cell that is there and was not judged; `row` and `column` are "" where none are known,
    `compared` the datasets and metrics whose values it would stand among."""

    table: str
    row: str
    column: str
    text: str
    reason: str
    line: int = 0
    compared: tuple[tuple[str, str], ...] = ()

    @property
    def place(self) -> str:
        row = f"row '{self.row}'" if self.row else ""
        column = f"column '{self.column}'" if self.column else ""
        line = f"line {self.line}" if self.line else ""
        return all_of(self.table, row, column, line)


@dataclass(frozen=True)
class Audit:
    """Everything found: `held` are claims that are true, `notes` what was not checked about values
    that were read, `unread` the cells that were seen and are not among the `values`; in `abstained`
    marks were not judged, or tables not compared."""

    findings: tuple[Finding, ...]
    values: int
    tables: int
    claims: int = 0
    held: tuple[Statement, ...] = ()
    notes: tuple[str, ...] = ()
    unread: tuple[Unread, ...] = ()
    abstained: tuple[str, ...] = ()


def rows_of(values: Iterable[Value]) -> list[list[Value]]:
    """Values that are compared with each other: of one dataset and metric."""
    rows: dict[tuple[str, str], list[Value]] = {}
    for value in values:
        rows.setdefault((value.dataset, value.metric), []).append(value)
    return list(rows.values())


def methods_of(values: Iterable[Value]) -> dict[str, set[str]]:
    """The methods of each block."""
    methods: dict[str, set[str]] = {}
    for value in values:
        methods.setdefault(value.block, set()).add(value.method)
    return methods


def ranked(row: Sequence[Value]) -> list[Decimal]:
    """The distinct values of a row, the best first."""
    better = next((value.better for value in row if value.better), None)
    return sorted({value.value for value in row}, reverse=better == "higher")


def row_place(row: Sequence[Value]) -> str:
    """Where a row is: table, dataset, metric and its lines in the file."""
    first, last = min(value.line for value in row), max(value.line for value in row)
    lines = f"line {first}" if first == last else f"lines {first}–{last}"
    return all_of(row[0].table, row[0].dataset, row[0].metric, lines if first else "")


def all_of(*texts: str) -> str:
    """Those that say something, as a place or name."""
    return ", ".join(filter(None, texts))


def place_of(rank: int) -> str:
    """ "the best", "second best", "3rd best", ..."""
    teens = rank % 100 in (11, 12, 13)
    suffix = {1: "st", 2: "nd", 3: "rd"}.get(0 if teens else rank % 10, "th")
    return {1: "the best", 2: "second best"}.get(rank, f"{rank}{suffix} best")
