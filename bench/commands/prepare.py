"""`prepare`: all that a suite needs, shown, asked about and fetched; `run --prepare` does so too."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from bench.base.device import default_store
from bench.base.errors import BenchError
from bench.commands.shared import options as o
from bench.commands.shared.groups import grouped, option
from bench.commands.shared.output import FAILED, print_json, progress
from bench.running.options import RunOptions

if TYPE_CHECKING:
    from bench.running.plan import Plan

WIDTH = 160
"""Columns of the plan where no terminal says how many there are."""


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
    """Get all that a suite needs: test sets, environments, weights of methods that can run.

    Shows the plan and asks first. What is here already is not fetched again; a GPU need not be.
    """
    from bench.running.plan import make_plan

    options = RunOptions(store=store or default_store(), limit=choice.limit)
    plan = make_plan(choice.suite(suite), options, progress(as_json))
    if not get_ready(plan, 1, yes, dry_run, as_json, gpu_here=False):
        raise typer.Exit(FAILED)


def get_ready(
    plan: Plan, seeds: int, yes: bool, dry_run: bool, as_json: bool, gpu_here: bool
) -> bool:
    """Show what a plan needs and, unless it is a dry run, get it; whether nothing failed.

    Raises:
        BenchError: nobody is there to ask, or the disk is too small.
        typer.Exit: after a dry run, with 2 if something cannot be had; after a No.
    """
    from rich.console import Console

    from bench.commands import plan_text
    from bench.running.execute import dry_run as rows_of
    from bench.suites import prepare as suites

    root, quiet = plan.options.datasets, progress(as_json)
    needs = suites.needs(plan.datasets, plan.methods, plan.metrics, root, gpu_here)
    rows = rows_of(plan, seeds)
    full = suites.too_full(needs)
    if dry_run and as_json:
        print_json({"needs": [need.told for need in needs], "plan": rows})
    elif not as_json:
        console = Console(highlight=False)
        console.width = max(console.width, WIDTH) if not console.is_terminal else console.width
        console.print(plan_text.needs_table(needs))
        typer.echo("\n".join(plan_text.needs_lines(needs, rows)))
    if dry_run:
        raise typer.Exit(2 if full or any(need.lacking for need in needs) else 0)
    if full:
        raise BenchError(full)
    if all(need.here or need.get is None for need in needs):
        yes = True
    if not yes and (as_json or not sys.stdin.isatty()):
        raise BenchError("nobody is there to ask; give --yes, or --dry-run for the plan alone")
    if not yes and not typer.confirm("Get these?", err=True):
        raise typer.Exit
    failures = suites.get(needs, quiet)
    for line in failures:
        typer.echo(f"not ready: {line}", err=True)
    return not failures
