"""The reports, in the order they are made. A report is one file here and one line in `REPORTS`.

Each is a function ``render(results, out, view) -> list[Path]`` that writes below `out` and
returns what it wrote. Equal results and views give equal bytes: no time, no machine path.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.base.lazy import resolve
from bench.base.records import write_atomic
from bench.base.registry import Registry
from bench.files.outputs import Output
from bench.reports.reuse import Rendered
from bench.results.results import Results
from bench.results.view import PLAIN, View

Render = Callable[[Results, Path, View], list[Path]]
PROVENANCE = "provenance.json"


@dataclass(frozen=True)
class Report:
    """A report as listed.

    Attributes:
        name: as typed.
        factory: where its `render` is.
        means: what it writes, in one line.
        files: those that it always has, to look for somebody else's before any work.
        repeats: whether two runs of the same suite give the same bytes; one that does not (it
            shows timings) is made only when it is named.
    """

    name: str
    factory: str
    means: str
    files: tuple[str, ...]
    repeats: bool = True

    def load(self) -> Render:
        """Import the report's `render`, and with it what it needs."""
        render: Render = resolve(self.factory)
        return render


REPORTS: tuple[Report, ...] = (
    Report(
        "terminal",
        "bench.reports.tables.terminal:render",
        "leaderboard.txt: the table, 80 columns",
        ("leaderboard.txt",),
    ),
    Report(
        "markdown",
        "bench.reports.tables.markdown:render",
        "table.md: the table for a README",
        ("table.md",),
    ),
    Report(
        "csv",
        "bench.reports.tables.csv_files:render",
        "scores.csv per image, summary.csv of means",
        ("scores.csv", "summary.csv"),
    ),
    Report(
        "excel",
        "bench.reports.tables.excel:render",
        "table.xlsx: the table, means and scores",
        ("table.xlsx",),
    ),
    Report(
        "latex",
        "bench.reports.tables.latex:render",
        "table.tex to \\input, table_standalone.tex",
        ("table.tex", "table_standalone.tex"),
    ),
    Report(
        "statistics",
        "bench.reports.statistics:render",
        "statistics.md and .csv: intervals, paired tests, ranks; statistics_pairs.csv",
        ("statistics.csv", "statistics_pairs.csv", "statistics.md"),
    ),
    Report(
        "ablation",
        "bench.reports.ablation:render",
        "ablation.md and .csv: differences beyond images and training seeds, if seeds are named",
        (),
    ),
    Report(
        "seeds",
        "bench.reports.seeds:render",
        "seeds.md and .csv: spread over seeds, per image and of means; ranks; with --seeds alone",
        (),
    ),
    Report(
        "published",
        "bench.reports.published:render",
        "published.md and .csv: published values beside measured ones, with noise",
        ("published.csv", "published.md"),
    ),
    Report(
        "panels",
        "bench.reports.figures.panels:render",
        "panels/: LR, a crop of every method, HR",
        (),
    ),
    Report(
        "plots",
        "bench.reports.figures.plots:render",
        "plots/: perception-distortion, ranks and others",
        (),
    ),
    Report(
        "html",
        "bench.reports.html.report:render",
        "html/index.html: leaderboard, images, provenance",
        ("html/index.html", "html/data.js", "html/provenance.json"),
    ),
    Report(
        "cost",
        "bench.reports.cost:render",
        "cost.md and .csv: seconds, memory, parameters; only when it is named",
        ("cost.csv", "cost_images.csv", "cost.md"),
        repeats=False,
    ),
)


_known = Registry("report", REPORTS)


def get_report(name: str) -> Report:
    """The report called `name`.

    Raises:
        UnknownName: no report has that name; the message suggests the nearest.
    """
    return _known.find(name)


def chosen(names: Sequence[str] = ()) -> list[Report]:
    """The reports of these names, by default all that repeat.

    Raises:
        UnknownName: one of them is not known.
    """
    return [get_report(name) for name in names] or [report for report in REPORTS if report.repeats]


def require_free(out: Path, names: Sequence[str] = (), overwrite: bool = False) -> None:
    """Refuse, before any work, a folder in which files are in the way that are not ours.

    Raises:
        BenchError: names the first of them.
    """
    files = [file for report in chosen(names) for file in report.files]
    _output(out, (), overwrite).check([*files, PROVENANCE])


def render_all(
    results: Results,
    out: Path,
    names: Sequence[str] = (),
    overwrite: bool = False,
    view: View = PLAIN,
) -> list[Path]:
    """Write the named reports (by default all that repeat) and `provenance.json` below `out`.

    A report whose files are there and whose content cannot have changed is not made again. What
    was written before and is no part of these results goes; files that are not ours stay.

    Raises:
        UnknownName: before anything is written.
        BenchError: a file is in the way that is not ours.
    """
    reports = chosen(names)
    rendered = Rendered(results, view, out)
    output = _output(out, results.files(), overwrite)
    with output.writing():
        made = {report.name: _render(report, rendered) for report in reports}
        made["provenance"] = [write_provenance(results, out)]
    output.finish(made, rendered.of)
    return [path for files in made.values() for path in files]


def _output(out: Path, inputs: Iterable[Path], overwrite: bool) -> Output:
    return Output(out, "reports", "--out", inputs=inputs, overwrite=overwrite)


def _render(report: Report, rendered: Rendered) -> list[Path]:
    files = rendered.files(report.name)
    if files is None:
        files = report.load()(rendered.results, rendered.out, rendered.view)
        rendered.remember(report.name, files)
    return files


def write_provenance(results: Results, out: Path) -> Path:
    """Write `provenance.json`: everything the numbers depend on."""
    path = out / PROVENANCE
    write_atomic(path, json.dumps(results.provenance, indent=1, sort_keys=True) + "\n")
    return path
