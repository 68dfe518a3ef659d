"""`run` and `report`: a suite from cards to reports."""

import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bench.base.device import stored_kind
from bench.base.errors import BenchError
from bench.base.progress import Progress
from bench.base.text import inside, printable
from bench.commands.shared import options as o
from bench.commands.shared.groups import grouped
from bench.commands.shared.output import exit_if, go_offline, report_failures, tell, warn

if TYPE_CHECKING:
    from bench.results.view import View
    from bench.running.collect import RunOutcome
    from bench.running.plan import Plan


@grouped
def run(
    suite: str,
    out: Path | None = None,
    *,
    choice: o.Choice,
    work: o.Work,
    seeds: int = 1,
    fetch: bool | None = None,
    prepare: bool = False,
    yes: bool = False,
    offline: bool = False,
    require_all: bool = False,
    shown: o.ViewOptions,
    dry_run: bool = False,
    as_json: bool = False,
) -> None:
    """Run a whole suite: upscale, score, report.

    What is in the store already is not computed again; a run that was stopped goes on.
    """
    from bench.commands.machine import get_ready
    from bench.running.execute import Course, execute, plans, together
    from bench.running.plan import make_plan
    from bench.suites.fetch import fetch_for_run

    suite_card, options = choice.suite(suite), work.options(choice.limit)
    out = _place(out, suite_card.name, shown, not dry_run)
    go_offline(offline)
    shows = Progress(as_json)
    plan = make_plan(suite_card, options, shows)
    view, unready = _view(shown, plan), []
    if prepare:
        unready = get_ready(plan, seeds, yes, dry_run, as_json)["failures"]
    elif not (offline or dry_run or fetch is False):
        plan.require_data()
        fetched = fetch_for_run(plan.suite, fetch, shows)
        warn("not fetched", [row["state"] for row in fetched if row["failed"]])
    if dry_run:
        from bench.commands.plan_text import plan_lines
        from bench.running.execute import dry_run as planned

        rows = planned(plan, seeds)
        tell(as_json, rows, *plan_lines(rows, suite))
        return
    if not offline:  # more may be here now
        plan = make_plan(suite_card, options, shows)
    every = plans(plan, seeds)
    course = Course(every, as_json)
    outcomes = [execute(one, course) for one in every]
    if options.shard.parts > 1:
        outcomes = _with_other_parts(every, outcomes, unready, as_json)
    outcome = _finish(together(every, outcomes), out, shown, view, options.store, as_json)
    _end(outcome, require_all)
    exit_if(unready)


def _end(outcome: "RunOutcome", require_all: bool = False) -> None:
    missing = int(outcome.results.scores["value"].isna().sum())
    if require_all and missing:
        raise BenchError(f"--require-all: {missing} scores are missing; the table says why")
    exit_if(outcome.failures)


@grouped
def report(
    suite: str,
    out: Path | None = None,
    *,
    choice: o.StoredChoice,
    seeds: int = 1,
    shown: o.ViewOptions,
    offline: bool = False,
    as_json: bool = False,
) -> None:
    """Make reports again: a suite's from the store, or an export's.

    Nothing is upscaled or scored.
    """
    from bench.running.execute import plans, stored, together
    from bench.running.plan import make_plan

    go_offline(offline)
    if suite.endswith(".json") or Path(suite, "result.json").is_file():
        _require_whole(choice, seeds, shown)
        _report_export(Path(suite), out, shown, as_json)
        return
    suite_card, kind = choice.suite(suite), stored_kind(choice.device)
    out, options = _place(out, suite_card.name, shown), choice.options()
    plan = make_plan(suite_card, options, Progress(as_json))
    view = _view(shown, plan)
    if view.every_metric and plan.missing and not as_json:
        _show_published_alone(plan, out, shown)
        return
    every = plans(plan, seeds)
    outcome = together(every, [stored(one, kind) for one in every])
    _end(_finish(outcome, out, shown, view, options.store, as_json))


def _require_whole(choice: o.StoredChoice, seeds: int, shown: o.ViewOptions) -> None:
    """Refuse what chooses among scores, of which an export's are all shown, or among pictures,
    which it has none of."""
    usual, given = {**vars(o.StoredChoice()), "seeds": 1}, {**vars(choice), "seeds": seeds}
    pictures = {"region": shown.region, "panel-scores": shown.panel_scores}
    pictures["no-originals"] = None if shown.originals else [""]
    if odd := next((name for name, value in pictures.items() if value), ""):
        raise BenchError(f"--{odd}: an export has no pictures; name a suite, or leave it out")
    if odd := next((name for name in usual if given[name] != usual[name]), ""):
        raise BenchError(f"--{odd}: expected with a suite; an export is shown whole, leave it out")


def _report_export(path: Path, out: Path | None, shown: o.ViewOptions, as_json: bool) -> None:
    from bench.exchange.bundle import to_results
    from bench.exchange.merge import beyond
    from bench.exchange.reading import read_bundle
    from bench.running.collect import RunOutcome

    out, bundle = _place(out, path.stem, shown), read_bundle(path)
    results = to_results(bundle)
    warn("not plausible", list(beyond(bundle.measured, results.metrics)))
    _finish(RunOutcome(results, ()), out, shown, _view(shown), path, as_json)


def _reports(shown: o.ViewOptions) -> tuple[str, ...]:
    from bench.reports import get_report

    return tuple(get_report(name).name for name in o.names("--reports", shown.reports))


def _view(shown: o.ViewOptions, plan: "Plan | None" = None) -> "View":
    """What was asked for of the reports; of a plan, once it is known that it has what is named."""
    from bench.reports.figures.regions import parse_region
    from bench.results.view import View

    under_crops = tuple(o.names("--panel-scores", shown.panel_scores))
    every, originals = "published" in (shown.compare or ()), shown.originals
    view = View(every_metric=every, originals=originals, under_crops=under_crops)
    if plan is None:
        return view
    known = [metric.name for metric in plan.metrics]
    for name in under_crops:
        if name not in known:
            found = f"expected {' or '.join(known)}, found '{printable(name)}'"
            raise BenchError(f"--panel-scores: {found}")
    images = {name: [pair.id for pair in m.pairs] for name, m in plan.manifests.items()}
    regions = [parse_region(text, images) for text in shown.region or ()]
    shown_as = (replace(region, dataset=plan.shown[region.dataset]) for region in regions)
    return replace(view, regions=tuple(shown_as))


def _place(out: Path | None, suite: str, shown: o.ViewOptions, written: bool = True) -> Path:
    """Where reports go; nothing of others is there."""
    from bench.reports import require_free

    reports, folder = _reports(shown), out or inside(Path("results") / "reports", suite)
    if written:
        require_free(folder, reports, shown.overwrite)
    return folder


def _with_other_parts(
    plans: Sequence["Plan"], own: Sequence["RunOutcome"], unready: Sequence[object], as_json: bool
) -> list["RunOutcome"]:
    """All parts together, seed by seed, if this one is the last; else the command ends here."""
    from bench.running import shards

    outcomes = [shards.whole(*each) for each in zip(plans, own, strict=True)]
    owed = shards.owed(plans, outcomes)
    if not owed:
        return outcomes
    options = plans[0].options
    part = f"{options.shard.part}/{options.shard.parts}"
    failures = list(dict.fromkeys(failure for one in own for failure in one.failures))
    tell(
        as_json,
        {"shard": part, "owed": owed, "failures": [list(f) for f in failures]},
        f"Part {part} is done; other parts still owe {owed} scores. The last one",
        "writes the reports; so does the same command without --shard.",
    )
    report_failures(failures, options.store)
    exit_if([*failures, *unready])
    raise typer.Exit


def _finish(
    outcome: "RunOutcome", out: Path, shown: o.ViewOptions, view: "View", store: Path, as_json: bool
) -> "RunOutcome":
    """Write the reports and tell the results; gives them as they were shown."""
    from rich.console import Console

    from bench import reports
    from bench.exchange.merge import beside
    from bench.reports import published
    from bench.reports.tables import terminal
    from bench.results.table_stats import statistics
    from bench.running.collect import as_json as results_json

    if "measured" in (shown.compare or ()):
        outcome = replace(outcome, results=beside(outcome.results))
    if shown.marks == "significant":
        view = replace(view, groups=statistics(outcome.results).groups)
    if shown.intervals:
        view = replace(view, half_widths=statistics(outcome.results).half_widths)
    view = replace(view, layout=outcome.view.layout, remedy=outcome.view.remedy)
    files = reports.render_all(outcome.results, out, _reports(shown), shown.overwrite, view)

    def show() -> None:
        console = Console()
        terminal.show(outcome.results, console, view)
        if view.every_metric:  # beside published tables, in their own layout
            for _, paper, own in published.papers(outcome.results, view):
                terminal.show(paper, console, own)
            published.show(outcome.results, console)
        top = sorted({path.relative_to(out).parts[0] for path in files})
        names = textwrap.fill(", ".join(top), max(console.width - 2, 1), break_on_hyphens=False)
        typer.echo(f"\nReports: {printable(out)}\n{textwrap.indent(names, '  ')}")
        typer.echo(f"Images and scores: {printable(store)}")

    tell(as_json, as_json and results_json(outcome, files), show)
    report_failures(outcome.failures, store)
    return outcome


def _show_published_alone(plan: "Plan", out: Path, shown: o.ViewOptions) -> None:
    from rich.console import Console

    from bench.reports import published, render_all
    from bench.reports.tables import terminal
    from bench.running.execute import unmeasured

    outcome = unmeasured(plan)
    asked = [name for name in _reports(shown) if name != "published"]  # nothing is beside them
    known = list(published.papers(outcome.results, outcome.view))
    for name, paper, view in known:
        terminal.show(paper, Console(), view)
        tables = asked or ("markdown", "csv", "latex", "html")
        render_all(paper, out / name, tables, shown.overwrite, view)
    why = "; ".join(dict.fromkeys(plan.missing.values()))
    told = f"Reports: {printable(out)}" if known else "No published table holds most of this suite."
    typer.echo(f"Nothing is measured here: {why}\n{told}")
