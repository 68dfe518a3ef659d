"""`list`, `fetch` and `doctor`: what there is, what it needs, what works here."""

from __future__ import annotations

from typing import Annotated

import typer

from bench import options as o
from bench.commands.output import FAILED, print_json, progress


def list_(
    what: Annotated[str, typer.Argument(help="methods, datasets, metrics, suites or reports.")],
    as_json: o.AsJson = False,
) -> None:
    """List methods, datasets, metrics, suites or reports.

    With licence, needs, and whether it can run here or why not.
    """
    from bench import listing

    rows = listing.rows(what)
    if as_json:
        print_json(rows)
    else:
        listing.show(what, rows)


def fetch(
    names: Annotated[
        list[str], typer.Argument(help="Metrics, methods or suites whose weights to get.")
    ],
    dry_run: o.DryRun = False,
    as_json: o.AsJson = False,
) -> None:
    """Download weights ahead of time, hashes checked."""
    from bench import fetching

    rows = fetching.fetch(names, progress(as_json), dry_run)
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            typer.echo(f"{row['file']}: {row['state']}")
    if any(row["failed"] for row in rows):
        raise typer.Exit(2)


def doctor(store: o.Store = None, as_json: o.AsJson = False) -> None:
    """Say what works here, and how to mend the rest."""
    from bench import doctor as examine

    checks = examine.examine(store or o.default_store())
    if as_json:
        print_json([check.__dict__ for check in checks])
    else:
        examine.show(checks)
    if any(check.state == "broken" for check in checks):
        raise typer.Exit(FAILED)
