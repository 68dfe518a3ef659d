"""A dry run for people: what would be done, what is missing and how to get it."""

import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Column, Table

from bench.base.progress import time_in_words
from bench.base.text import in_words, printable
from bench.remote import hub
from bench.suites.prepare import Disk, coming

WIDTH = 160
"""Columns of a table where no terminal says how many there are."""
Row = dict[str, Any]


def plan_lines(rows: Sequence[Row], suite: str) -> list[str]:
    """Rows of `bench.running.execute.dry_run` as lines: each method, dataset and metric once;
    `suite` is as it was typed."""
    power = [row for row in rows if "power" in row]
    pairs = [row for row in rows if "method" in row]
    sets = [row for row in rows if "dataset" in row and row not in (*power, *pairs)]
    metrics = [row for row in rows if "metric" in row and row not in power]
    methods = [
        [row for row in pairs if row["method"] == name]
        for name in dict.fromkeys(row["method"] for row in pairs)
    ]
    lines = ["methods", *(f"  {own[0]['method']}: {_state(own)}" for own in methods)]
    for what, found in (("dataset", sets), ("metric", metrics)):
        lines += [f"{what}s", *(f"  {row[what]}: {row['problem'] or 'ready'}" for row in found)]
    if power:
        lines += ["differences told apart in 80 % of cases, corrected for every two methods"]
        lines += map(_power, power)
    missing = sum(bool(row["problem"]) for row in (*(own[0] for own in methods), *sets, *metrics))
    if not missing:
        return [*lines, "everything is here"]
    fetch = f"cassr-bench fetch {shlex.quote(suite)}"
    return [*lines, f"{missing} of these are missing; all that has an address: {fetch}"]


def show_needs(needs: Sequence[Row], rows: Sequence[Row], disks: Sequence[Disk]) -> None:
    """What a suite needs, in a table that fits a narrow terminal; below it what cannot be
    obtained, and the licences; then bytes to come and room, and the time by method."""
    table = _table("what", "to get", "unpacked", "from", "for")
    for need in needs:
        size = in_words(need["size"]) if need["size"] else "not known"
        unpacked = f"to {in_words(need['unpacked'])}" if need["unpacked"] else ""
        host = hub.shown(next(iter(need["sources"]), "")).split("://")[-1].partition("/")[0]
        to_get = "is here" if need["here"] else size
        cells = [need["file"], to_get, unpacked, host, ", ".join(need["for"])]
        table.add_row(*map(printable, cells))
    absent = [need for need in needs if not need["here"]]
    why_not = [(n["problem"] or ("" if n["sources"] else n["state"]), n["file"]) for n in absent]
    unknown = sum(bool(need["sources"]) > bool(need["size"] or need["here"]) for need in needs)
    console = Console(highlight=False, markup=False, emoji=False)
    console.width = console.width if console.is_terminal else WIDTH
    console.print(table)
    _show(console, "cannot be obtained", why_not)
    _show(console, "licences", ((need["licence"], name) for need in needs for name in need["for"]))
    others = f", plus {unknown} of unknown size" if unknown else ""
    console.print(f"to download: {in_words(coming(needs))}{others}")
    console.print("\n".join(map(str, disks)))
    _show_times(console, [row for row in rows if row.get("left")])


def _table(*heads: str) -> Table:
    columns = (Column(printable(head), overflow="fold") for head in heads)
    return Table(*columns, box=None, pad_edge=False)


def _show(console: Console, head: str, pairs: Iterable[tuple[str, str]]) -> None:
    """Each text once, with the names that it holds for; nothing where there is none."""
    names: dict[str, list[str]] = {}
    for text, name in dict.fromkeys(pair for pair in pairs if pair[0]):
        names.setdefault(text, []).append(name)
    if names:
        console.print(head)
    for text, its in names.items():
        console.print(Padding(printable(f"{', '.join(its)}: {text}"), (0, 0, 0, 2)))


def _show_times(console: Console, rows: Sequence[Row]) -> None:
    """Images left by method and dataset, and how long they take; then who says so."""
    times: dict[str, dict[str, str]] = {}
    for row in rows:
        time = "?" if row["seconds"] is None else time_in_words(row["seconds"])
        times.setdefault(row["method"], {})[row["dataset"]] = f"{row['left']} in {time}"
    sets = dict.fromkeys(row["dataset"] for row in rows)
    table = _table("time to upscale", *sets)
    for name, own in times.items():
        table.add_row(printable(name), *(own.get(each) for each in sets))
    known = [row["seconds"] for row in rows if row["seconds"] is not None]
    total = f"{time_in_words(sum(known))}, " if known else ""
    console.print(table)
    console.print(f"in all: {total}{len(rows) - len(known)} of {len(rows)} not known")
    _show(console, "time estimates from", ((row["pace"], row["method"]) for row in rows))


def _state(rows: Sequence[Row]) -> str:
    todo = []
    for row in filter(lambda row: row["images"], rows):
        count, left = f"{row['images']} images", row["to_upscale"]
        todo.append(f"{left} of {count} to upscale" if left else f"{count} known")
        todo[-1] += f" on {row['dataset']}"
    return rows[0]["problem"] or ", ".join(todo) or "ready"


def _power(row: Row) -> str:
    found = "unknown" if row["detectable"] is None else f"{row['detectable']:.3g}"
    where = f"{row['metric']} on {row['dataset']}"
    return f"  {where}: {found} at n = {row['n']} ({row['source']})"
