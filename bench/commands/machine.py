"""`list`, `fetch`, `setup` and `doctor`: what there is, what it needs, what works here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.base.device import default_store, resolve_device
from bench.base.errors import BenchError
from bench.commands.shared import options as o
from bench.commands.shared.output import FAILED, print_json, progress
from bench.running.options import IMAGE_TIMEOUT


def list_(
    what: Annotated[str, typer.Argument(help="methods, datasets, metrics, suites or reports.")],
    name: Annotated[str, typer.Argument(help="One of them; of a metric also its options.")] = "",
    ready: Annotated[bool, typer.Option("--ready", help="Only what can be used here.")] = False,
    search: Annotated[
        str, typer.Option("--search", metavar="TEXT", help="Only what holds this text anywhere.")
    ] = "",
    long: Annotated[
        bool, typer.Option("--long", help="With licence, needs, and why it cannot run here.")
    ] = False,
    as_json: o.AsJson = False,
) -> None:
    """List methods, datasets, metrics, suites or reports.

    A line each, and whether it can be used here.
    """
    from bench.commands import listing

    rows = listing.chosen(listing.rows(what, name), ready, search)
    if as_json:
        print_json(rows)
    else:
        listing.show(what, rows, long)


def fetch(
    names: Annotated[
        list[str],
        typer.Argument(help="Metrics and methods (weights), datasets (archives) or suites (all)."),
    ],
    given: Annotated[
        Path | None,
        typer.Option("--from", help="Take a dataset's archive, or folder, from here instead."),
    ] = None,
    dry_run: o.DryRun = False,
    as_json: o.AsJson = False,
) -> None:
    """Get weights and test sets ahead of time, hashes checked."""
    from bench.data import fetch as fetch_data
    from bench.suites import fetch as fetching

    if given is not None:
        rows = fetch_data.adopt(names, given)
    else:
        rows = fetching.fetch(names, progress(as_json), dry_run)
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            typer.echo(f"{row['file']}: {row['state']}")
    if any(row["failed"] for row in rows):
        raise typer.Exit(2)


def doctor(
    method: Annotated[
        str | None, typer.Argument(help="Look at this method alone, in every part.")
    ] = None,
    attempt: Annotated[
        bool,
        typer.Option("--try", help="Also upscale two small photographs with METHOD."),
    ] = False,
    device: o.Device = "auto",
    image_timeout: o.ImageTimeout = IMAGE_TIMEOUT,
    store: o.Store = None,
    as_json: o.AsJson = False,
) -> None:
    """Say what works here, and how to mend the rest."""
    from bench.commands import doctor as examine

    if method is None and attempt:
        raise BenchError("--try: give the METHOD to try")
    checks = (
        examine.examine(store or default_store())
        if method is None
        else examine.examine_method(method)
    )
    if method is not None and attempt and all(check.state == "ok" for check in checks):
        from bench.running.try_method import try_method

        checks += try_method(method, resolve_device(device), progress(as_json), image_timeout)
    if as_json:
        print_json([check.__dict__ for check in checks])
    else:
        examine.show(checks)
    bad = ("broken",) if method is None else ("broken", "missing")
    if any(check.state in bad for check in checks):
        raise typer.Exit(FAILED)


def setup(
    method: Annotated[str, typer.Argument(help="A method that has its own repository.")],
    source: Annotated[
        str, typer.Option("--from", help="Clone from this repository or folder instead.")
    ] = "",
    python: Annotated[
        Path | None, typer.Option("--python", help="Interpreter to make the environment with.")
    ] = None,
    as_is: Annotated[
        bool, typer.Option("--as-is", help="Use --python itself; install nothing into it.")
    ] = False,
    conda: Annotated[
        bool, typer.Option("--conda", help="Make the environment with conda.")
    ] = False,
    weights: Annotated[bool, typer.Option(help="Fetch weights too.")] = True,
    as_json: o.AsJson = False,
) -> None:
    """Install a method's official repository.

    Clones it at the pinned commit, builds an environment of its own as locked and starts the
    script in it. What is there already is not done again.
    """
    from bench.methods.setup import SetupOptions
    from bench.methods.setup import setup as install

    options = SetupOptions(source, python, as_is, conda, weights)
    lines = install(method, options, progress(as_json))
    if as_json:
        print_json(lines)
    else:
        typer.echo("\n".join(lines))
