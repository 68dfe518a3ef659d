"""A dry run for people: what would be done, what is missing and how to get it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Row = dict[str, Any]


def plan_lines(rows: Sequence[Row], suite: str) -> list[str]:
    """Rows of `bench.running.execute.dry_run` as lines: each method, dataset and metric once."""
    power = [row for row in rows if "power" in row]
    rows = [row for row in rows if "power" not in row]
    pairs = [row for row in rows if "method" in row]
    lines = ["methods"]
    for name in dict.fromkeys(row["method"] for row in pairs):
        lines.append(_method(name, [row for row in pairs if row["method"] == name]))
    for what in ("dataset", "metric"):
        own = [row for row in rows if what in row and "method" not in row]
        lines += [f"{what}s", *(_line(row[what], row["problem"] or "ready") for row in own)]
    if power:
        lines += ["differences told apart in 80 % of cases, corrected for every two methods"]
        lines += map(_power, power)
    missing = _missing(rows)
    if not missing:
        return [*lines, "everything is here"]
    return [
        *lines,
        f"{missing} of these are missing; all that has an address: cassr-bench fetch {suite}",
    ]


def _method(name: str, rows: Sequence[Row]) -> str:
    problem = rows[0]["problem"]
    if problem:
        return _line(name, problem)
    known = [row for row in rows if row["images"]]
    todo = [f"{_count(r['images'], r['to_upscale'])} on {r['dataset']}" for r in known]
    return _line(name, ", ".join(todo) or "ready")


def _count(images: int, left: int) -> str:
    return f"{left} of {images} images to upscale" if left else f"{images} images known"


def _power(row: Row) -> str:
    found = "unknown" if row["detectable"] is None else f"{row['detectable']:.3g}"
    return _line(
        f"{row['metric']} on {row['dataset']}", f"{found} at n = {row['n']} ({row['source']})"
    )


def _line(name: str, state: str) -> str:
    return f"  {name}: {state}"


def _missing(rows: Iterable[Row]) -> int:
    named = {
        (what, row[what]): bool(row["problem"])
        for row in rows
        for what in ("metric", "dataset", "method")
        if what in row and (what != "dataset" or "method" not in row)
    }
    return sum(named.values())
