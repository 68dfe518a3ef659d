r"""The table as LaTeX: booktabs, rows grouped by dataset, the best marked.

Best is red and bold, second best blue and underlined, so both are told apart in greyscale.
"""

import re
import textwrap
import tomllib
import unicodedata
from functools import partial
from pathlib import Path

from bench.base.text import printable, slug
from bench.files.safe_csv import write_files
from bench.reports.tables.layout import make_table
from bench.reports.tables.markdown import environment
from bench.results.results import Results
from bench.results.view import PLAIN, View

WORD_LENGTH = 16
BREAK = "\u200b"
NOT_IN_T1 = "ĦħĸĿŀŉŦŧ"
_KNOWN = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
DELIMITERS, _COMMANDS = _KNOWN["delimiters"], _KNOWN["commands"]


def render(results: Results, out: Path, view: View = PLAIN) -> list[Path]:
    r"""Write ``table.tex``, to be \input, and ``table_standalone.tex``, which compiles alone."""
    table = latex(results, view)
    return write_files(out, {"table.tex": table, "table_standalone.tex": standalone(table)})


def latex(results: Results, view: View = PLAIN) -> str:
    """A table environment with caption, marks, footnotes and notes."""
    table = make_table(results, view)
    breakable = partial(re.compile(rf"\S{{{WORD_LENGTH}}}(?=\S)").sub, rf"\g<0>{BREAK}")
    how = {"wrapped": partial(textwrap.wrap, break_long_words=False), "breakable": breakable}
    return filled("pages/table.tex", table=table, label=slug(table.title), **how)


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


def escape(text: str) -> str:
    """Text that LaTeX prints as it is, on one line, whatever it holds."""
    # A blank line would end a paragraph, and with it the argument that the text is of.
    composed = BREAK.join(map(printable, unicodedata.normalize("NFC", text).split(BREAK)))
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
