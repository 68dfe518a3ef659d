"""How sure the table is: intervals, paired tests and ranks, as CSV and to be read by people."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.base.records import write_atomic
from bench.base.types import MetricSpec
from bench.files.safe_csv import SEVEN_DIGITS, write_csv
from bench.reports.tables.layout import UNDECIDED, count_comparisons
from bench.reports.tables.markdown import escape, number, p_value
from bench.results.bootstrap import MIN_IMAGES, RESAMPLES
from bench.results.results import Results
from bench.results.table_stats import NOT_TOLD_APART, Statistics, counted, statistics
from bench.results.view import PLAIN, View

if TYPE_CHECKING:
    import pandas as pd

CELLS = "statistics.csv"
PAIRS = "statistics_pairs.csv"
PAGE = "statistics.md"
DISAGREES = "‡"


def render(results: Results, out: Path, _view: View = PLAIN) -> list[Path]:
    """Write ``statistics.csv`` (cells), ``statistics_pairs.csv`` and ``statistics.md``."""
    found = statistics(results)
    write_csv(found.cells, out / CELLS, SEVEN_DIGITS)
    write_csv(found.pairs, out / PAIRS, SEVEN_DIGITS)
    write_atomic(out / PAGE, "\n".join(_page(results, found)) + "\n")
    return [out / CELLS, out / PAIRS, out / PAGE]


def _page(results: Results, found: Statistics) -> Iterator[str]:
    yield f"### {escape(results.title)}: how sure the table is"
    yield ""
    yield from _explanation(found)
    for dataset in results.datasets:
        yield ""
        yield f"#### {escape(dataset.title)}"
        for metric in results.metrics:
            yield from _metric(results, found, dataset.name, metric)


def _explanation(found: Statistics) -> Iterator[str]:
    yield (
        "Means over the images that all methods share, with 95 % intervals (symmetric "
        f"bootstrap-t, {RESAMPLES} resamples of the images). *Best* is the share of "
        "resamples in which a method is first, *ranks* holds 95 % of its ranks. The best is bold; "
        f"{UNDECIDED} is not told apart from the best: Student's t of the mean difference on the "
        "same images, corrected for skewness, "
        f"Holm over {count_comparisons(found.comparisons.values())} (every two methods), level "
        f"{found.alpha:g}; the corrected interval in brackets leaves out zero exactly where the "
        "verdict is a difference. "
        f"{DISAGREES} where Wilcoxon's signed-rank test, corrected alike, disagrees: it asks about "
        f"most images, not about the mean. Below {MIN_IMAGES} images, or images that differ, "
        "nothing is claimed."
    )


def _metric(results: Results, found: Statistics, dataset: str, metric: MetricSpec) -> Iterator[str]:
    cells = _rows(found.cells, dataset, metric.name)
    pairs = _rows(found.pairs, dataset, metric.name)
    yield ""
    heading = f"**{escape(metric.title)} {metric.arrow}**"
    reasons = dict.fromkeys(cell["reason"] for cell in cells if cell["reason"])
    if all(cell["low"] != cell["low"] for cell in cells):
        yield f"{heading}: no interval and no test ({escape('; '.join(reasons))})."
        return
    known = [cell for cell in cells if cell["n"] and cell["groups"] == cell["groups"]]
    sizes = ", ".join(dict.fromkeys(counted(c["n"], int(c["groups"])) for c in known))
    compared = found.comparisons.get((dataset, metric.name))
    yield f"{heading}, n = {sizes}" + (f", Holm over {compared}" if compared else "")
    yield ""
    yield "| method | mean | 95 % interval | best | ranks | against the best | Holm p |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    titles = {method.name: method.title for method in results.methods}
    best = next(cell["method"] for cell in cells if cell["rank"] == 1)
    for cell in cells:
        against = _against(best, cell["method"], pairs, metric, found.alpha)
        yield _line(cell, titles[cell["method"]], metric, against)


def _rows(frame: pd.DataFrame, dataset: str, metric: str) -> list[dict[Any, Any]]:
    own = (frame["dataset"] == dataset) & (frame["metric"] == metric)
    return frame[own].to_dict("records")


def _line(cell: dict[Any, Any], name: str, metric: MetricSpec, against: str) -> str:
    title = escape(name)
    if cell["low"] != cell["low"]:
        return f"| {title} | – | {escape(cell['reason'])} | | | | |"
    undecided = f"{title} {UNDECIDED}" if cell["against_best"] in NOT_TOLD_APART else title
    shown = f"**{title}**" if cell["against_best"] == "best" else undecided
    mean, low, high = (number(cell[name], metric.digits) for name in ("mean", "low", "high"))
    ranks = _range(int(cell["rank_low"]), int(cell["rank_high"]))
    return (
        f"| {shown} | {mean} | {low} to {high} "
        f"| {cell['best_probability']:.0%} | {ranks} | {against} |"
    )


def _against(
    best: str, method: str, pairs: list[dict[Any, Any]], metric: MetricSpec, alpha: float
) -> str:
    """Mean difference to the best with its Holm interval and p; dashes for the best itself."""
    for pair in pairs:
        if method != best and {pair["a"], pair["b"]} == {method, best}:
            sign = 1 if pair["a"] == method else -1
            ends = sorted(sign * pair[end] for end in ("holm_low", "holm_high"))
            disagrees = (pair["holm_p"] < alpha) != (pair["wilcoxon_holm_p"] < alpha)
            difference = number(sign * pair["difference"], metric.digits, "+")
            p = pair["verdict"] if math.isnan(pair["holm_p"]) else p_value(pair["holm_p"])
            sure = " to ".join(number(end, metric.digits, "+") for end in ends)
            interval = f" ({sure})" if ends[0] == ends[0] else ""
            return f"{difference}{interval} | {p}{DISAGREES if disagrees else ''}"
    return "– | –"


def _range(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}–{high}"
