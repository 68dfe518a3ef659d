"""A dry run for people: what would be done, what is missing and how to get it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.base.progress import time_in_words
from bench.base.text import in_words, printable
from bench.suites.prepare import Disk, coming

WIDTH = 160
"""Columns of a table where no terminal says how many there are."""
Row = dict[str, Any]


def plan_lines(rows: Sequence[Row], suite: str) -> list[str]:
    """Rows of `bench.running.execute.dry_run` as lines: each method, dataset and metric once."""
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
    fetch = f"cassr-bench fetch {suite}"
    return [*lines, f"{missing} of these are missing; all that has an address: {fetch}"]


def show_needs(needs: Sequence[Row], rows: Sequence[Row], disks: Sequence[Disk]) -> None:
    """What a suite needs as a table; below it bytes to come and room, and the time by method."""
    heads = ("what", "size", "unpacked", "here", "from", "licence", "for")
    table = Table(*heads, box=None, pad_edge=False)
    for need in needs:
        size = in_words(need["size"]) if need["size"] else "not known"
        unpacked = f"to {in_words(need['unpacked'])}" if need["unpacked"] else ""
        source = next(iter(need["sources"]), "")
        why_not = need["problem"] or ("no" if source else need["state"])
        cells = [need["file"], size, unpacked, "yes" if need["here"] else why_not]
        cells += [source, need["licence"], ", ".join(need["for"])]
        table.add_row(*(Text(printable(cell)) for cell in cells))
    console = Console(highlight=False)
    console.width = console.width if console.is_terminal else WIDTH
    console.print(table)
    unknown = sum(bool(need["sources"]) > bool(need["size"] or need["here"]) for need in needs)
    console.print(f"to come: {in_words(coming(needs))}, beside {unknown} of unknown size")
    console.print("\n".join([*map(str, disks), "time to upscale"]))
    times = [row for row in rows if row.get("left")]
    for name in dict.fromkeys(row["method"] for row in times):
        typer.echo(f"  {name}: {_times([row for row in times if row['method'] == name])}")
    known = [row["seconds"] for row in times if row["seconds"] is not None]
    total = f"{time_in_words(sum(known))}, " if known else ""
    typer.echo(f"  in all: {total}{len(times) - len(known)} of {len(times)} not known")


def _times(rows: Sequence[Row]) -> str:
    """Of a method: "100 images on realsr 5 min, 93 on drealsr not known (who measured)"."""
    told = []
    for row in rows:
        time = "not known" if row["seconds"] is None else time_in_words(row["seconds"])
        told.append(f"{row['left']} images on {row['dataset']} {time}")
    sources = dict.fromkeys(row["pace"] for row in rows if row["pace"])
    return ", ".join(told) + "".join(f" ({source})" for source in sources)


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
