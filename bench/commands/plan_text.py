"""A dry run for people: what would be done, what is missing and how to get it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
