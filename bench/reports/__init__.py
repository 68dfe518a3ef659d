"""The reports: each is one file here and an entry in ``reports.toml``.

Each is a function ``render(results, out, view) -> list[Path]`` that writes below `out` and
returns what it wrote. Equal results and views give equal bytes: no time, no machine path.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.base.cards import Card, read_card
from bench.base.lazy import resolve
from bench.base.records import write_atomic
from bench.base.registry import Registry
from bench.files.outputs import Output
from bench.reports.reuse import Rendered
from bench.results.results import Results
from bench.results.view import PLAIN, View

Render = Callable[[Results, Path, View], list[Path]]
PROVENANCE = "provenance.json"
_OURS = ("reports", "--out")
"""Where it is recorded what reports were written, and the option that says where."""


class Report(Card):
    """A report as listed.

    Attributes:
        name: as typed.
        factory: where its `render` is, below `bench.reports`.
        means: what it writes, in one line.
        files: those that it always has, to look for somebody else's before any work.
        repeats: whether two runs of the same suite give the same bytes; one that does not (it
            shows timings) is made only when it is named.
        shows: those of these that it shows where they are there.
    """

    name: str
    factory: str
    means: str
    files: tuple[str, ...] = ()
    repeats: bool = True
    shows: tuple[str, ...] = ()

    def load(self) -> Render:
        """Import the report's `render`, and with it what it needs."""
        render: Render = resolve(f"bench.reports.{self.factory}")
        return render


class _Listed(Card):
    report: tuple[Report, ...]


REPORTS = read_card(Path(__file__).with_name("reports.toml"), _Listed).report
get_report = Registry("report", REPORTS).find
"""The report of a name; raises UnknownName, with the nearest."""


def chosen(names: Sequence[str] = ()) -> list[Report]:
    """The reports of these names, by default all that repeat, in the order of the list.

    Raises:
        UnknownName: one of them is not known.
    """
    named = [get_report(name) for name in names]
    return [report for report in REPORTS if (report in named if named else report.repeats)]


def require_free(out: Path, names: Sequence[str] = (), overwrite: bool = False) -> None:
    """Refuse, before any work, a folder in which files are in the way that are not ours.

    Raises:
        BenchError: names the first of them.
    """
    files = [file for report in chosen(names) for file in report.files]
    Output(out, *_OURS, overwrite=overwrite).check([*files, PROVENANCE])


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
    output = Output(out, *_OURS, inputs=results.files(), overwrite=overwrite)
    with output.writing():
        made = {report.name: _render(report, rendered) for report in reports}
        told = json.dumps(results.provenance, indent=1, sort_keys=True)
        write_atomic(out / PROVENANCE, told + "\n")
        made["provenance"] = [out / PROVENANCE]
    output.finish(made, rendered.of)
    return [path for files in made.values() for path in files]


def _render(report: Report, rendered: Rendered) -> list[Path]:
    files = rendered.files(report.name, report.shows)
    if files is None:
        files = rendered.copied(report.name, report.shows)
        files = files or report.load()(rendered.results, rendered.out, rendered.view)
        rendered.remember(report.name, files, report.shows)
    return files
