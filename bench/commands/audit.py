"""`audit`: what tables and prose claim, recomputed."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bench.base.errors import BenchError
from bench.base.text import counted, printable
from bench.base.types import Better
from bench.commands.shared import options as o
from bench.commands.shared.groups import grouped
from bench.commands.shared.output import FAILED, tell

if TYPE_CHECKING:
    from bench.audit.values import Audit, Unread

WIDTH = 80
NOT_JUDGED = 2
"""Exit code where nothing contradicts, as far as could be read."""


@grouped
def audit(
    files: list[Path] | None = None,
    claims: Path | None = None,
    marks: o.Marks = "best",
    block: bool = False,
    without: list[str] | None = None,
    metric: list[str] | None = None,
    as_json: bool = False,
) -> None:
    """Recompute what tables and prose claim.

    Exit code 1: contradictions; 2: none, but not all cells were read; 0: none in all of them.
    """
    from bench.audit import files as audit_files

    given = {"--claims": claims, "--block": block, "--without": without, "--metric": metric}
    given["--marks"] = marks != "best"
    if alone := next((name for name, value in given.items() if value and not files), ""):
        raise BenchError(f"{alone}: expected with FILE; the paper's audit says how it is read")
    if files:
        found = audit_files.audit_files(
            files,
            claims,
            significant=marks == "significant",
            blocks=block,
            without=without or [],
            metrics=dict(map(_direction, metric or [])),
        )
    else:
        found = audit_files.audit_published()
    counts = {"contradictions": len(found.findings), "seen": found.values + len(found.unread)}
    tell(as_json, {**asdict(found), **counts}, lambda: _show(found))
    if found.findings or found.unread or found.abstained:
        raise typer.Exit(FAILED if found.findings else NOT_JUDGED)


def _direction(text: str) -> tuple[str, Better]:
    name, _, better = text.rpartition("=")
    if not name or better not in ("lower", "higher"):
        raise BenchError(f"--metric: expected COLUMN=lower or COLUMN=higher, found '{text}'")
    return name, "lower" if better == "lower" else "higher"


def _show(found: "Audit") -> None:
    for number, finding in enumerate(found.findings, 1):
        typer.echo(f"{number}. {finding.kind}")
        for statement in (finding.first, finding.second):
            _wrapped("   ", f"{statement.place}: {statement.says}")
        if finding.detail:
            _wrapped("   => ", finding.detail)
        typer.echo("")
    lines = [("holds: ", f"{statement.place}: {statement.says}") for statement in found.held]
    lines += [("note: ", note) for note in found.notes]
    lines += [("not judged: ", each) for each in (*found.abstained, *_unread(found.unread))]
    for lead, text in (*lines, ("", _verdict(found))):
        _wrapped(lead, text)


def _unread(unread: Sequence["Unread"]) -> Iterator[str]:
    """A line for each cell with the reason, or for all of a table that could not be read."""
    whole: dict[tuple[str, str], list[str]] = {}
    for cell in unread:
        if cell.row or cell.column or not cell.text:
            shown = f" '{cell.text}'" if cell.text else ""
            yield f"{cell.place}{shown}: {cell.reason}"
        else:
            whole.setdefault((cell.table, cell.reason), []).append(f"'{cell.text}'")
    for (table, reason), texts in whole.items():
        yield f"{table}, {counted(len(texts), 'cell')} ({', '.join(texts)}): {reason}"


def _verdict(found: "Audit") -> str:
    count, unread = len(found.findings), len(found.unread)
    claims = f" and {counted(found.claims, 'claim')}" if found.claims else ""
    what = f"{found.values} values of {counted(found.tables, 'table')}{claims}"
    places = counted(len(found.abstained), "place") if found.abstained else ""
    cells = f"{unread} of {found.values + unread} cells" if unread else ""
    cells = " and ".join(filter(None, (cells, places)))
    if cells and not count:
        return f"not judged: {cells}; nothing contradicts in {what}"
    contradictions = counted(count, "contradiction") if count else "no contradictions"
    return f"{contradictions} in {what}" + (f"; not judged: {cells}" if cells else "")


def _wrapped(lead: str, text: str) -> None:
    lines = textwrap.wrap(
        printable(text), WIDTH, initial_indent=lead, subsequent_indent=" " * (len(lead) + 2)
    )
    typer.echo("\n".join(lines))
