"""Tables against themselves and each other: every contradiction with its two places.

Nothing is decided on more digits than are printed.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import combinations, product

from bench.audit.marks import FEW, judge
from bench.audit.names import FACTOR, known_metrics
from bench.audit.values import (
    Audit,
    Finding,
    Statement,
    Unread,
    Value,
    place_of,
    ranked,
    row_place,
    rows_of,
)
from bench.results.published import plain

COPIED = 3
"""So many equal values of three digits or more are not equal by chance."""
COINCIDENCE = 0.01
"""Equal values count as a contradiction when chance would give them this rarely."""


def audit(
    values: Sequence[Value],
    ranks: dict[str, int] | None = None,
    *,
    significant: bool = False,
    blocks: bool = False,
    without: Sequence[str] = (),
    unread: Sequence[Unread] = (),
) -> Audit:
    """Check tables against themselves and each other; `significant` and `blocks` as of `judge`.

    Args:
        ranks: by table, how many ranks its marks mean; found out where it is not given.
        without: methods that take no part in the marks; nor do values beside `unread` cells.
    """
    notes: list[str] = []
    abstained: list[str] = []
    findings: list[Finding] = []
    tables = dict.fromkeys(value.table for value in values)
    left_out = {plain(name) for name in without}
    merit = _by_merit(values)
    for table in tables:
        own = [value for value in values if value.table == table]
        lacking = {key for cell in unread if cell.table == table for key in cell.compared}
        part = [
            value
            for value in own
            if plain(value.method) not in left_out
            and not any(value.metric == m and value.dataset.startswith(d) for d, m in lacking)
        ]
        judged = [value for value in own if value.better]
        whole = {v.method for v in judged} - {v.method for v in judged if v.mark != "best"}
        shown = {method: merit.get((_file(table), method), table) for method in whole}
        if told := {method for method, other in shown.items() if other != table}:
            part = [replace(v, told=True) if v.method in told else v for v in part]
            by = ", ".join(sorted({shown[method] for method in told}))
            notes.append(
                f"{table}: the marks of {', '.join(sorted(told))} mean the best, as {by} shows"
            )
        known = (ranks or {}).get(table)
        verdict = judge(table, part, known or None, significant=significant, blocks=blocks)
        findings += [*_directions(own), *verdict.findings]
        rows = rows_of(own)
        findings += [found for row in rows for found in _identical(row, rows)]
        abstained += verdict.abstained
        notes += verdict.notes
        for name in dict.fromkeys(value.metric for value in own if value.better is None):
            why = f"no arrow and not a known metric; --metric '{name}=lower' gives one"
            notes.append(f"{table}: {name}: not judged: {why}")
    groups = _configurations(values)
    apart = _unlike(groups)
    abstained += [f"{one} and {other}: {why}" for (one, other), why in apart.items()]
    findings += _differing(values, [*groups, *_copied(values)], apart)
    return Audit(
        tuple(findings), len(values), len(tables), notes=tuple(notes), abstained=tuple(abstained)
    )


def _file(table: str) -> str:
    return table.partition(", table ")[0]


def _by_merit(values: Sequence[Value]) -> dict[tuple[str, str], str]:
    """By file and method, a table that marks it where it is the best and nowhere else: marks of
    this file do not say whose row it is."""
    found: dict[tuple[str, str], str] = {}
    seen: dict[tuple[str, str], list[tuple[bool, bool]]] = {}
    for table in dict.fromkeys(value.table for value in values):
        for row in rows_of(value for value in values if value.table == table):
            best = ranked(row)[0]
            for value in row if row[0].better else ():
                pair = (value.mark == "best", value.value == best)
                seen.setdefault((table, value.method), []).append(pair)
    for (table, method), told in seen.items():
        if set(told) == {(True, True), (False, False)} and told.count((True, True)) > 1:
            found.setdefault((_file(table), method), table)
    return found


def _identical(row: Sequence[Value], rows: Sequence[Sequence[Value]]) -> Iterator[Finding]:
    """Different methods with one value of a metric of quality, where neither chance explains it nor
    that they hardly differ, as the other rows of their table show."""
    if len(row) < 3 or plain(row[0].metric) not in known_metrics():
        return
    spread = max(v.value for v in row) - min(v.value for v in row)
    pairs = len(row) * (len(row) - 1) / 2
    for one, other in combinations(row, 2):
        if one.value == other.value and one.name != other.name and spread:
            chance = pairs * float(max(one.step, other.step) / spread)
            if chance < COINCIDENCE and not _alike(one, other, rows):
                yield Finding(
                    "identical",
                    Statement(one.place, str(one.value)),
                    Statement(other.place, str(other.value)),
                    f"equal in every digit; by chance that happens in 1 of {1 / chance:,.0f} rows",
                )


def _alike(one: Value, other: Value, rows: Sequence[Sequence[Value]]) -> bool:
    """Whether at least half of the other metrics tell two methods apart, but by less than a
    hundredth of what they tell all apart by."""
    near = []
    for row in (row for row in rows if row[0].metric != one.metric):
        known = {v.name: v.value for v in row if v.dataset in (one.dataset, "")}
        if one.name in known and other.name in known:
            apart = abs(known[one.name] - known[other.name])
            near.append(0 < 100 * apart < max(known.values()) - min(known.values()))
    return any(near) and 2 * sum(near) >= len(near)


def _directions(values: Sequence[Value]) -> Iterator[Finding]:
    """Arrows that point the other way than the metric does."""
    wrong: dict[str, Value] = {}
    for value in values:
        if value.stated and value.better and value.stated != value.better:
            wrong.setdefault(value.metric, value)
    for value in wrong.values():
        yield Finding(
            "direction",
            Statement(row_place([value]), f"the arrow says that {value.stated} is better"),
            Statement("the metric's definition", f"{value.better} is better"),
        )


def _configurations(values: Sequence[Value]) -> list[list[Value]]:
    """The values of each configuration, dataset and metric, where a dataset is named: captions
    name others, and those are not read."""
    groups: dict[tuple[str, str, str], list[Value]] = {}
    for value in (value for value in values if value.dataset):
        key = (plain(value.dataset), plain(value.name), plain(value.metric))
        groups.setdefault(key, []).append(value)
    return list(groups.values())


def _copied(values: Sequence[Value]) -> list[list[Value]]:
    """The values of a quality that differ where a method has rows in two tables, one of which names
    no dataset, and all else in them is equal, which is too much for chance."""
    differing: dict[tuple[str, str], list[Value]] = {}
    rows: dict[str, dict[tuple[str, str], list[Value]]] = {}
    for value in (v for v in values if v.better and plain(v.metric) in known_metrics()):
        places = rows.setdefault(plain(value.name), {})
        places.setdefault((value.table, value.dataset), []).append(value)
    for one, other in (pair for row in rows.values() for pair in combinations(row.values(), 2)):
        pairs = [[a, b] for a, b in product(one, other) if plain(a.metric) == plain(b.metric)]
        apart = [pair for pair in pairs if not _agree(*pair)]
        long = sum(all(abs(v.value) >= 100 * v.step for v in pair) for pair in pairs)
        nameless = not (one[0].dataset and other[0].dataset) and one[0].table != other[0].table
        if nameless and len(apart) == 1 and long > COPIED:
            own = differing.setdefault((plain(apart[0][0].name), plain(apart[0][0].metric)), [])
            own += [value for value in apart[0] if value not in own]
    return list(differing.values())


def _unlike(groups: Sequence[Sequence[Value]]) -> dict[tuple[str, str], str]:
    """Pairs of one file's tables that share so much and agree so little that something else tells
    them apart, as headings of sections do where scales alone are named, and how little that is."""
    shared: dict[tuple[str, str], list[bool]] = {}
    named: set[tuple[str, str]] = set()
    for one, other in (pair for group in groups for pair in combinations(group, 2)):
        if one.table != other.table and _file(one.table) == _file(other.table):
            shared.setdefault((one.table, other.table), []).append(_agree(one, other))
            named |= set() if FACTOR.fullmatch(one.dataset) else {(one.table, other.table)}
    return {
        tables: f"{sum(agreed)} of {len(agreed)} values of the same names agree, so they are taken "
        "for tables of different things"
        for tables, agreed in shared.items()
        if (len(agreed) > FEW or tables not in named) and 2 * sum(agreed) < len(agreed)
    }


def _differing(
    values: Sequence[Value], groups: Sequence[Sequence[Value]], apart: Collection[tuple[str, str]]
) -> Iterator[Finding]:
    """One configuration, dataset and metric with different values in several places of tables that
    are of one thing."""
    for part in (part for group in groups for part in _parts(group, apart)):
        first = part[0]
        others = [value for value in part if not _agree(first, value)]
        if others:
            same, other = (
                " and ".join(value.place for value in part if (value in others) == differs)
                for differs in (False, True)
            )
            yield Finding(
                "differs",
                Statement(same, str(first.value)),
                Statement(other, ", ".join(dict.fromkeys(str(v.value) for v in others))),
                "; ".join(_consequences(values, first, others[0])),
            )


def _parts(group: Sequence[Value], apart: Collection[tuple[str, str]]) -> list[list[Value]]:
    """The values of tables that are of one thing: those of which the first is not apart."""
    parts: list[list[Value]] = []
    for value in group:
        own = (part for part in parts if (part[0].table, value.table) not in apart)
        if (part := next(own, None)) is None:
            parts.append([value])
        else:
            part.append(value)
    return parts


def _agree(one: Value, other: Value) -> bool:
    """Equal in the digits that both print, whichever way a half is rounded."""
    return 2 * abs(one.value - other.value) <= max(one.step, other.step)


def _consequences(values: Sequence[Value], first: Value, other: Value) -> Iterator[str]:
    """Whose value the deviating one is, and what its row would look like with the other."""
    for value in values:
        alike = (value.dataset, value.metric) == (other.dataset, other.metric)
        if alike and value.value == other.value and value.name != other.name:
            yield f"{other.value} is what {value.table} prints for {value.method}"
    place = (other.table, other.dataset, other.metric)
    row = [v for v in values if (v.table, v.dataset, v.metric) == place and v != other]
    order = ranked([*row, other])
    with_first = sorted({*(v.value for v in row), first.value}, reverse=other.better == "higher")
    was, would = order.index(other.value) + 1, with_first.index(first.value) + 1
    if other.better and was != would:
        of = f"of {len(row) + 1} in {other.table}"
        yield f"with {first.value} it would be {place_of(would)} {of}, not {place_of(was)}"
