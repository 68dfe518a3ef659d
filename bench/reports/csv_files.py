"""Scores and means as CSV: names and numbers in full, to be read by programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.records import write_atomic
from bench.results import Results, summarize
from bench.text import spreadsheet_text

if TYPE_CHECKING:
    import pandas as pd

SCORES = "scores.csv"
SUMMARY = "summary.csv"
COLUMNS = ["dataset", "method", "image", "metric", "value", "reason"]


def render(results: Results, out: Path) -> list[Path]:
    """Write ``scores.csv`` (a row per image, in order) and ``summary.csv`` (see `summarize`).

    Numbers have all their digits; a missing one is an empty field with its reason. Names are as
    registered, quoted where they hold commas, quotes or newlines; one that a spreadsheet would run
    as a formula gets a leading apostrophe.
    """
    write_csv(results.scores[COLUMNS], out / SCORES)
    write_csv(summarize(results), out / SUMMARY)
    return [out / SCORES, out / SUMMARY]


def write_csv(frame: pd.DataFrame, path: Path, float_format: str | None = None) -> None:
    """Write a frame of numbers and texts."""
    texts = frame.select_dtypes(exclude="number").columns
    safe = frame.assign(**{name: frame[name].map(spreadsheet_text) for name in texts})
    text = safe.to_csv(index=False, lineterminator="\n", float_format=float_format)
    write_atomic(path, text.encode("utf-8", "backslashreplace"))
