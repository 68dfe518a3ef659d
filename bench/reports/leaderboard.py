"""Results to hold in the hand: what reports are made from, and each report as a call."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.results.results import Results, summarize
from bench.results.view import PLAIN, View

if TYPE_CHECKING:
    import pandas as pd

    from bench.results.table_stats import Statistics


@dataclass(frozen=True)
class Leaderboard:
    """Scores of methods on test sets; a notebook shows it as a table.

    Attributes:
        results: what every report is made from.
        failures: (what, reason) of images that could not be upscaled or read.
        absent: what the file that it was loaded from does not hold.
        view: how they are shown.
    """

    results: Results
    failures: tuple[tuple[str, str], ...] = ()
    absent: tuple[str, ...] = ()
    view: View = PLAIN

    @property
    def frame(self) -> "pd.DataFrame":
        """A row per dataset, method, image and metric: `value`, or the `reason` why it is NaN."""
        return self.results.scores.copy()

    @property
    def table(self) -> "pd.DataFrame":
        """The means, over the images that all methods share: a row per dataset, metric, method."""
        return summarize(self.results)

    def latex(self) -> str:
        """The table for a paper; the file `table.tex` of a run's reports."""
        from bench.reports.tables.latex import latex

        return latex(self.results, self.view)

    def statistics(self) -> "Statistics":
        """Intervals and ranks (`cells`) and paired tests (`pairs`), both data frames."""
        from bench.results.table_stats import statistics

        return statistics(self.results)

    def report(
        self,
        folder: str | os.PathLike[str],
        reports: str | Sequence[str] = (),
        *,
        overwrite: bool = False,
    ) -> list[Path]:
        """Write the reports of a run, or those named, below a folder; gives the files."""
        from bench.reports import render_all

        names = [reports] if isinstance(reports, str) else reports
        return render_all(self.results, Path(folder), names, overwrite, self.view)

    def _repr_html_(self) -> str:
        from html import escape

        from bench.reports.tables.layout import make_table
        from bench.reports.tables.markdown import filled

        table = filled("pages/table.html", escape, table=make_table(self.results, self.view))
        absent = f"<p>Not in the file: {escape('; '.join(self.absent))}</p>" if self.absent else ""
        return table + absent

    def __repr__(self) -> str:
        from bench.reports.tables.terminal import text

        absent = f"Not in the file: {'; '.join(self.absent)}" if self.absent else ""
        return (text(self.results, self.view) + absent).rstrip()
