"""A dry run for people: what would be done, what is missing and how to get it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from bench.base.progress import time_in_words
from bench.base.text import in_words, printable
from bench.suites.prepare import Need, room

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
    lines = ["methods", *(_line(own[0]["method"], _state(own)) for own in methods)]
    for what, found in (("dataset", sets), ("metric", metrics)):
        lines += [f"{what}s", *(_line(row[what], row["problem"] or "ready") for row in found)]
    if power:
        lines += ["differences told apart in 80 % of cases, corrected for every two methods"]
        lines += map(_power, power)
    missing = sum(bool(row["problem"]) for row in (*(own[0] for own in methods), *sets, *metrics))
    if not missing:
        return [*lines, "everything is here"]
    fetch = f"cassr-bench fetch {suite}"
    return [*lines, f"{missing} of these are missing; all that has an address: {fetch}"]


def needs_table(needs: Sequence[Need]) -> Table:
    """What a suite needs, a row each."""
    table = Table("what", "from", "size", "here", "licence", "for", box=None, pad_edge=False)
    for need in needs:
        size = in_words(need.size) if need.size else "not known"
        state = "yes" if need.here else need.problem or "no"
        cells = (f"{need.kind} {need.name}", need.source, size, state, need.licence)
        table.add_row(*(Text(printable(cell)) for cell in (*cells, ", ".join(need.users))))
    return table


def needs_lines(needs: Sequence[Need], rows: Sequence[Row]) -> list[str]:
    """What is to come in all: bytes, by disk, and hours of upscaling by method and dataset."""
    coming = [need for need in needs if not need.here and need.get is not None]
    unknown = sum(not need.size for need in coming)
    more = f", and {unknown} whose size is not known" if unknown else ""
    lines = [f"to get: {len(coming)}, {in_words(sum(need.size for need in coming))}{more}"]
    lines += [
        f"disk {printable(folder)}: {in_words(size)} to come, {in_words(free)} free"
        for folder, size, free in room(needs)
    ]
    times = [row for row in rows if row.get("left")]
    lines += ["time to upscale"] if times else []
    lines += [_line(f"{row['method']} on {row['dataset']}", _time(row)) for row in times]
    known = [row["seconds"] for row in times if row["seconds"] is not None]
    rest = f", and {len(times) - len(known)} not known" if len(known) < len(times) else ""
    return [*lines, *([f"in all {time_in_words(sum(known))}{rest}"] if known else [])]


def _time(row: Row) -> str:
    told = "not known" if row["seconds"] is None else time_in_words(row["seconds"])
    return f"{row['left']} images, {told}{' (' + row['pace'] + ')' if row['pace'] else ''}"


def _state(rows: Sequence[Row]) -> str:
    """Of a method, from its rows."""
    todo = [
        f"{_count(r['images'], r['to_upscale'])} on {r['dataset']}" for r in rows if r["images"]
    ]
    return rows[0]["problem"] or ", ".join(todo) or "ready"


def _count(images: int, left: int) -> str:
    return f"{left} of {images} images to upscale" if left else f"{images} images known"


def _power(row: Row) -> str:
    found = "unknown" if row["detectable"] is None else f"{row['detectable']:.3g}"
    where = f"{row['metric']} on {row['dataset']}"
    return _line(where, f"{found} at n = {row['n']} ({row['source']})")


def _line(name: str, state: str) -> str:
    return f"  {name}: {state}"
