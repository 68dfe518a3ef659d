"""`audit`: what tables and prose claim, recomputed."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench import options as o
from bench.commands.output import FAILED, print_json
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.audit import Audit, Finding

WIDTH = 80


def audit(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE]...",
            help="Tables: .tex (tabulars) or .csv (tidy, or wide with arrows); default: the paper.",
        ),
    ] = None,
    claims: Annotated[
        Path | None, typer.Option("--claims", help="A card (TOML) of what the text states.")
    ] = None,
    marks: o.Marks = "best",
    as_json: o.AsJson = False,
) -> None:
    """Recompute what tables and prose claim.

    Exit code 1 when there are contradictions, 0 when there are none.
    """
    from bench import audit_files

    o.one_of("--marks", marks, "best", "significant")
    if claims and not files:
        raise BenchError("--claims: expected with FILE; the paper's claims are part of its audit")
    if files:
        found = audit_files.audit_files(files, claims, significant=marks == "significant")
    else:
        found = audit_files.audit_published()
    if as_json:
        print_json(_as_json(found))
    else:
        _show(found)
    if found.findings:
        raise typer.Exit(FAILED)


def _as_json(found: Audit) -> dict[str, object]:
    from dataclasses import asdict

    return {**asdict(found), "contradictions": len(found.findings)}


def _show(found: Audit) -> None:
    for number, finding in enumerate(found.findings, 1):
        _show_finding(number, finding)
    for statement in found.held:
        _wrapped("holds: ", f"{statement.place}: {statement.says}")
    for note in found.notes:
        _wrapped("note: ", note)
    count = len(found.findings)
    what = "1 contradiction" if count == 1 else f"{count or 'no'} contradictions"
    tables = "1 table" if found.tables == 1 else f"{found.tables} tables"
    claims = f" and {found.claims} claims" if found.claims else ""
    typer.echo(f"{what} in {found.values} values of {tables}{claims}")


def _show_finding(number: int, finding: Finding) -> None:

    typer.echo(f"{number}. {finding.kind}")
    for statement in (finding.first, finding.second):
        _wrapped("   ", f"{statement.place}: {statement.says}")
    if finding.detail:
        _wrapped("   => ", finding.detail)
    typer.echo("")


def _wrapped(lead: str, text: str) -> None:
    from bench.text import printable

    lines = textwrap.wrap(
        printable(text), WIDTH, initial_indent=lead, subsequent_indent=" " * (len(lead) + 2)
    )
    typer.echo("\n".join(lines))
