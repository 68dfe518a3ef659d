"""`prepare`, also as `run --prepare`: all that a suite needs, shown, asked about and fetched."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import typer

from bench.base.device import default_store
from bench.base.errors import BenchError
from bench.base.text import in_words, printable
from bench.commands.shared import options as o
from bench.commands.shared.groups import grouped
from bench.commands.shared.output import FAILED, print_json, progress
from bench.running.options import RunOptions

if TYPE_CHECKING:
    from bench.running.plan import Plan


@grouped
def prepare(
    suite: o.Suite,
    *,
    choice: o.Choice,
    yes: o.Yes = False,
    store: o.Store = None,
    dry_run: o.DryRun = False,
    as_json: o.AsJson = False,
) -> None:
    """Get all that a suite needs: test sets, environments, weights.

    Shows the plan and asks first. What is here is not fetched again; a GPU need not be here.
    """
    from bench.running.plan import make_plan

    options = RunOptions(store=store or default_store(), limit=choice.limit)
    plan = make_plan(choice.suite(suite), options, progress(as_json))
    if not get_ready(plan, 1, yes, dry_run, as_json, gpu_here=False):
        raise typer.Exit(FAILED)


def get_ready(
    plan: Plan, seeds: int, yes: bool, dry_run: bool, as_json: bool, gpu_here: bool = True
) -> bool:
    """Show what a plan needs and, unless it is a dry run, get it; whether nothing failed.

    Raises:
        BenchError: nobody is there to ask, or the disk is too small.
        typer.Exit: after a dry run, with 2 if something cannot be had; after a No.
    """
    from bench.commands.plan_text import show_needs
    from bench.running import execute
    from bench.suites.prepare import coming, disk, get, needs

    if os.environ.get("CASSR_BENCH_OFFLINE"):
        raise BenchError("--offline: nothing can be got; leave it out, or --prepare")
    root = plan.options.datasets
    rows, work = needs(plan.suite, root, gpu_here), execute.dry_run(plan, seeds)
    folder, free = disk()
    if as_json and dry_run:
        print_json({"needs": rows, "plan": work})
    elif not as_json:
        show_needs(rows, work)
    if dry_run:
        bad = coming(rows) > free or any(row["problem"] for row in rows)
        raise typer.Exit(2 if bad else 0)
    if coming(rows) > free:
        size = f"{in_words(coming(rows))} are to come, {in_words(free)} are free"
        raise BenchError(f"{printable(folder)}: {size}; make room, or set CASSR_BENCH_CACHE")
    if not yes and not all(row["here"] for row in rows):
        _ask(as_json)
    failures = list(get(plan.suite, rows, root, progress(as_json)))
    for line in failures:
        typer.echo(f"not ready: {line}", err=True)
    return not failures


def _ask(as_json: bool) -> None:
    if as_json or not sys.stdin.isatty():
        raise BenchError("nobody is there to ask; give --yes, or --dry-run for the plan alone")
    if not typer.confirm("Get what is not here?", err=True):
        raise typer.Exit
