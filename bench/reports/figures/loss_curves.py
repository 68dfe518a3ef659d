"""Loss curves of a training run, from its log."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.base.errors import DataError
from bench.base.text import printable
from bench.reports.figures.plots import COLOURS, add_legend, new_figure, plain_numbers, save, short

LINES = ("-", "--", "-.", ":")
SMOOTHING = 0.98
"""The share of the running mean that each further value leaves in place."""
LOG_RANGE = 100
"""Curves of positive values that span more than this factor have a logarithmic axis."""


def loss_curves(log: Path, out: Path, curves: Sequence[str] = ()) -> list[Path]:
    """Draw a training log.

    Args:
        log: CSV whose first column counts steps.
        out: path of the plots without suffix.
        curves: columns to draw, as they are and smoothed (exponential mean); all that hold
            numbers unless named.

    Raises:
        DataError: no such columns.
    """
    names, columns = _read_log(log, curves)
    figure, axes = new_figure(printable(log.stem))
    steps = columns[0]
    for index, (name, values) in enumerate(zip(names[1:], columns[1:], strict=True)):
        known = ~np.isnan(values)
        colour = COLOURS[index % len(COLOURS)]
        axes.plot(steps[known], values[known], color=colour, lw=0.5, alpha=0.3)
        (line,) = axes.plot(steps[known], _smoothed(values[known]), color=colour, lw=1.5,
                            ls=LINES[index % len(LINES)])  # fmt: skip
        line.set_label(short(name))
    axes.set_xlabel(short(names[0]))
    lowest, highest = min(map(np.nanmin, columns[1:])), max(map(np.nanmax, columns[1:]))
    if 0 < LOG_RANGE * lowest < highest:
        axes.set_yscale("log")
        plain_numbers(axes.yaxis)
    add_legend(figure, axes)
    return save(figure, out)


def _read_log(log: Path, curves: Sequence[str]) -> tuple[list[str], list[np.ndarray]]:
    try:
        with log.open(newline="") as file:
            names, *rows = [row for row in csv.reader(file) if row]
    except (OSError, ValueError) as error:
        raise DataError(f"{printable(log)}: expected a CSV with a header, found none") from error
    columns = [
        np.array([_number(row[i]) if i < len(row) else math.nan for row in rows])
        for i in range(len(names))
    ]
    kept = [
        i
        for i, column in enumerate(columns)
        if len(column)
        and not np.isnan(column).all()
        and (not i or not curves or names[i] in curves)
    ]
    if len(kept) < 2 or kept[0] != 0:
        raise DataError(
            f"{printable(log)}: expected steps in the first column and a loss in another, "
            f"found the columns {printable(', '.join(names))}"
        )
    return [names[i] for i in kept], [columns[i] for i in kept]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _smoothed(values: np.ndarray) -> np.ndarray:
    """Exponential mean, corrected for its start, (n,)."""
    means, total, weight = np.empty(len(values)), 0.0, 0.0
    for index, value in enumerate(values):
        total = SMOOTHING * total + (1 - SMOOTHING) * value
        weight = SMOOTHING * weight + (1 - SMOOTHING)
        means[index] = total / weight
    return means
