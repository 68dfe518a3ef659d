"""The reports, in the order they are made. A report is one file here and one line in `REPORTS`.

Each is a function ``render(results: Results, out: Path) -> list[Path]`` that writes below `out`
and returns what it wrote. Equal results give equal bytes: no time, no machine path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UnknownName
from bench.lazy import resolve
from bench.results import Results
from bench.text import printable, suggestion

Render = Callable[[Results, Path], list[Path]]


@dataclass(frozen=True)
class Report:
    """A report as listed: its name, where its `render` is and what it writes, in one line."""

    name: str
    factory: str
    means: str

    def load(self) -> Render:
        """Import the report's `render`, and with it what it needs."""
        render: Render = resolve(self.factory)
        return render


REPORTS: tuple[Report, ...] = (
    Report("terminal", "bench.reports.terminal:render", "leaderboard.txt: the table, 80 columns"),
    Report("markdown", "bench.reports.markdown:render", "table.md: the table for a README"),
    Report("csv", "bench.reports.csv_files:render", "scores.csv per image, summary.csv of means"),
    Report("latex", "bench.reports.latex:render", "table.tex to \\input, table_standalone.tex"),
    Report(
        "statistics",
        "bench.reports.statistics:render",
        "statistics.md and .csv: intervals, paired tests, ranks; statistics_pairs.csv",
    ),
    Report(
        "published",
        "bench.reports.published:render",
        "published.md and .csv: published values beside measured ones, with noise",
    ),
    Report("panels", "bench.reports.panels:render", "panels/: LR, a crop of every method, HR"),
)


def get_report(name: str) -> Report:
    """The report called `name`.

    Raises:
        UnknownName: no report has that name; the message suggests the nearest.
    """
    names = [report.name for report in REPORTS]
    if name in names:
        return REPORTS[names.index(name)]
    known = ", ".join(names)
    raise UnknownName(
        f"report '{printable(name)}': expected one of {known}{suggestion(name, names)}"
    )


def render_all(results: Results, out: Path, names: Sequence[str] = ()) -> list[Path]:
    """Write the named reports (all of them by default) below `out`.

    Raises:
        UnknownName: before anything is written.
    """
    chosen = [get_report(name) for name in names] or list(REPORTS)
    return [path for report in chosen for path in report.load()(results, out)]
