"""Ranks that marks claim: how many a table marks, and which of a row its values deny."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal

from bench.audit.values import (
    RANKS,
    Finding,
    Mark,
    Statement,
    Value,
    place_of,
    ranked,
    row_place,
    rows_of,
)


def ranks_marked(values: Iterable[Value]) -> int:
    """How many ranks a table marks, judged from most of its rows."""
    rows = [[v.mark for v in row if v.mark not in ("", "any")] for row in rows_of(values)]
    marked = [marks for marks in rows if marks]
    for rank in (3, 2):
        if 2 * sum(RANKS[rank - 1] in marks for marks in marked) >= max(1, len(marked)):
            return rank
    counts = [min(len(marks), 1 if {*marks} & {*RANKS[1:]} else 2) for marks in marked]
    return max(sorted(set(counts)), key=counts.count) if counts else 0


def undistinguished(values: list[Value]) -> list[Value]:
    """The same marks for best and second best, where a table has only one kind for both."""
    if any(value.mark == "second" for value in values):
        return values
    return [replace(v, mark="marked" if v.mark == "best" else v.mark) for v in values]


def marked_alike(values: Iterable[Value]) -> int:
    """How many different values have one mark, where that is more than two in every marked row."""
    rows = [[v.value for v in row if v.mark == "best"] for row in rows_of(values)]
    fewest = min((len(set(own)) for own in rows if own), default=0)
    return fewest if fewest > 2 else 0


def contradicted(row: Sequence[Value], ranks: int, significant: bool) -> Iterator[Finding]:
    """The marks of a row that its values deny, told as one."""
    order = ranked(row)
    if significant:
        ranks = 1
        row = [replace(v, mark="best" if v.mark and v.value == order[0] else "") for v in row]
    wrong = _wrong_marks(row, order, ranks)
    if wrong:
        truth = [_holder(row, number, rank) for rank, number in enumerate(order[:ranks], 1)]
        printed = ", ".join(_marked(value) for value in row if value.mark) or "nothing is marked"
        yield Finding(
            "marks",
            Statement(f"{row_place(row)}, marks", printed),
            Statement(f"{row_place(row)}, values", "; ".join(truth)),
            "; ".join(wrong),
        )


def _holder(row: Sequence[Value], number: Decimal, rank: int) -> str:
    name = place_of(rank).removeprefix("the ")
    return f"{name} is {', '.join(value.shown for value in row if value.value == number)}"


def _marked(value: Value) -> str:
    if value.mark not in RANKS:
        return f"{value.shown} is marked"
    place = place_of(RANKS.index(value.mark) + 1).removeprefix("the ")
    return f"{value.shown} is marked as {place}"


def _wrong_marks(row: Sequence[Value], order: Sequence[Decimal], ranks: int) -> list[str]:
    """What is wrong with a row's marks; values that print alike may share or split them."""
    tied = sum(value.value == order[0] for value in row)
    wrong: dict[Decimal, str] = {}
    for value in row:
        rank = order.index(value.value) + 1
        if not _fits(value.mark, rank, ranks, tied):
            wrong[value.value] = f"{value.shown} is {place_of(rank)}"
    for rank in range(1, min(ranks, len(order)) + 1):
        missing = next(value for value in row if value.value == order[rank - 1])
        if missing.value not in wrong and not _is_marked(row, order, rank):
            wrong[missing.value] = f"{missing.shown} is {place_of(rank)} and not marked"
    return list(wrong.values())


def _fits(mark: Mark, rank: int, ranks: int, tied: int) -> bool:
    """Whether a mark may stand at a rank; those below a tie for the best may be counted so."""
    if mark in RANKS:
        own = RANKS.index(mark) + 1
        return rank == own or rank < own < rank + tied
    return mark != "marked" or rank <= ranks


def _is_marked(row: Sequence[Value], order: Sequence[Decimal], rank: int) -> bool:
    fitting: set[Mark] = {"marked", "any", RANKS[rank - 1]}
    if any(value.mark in fitting for value in row if value.value == order[rank - 1]):
        return True
    above = sum(bool(v.mark) for v in row if order.index(v.value) < rank - 1)
    return rank > 1 and (len(row) <= rank or above >= rank)
