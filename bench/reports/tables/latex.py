r"""The table as LaTeX: booktabs, rows grouped by dataset, the best marked.

Best is red and bold, second best blue and underlined, so both are told apart in greyscale.
"""

from __future__ import annotations

import re
import textwrap
import tomllib
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from bench.base.text import slug
from bench.files.safe_csv import write_files
from bench.reports.tables.layout import DASH, make_table
from bench.reports.tables.markdown import environment
from bench.reports.tables.table import Group, Label, TableCell
from bench.results.results import Results
from bench.results.view import PLAIN, View

LABEL_WIDTH = 24
WORD_LENGTH = 16
BREAK = "\u200b"
NOT_IN_T1 = "ĦħĸĿŀŉŦŧ"
MARKS = {
    "": "{}",
    "best": r"\textcolor{{red}}{{\textbf{{{}}}}}",
    "second": r"\textcolor{{blue}}{{\underline{{{}}}}}",
    "undecided": r"{}$^{{\dagger}}$",
}
DELIMITERS = {
    **{"block_start_string": "<%", "block_end_string": "%>"},
    **{"variable_start_string": "<<", "variable_end_string": ">>"},
    **{"comment_start_string": "<#", "comment_end_string": "#>"},
}
_COMMANDS: dict[str, str] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))


def render(results: Results, out: Path, view: View = PLAIN) -> list[Path]:
    r"""Write ``table.tex``, to be \input, and ``table_standalone.tex``, which compiles alone."""
    table = latex(results, view)
    return write_files(out, {"table.tex": table, "table_standalone.tex": standalone(table)})


def latex(results: Results, view: View = PLAIN) -> str:
    """A table environment with caption, marks, footnotes and notes."""
    table = make_table(results, view)
    return filled(
        "pages/table.tex",
        table=table,
        label=slug(table.title),
        in_line=_in_line,
        multirow=_multirow,
        stacked=lambda label: _shortstack(_wrapped(label)),
        mean=_mean,
        breakable=_breakable,
    )


def standalone(table: str) -> str:
    """A document of one page around a table, whose label nothing refers to here."""
    lines = table.splitlines(keepends=True)
    unlabelled = "".join(line for line in lines if not line.startswith(r"\label"))
    # A4 across, or longer, since a float does not break.
    height = max(210, 70 + 6 * (table.count(r"\\") + 2 * table.count("\\par\n")))
    return filled("pages/standalone.tex", table=unlabelled, height=height)


def filled(template: str, **values: object) -> str:
    """A template in LaTeX's own delimiters, see `environment`, with these values."""
    return environment(escape, **DELIMITERS).get_template(template).render(values)


def _multirow(group: Group) -> str:
    """The dataset beside all its rows, in one line where there are too few of them."""
    lines, rows = [*_wrapped(group.label), escape(group.count)], len(group.rows)
    told = _in_line(group.heading) if len(lines) > rows else _shortstack(lines)
    return rf"\multirow{{{rows}}}{{*}}{{{told}}}"


def _in_line(label: Label) -> str:
    return escape(label.text) + _numbers(label.notes)


def _wrapped(label: Label) -> list[str]:
    lines = [escape(line) for line in textwrap.wrap(label.text, LABEL_WIDTH)] or [""]
    return [*lines[:-1], lines[-1] + _numbers(label.notes)]


def _shortstack(lines: Sequence[str]) -> str:
    shown = [line for line in lines if line]
    stack = r"\\".join(shown)
    return rf"\shortstack[l]{{{stack}}}" if len(shown) > 1 else stack


def _mean(cell: TableCell) -> str:
    text = "--" if cell.text == DASH else cell.text.replace("-", "$-$").replace("inf", r"$\infty$")
    return MARKS[cell.mark].format(text) + _numbers(cell.notes)


def _numbers(notes: Sequence[int]) -> str:
    return rf"\textsuperscript{{{','.join(map(str, notes))}}}" if notes else ""


def _breakable(text: str) -> str:
    """Paths, addresses and other long words with places where the line may end."""
    return re.sub(rf"\S{{{WORD_LENGTH}}}(?=\S)", rf"\g<0>{BREAK}", text)


def escape(text: str) -> str:
    """Text that LaTeX prints as it is, on one line, whatever it holds."""
    composed = unicodedata.normalize("NFC", text)
    # The braces keep two characters from becoming a ligature (two hyphens, a dash).
    return re.sub(r"([-,'])(?=\1)|.", _escaped, composed, flags=re.DOTALL)


def _escaped(found: re.Match[str]) -> str:
    char = found[0]
    if found[1]:
        return f"{char}{{}}"
    if char in _COMMANDS:
        return _COMMANDS[char]
    if char.isascii() or ("¡" <= char <= "ž" and char not in NOT_IN_T1):
        return char
    return rf"\benchchar{{{char}}}{{{ord(char):04X}}}"
