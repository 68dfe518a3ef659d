"""Recompute what tables and prose claim, and show every contradiction with its two places.

Tables come as values with marks, wherever they were read from (bench/audit/files.py,
bench/results/published.py). Nothing is decided on more digits than are printed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import combinations
from typing import Literal

from bench.base.types import Better
from bench.results.published import plain

Mark = Literal["", "marked", "best", "second"]
"""How a value is highlighted; "marked" where best and second best look alike."""
Kind = Literal["marks", "margin", "rank", "comparison", "differs", "identical", "direction"]
COINCIDENCE = 0.01
"""Equal values count as a contradiction when chance would give them this rarely."""


@dataclass(frozen=True)
class Value:
    """One printed value.

    Attributes:
        table: as people find it: "Table 1", "paper.tex, table 2".
        method: as printed; `who` is the same for one configuration under several names.
        better: None where neither an arrow nor a known metric tells.
        stated: the direction an arrow claims, None without an arrow.
        line: of the file it was read from, 0 where that says nothing.
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

    @property
    def name(self) -> str:
        return self.who or self.method

    @property
    def place(self) -> str:
        at = f" (line {self.line})" if self.line else ""
        parts = (self.table, self.dataset, self.metric, self.method)
        return ", ".join(part for part in parts if part) + at

    @property
    def shown(self) -> str:
        return f"{self.method} {self.value}"


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
    """A cell that is there and was not judged; `row` and `column` are "" where none are known."""

    table: str
    row: str
    column: str
    text: str
    reason: str
    line: int = 0

    @property
    def place(self) -> str:
        row = f"row '{self.row}'" if self.row else ""
        column = f"column '{self.column}'" if self.column else ""
        line = f"line {self.line}" if self.line else ""
        return ", ".join(part for part in (self.table, row, column, line) if part)


@dataclass(frozen=True)
class Audit:
    """Everything found.

    Attributes:
        held: claims that are true.
        notes: what was not checked about values that were read.
        unread: cells that were seen and are not among the `values`.
    """

    findings: tuple[Finding, ...]
    values: int
    tables: int
    claims: int = 0
    held: tuple[Statement, ...] = ()
    notes: tuple[str, ...] = ()
    unread: tuple[Unread, ...] = ()


def audit(
    values: Sequence[Value], ranks: dict[str, int] | None = None, *, significant: bool = False
) -> Audit:
    """Check tables against themselves and each other.

    Args:
        ranks: by table, how many ranks its marks mean; found out where it is not given.
        significant: marks mean "not significantly worse than the best": only the best must be
            among them.
    """
    notes = []
    findings: list[Finding] = []
    tables = dict.fromkeys(value.table for value in values)
    for table in tables:
        own = [value for value in values if value.table == table]
        marked = (ranks or {}).get(table) or _ranks_marked(own)
        own = _undistinguished(own) if marked == 2 and not significant else own
        if not any(value.mark for value in own):
            notes.append(f"{table}: nothing is marked, so there are no marks to check")
        findings += _directions(own)
        for row in _rows(own):
            findings += _marks(row, marked, significant) if marked else []
            findings += _identical(row)
        unknown = dict.fromkeys(value.metric for value in own if value.better is None)
        notes += [f"{table}: {name}: no arrow and not a known metric" for name in unknown]
    findings += _differing(values)
    return Audit(tuple(findings), len(values), len(tables), notes=tuple(notes))


def _rows(values: Iterable[Value]) -> list[list[Value]]:
    """Values that are compared with each other: of one dataset and metric."""
    rows: dict[tuple[str, str], list[Value]] = {}
    for value in values:
        rows.setdefault((value.dataset, value.metric), []).append(value)
    return list(rows.values())


def ranked(row: Sequence[Value]) -> list[Decimal]:
    """The distinct values of a row, the best first."""
    better = next((value.better for value in row if value.better), None)
    return sorted({value.value for value in row}, reverse=better == "higher")


def _row_place(row: Sequence[Value]) -> str:
    """Where a row is: table, dataset, metric and its lines in the file."""
    first, last = min(value.line for value in row), max(value.line for value in row)
    lines = f"line {first}" if first == last else f"lines {first}–{last}"
    names = (row[0].table, row[0].dataset, row[0].metric, lines if first else "")
    return ", ".join(name for name in names if name)


def place_of(rank: int) -> str:
    """ "the best", "second best", "3rd best", ..."""
    teens = rank % 100 in (11, 12, 13)
    suffix = {1: "st", 2: "nd", 3: "rd"}.get(0 if teens else rank % 10, "th")
    return {1: "the best", 2: "second best"}.get(rank, f"{rank}{suffix} best")


def _ranks_marked(values: Sequence[Value]) -> int:
    """How many ranks a table marks, judged from most of its rows."""
    kinds = {value.mark for value in values}
    if "second" in kinds:
        return 2
    counts = [sum(bool(v.mark) for v in row) for row in _rows(values)]
    marked = [min(count, 2) for count in counts if count]
    return max(sorted(set(marked)), key=marked.count) if marked else 0


def _undistinguished(values: list[Value]) -> list[Value]:
    """The same marks for best and second best, where a table has only one kind for both."""
    if any(value.mark == "second" for value in values):
        return values
    return [replace(value, mark="marked" if value.mark else "") for value in values]


def _marks(row: Sequence[Value], ranks: int, significant: bool) -> Iterator[Finding]:
    if row[0].better is None or len(row) < 2:
        return
    order = ranked(row)
    if significant:
        ranks = 1
        row = [replace(v, mark="best" if v.mark and v.value == order[0] else "") for v in row]
    wrong = _wrong_marks(row, order, ranks)
    if wrong:
        names = ("best", "second best")[:ranks]
        truth = [_holder(row, order[i], name) for i, name in enumerate(names) if i < len(order)]
        printed = ", ".join(_marked(value) for value in row if value.mark) or "nothing is marked"
        yield Finding(
            "marks",
            Statement(f"{_row_place(row)}, marks", printed),
            Statement(f"{_row_place(row)}, values", "; ".join(truth)),
            "; ".join(wrong),
        )


def _holder(row: Sequence[Value], number: Decimal, name: str) -> str:
    return f"{name} is {', '.join(value.shown for value in row if value.value == number)}"


def _marked(value: Value) -> str:
    label = {"best": " as best", "second": " as second best"}.get(value.mark, "")
    return f"{value.shown} is marked{label}"


def _wrong_marks(row: Sequence[Value], order: Sequence[Decimal], ranks: int) -> list[str]:
    """What is wrong with a row's marks; values that print alike may share or split them."""
    tied = [value for value in row if value.value == order[0]]
    wrong = []
    for value in row:
        rank = order.index(value.value) + 1
        allowed = {"": {rank}, "marked": set(range(1, ranks + 1)), "best": {1}, "second": {2}}
        fits = rank in allowed[value.mark] or (value.mark == "second" and rank == 1 < len(tied))
        if not fits:
            wrong.append(f"{value.shown} is {place_of(rank)}")
    for rank in range(1, min(ranks, len(order)) + 1):
        if not _is_marked(row, order, rank, tied):
            missing = next(value for value in row if value.value == order[rank - 1])
            wrong.append(f"{missing.shown} is {place_of(rank)} and not marked")
    return wrong


def _is_marked(
    row: Sequence[Value], order: Sequence[Decimal], rank: int, tied: Sequence[Value]
) -> bool:
    fitting: set[Mark] = {"marked", "best"} if rank == 1 else {"marked", "second"}
    if any(value.mark in fitting for value in row if value.value == order[rank - 1]):
        return True
    return rank == 2 and (len(row) < 3 or sum(bool(value.mark) for value in tied) > 1)


def _identical(row: Sequence[Value]) -> Iterator[Finding]:
    """Different methods with one value, where the printed digits make that no accident."""
    if len(row) < 3:
        return
    spread = max(v.value for v in row) - min(v.value for v in row)
    pairs = len(row) * (len(row) - 1) / 2
    for one, other in combinations(row, 2):
        step = Decimal(1).scaleb(max(_exponent(one), _exponent(other)))
        if one.value == other.value and one.name != other.name and spread:
            chance = pairs * float(step / spread)
            if chance < COINCIDENCE:
                yield Finding(
                    "identical",
                    Statement(one.place, str(one.value)),
                    Statement(other.place, str(other.value)),
                    f"equal in every digit; by chance that happens in 1 of {1 / chance:,.0f} rows",
                )


def _exponent(value: Value) -> int:
    exponent = value.value.as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0


def _directions(values: Sequence[Value]) -> Iterator[Finding]:
    """Arrows that point the other way than the metric does."""
    seen = set()
    for value in values:
        if value.stated and value.better and value.stated != value.better:
            if value.metric not in seen:
                yield Finding(
                    "direction",
                    Statement(_row_place([value]), f"the arrow says that {value.stated} is better"),
                    Statement("the metric's definition", f"{value.better} is better"),
                )
            seen.add(value.metric)


def _differing(values: Sequence[Value]) -> Iterator[Finding]:
    """One configuration, dataset and metric with different values in several places."""
    groups: dict[tuple[str, str, str], list[Value]] = {}
    for value in values:
        key = (plain(value.dataset), plain(value.name), plain(value.metric))
        groups.setdefault(key, []).append(value)
    for group in groups.values():
        first = group[0]
        others = [value for value in group if not _agree(first, value)]
        if others:
            same = [value for value in group if value not in others]
            yield Finding(
                "differs",
                Statement(_places(same), str(first.value)),
                Statement(_places(others), ", ".join(dict.fromkeys(str(v.value) for v in others))),
                "; ".join(_consequences(values, first, others[0])),
            )


def _agree(one: Value, other: Value) -> bool:
    """Equal in the digits that both print."""
    step = Decimal(1).scaleb(max(_exponent(one), _exponent(other)))
    return abs(one.value - other.value) < step and (
        one.value.quantize(step) == other.value.quantize(step)
    )


def _places(values: Sequence[Value]) -> str:
    return " and ".join(value.place for value in values)


def _consequences(values: Sequence[Value], first: Value, other: Value) -> Iterator[str]:
    """Whose value the deviating one is, and what its row would look like with the other."""
    for value in values:
        alike = (value.dataset, value.metric, value.value) == (
            other.dataset,
            other.metric,
            other.value,
        )
        if alike and value.name != other.name:
            yield f"{other.value} is what {value.table} prints for {value.method}"
    row = [v for v in values if (v.table, v.dataset, v.metric) == _key(other) and v != other]
    order = ranked([*row, other])
    with_first = sorted({*(v.value for v in row), first.value}, reverse=other.better == "higher")
    was, would = order.index(other.value) + 1, with_first.index(first.value) + 1
    if other.better and was != would:
        of = f"of {len(row) + 1} in {other.table}"
        yield f"with {first.value} it would be {place_of(would)} {of}, not {place_of(was)}"


def _key(value: Value) -> tuple[str, str, str]:
    return value.table, value.dataset, value.metric
