"""`run` and `report`: a suite from cards to reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.base.device import default_store, resolve_device
from bench.base.errors import BenchError
from bench.base.text import inside, printable
from bench.commands import options as o
from bench.commands.output import FAILED, go_offline, print_json, progress, report_failures

if TYPE_CHECKING:
    from bench.results.results import Results, ShownRegion
    from bench.running.collect import Outcome
    from bench.running.plan import Plan
    from bench.suites.card import SuiteCard


def run(
    suite: Annotated[str, typer.Argument(help="A suite's name, or a suite card FILE.toml.")],
    out: Annotated[
        Path | None, typer.Option(help="Where reports go; default: results/reports/SUITE.")
    ] = None,
    methods: o.Methods = None,
    datasets: o.Datasets = None,
    metrics: o.Metrics = None,
    limit: o.Limit = None,
    scale: o.Scale = 4,
    device: o.Device = "auto",
    workers: o.WorkerCount = None,
    shard: o.Shard = None,
    seed: o.Seed = None,
    store: o.Store = None,
    fetch: Annotated[
        bool | None,
        typer.Option(help="Fetch missing weights first; default: as the suite says."),
    ] = None,
    offline: o.Offline = False,
    require_all: Annotated[
        bool, typer.Option("--require-all", help="Fail when any score is missing.")
    ] = False,
    marks: o.Marks = "best",
    compare: o.Compare = None,
    reports: o.Reports = None,
    region: o.Region = None,
    originals: o.Originals = True,
    overwrite: o.Overwrite = False,
    dry_run: o.DryRun = False,
    as_json: o.AsJson = False,
) -> None:
    """Run a whole suite: upscale, score, report.

    What is in the store already is not computed again; a run that was stopped goes on.
    """
    from bench.reports import require_free
    from bench.running import shards
    from bench.running.execute import execute
    from bench.running.options import RunOptions
    from bench.running.plan import make_plan

    view = _view(marks, compare, reports, originals)
    suite_card = o.chosen_suite(suite, methods, datasets, metrics)
    place = shards.place(shard, device, workers)
    out = out or _default_out(suite_card.name)
    if not dry_run:
        require_free(out, view.reports, overwrite)
    options = RunOptions(
        store=store or default_store(),
        device=place.device,
        workers=place.workers,
        shard=place.shard,
        seed=seed,
        limit=limit,
        scale=scale,
    )
    go_offline(offline)
    plan = make_plan(suite_card, options, progress(as_json))
    view = replace(view, regions=_regions(region, plan))
    if not (offline or dry_run or fetch is False):
        _fetch_for(suite_card, fetch, as_json)
        plan = make_plan(suite_card, options, progress(as_json))
    view = replace(view, regions=_regions(region, plan))
    if dry_run:
        _show_plan(plan, as_json)
        return
    outcome = execute(plan, progress(as_json))
    if options.shard.parts > 1:
        outcome = _with_other_parts(outcome, plan, as_json)
    _finish(outcome, out, options.store, as_json, require_all, view, overwrite)


def report(
    suite: Annotated[
        str, typer.Argument(help="A suite's name, a suite card FILE.toml, or an export.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Where reports go; default: results/reports/SUITE.")
    ] = None,
    methods: o.Methods = None,
    datasets: o.Datasets = None,
    metrics: o.Metrics = None,
    limit: o.Limit = None,
    scale: o.Scale = 4,
    device: o.Device = "auto",
    seed: o.Seed = None,
    store: o.Store = None,
    marks: o.Marks = "best",
    compare: o.Compare = None,
    reports: o.Reports = None,
    region: o.Region = None,
    originals: o.Originals = True,
    overwrite: o.Overwrite = False,
    as_json: o.AsJson = False,
) -> None:
    """Make a suite's reports again from the store, or those of an export.

    Nothing is upscaled or scored.
    """
    from bench.reports import require_free
    from bench.running.execute import collect
    from bench.running.options import RunOptions
    from bench.running.plan import make_plan

    view = _view(marks, compare, reports, originals)
    if suite.endswith(".json") or Path(suite, "result.json").is_file():
        _report_export(Path(suite), out, as_json, view, overwrite)
        return
    suite_card = o.chosen_suite(suite, methods, datasets, metrics)
    out = out or _default_out(suite_card.name)
    require_free(out, view.reports, overwrite)
    options = RunOptions(
        store=store or default_store(),
        device=resolve_device(device),
        seed=seed,
        limit=limit,
        scale=scale,
    )
    plan = make_plan(suite_card, options, progress(as_json))
    view = replace(view, regions=_regions(region, plan))
    _finish(collect(plan), out, options.store, as_json, False, view, overwrite)


def _report_export(
    path: Path, out: Path | None, as_json: bool, view: _View, overwrite: bool
) -> None:
    from bench.exchange.bundle import read_bundle, to_results
    from bench.reports import require_free
    from bench.running.collect import Outcome

    out = out or _default_out(path.stem)
    require_free(out, view.reports, overwrite)
    outcome = Outcome(to_results(read_bundle(path)), ())
    _finish(outcome, out, path, as_json, False, view, overwrite)


@dataclass(frozen=True)
class _View:
    """How results are shown.

    Attributes:
        significant: mark all that are not told apart from the best.
        compare: "published" shows published values beside ours, "measured" kept exports' methods.
        reports: names of those to write, by default all.
        originals: whether the HTML report holds full pictures.
        regions: what panels show.
    """

    significant: bool
    compare: str | None
    reports: tuple[str, ...]
    originals: bool
    regions: tuple[ShownRegion, ...] = ()

    def of(self, results: Results) -> Results:
        """The results as they are to be shown."""
        if self.compare == "measured":
            from bench.exchange.kept import beside

            results = beside(results)
        groups = _groups(results) if self.significant else None
        return replace(results, originals=self.originals, regions=self.regions, groups=groups)


def _view(marks: str, compare: str | None, names: list[str] | None, originals: bool) -> _View:
    from bench.reports import get_report

    o.one_of("--marks", marks, "best", "significant")
    o.one_of("--compare", compare, "published", "measured")
    chosen = tuple(get_report(name).name for name in o.names("--reports", names))
    return _View(marks == "significant", compare, chosen, originals)


def _regions(texts: list[str] | None, plan: Plan) -> tuple[ShownRegion, ...]:
    if not texts:
        return ()
    from bench.reports.figures.regions import parse_region

    images = {name: [pair.id for pair in m.pairs] for name, m in plan.manifests.items()}
    return tuple(parse_region(text, images) for text in texts)


def _default_out(suite: str) -> Path:
    return inside(Path("results") / "reports", suite)


def _fetch_for(suite: SuiteCard, asked: bool | None, quiet: bool) -> None:
    from bench.suites.fetch import fetch_for_run

    for row in fetch_for_run(suite, asked, progress(quiet)):
        if row["failed"]:
            typer.echo(f"not fetched: {row['state']}", err=True)


def _show_plan(plan: Plan, as_json: bool) -> None:
    from bench.running.execute import dry_run

    rows = dry_run(plan)
    if as_json:
        print_json(rows)
        return
    from bench.commands.plan_text import plan_lines

    typer.echo("\n".join(plan_lines(rows, plan.suite.name)))


def _with_other_parts(own: Outcome, plan: Plan, as_json: bool) -> Outcome:
    """All parts together, if this one is the last; otherwise the command ends here."""
    from bench.running import shards

    outcome, owed = shards.whole(plan, own)
    if not owed:
        return outcome
    part = f"{plan.options.shard.part}/{plan.options.shard.parts}"
    if as_json:
        print_json({"shard": part, "owed": owed, "failures": [list(f) for f in own.failures]})
    else:
        typer.echo(f"Part {part} is done; other parts still owe {owed} scores. The last one")
        typer.echo("writes the reports; so does the same command without --shard.")
    report_failures(own.failures)
    raise typer.Exit(FAILED if own.failures else 0)


def _finish(
    outcome: Outcome,
    out: Path,
    store: Path,
    as_json: bool,
    require_all: bool,
    view: _View,
    overwrite: bool,
) -> None:
    from bench import reports
    from bench.running.collect import as_json as results_json

    outcome = replace(outcome, results=view.of(outcome.results))
    if not as_json:
        _show(outcome.results, view)
    files = reports.render_all(outcome.results, out, view.reports, overwrite)
    if as_json:
        print_json(results_json(outcome, files))
    else:
        typer.echo(f"\nReports: {printable(out)}  ({_names(files, out)})")
        typer.echo(f"Images and scores: {printable(store)}")
    report_failures(outcome.failures)
    missing = int(outcome.results.scores["value"].isna().sum())
    if require_all and missing:
        raise BenchError(f"--require-all: {missing} scores are missing; the table says why")
    if outcome.failures:
        raise typer.Exit(FAILED)


def _show(results: Results, view: _View) -> None:
    from rich.console import Console

    from bench.reports import published
    from bench.reports.tables import terminal

    console = Console()
    terminal.show(results, console)
    if view.compare == "published":
        published.show(results, console)


def _groups(results: Results) -> Mapping[tuple[str, str], frozenset[str]]:
    from bench.results.table_stats import statistics

    return statistics(results).groups


def _names(files: list[Path], out: Path) -> str:
    top = sorted({path.relative_to(out).parts[0] for path in files})
    return ", ".join(top)
