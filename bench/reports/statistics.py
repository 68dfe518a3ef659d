"""How sure the table is: intervals, paired tests and ranks, as CSV and to be read by people."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from bench.base.types import MetricSpec
from bench.files.safe_csv import SEVEN_DIGITS, write_files
from bench.reports.tables.layout import count_comparisons
from bench.reports.tables.markdown import filled, number, p_value
from bench.results import bootstrap
from bench.results.results import Results
from bench.results.table_stats import NOT_TOLD_APART, Statistics, counted, statistics
from bench.results.view import PLAIN, View

DISAGREES = "‡"


def render(results: Results, out: Path, _view: View = PLAIN) -> list[Path]:
    """Write ``statistics.csv`` (cells), ``statistics_pairs.csv`` and ``statistics.md``."""
    found = statistics(results)
    page = filled(
        "pages/statistics.md",
        results=results,
        found=found,
        rows={(d.name, m.name): _row(found, d.name, m)
              for d in results.datasets for m in results.metrics},
        titles={method.name: method.title for method in results.methods},
        undecided=NOT_TOLD_APART,
        comparisons=count_comparisons(found.comparisons.values()),
        rules=bootstrap,
    )  # fmt: skip
    frames = {"statistics.csv": found.cells, "statistics_pairs.csv": found.pairs}
    return write_files(out, {**frames, "statistics.md": page}, SEVEN_DIGITS)


def _row(found: Statistics, dataset: str, metric: MetricSpec) -> dict[str, Any]:
    """What the page says of one dataset and metric; `reasons` are why there are no cells."""
    cells = _rows(found.cells, dataset, metric.name)
    pairs = _rows(found.pairs, dataset, metric.name)
    if all(math.isnan(cell["low"]) for cell in cells):
        reasons = dict.fromkeys(cell["reason"] for cell in cells if cell["reason"])
        return {"reasons": "; ".join(reasons), "cells": []}
    known = [cell for cell in cells if cell["n"] and not math.isnan(cell["groups"])]
    best = next(cell["method"] for cell in cells if cell["rank"] == 1)
    told = (_against(best, cell["method"], pairs, metric) for cell in cells)
    return {
        "sizes": ", ".join(dict.fromkeys(counted(c["n"], int(c["groups"])) for c in known)),
        "compared": found.comparisons.get((dataset, metric.name)),
        "cells": list(zip(cells, told, strict=True)),
    }


def _rows(frame: pd.DataFrame, dataset: str, metric: str) -> list[dict[Any, Any]]:
    own = (frame["dataset"] == dataset) & (frame["metric"] == metric)
    return frame[own].to_dict("records")


def _against(best: str, method: str, pairs: list[dict[Any, Any]], metric: MetricSpec) -> Markup:
    """Mean difference to the best with its Holm interval and p; dashes for the best itself."""
    for pair in pairs:
        if method != best and {pair["a"], pair["b"]} == {method, best}:
            sign = 1 if pair["a"] == method else -1
            ends = sorted(sign * pair[end] for end in ("holm_low", "holm_high"))
            found = {pair[p] < bootstrap.ALPHA for p in ("holm_p", "wilcoxon_holm_p")}
            difference = number(sign * pair["difference"], metric.digits, "+")
            p = pair["verdict"] if math.isnan(pair["holm_p"]) else p_value(pair["holm_p"])
            sure = " to ".join(number(end, metric.digits, "+") for end in ends)
            interval = "" if math.isnan(ends[0]) else f" ({sure})"
            return Markup(f"{difference}{interval} | {p}{DISAGREES if len(found) > 1 else ''}")  # noqa: S704
    return Markup("– | –")
