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
from bench.reports.reuse import Rendered
from bench.results import Results
from bench.text import printable, suggestion

Render = Callable[[Results, Path], list[Path]]


@dataclass(frozen=True)
class Report:
    """A report as listed.

    Attributes:
        name: as typed.
        factory: where its `render` is.
        means: what it writes, in one line.
        repeats: whether two runs of the same suite give the same bytes; one that does not (it
            shows timings) is made only when it is named.
    """

    name: str
    factory: str
    means: str
    repeats: bool = True

    def load(self) -> Render:
        """Import the report's `render`, and with it what it needs."""
        render: Render = resolve(self.factory)
        return render


REPORTS: tuple[Report, ...] = (
    Report("terminal", "bench.reports.terminal:render", "leaderboard.txt: the table, 80 columns"),
    Report("markdown", "bench.reports.markdown:render", "table.md: the table for a README"),
    Report("csv", "bench.reports.csv_files:render", "scores.csv per image, summary.csv of means"),
    Report("excel", "bench.reports.excel:render", "table.xlsx: the table, means and scores"),
    Report("latex", "bench.reports.latex:render", "table.tex to \\input, table_standalone.tex"),
    Report(
        "statistics",
        "bench.reports.statistics:render",
        "statistics.md and .csv: intervals, paired tests, ranks; statistics_pairs.csv",
    ),
    Report(
        "ablation",
        "bench.reports.ablation:render",
        "ablation.md and .csv: differences beyond images and training seeds, if seeds are named",
    ),
    Report(
        "published",
        "bench.reports.published:render",
        "published.md and .csv: published values beside measured ones, with noise",
    ),
    Report("panels", "bench.reports.panels:render", "panels/: LR, a crop of every method, HR"),
    Report(
        "plots", "bench.reports.plots:render", "plots/: perception-distortion, ranks and others"
    ),
    Report("html", "bench.reports.html:render", "html/index.html: leaderboard, images, provenance"),
    Report(
        "cost",
        "bench.reports.cost:render",
        "cost.md and .csv: seconds, memory, parameters; only when it is named",
        repeats=False,
    ),
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
    """Write the named reports (by default all that repeat) below `out`.

    A report whose files are there and whose content cannot have changed is not made again.

    Raises:
        UnknownName: before anything is written.
    """
    chosen = [get_report(name) for name in names] or [
        report for report in REPORTS if report.repeats
    ]
    rendered = Rendered(results, out)
    return [path for report in chosen for path in _render(report, results, out, rendered)]


def _render(report: Report, results: Results, out: Path, rendered: Rendered) -> list[Path]:
    files = rendered.files(report.name)
    if files is None:
        files = report.load()(results, out)
        rendered.remember(report.name, files)
    return files
