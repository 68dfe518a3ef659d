"""Loss curves of a training run, from its log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bench.base.errors import DataError
from bench.base.text import printable
from bench.reports.figures.style import COLOURS, add_legend, new_figure, plain_numbers, save, short

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
    table = _read_log(log, curves)
    figure, axes = new_figure(printable(log.stem))
    first, *names = table.columns
    for index, name in enumerate(names):
        known = table[[first, name]].dropna()
        smoothed = known[name].ewm(alpha=1 - SMOOTHING).mean()
        colour = COLOURS[index % len(COLOURS)]
        axes.plot(known[first], known[name], color=colour, lw=0.5, alpha=0.3)
        (line,) = axes.plot(known[first], smoothed, color=colour, lw=1.5,
                            ls=LINES[index % len(LINES)])  # fmt: skip
        line.set_label(short(name))
    axes.set_xlabel(short(first))
    lowest, highest = table[names].min().min(), table[names].max().max()
    if 0 < LOG_RANGE * lowest < highest:
        axes.set_yscale("log")
        plain_numbers(axes.yaxis)
    add_legend(figure, axes)
    return save(figure, out)


def _read_log(log: Path, curves: Sequence[str]) -> pd.DataFrame:
    """Steps and the columns to draw, as numbers; NaN where a row has none."""
    try:
        table = pd.read_csv(log, index_col=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{printable(log)}: expected a CSV with a header, found none") from error
    numbers = table.apply(pd.to_numeric, errors="coerce").dropna(axis=1, how="all")
    first = table.columns[0]
    kept = [name for name in numbers if name == first or not curves or name in curves]
    if len(kept) < 2 or kept[0] != first:
        raise DataError(
            f"{printable(log)}: expected steps in the first column and a loss in another, "
            f"found the columns {printable(', '.join(table.columns))}"
        )
    return numbers[kept].astype(float)
