"""A verdict as text for a terminal, Markdown for a job summary, and JUnit XML."""

from xml.sax import saxutils

from bench.base.text import printable, without_folders
from bench.gate.cell import NO_SCORE
from bench.gate.judge import GateVerdict, Judged
from bench.reports.tables.markdown import escape, filled

MAX_ROWS = 60
MAX_NAME = 22
HEADLINES = {0: "Gate passed", 1: "Gate failed", 2: "Gate could not judge"}


def headline(verdict: GateVerdict) -> str:
    text = HEADLINES[verdict.exit_code]
    if verdict.problems:
        if all(NO_SCORE in problem for problem in verdict.problems):
            return f"{text}: the reference holds no score to judge by; write it anew with --update"
        return f"{text}: what was measured is not what the reference holds"
    if not verdict.failed:
        return f"{text}: {len(verdict.rows)} of {len(verdict.rows)} scores within tolerance"
    return f"{text}: {len(verdict.failed)} of {len(verdict.rows)} scores beyond tolerance"


def number(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"


def _shown(verdict: GateVerdict) -> tuple[Judged, ...]:
    return verdict.rows if len(verdict.rows) <= MAX_ROWS else verdict.failed[:MAX_ROWS]


def _left_out(verdict: GateVerdict) -> str:
    rest = len(verdict.rows) - len(_shown(verdict))
    return f"{rest} more rows are not shown; --json has all" if rest else ""


def terminal(verdict: GateVerdict) -> list[str]:
    """Lines: a row per cell, the reason of a failure below its row."""
    rows = _shown(verdict)
    shown = [[printable(text) for text in _texts(row)] for row in rows]
    cells = [[x if len(x) <= MAX_NAME else x[: MAX_NAME - 1] + "…" for x in row] for row in shown]
    heads = ["", "dataset", "method", "metric", "reference", "now"]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    lines = [_aligned(heads, widths)] if rows else []
    for row, texts in zip(rows, cells, strict=True):
        lines.append(_aligned(texts, widths))
        if row.reason:
            lines += [f"      {printable(reason)}" for reason in row.reason.split("; ")]
    lines += [f"problem: {printable(problem)}" for problem in verdict.problems]
    lines += [f"note: {printable(note)}" for note in verdict.notes]
    return [*lines, *filter(None, [_left_out(verdict)]), headline(verdict)]


def _texts(row: Judged) -> list[str]:
    means = [number(row.reference), number(row.found)]
    return [row.state, row.dataset, row.method, row.metric, *means]


def _aligned(texts: list[str], widths: list[int]) -> str:
    return "  ".join(text.ljust(width) for text, width in zip(texts, widths, strict=True)).rstrip()


def markdown(verdict: GateVerdict) -> str:
    """For a job summary: what failed first, then all rows."""
    return filled(
        "pages/gate.md",
        lambda text: escape(without_folders(text)),  # the file leaves the machine
        verdict=verdict,
        headline=headline(verdict),
        rows=[(row, _texts(row)) for row in sorted(_shown(verdict), key=lambda row: row.state)],
        notes=[*verdict.notes, *filter(None, [_left_out(verdict)])],
    )


def junit(verdict: GateVerdict, name: str) -> bytes:
    """JUnit XML: a test case per cell; what could not be judged is an error."""
    return filled("pages/gate.xml", _xml, verdict=verdict, name=name, number=number).encode()


def _xml(text: str) -> str:
    """Text without this machine's folders, markup and characters that XML cannot hold."""
    plain = printable(without_folders(text)).encode("utf-8", "replace").decode()
    return saxutils.escape(plain, {'"': "&quot;"})
