"""What prose states about tables, as a card, and whether they bear it out."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Literal

from pydantic import Field

from bench.audit.values import Finding, Kind, Statement, Value, all_of, place_of, ranked
from bench.base.cards import Card, Count, Names
from bench.base.errors import DataError
from bench.base.text import printable
from bench.results.published import plain

KINDS: dict[str, Kind] = {"margin": "margin", "rank": "rank"}  # all others are comparisons


class Claim(Card):
    """One statement about a table, for each of some datasets ("" where it names none).

    Attributes:
        kind: "margin": `method` beats the next best by `percent` %; "rank": it is `at_most`-th
            in every metric; "better" / "not better": than the method `than`, in every / in no
            metric; "not best": in no metric.
        place, says: where it is stated, in its words.
        reading: how the words are taken where they could be taken otherwise.
        metrics: those it is about; all of the table where left out.
    """

    kind: Literal["margin", "rank", "better", "not better", "not best"]
    place: str
    says: str
    reading: str = ""
    table: str
    datasets: Names
    method: str
    than: str = ""
    metrics: Names = Field(default_factory=list)
    at_most: Count = 1
    percent: Decimal = Decimal(0)


class ClaimsCard(Card):
    """The claims of one text; `source` is the published source whose tables it is about."""

    source: str = ""
    claims: list[Claim] = Field(min_length=1)


def check(
    claims: Sequence[Claim], values: Sequence[Value], tables: dict[str, str]
) -> tuple[list[Finding], list[Statement]]:
    """The claims that the tables contradict, and those that hold; names of tables -> the values'.

    Raises:
        DataError: a claim is about a table, dataset, metric or method that is not there.
    """
    findings, held = [], []
    for claim in claims:
        table = tables.get(claim.table, claim.table)
        against = [fact for row in _rows(claim, values, table) for fact in _contrary(claim, *row)]
        said = Statement(claim.place, f"“{claim.says}”")
        reading = f"(read as: {claim.reading})" if claim.reading else ""
        if against:
            place = against[0].place if len(against) == 1 else all_of(table, *claim.datasets)
            truth = Statement(place, "; ".join(fact.says for fact in against))
            findings.append(Finding(KINDS.get(claim.kind, "comparison"), said, truth, reading))
        else:
            held.append(Statement(said.place, " ".join(filter(None, (said.says, reading)))))
    return findings, held


def _rows(claim: Claim, values: Sequence[Value], table: str) -> Iterator[tuple[Value, list[Value]]]:
    """The claim's own value and all values of its row, for each of its metrics."""
    for dataset in claim.datasets:
        own = [v for v in values if v.table == table and plain(v.dataset) == plain(dataset)]
        if not own:
            raise _missing(claim, f"dataset '{dataset}' in '{table}'")
        for metric in claim.metrics or dict.fromkeys(value.metric for value in own):
            row = [value for value in own if plain(value.metric) == plain(metric)]
            yield _find(claim.method, row, claim, metric), row


def _find(method: str, row: Sequence[Value], claim: Claim, metric: str) -> Value:
    for value in row:
        if plain(method) in (plain(value.name), plain(value.method)):
            return value
    raise _missing(claim, f"'{method}' with {metric} in table '{claim.table}'")


def _missing(claim: Claim, what: str) -> DataError:
    return DataError(printable(f"claim of {claim.place}: no {what}"))


def _contrary(claim: Claim, value: Value, row: Sequence[Value]) -> Iterator[Statement]:
    if value.better is None:
        raise _missing(claim, f"direction of {value.metric}; name it with --metric")
    order = ranked(row)
    rank = order.index(value.value) + 1
    if claim.kind == "margin":
        yield from _margin(claim, value, row)
    elif claim.kind == "rank" and rank > claim.at_most:
        ahead = ", ".join(v.shown for v in row if order.index(v.value) + 1 < rank)
        yield Statement(
            value.place, f"{value.metric} {value.shown} is {place_of(rank)}, after {ahead}"
        )
    elif claim.kind == "not best" and rank == 1:
        yield Statement(value.place, f"{value.metric} {value.shown} is the best of {len(row)}")
    elif claim.kind in ("better", "not better"):
        other = _find(claim.than, row, claim, value.metric)
        better = rank < order.index(other.value) + 1
        if better != (claim.kind == "better"):
            relation = "is better than" if better else "is not better than"
            yield Statement(value.place, f"{value.metric} {value.shown} {relation} {other.shown}")


def _margin(claim: Claim, value: Value, row: Sequence[Value]) -> Iterator[Statement]:
    """The claimed percentage against that of the printed values, rounding of both allowed for."""
    rivals = [v for v in row if v is not value]
    rival = next((v for v in rivals if v.value == ranked(rivals)[0]), None)
    if not rival or not rival.value or not value.value:
        raise _missing(
            claim, f"percentage of {value.metric}: it needs a rival, and neither value may be 0"
        )
    gain = value.value - rival.value if value.better == "higher" else rival.value - value.value
    actual = 100 * gain / rival.value
    half = Decimal(1).scaleb(int(claim.percent.as_tuple().exponent)) / 2
    slack = half + 100 * value.step / abs(rival.value)
    if abs(actual - claim.percent) > slack:
        yield Statement(
            value.place,
            f"{value.shown} against {rival.shown} is {actual:.2f} % "
            f"({100 * gain / value.value:.2f} % of its own value)",
        )
