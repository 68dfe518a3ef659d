"""Marks of a table against its values, under every way in which the marks may be meant.

Each reading (all rows or each block, rows of reference left out, a bold row that is the authors'
own) costs the rows that it contradicts, and something for each assumption: that a row only shows
whose it is more where its name is not marked. What the cheapest readings (up to one row apart,
unless one contradicts nothing) share is found; what only some contradict is told and not judged.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from bench.audit.ranks import contradicted, marked_alike, ranks_marked, undistinguished
from bench.audit.values import RANKS, Finding, Mark, Value, all_of, methods_of, ranked, rows_of

SWAPPED: dict[Mark, Mark] = {"best": "second", "second": "best"}
ALL_ROWS = "its marks hold for all rows"
ADDED = re.compile(r"(?<=[\w)\]])(?:\s*\+|\s*[-/(]?\s*(?:w/|(?<!\w)with\b))")
REFERENCE = re.compile(r"\b(oracle|upper bound|ground truth)\b", re.IGNORECASE)
WHOSE = "may only say whose row it is"
BY_OPTION, BY_CAPTION = "--block or --without ROW", "a caption that says what bold means"
MOST_COLOURS = 6
"""More are a scale, not ranks."""
FEW = 4
"""Marks that a row may have throughout by chance, or values that two tables may share."""
MOST_WRONG = 3
"""Where more rows than these, and more than half of all, are wrong, nothing is understood; nor
where all are and a row may be marked throughout since it is the authors' own."""


class Reading(NamedTuple):
    """One way to take a table's marks, and what it assumes."""

    says: str
    values: list[Value]
    cost: int


class Judged(NamedTuple):
    """A reading's contradictions by dataset and metric, and how many rows it could judge."""

    reading: Reading
    wrong: dict[tuple[str, str], list[Finding]]
    rows: int

    @property
    def cost(self) -> int:
        return self.reading.cost + sum(map(len, self.wrong.values()))


class Verdict(NamedTuple):
    """Contradictions, what was assumed to say so, and where nothing is said."""

    findings: list[Finding]
    notes: list[str]
    abstained: list[str]


def judge(
    table: str,
    values: Sequence[Value],
    ranks: int | None,
    *,
    significant: bool = False,
    blocks: bool = False,
) -> Verdict:
    """Hold a table's marks against its values: `ranks` is how many they mean, where that is known
    (the plain reading is then taken); `significant`, that they mean "not significantly worse"."""
    if not any(value.mark for value in values):
        return Verdict([], [f"{table}: nothing is marked, so there are no marks to check"], [])
    colours = {value.mark for value in values if value.mark.startswith("colour ")}
    if len(colours) > MOST_COLOURS:
        values = [replace(v, mark="") if v.mark in colours else v for v in values]
        if not any(value.mark for value in values):
            why = f"{len(colours)} colours are a scale, not ranks"
            return Verdict([], [], [f"{table}: marks: {why}"])
    judged = [_judged(one, ranks, significant) for one in _readings(values, ranks, blocks)]
    first = min(judged, key=lambda one: (one.cost, len(one.wrong)))
    most = first.cost + bool(first.wrong)
    others = [one for one in judged if one is not first and one.cost <= most]
    wrong = sum(map(len, first.wrong.values()))
    whose = wrong == first.rows and any(WHOSE in one.reading.says for one in judged)
    if ranks is None and ((wrong > MOST_WRONG and 2 * wrong > first.rows) or (wrong and whose)):
        return Verdict([], [], [f"{table}: marks fit no reading ({wrong} of {first.rows} rows)"])
    told = all(value.told for value in first.reading.values if value.mark)
    if not (significant or told) and (alike := marked_alike(first.reading.values)):
        why = f"{alike} or more values are marked alike wherever any are; parts of it may be meant"
        return Verdict([], [], [f"{table}: marks: {why}"])
    if not first.rows and any(value.mark and value.better for value in first.reading.values):
        where = " where ".join(filter(None, ("one dataset and metric", first.reading.says)))
        return Verdict([], [], [f"{table}: marks: no two values are of {where}"])
    shared = set(first.wrong).intersection(*(one.wrong for one in others))
    findings = [found for key in first.wrong if key in shared for found in first.wrong[key]]
    says = list(_open(table, (first, *others)))
    assumed = [f"{table}: {first.reading.says}"] if first.reading.says and not says else []
    return Verdict(findings, [*assumed, *_unmarked(table, first.reading.values)], says)


def _open(table: str, ways: Sequence[Judged]) -> Iterator[str]:
    """What only some readings contradict: what it is, in which readings it holds, what decides."""
    every: dict[tuple[str, str], list[Finding]] = {}
    for one in ways:
        every |= {key: found for key, found in one.wrong.items() if key not in every}
    for key, wrong in every.items():
        holds = [one.reading.says or ALL_ROWS for one in ways if key not in one.wrong]
        if holds:
            told = "; ".join(finding.detail for finding in wrong)
            decide = {BY_CAPTION if WHOSE in text else BY_OPTION: None for text in holds}
            ways_out = f"unless {' or '.join(holds)}; {' or '.join(decide)} decides"
            yield f"{all_of(table, *key)}, marks: {told}, {ways_out}"


def _unmarked(table: str, values: Sequence[Value]) -> Iterator[str]:
    """Metrics with a direction in which nothing is marked, beside others that are."""
    marked = {value.metric for value in values if value.mark}
    for name in dict.fromkeys(v.metric for v in values if v.better and v.metric not in marked):
        yield f"{table}: {name}: nothing is marked, so there are no marks to check"


def _readings(values: Sequence[Value], ranks: int | None, blocks: bool) -> Iterator[Reading]:
    """The plain reading first, or that for each block where it is asked for."""
    own = list(values)
    if ranks is not None:
        yield Reading("", own, 0)
        return
    for reading in [_within_blocks(own, 0)] if blocks else _groupings(own):
        plain = _decoded(reading)
        yield plain
        if name := _passed_over(plain.values):
            says = _both(plain.says, f"its marks leave out {name}, which has none")
            yield Reading(says, [v for v in plain.values if v.method != name], plain.cost + 1)
        yield from _emphasised(plain)
        swapped = [replace(v, mark=SWAPPED.get(v.mark, v.mark)) for v in plain.values]
        if {"best", "second"} <= {value.mark for value in swapped}:
            says = _both(plain.says, "its marks for best and second best change places")
            yield Reading(says, swapped, plain.cost + 3)


def _passed_over(values: Sequence[Value]) -> str:
    """A method without a mark that is a reference by its name, or is above all others and would
    have one in more than two rows, though not in all that have marks."""
    ranks = ranks_marked(values)
    rows = [row for row in rows_of(values) if row[0].better and any(v.mark for v in row)]
    bounds = [v.method for v in values if REFERENCE.search(v.method)]
    for name in dict.fromkeys([*bounds, values[0].method]):
        own = [(value, row) for row in rows for value in row if value.method == name]
        ahead = sum(value.value in ranked(row)[:ranks] for value, row in own)
        enough = (0 if REFERENCE.search(name) else 2) < ahead < len(own)
        if enough and not any(value.mark for value, _ in own):
            return name
    return ""


def _groupings(values: list[Value]) -> Iterator[Reading]:
    yield Reading("", values, 0)
    methods = methods_of(values)
    marked = {value.block for value in values if value.mark}
    if len(methods) > 1 and all(len(methods[block]) > 1 for block in marked):
        yield _within_blocks(values, int(len(marked) < len(methods)))
    families = [replace(value, block=ADDED.split(value.method)[0]) for value in values]
    members = methods_of(families)
    shown = {value.block for value in families if value.mark}
    if len(shown) > 1 and all(len(members[name]) > 1 for name in shown):
        says = "its marks compare each method with itself and an addition"
        yield _within_blocks(families, 0)._replace(says=says)
    rows = rows_of(values)
    marks = [row for row in rows if any(value.mark for value in row)]
    ours = [(row[0].block, row[0].metric) for row in marks]
    bare = {(row[0].block, row[0].metric) for row in rows if len(row) > 1 and row not in marks}
    once = len(marked) > 1 and len(set(ours)) == len(ours) and not bare.isdisjoint(ours)
    if all(row[0].dataset and (len(row) == 1 or once) for row in marks):
        merged = [replace(v, dataset="", method=all_of(v.dataset, v.method)) for v in values]
        says = "its marks hold for all of its parts together"
        yield _within_blocks(merged, 2)._replace(says=says) if once else Reading(says, merged, 2)
    idle = [name for block in methods if block not in marked for name in sorted(methods[block])]
    if idle:
        says = f"its marks leave out {', '.join(idle)}, which a rule sets apart"
        yield Reading(says, [value for value in values if value.block in marked], 1)


def _within_blocks(values: list[Value], cost: int) -> Reading:
    marked = {value.block for value in values if value.mark}
    named = [replace(v, dataset=all_of(v.dataset, v.block)) for v in values if v.block in marked]
    return Reading("its marks hold within each block", named, cost)


def _emphasised(reading: Reading) -> Iterator[Reading]:
    """A row that is marked throughout: its marks may say whose it is."""
    rows: dict[str, list[Value]] = {}
    used = {value.metric for value in reading.values if value.mark}
    for value in (value for value in reading.values if value.metric in used and not value.told):
        rows.setdefault(value.method, []).append(value)
    whole = [own for own in rows.values() if len(own) > 1 and {v.mark for v in own} == {"best"}]
    names = [own[0].method for own in whole]
    if sum(map(len, whole)) > 2:
        named = any(own[0].named or len(own) <= FEW for own in whole)
        says = _both(reading.says, f"the marks of {', '.join(names)} {WHOSE}")
        values = [replace(v, mark="any" if v.method in names else v.mark) for v in reading.values]
        yield Reading(says, values, reading.cost + (1 if named else 3))
        yield from _set_apart(reading, names, used)


def _set_apart(reading: Reading, names: Sequence[str], used: Collection[str]) -> Iterator[Reading]:
    """Rows of which each has a block of its own, left out where the best of all others are marked
    all the same."""
    alone = [name for name in names if {name} in methods_of(reading.values).values()]
    others = [value for value in reading.values if value.method not in alone]
    compared = {row[0].metric for row in rows_of(others) if len(row) > 1}
    if alone and {v.metric for v in others if v.mark == "best"} >= compared.intersection(used):
        says = _both(reading.says, f"its marks leave out {', '.join(alone)}, marked throughout")
        yield Reading(says, others, reading.cost + 2)


def _both(one: str, other: str) -> str:
    return " and ".join(filter(None, (one, other)))


def _decoded(reading: Reading) -> Reading:
    """Colours of which the reader knows no rank, as the rank that most of their values have; one
    without any is an assumption. The only colour of a table shows whose row it is, where one method
    alone has it."""
    holders: dict[Mark, list[int]] = {}
    methods: dict[Mark, set[str]] = {}
    for row in rows_of(reading.values):
        order = ranked(row)
        for value in (value for value in row if value.mark.startswith("colour ") and value.better):
            holders.setdefault(value.mark, []).append(order.index(value.value))
            methods.setdefault(value.mark, set()).add(value.method)
    meant: dict[Mark, Mark] = {}
    for colour, places in holders.items():
        place, times = Counter(places).most_common(1)[0]
        told = 2 * times > len(places) and (len(holders) > 1 or len(methods[colour]) > 1)
        meant[colour] = RANKS[place] if told and place < len(RANKS) else ""
    values = [
        replace(v, mark=meant.get(v.mark, "") if v.mark.startswith("colour ") else v.mark)
        for v in reading.values
    ]
    return reading._replace(values=values, cost=reading.cost + [*meant.values()].count(""))


def _judged(reading: Reading, ranks: int | None, significant: bool) -> Judged:
    metrics = {value.metric for value in reading.values if value.mark}
    parts: dict[str, list[Value]] = {}
    for value in (v for v in reading.values if v.metric in metrics and v.better):
        own_part = value.dataset.endswith(value.block)  # marks hold within each block
        parts.setdefault(value.block if own_part else "", []).append(value)
    wrong: dict[tuple[str, str], list[Finding]] = {}
    judged = 0
    for part, values in parts.items():
        marked = ranks or ranks_marked(values)
        if marked == 2 and not significant:
            values = undistinguished(values)
        for row in (row for row in rows_of(values) if len(row) > 1):
            judged += 1
            for finding in contradicted(row, marked, significant):
                key = (row[0].dataset.removesuffix(part).rstrip(", "), row[0].metric)
                wrong.setdefault(key, []).append(finding)
    return Judged(reading, wrong, judged)
