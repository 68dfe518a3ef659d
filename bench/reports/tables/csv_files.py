"""Scores and means as CSV: names and numbers in full, to be read by programs."""

from pathlib import Path

from bench.files.safe_csv import write_files
from bench.results.results import COLUMNS, Results, summarize
from bench.results.view import PLAIN, View


def render(results: Results, out: Path, _view: View = PLAIN) -> list[Path]:
    """Write ``scores.csv`` (a row per image, in order) and ``summary.csv`` (see `summarize`).

    Numbers have all their digits; a missing one is an empty field with its reason. Names are as
    registered, quoted where they hold commas or quotes; see `csv_bytes` for those that would do
    harm.
    """
    frames = {"scores.csv": results.scores[COLUMNS], "summary.csv": summarize(results)}
    return write_files(out, frames)
