r"""The table as LaTeX: booktabs, rows grouped by dataset, the best marked.

Best is red and bold, second best blue and underlined, so both are told apart in greyscale.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from bench.base.records import write_atomic
from bench.base.text import slug
from bench.reports.tables.layout import DASH, Group, Label, Table, TableCell, make_table
from bench.results.results import Results
from bench.results.view import PLAIN, View

TABLE = "table.tex"
STANDALONE = "table_standalone.tex"
PACKAGES = ("booktabs", "multirow", "xcolor", "adjustbox")
LABEL_WIDTH = 24
WORD_LENGTH = 16
BREAK = "\u200b"  # zero width space: no printable text holds one
NOT_IN_T1 = "ĦħĸĿŀŉŦŧ"
MARKS = {
    "": "{}",
    "best": r"\textcolor{{red}}{{\textbf{{{}}}}}",
    "second": r"\textcolor{{blue}}{{\underline{{{}}}}}",
    "undecided": r"{}$^{{\dagger}}$",
}
LEGENDS = {
    "best": "The best and second best are "
    + MARKS["best"].format("red and bold")
    + " and "
    + MARKS["second"].format("blue and underlined")
    + ".",
    "significant": "The best is "
    + MARKS["best"].format("red and bold")
    + r"; $^{\dagger}$ is not told apart from it (paired test, Holm over COMPARISONS, level "
    + r"5\,\%); nothing is marked where no test is possible.",
}
UNICODE_MACRO = (
    r"\providecommand{\benchchar}[2]{\ifdefined\Umathcode #1\else\texttt{U+#2}\fi}",
    r"% \benchchar: a character that only LuaLaTeX and XeLaTeX set; pdfLaTeX shows its number.",
)
_ASCII = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    '"': r"\symbol{34}",
    **{char: "\\" + char for char in "&%$#_{}"},
    **{char: f"{{{char}}}" for char in "[]*"},  # else options of the line end before them
}
_SYMBOLS = {
    BREAK: r"\allowbreak{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\rightarrow$",
    "←": r"$\leftarrow$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≈": r"$\approx$",
    "∞": r"$\infty$",
    "✓": r"$\surd$",
    "–": "--",
    "—": "---",
    "…": r"\dots{}",
    "•": r"\textbullet{}",
    "“": "``",
    "”": "''",
    "‘": "`",
    "’": "'",
}
_GREEK_NAMES = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau "
    "upsilon phi chi psi omega"
)
_GREEK = {
    char: rf"$\{name}$"
    for char, name in zip("αβγδεζηθικλμνξπρστυφχψω", _GREEK_NAMES.split(), strict=True)
}
_COMMANDS = _ASCII | _SYMBOLS | _GREEK


def render(results: Results, out: Path, view: View = PLAIN) -> list[Path]:
    r"""Write ``table.tex``, to be \input, and ``table_standalone.tex``, which compiles alone."""
    table = latex(results, view)
    write_atomic(out / TABLE, table)
    write_atomic(out / STANDALONE, standalone(table))
    return [out / TABLE, out / STANDALONE]


def latex(results: Results, view: View = PLAIN) -> str:
    """A table environment with caption, marks, footnotes and notes."""
    return "\n".join(_lines(make_table(results, view))) + "\n"


def standalone(table: str) -> str:
    """A document of one page around a table, whose label nothing refers to here."""
    lines = [line for line in table.splitlines() if not line.startswith(r"\label")]
    head = [
        r"\documentclass{article}",
        r"\usepackage[T1]{fontenc}",
        r"\usepackage{lmodern}",
        r"\usepackage{textcomp}",
        rf"\usepackage[papersize={{297mm,{_page_height(table)}mm}},margin=15mm]{{geometry}}",
        *(rf"\usepackage{{{name}}}" for name in PACKAGES),
        r"\pagestyle{empty}",
        r"\begin{document}",
    ]
    return "\n".join([*head, *lines, r"\end{document}"]) + "\n"


def _page_height(table: str) -> int:
    """Millimetres that hold the table: A4 across, or longer, since a float does not break."""
    line_ends = table.count(r"\\") + 2 * table.count("\\par\n")
    return max(210, 70 + 6 * line_ends)


def _lines(table: Table) -> Iterator[str]:
    loads = " ".join(rf"\usepackage{{{name}}}" for name in PACKAGES)
    yield rf"% Needs {loads} and \usepackage[T1]{{fontenc}}."
    yield from UNICODE_MACRO
    yield r"\begin{table}[htbp]"
    yield r"\centering"
    yield rf"\caption{{{_caption(table)}}}"
    yield rf"\label{{tab:{slug(table.title)}}}"
    yield r"\begin{adjustbox}{max width=\linewidth}"
    yield from _tabular(table)
    yield r"\end{adjustbox}"
    yield from _below(table)
    yield r"\end{table}"


def _caption(table: Table) -> str:
    where = f" on {_heading(table.groups[0])}" if table.single else ""
    legend = LEGENDS[table.marking].replace("COMPARISONS", escape(table.comparisons))
    return f"{escape(table.title)}{where}. {legend}"


def _tabular(table: Table) -> Iterator[str]:
    left = [] if table.single else ["Dataset"]
    heads = [*left, *map(escape, table.heads)]
    yield rf"\begin{{tabular}}{{{'l' * len(heads)}{'c' * len(table.columns)}}}"
    yield r"\toprule"
    yield _line([*heads, *map(_stacked, table.columns)])
    for group in table.groups:
        yield r"\midrule"
        yield from _group(group, single=table.single)
    yield r"\bottomrule"
    yield r"\end{tabular}"


def _group(group: Group, *, single: bool) -> Iterator[str]:
    for i, row in enumerate(group.rows):
        dataset = [] if single else [_multirow(group) if i == 0 else ""]
        yield _line([*dataset, *map(_stacked, row.labels), *map(_cell, row.cells)])


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _multirow(group: Group) -> str:
    """The dataset beside all its rows, in one line where there are too few of them."""
    lines = [*_wrapped(group.label), escape(group.count)]
    if len(lines) > len(group.rows):
        return rf"\multirow{{{len(group.rows)}}}{{*}}{{{_heading(group)}}}"
    return rf"\multirow{{{len(group.rows)}}}{{*}}{{{_shortstack(lines)}}}"


def _heading(group: Group) -> str:
    return f"{escape(group.heading)}{_numbers(group.label.notes)}"


def _stacked(label: Label) -> str:
    return _shortstack(_wrapped(label))


def _wrapped(label: Label) -> list[str]:
    lines = [escape(line) for line in textwrap.wrap(label.text, LABEL_WIDTH)] or [""]
    return [*lines[:-1], lines[-1] + _numbers(label.notes)]


def _shortstack(lines: Sequence[str]) -> str:
    shown = [line for line in lines if line]
    stack = r"\\".join(shown)
    return rf"\shortstack[l]{{{stack}}}" if len(shown) > 1 else stack


def _cell(cell: TableCell) -> str:
    text = "--" if cell.text == DASH else cell.text.replace("-", "$-$").replace("inf", r"$\infty$")
    return MARKS[cell.mark].format(text) + _numbers(cell.notes)


def _numbers(notes: Sequence[int]) -> str:
    return rf"\textsuperscript{{{','.join(map(str, notes))}}}" if notes else ""


def _below(table: Table) -> Iterator[str]:
    numbered = enumerate(map(_breakable, table.footnotes), 1)
    lines = [f"{_numbers((number,))} {escape(text)}" for number, text in numbered]
    lines += [escape(_breakable(note)) for note in table.notes]
    if not lines:
        return
    yield r"\par\smallskip"
    yield r"\begin{minipage}{\linewidth}\footnotesize\raggedright"
    yield "\\par\n".join(lines)
    yield r"\end{minipage}"


def _breakable(text: str) -> str:
    """Paths, addresses and other long words with places where the line may end."""
    return re.sub(rf"\S{{{WORD_LENGTH}}}(?=\S)", rf"\g<0>{BREAK}", text)


def escape(text: str) -> str:
    """Text that LaTeX prints as it is, on one line, whatever it holds."""
    composed = unicodedata.normalize("NFC", text)
    pairs = pairwise(composed + " ")
    return "".join(_character(char) + _break(char, after) for char, after in pairs)


def _character(char: str) -> str:
    if char in _COMMANDS:
        return _COMMANDS[char]
    if char.isascii() or ("¡" <= char <= "ž" and char not in NOT_IN_T1):
        return char
    return rf"\benchchar{{{char}}}{{{ord(char):04X}}}"


def _break(char: str, after: str) -> str:
    """What keeps two characters from becoming a ligature (two hyphens, a dash)."""
    return "{}" if char == after and char in "-,'" else ""
