"""`export`, `import` and `diff`: results that leave the machine and come back."""

from pathlib import Path
from typing import TYPE_CHECKING

from bench.base.cards import BREAKING, MAX_TITLE
from bench.base.device import stored_kind
from bench.base.errors import BenchError
from bench.base.progress import Progress
from bench.base.text import printable
from bench.commands.shared import options as o
from bench.commands.shared.groups import grouped
from bench.commands.shared.output import exit_if, tell

if TYPE_CHECKING:
    from bench.running.collect import RunOutcome


@grouped
def export(
    suite: str,
    out: Path,
    images: bool = False,
    benchmark: str = "",
    *,
    choice: o.StoredChoice,
    overwrite: bool = False,
    as_json: bool = False,
) -> None:
    """Write what is stored of a suite for others.

    A folder that the Hugging Face hub and `datasets.load_dataset` read, or one JSON.
    """
    from bench.exchange import export as publish

    if (images or benchmark) and out.suffix == ".json":
        what = "--images" if images else "--benchmark"
        raise BenchError(f"{what}: a JSON holds scores alone; give --out a folder")
    publish.require_free(out, overwrite)
    stored = _stored(suite, choice)
    common = (stored.results, out, choice.scale)
    if out.suffix == ".json":
        files = publish.export_json(*common, overwrite)
    else:
        files = publish.export_folder(*common, images, overwrite, stored.view, benchmark)
    tell(as_json, {"files": list(map(str, files))}, *map(printable, files))


@grouped
def import_(
    suite: str,
    sources: list[Path],
    out: Path | None = None,
    label: str = "",
    *,
    choice: o.StoredChoice,
    overwrite: bool = False,
    as_json: bool = False,
) -> None:
    """Add others' methods to the leaderboard of a suite.

    Refused unless test sets and metrics are the same; what differs is named.
    """
    from rich.console import Console

    from bench import reports
    from bench.exchange.merge import Import, merge
    from bench.exchange.reading import read_bundle
    from bench.reports.tables import terminal

    if len(label) > MAX_TITLE or BREAKING.search(label):
        raise BenchError(f"--label: expected one line of at most {MAX_TITLE} characters")
    out = out or Path("results") / "reports" / "merged"
    reports.require_free(out, overwrite=overwrite)
    imports = [Import(printable(path.name), read_bundle(path)) for path in sources]
    stored = _stored(suite, choice)
    merged = merge(stored.results, imports, label, choice.scale)
    files = reports.render_all(merged, out, overwrite=overwrite, view=stored.view)
    value, last = {"files": list(map(str, files))}, f"\nReports: {printable(out)}"
    tell(as_json, value, lambda: terminal.show(merged, Console(), stored.view), last)


@grouped
def diff(
    a: Path,
    b: Path,
    tolerance: float | None = None,
    as_json: bool = False,
) -> None:
    """Show what differs between two results.

    Exit code 0: nothing; 1: something.
    """
    from bench.exchange.diff import difference
    from bench.exchange.reading import read_bundle

    found = difference(read_bundle(a).measured, read_bundle(b).measured, tolerance)
    tell(as_json, found.as_json(), *found.lines())
    exit_if(found)


def _stored(suite: str, choice: o.StoredChoice) -> "RunOutcome":
    from bench.running.execute import stored
    from bench.running.plan import make_plan

    card, kind = choice.suite(suite), stored_kind(choice.device)
    return stored(make_plan(card, choice.options(), Progress(quiet=True)), kind)
