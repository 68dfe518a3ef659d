"""`run` and `report`: a suite from cards to reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.base.device import default_store, resolve_device, stored_kind
from bench.base.errors import BenchError
from bench.base.text import inside, printable
from bench.commands.shared import options as o
from bench.commands.shared.groups import grouped
from bench.commands.shared.output import FAILED, go_offline, print_json, progress, report_failures
from bench.running.options import IMAGE_TIMEOUT, RunOptions

if TYPE_CHECKING:
    from bench.results.results import Results
    from bench.results.view import ShownRegion, View
    from bench.running.collect import RunOutcome
    from bench.running.plan import Plan
    from bench.suites.card import SuiteCard


Suite = Annotated[str, typer.Argument(help="A suite's name, or a suite card FILE.toml.")]
SuiteOrExport = Annotated[
    str, typer.Argument(help="A suite's name, a suite card FILE.toml, or an export.")
]
Out = Annotated[Path | None, typer.Option(help="Where reports go; default: results/reports/SUITE.")]
Fetch = Annotated[
    bool | None, typer.Option(help="Fetch missing weights first; default: as the suite says.")
]
RequireAll = Annotated[bool, typer.Option("--require-all", help="Fail when any score is missing.")]


@grouped
def run(
    suite: Suite,
    out: Out = None,
    *,
    choice: o.Choice,
    scale: o.Scale = 4,
    device: o.Device = "auto",
    workers: o.WorkerCount = None,
    image_timeout: o.ImageTimeout = IMAGE_TIMEOUT,
    shard: o.Shard = None,
    seed: o.Seed = None,
    seeds: o.Seeds = 1,
    store: o.Store = None,
    fetch: Fetch = None,
    offline: o.Offline = False,
    require_all: RequireAll = False,
    shown: o.ViewOptions,
    dry_run: o.DryRun = False,
    as_json: o.AsJson = False,
) -> None:
    """Run a whole suite: upscale, score, report.

    What is in the store already is not computed again; a run that was stopped goes on.
    """
    from bench.reports import require_free
    from bench.running import shards
    from bench.running.execute import execute, plans, together
    from bench.running.plan import make_plan
    from bench.suites.find import chosen, find_suite

    wish = _wish(shown)
    suite_card = chosen(find_suite(suite), *choice.names())
    place = shards.place(shard, device, workers)
    out = out or _default_out(suite_card.name)
    if not dry_run:
        require_free(out, wish.reports, shown.overwrite)
    options = RunOptions(
        store=store or default_store(),
        device=place.device,
        workers=place.workers,
        shard=place.shard,
        seed=seed,
        limit=choice.limit,
        scale=scale,
        image_timeout=image_timeout,
    )
    go_offline(offline)
    plan = make_plan(suite_card, options, progress(as_json))
    wish = wish.of(plan, shown.region)
    if not (offline or dry_run or fetch is False):
        _fetch_for(suite_card, fetch, as_json)
        plan = make_plan(suite_card, options, progress(as_json))
    if dry_run:
        _show_plan(plan, seeds, as_json)
        return
    every = plans(plan, seeds)
    outcomes = [execute(one, progress(as_json)) for one in every]
    if options.shard.parts > 1:
        done = zip(outcomes, every, strict=True)
        outcomes = [_with_other_parts(outcome, one, as_json) for outcome, one in done]
    whole = together(every, outcomes)
    _finish(whole, out, options.store, as_json, require_all, wish, shown.overwrite)


@grouped
def report(
    suite: SuiteOrExport,
    out: Out = None,
    *,
    choice: o.Choice,
    scale: o.Scale = 4,
    device: o.StoredDevice = "auto",
    seed: o.Seed = None,
    seeds: o.Seeds = 1,
    store: o.Store = None,
    shown: o.ViewOptions,
    as_json: o.AsJson = False,
) -> None:
    """Make a suite's reports again from the store, or those of an export.

    Nothing is upscaled or scored.
    """
    from bench.reports import require_free
    from bench.running.execute import plans, stored, together, unmeasured
    from bench.running.plan import make_plan
    from bench.suites.find import chosen, find_suite

    wish = _wish(shown)
    if suite.endswith(".json") or Path(suite, "result.json").is_file():
        _report_export(Path(suite), out, as_json, wish, shown.overwrite)
        return
    suite_card = chosen(find_suite(suite), *choice.names())
    out, kind = out or _default_out(suite_card.name), stored_kind(device)
    require_free(out, wish.reports, shown.overwrite)
    options = RunOptions(
        store=store or default_store(),
        device=resolve_device("auto"),
        seed=seed,
        limit=choice.limit,
        scale=scale,
    )
    plan = make_plan(suite_card, options, progress(as_json))
    wish = wish.of(plan, shown.region)
    if wish.published and plan.missing and not as_json:
        _show_published_alone(unmeasured(plan), plan)
        return
    every = plans(plan, seeds)
    outcome = together(every, [stored(one, kind) for one in every])
    _finish(outcome, out, options.store, as_json, False, wish, shown.overwrite)


def _report_export(
    path: Path, out: Path | None, as_json: bool, wish: _Wish, overwrite: bool
) -> None:
    from bench.exchange.bundle import read_bundle, to_results
    from bench.reports import require_free
    from bench.running.collect import RunOutcome

    out = out or _default_out(path.stem)
    require_free(out, wish.reports, overwrite)
    outcome = RunOutcome(to_results(read_bundle(path)), ())
    _finish(outcome, out, path, as_json, False, wish, overwrite)


@dataclass(frozen=True)
class _Wish:
    """What was asked for of the reports.

    Attributes:
        significant: mark all that are not told apart from the best.
        compare: "published" shows published values beside ours, "measured" kept exports' methods.
        reports: names of those to write, by default all.
        originals: whether the HTML report holds full pictures.
        under_crops: metrics whose scores stand in the panels.
        regions: what panels show.
    """

    significant: bool
    compare: str | None
    reports: tuple[str, ...]
    originals: bool
    under_crops: tuple[str, ...] = ()
    regions: tuple[ShownRegion, ...] = ()

    def of(self, plan: Plan, regions: list[str] | None) -> _Wish:
        """What was asked for, once it is known that the plan has it."""
        from bench.reports.figures.regions import parse_region

        known = [metric.name for metric in plan.metrics]
        for name in self.under_crops:
            if name not in known:
                raise BenchError(
                    f"--panel-scores: expected {' or '.join(known)}, found '{printable(name)}'"
                )
        images = {name: [pair.id for pair in m.pairs] for name, m in plan.manifests.items()}
        found = [parse_region(text, images) for text in regions or ()]
        shown = tuple(replace(one, dataset=plan.shown[one.dataset]) for one in found)
        return replace(self, regions=shown)

    @property
    def published(self) -> bool:
        return self.compare == "published"

    def beside(self, results: Results) -> Results:
        """With the methods of kept exports, where that was asked for."""
        if self.compare != "measured":
            return results
        from bench.exchange.kept import beside

        return beside(results)

    def view(self, outcome: RunOutcome) -> View:
        """How the outcome is to be shown; beside published tables in their own layout."""
        return replace(
            outcome.view,
            groups=_groups(outcome.results) if self.significant else None,
            every_metric=self.published,
            originals=self.originals,
            regions=self.regions,
            under_crops=self.under_crops,
        )


def _wish(shown: o.ViewOptions) -> _Wish:
    from bench.reports import get_report

    return _Wish(
        significant=shown.marks == "significant",
        compare=shown.compare,
        reports=tuple(get_report(name).name for name in o.names("--reports", shown.reports)),
        originals=shown.originals,
        under_crops=tuple(o.names("--panel-scores", shown.panel_scores)),
    )


def _default_out(suite: str) -> Path:
    return inside(Path("results") / "reports", suite)


def _fetch_for(suite: SuiteCard, asked: bool | None, quiet: bool) -> None:
    from bench.suites.fetch import fetch_for_run

    for row in fetch_for_run(suite, asked, progress(quiet)):
        if row["failed"]:
            typer.echo(f"not fetched: {row['state']}", err=True)


def _show_plan(plan: Plan, seeds: int, as_json: bool) -> None:
    from bench.running.execute import dry_run_seeds

    rows = dry_run_seeds(plan, seeds)
    if as_json:
        print_json(rows)
        return
    from bench.commands.plan_text import plan_lines

    typer.echo("\n".join(plan_lines(rows, plan.suite.name)))


def _with_other_parts(own: RunOutcome, plan: Plan, as_json: bool) -> RunOutcome:
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
    report_failures(own.failures, plan.options.store)
    raise typer.Exit(FAILED if own.failures else 0)


def _finish(
    outcome: RunOutcome,
    out: Path,
    store: Path,
    as_json: bool,
    require_all: bool,
    wish: _Wish,
    overwrite: bool,
) -> None:
    from bench import reports
    from bench.running.collect import as_json as results_json

    outcome = replace(outcome, results=wish.beside(outcome.results))
    view = wish.view(outcome)
    files = reports.render_all(outcome.results, out, wish.reports, overwrite, view)
    if as_json:
        print_json(results_json(outcome, files))
    else:
        _show(outcome.results, view, wish.published)
        typer.echo(f"\nReports: {printable(out)}  ({_names(files, out)})")
        typer.echo(f"Images and scores: {printable(store)}")
    report_failures(outcome.failures, store)
    missing = int(outcome.results.scores["value"].isna().sum())
    if require_all and missing:
        raise BenchError(f"--require-all: {missing} scores are missing; the table says why")
    if outcome.failures:
        raise typer.Exit(FAILED)


def _show_published_alone(outcome: RunOutcome, plan: Plan) -> None:
    from rich.console import Console

    from bench.reports import published

    published.show_paper(outcome.results, Console(), outcome.view)
    reasons = dict.fromkeys(plan.missing.values())
    typer.echo(f"Nothing is measured beside them here: {'; '.join(reasons)}")


def _show(results: Results, view: View, with_published: bool) -> None:
    from rich.console import Console

    from bench.reports import published
    from bench.reports.tables import terminal

    console = Console()
    terminal.show(results, console, view)
    if with_published:
        published.show_paper(results, console, view)
        published.show(results, console)


def _groups(results: Results) -> Mapping[tuple[str, str], frozenset[str]]:
    from bench.results.table_stats import statistics

    return statistics(results).groups


def _names(files: list[Path], out: Path) -> str:
    top = sorted({path.relative_to(out).parts[0] for path in files})
    return ", ".join(top)
