"""`list`, `fetch`, `setup`, `prepare`, `doctor`: what there is, what it needs, what works here."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bench.base.device import default_store, resolve_device
from bench.base.errors import BenchError
from bench.base.progress import Progress
from bench.commands.shared import options as o
from bench.commands.shared.groups import grouped
from bench.commands.shared.output import exit_if, tell
from bench.running.options import IMAGE_TIMEOUT, RunOptions

if TYPE_CHECKING:
    from bench.running.plan import Plan


@grouped
def list_(
    what: str,
    name: str = "",
    ready: bool = False,
    search: str = "",
    long: bool = False,
    as_json: bool = False,
) -> None:
    """List methods, datasets, metrics, suites, protocols or reports.

    A line each, and whether it can be used here.
    """
    from bench.commands import listing

    rows = listing.chosen(listing.rows(what, name), ready, search)
    tell(as_json, rows, lambda: listing.show(what, rows, long))


@grouped
def fetch(
    names: list[str] | None = None,
    protocol: str | None = None,
    given: Path | None = None,
    dry_run: bool = False,
    as_json: bool = False,
) -> None:
    """Get weights and test sets ahead of time, hashes checked."""
    from bench.data.find import adopt
    from bench.suites import fetch as fetching

    names = [*(names or ()), *o.metric_names(None, protocol)]
    if not names:
        raise BenchError("fetch: expected NAMES or --protocol NAME, found neither")
    if given is not None:
        rows = adopt(names, given)
    else:
        rows = fetching.fetch(names, Progress(as_json), dry_run)
    lines = [f"{row['file']}: {row['state']}" for row in rows]
    tell(as_json, rows, *lines or ["nothing to fetch; files of a program: cassr-bench setup NAME"])
    if any(row["failed"] for row in rows):
        raise typer.Exit(2)


@grouped
def doctor(
    method: str | None = None,
    attempt: bool = False,
    device: str = "auto",
    image_timeout: int = IMAGE_TIMEOUT,
    store: Path | None = None,
    as_json: bool = False,
) -> None:
    """Show what works here, and how to mend the rest."""
    from bench.commands import doctor as examine
    from bench.suites.fetch import kind
    from bench.suites.find import suite_cards

    is_card = (method or "").endswith(".toml")
    if method is None or method in suite_cards() or (is_card and kind(method) == "suite"):
        if attempt:
            raise BenchError("--try: give the METHOD to try")
        checks = examine.examine(store or default_store(), method)
    else:
        checks = examine.examine_method(method)
    if method and attempt and all(check.state == "ok" for check in checks):
        from bench.running.try_method import try_method

        checks += try_method(method, resolve_device(device), Progress(as_json), image_timeout)
    tell(as_json, [check.__dict__ for check in checks], lambda: examine.show(checks))
    bad = ("broken",) if method is None else ("broken", "missing")
    exit_if(any(check.state in bad for check in checks))


@grouped
def setup(
    method: str,
    source: str = "",
    python: Path | None = None,
    as_is: bool = False,
    conda: bool = False,
    weights: bool = True,
    as_json: bool = False,
) -> None:
    """Install the repository of a method or metric.

    Clones it at the pinned commit, builds an environment of its own as locked and starts the
    script in it. What is there already is not done again.
    """
    from bench.methods.setup import SetupOptions
    from bench.methods.setup import setup as install

    options = SetupOptions(source, python, as_is, conda, weights)
    lines = install(method, options, Progress(as_json))
    tell(as_json, lines, *lines)


@grouped
def prepare(
    suite: str,
    *,
    choice: o.Choice,
    yes: bool = False,
    store: Path | None = None,
    dry_run: bool = False,
    as_json: bool = False,
) -> None:
    """Get all that a suite needs: test sets, environments, weights.

    Shows the plan and asks first. What is here is not fetched again; a GPU need not be here.
    """
    from bench.running.plan import make_plan

    device = resolve_device("auto")
    options = RunOptions(store=store or default_store(), device=device, limit=choice.limit)
    plan = make_plan(choice.suite(suite), options, Progress(as_json))
    told = get_ready(plan, 1, yes, dry_run, as_json, gpu_here=False)
    tell(as_json, told)
    exit_if(told["failures"])


def get_ready(
    plan: "Plan", seeds: int, yes: bool, dry_run: bool, as_json: bool, gpu_here: bool = True
) -> dict[str, Any]:
    """Show what a plan needs and, unless it is a dry run, get it; both, and a line per failure.

    Raises:
        BenchError: nobody is there to ask, or the disk is too small.
        typer.Exit: after a dry run, with 2 if something cannot be obtained; after a No.
    """
    from bench.commands.plan_text import show_needs
    from bench.running import execute
    from bench.suites.prepare import disks, get, needs

    if os.environ.get("CASSR_BENCH_OFFLINE"):
        raise BenchError("--offline: nothing can be fetched; leave it out, or --prepare")
    root = plan.options.datasets
    rows, work = needs(plan.suite, root, gpu_here), execute.dry_run(plan, seeds)
    room = disks(plan.suite, rows, root)
    short = [str(disk) for disk in room if disk.wanted > disk.free]
    told = {"needs": rows, "plan": work}
    if dry_run or not as_json:
        tell(as_json, told, lambda: show_needs(rows, work, room))
    if dry_run:
        raise typer.Exit(2 if short or any(row["problem"] for row in rows) else 0)
    if short:
        raise BenchError(f"{'; '.join(short)}; make room, or set CASSR_BENCH_CACHE or --store")
    if not yes and any(row["sources"] and not row["here"] for row in rows):
        _ask(as_json)
    failures = list(get(plan.suite, rows, root, Progress(as_json)))
    for line in failures:
        typer.echo(f"not ready: {line}", err=True)
    return {**told, "failures": failures}


def _ask(as_json: bool) -> None:
    if as_json or not sys.stdin.isatty():
        raise BenchError("nobody is there to ask; give --yes, or --dry-run for the plan alone")
    if not typer.confirm("Get what is not here?", err=True):
        raise typer.Exit
