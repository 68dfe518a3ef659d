r"""Tabulars of a LaTeX file as grids: text without markup, and how each cell is highlighted.

A reader for tables, not for LaTeX: it knows the macros that tables are made of, expands the file's
own \newcommand, and keeps the last argument of every macro that it does not know. (pylatexenc would
give the tree of macros, but the columns, spans and marks would still have to be read from it.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from bench.audit import Mark
from bench.audit_grid import NUMBER, GridCell
from bench.errors import DataError

MAX_DEPTH = 40
MAX_CELL = 20_000
TABULAR = re.compile(r"\\(begin|end)\s*\{(tabular[xy*]?|longtable|tabu|array)\}")
NEW_COMMAND = re.compile(
    r"\\(?:re)?newcommand\*?\s*\{?\\([A-Za-z]+)\}?\s*(?:\[(\d)\])?\s*(?=\{)"
    r"|\\def\s*\\([A-Za-z]+)\s*((?:#\d)*)\s*(?=\{)"
)
RULES = re.compile(
    r"\\(?:toprule|midrule|bottomrule|hline|Xhline\s*\{[^}]*\}|addlinespace(?:\[[^\]]*\])?"
    r"|c(?:mid)?rule\s*(?:\[[^\]]*\])?(?:\([^)]*\))?\s*\{[^}]*\}|cline\s*\{[^}]*\}"
    r"|specialrule(?:\s*\{[^}]*\}){3}|rowcolor\s*(?:\[[^\]]*\])?\s*\{[^}]*\}(?:\[[^\]]*\])*"
    r"|noalign\s*\{[^}]*\}|endhead|endfirsthead|endfoot|endlastfoot)(?![A-Za-z])"
)
BREAK = re.compile(r"\\(?:begin|end|tabularnewline)\b|\\\\(?:\s*\[[^\]]*\])?|\\.|[{}&]", re.S)
TOKEN = re.compile(r"\\(?:[A-Za-z]+\*?|.)|[{}_^]|[^\\{}_^]+", re.S)
SCRIPT = re.compile("\x00([^\x01]*)\x01")
"""A sub- or superscript: part of a name, but no part of a number."""
SYMBOLS = {
    "uparrow": "↑",
    "downarrow": "↓",
    "pm": "±",
    "times": "×",
    "checkmark": "✓",
    "surd": "✓",
    "cmark": "✓",
    "xmark": "×",
    "textminus": "-",
    "textendash": "–",
    "textemdash": "—",
    "dots": "…",
    "ldots": "…",
    "infty": "∞",
    "dag": "",
    "dagger": "",
    "ddagger": "",
    "ast": "",
    " ": " ",
    ",": " ",
    ";": " ",
    "quad": " ",
    "qquad": " ",
    "\\": " ",
    **{char: char for char in "%&_#${}"},
}
STYLES = {
    **dict.fromkeys(("textbf", "mathbf", "bm", "boldsymbol", "bfseries", "bf"), "bold"),
    **dict.fromkeys(("underline", "uline", "ul", "underbar"), "underline"),
}
DROPPED = frozenset(
    (
        *("cite", "citep", "citet", "citealp", "ref", "label", "end", "cellcolor", "color"),
        *("footnote", "footnotemark", "textsuperscript", "tnote"),
        *("vspace", "hspace", "rule", "phantom", "hphantom", "vphantom"),
    )
)
LEADING = {"multirow": 2, "multicolumn": 2, "textcolor": 1, "scalebox": 1, "resizebox": 2}
"""Arguments before the one that is shown."""
FIRST_SHOWN = {"benchchar": 2}
"""Macros of our own tables of which the first argument is shown, and how many they have."""
HUES = {"1,0,0": "red", "ff0000": "red", "0,0,1": "blue", "0000ff": "blue"}


@dataclass
class _Cell:
    """What is gathered while a cell is read."""

    text: list[str] = field(default_factory=list)
    styles: set[str] = field(default_factory=set)
    rows: int = 1
    columns: int = 1
    unknown: str = ""

    @property
    def shown(self) -> str:
        """The text; scripts belong to names, and a macro that says nothing stands for itself."""
        text = " ".join("".join(self.text).split())
        bare = SCRIPT.sub("", text).strip()
        if NUMBER.fullmatch(bare):
            return bare
        return SCRIPT.sub(r"\1", text) or self.unknown


_Macros = Mapping[str, tuple[int, str]]
"""The file's own macros: how many arguments, and what they stand for."""


def grids(tex: str) -> list[list[list[GridCell]]]:
    """Every outermost tabular of a file, in its order; multirow and multicolumn are spread out.

    Raises:
        DataError: an environment that does not end, braces or macros nested beyond reason.
    """
    plain = _without_comments(tex)
    macros = _own_macros(plain)
    found = []
    for start, end in _environments(plain):
        line = plain.count("\n", 0, start) + 1
        found.append(_spread(_rows(plain[start:end], line, macros)))
    return found


def _without_comments(tex: str) -> str:
    return re.sub(r"(?<!\\)((?:\\\\)*)%[^\n]*", r"\1", tex)


def _own_macros(tex: str) -> _Macros:
    macros = {}
    for match in NEW_COMMAND.finditer(tex):
        count = int(match[2] or 0) if match[1] else (match[4] or "").count("#")
        macros[match[1] or match[3]] = (count, _group(tex, match.end())[0])
    return macros


def _environments(tex: str) -> Iterator[tuple[int, int]]:
    """Start and end of the content of every outermost tabular."""
    depth, start = 0, 0
    for match in TABULAR.finditer(tex):
        if match[1] == "begin":
            if depth == 0:
                start = _after_arguments(tex, match.end(), match[2])
            depth += 1
        elif depth:
            depth -= 1
            if depth == 0:
                yield start, match.start()
    if depth:
        raise DataError(r"a \begin{tabular} has no \end{tabular}")


def _after_arguments(tex: str, at: int, name: str) -> int:
    """Past the column specification, and past the width of tabular* and tabularx."""
    for _ in range(2 if name in ("tabular*", "tabularx", "tabulary") else 1):
        bracket = re.compile(r"\s*\[[^\]]*\]").match(tex, at)
        at = bracket.end() if bracket else at
        _, at = _group(tex, at)
    return at


def _group(tex: str, at: int) -> tuple[str, int]:
    """The content of the brace group that begins at or after blanks at `at`, and its end."""
    blank = re.compile(r"\s*").match(tex, at)
    at = blank.end() if blank else at
    if at >= len(tex) or tex[at] != "{":
        token = TOKEN.match(tex, at)
        return (token[0][:1], at + 1) if token and token[0][0] not in "\\{}" else ("", at)
    depth = 0
    for match in re.compile(r"\\.|[{}]", re.S).finditer(tex, at):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return tex[at + 1 : match.start()], match.end()
    raise DataError("a { has no matching }")


def _rows(content: str, line: int, macros: _Macros) -> list[list[tuple[_Cell, int]]]:
    rows: list[list[tuple[_Cell, int]]] = []
    for row, offset in _split(content, row=True):
        bare = RULES.sub(lambda match: "\n" * match[0].count("\n"), row)
        if not bare.strip():
            continue
        at = line + content.count("\n", 0, offset)
        lead = len(bare) - len(bare.lstrip())
        first = at + bare[:lead].count("\n")
        rows.append([(_read(cell, macros), first) for cell, _ in _split(bare, row=False)])
    return rows


def _split(text: str, *, row: bool) -> Iterator[tuple[str, int]]:
    r"""Parts between \\ (rows) or & (cells), outside of braces and nested environments."""
    depth, start = 0, 0
    for match in BREAK.finditer(text):
        found = match[0]
        depth += {"{": 1, "\\begin": 1, "}": -1, "\\end": -1}.get(found, 0)
        ends_row = found.startswith(("\\\\", "\\tabularnewline"))
        if depth == 0 and (ends_row if row else found == "&"):
            yield text[start : match.start()], start
            start = match.end()
    yield text[start:], start


def _read(tex: str, macros: _Macros) -> _Cell:
    cell = _Cell()
    _walk(tex, macros, cell, 0)
    return cell


def _walk(tex: str, macros: _Macros, cell: _Cell, depth: int) -> None:
    """Add the text and styles of `tex` to the cell."""
    if depth > MAX_DEPTH or sum(map(len, cell.text)) > MAX_CELL:
        raise DataError("a cell is nested or expanded beyond reason")
    at = 0
    while at < len(tex):
        match = TOKEN.match(tex, at)
        if match is None:
            raise DataError("a cell ends in a backslash")
        piece = match[0]
        if piece == "{":
            body, at = _group(tex, at)
            _walk(body, macros, cell, depth + 1)
        elif piece in "_^":
            body, at = _script(tex, match.end())
            cell.text.append("\x00")
            _walk(body, macros, cell, depth + 1)
            cell.text.append("\x01")
        elif piece[0] == "\\":
            at = _macro(piece[1:].rstrip("*"), tex, match.end(), macros, cell, depth)
        else:
            cell.text.append(piece.replace("$", "").replace("~", " "))
            at = match.end()


def _script(tex: str, at: int) -> tuple[str, int]:
    """What is raised or lowered: a group, a macro or one character."""
    macro = re.compile(r"\s*(\\[A-Za-z]+)").match(tex, at)
    return (macro[1], macro.end()) if macro else _group(tex, at)


def _macro(name: str, tex: str, at: int, macros: _Macros, cell: _Cell, depth: int) -> int:
    """Read one macro with its arguments; the position after it."""
    if name in SYMBOLS:
        cell.text.append(SYMBOLS[name])
        return at
    if name in macros:
        return _expand(name, tex, at, macros, cell, depth)
    if name == "begin":
        return _begin(tex, at)
    arguments, at = _arguments(tex, at, FIRST_SHOWN.get(name) or LEADING.get(name, 0) + 1)
    _note(name, arguments, cell)
    if arguments and name not in DROPPED:
        shown = arguments[0] if name in FIRST_SHOWN else arguments[-1]
        _walk(shown, macros, cell, depth + 1)
    return at


def _begin(tex: str, at: int) -> int:
    """Past the beginning of an environment inside of a cell."""
    name, at = _group(tex, at)
    return _after_arguments(tex, at, name) if name.startswith("tabular") else at


def _note(name: str, arguments: list[str], cell: _Cell) -> None:
    """What a macro says about its cell: style, span, or nothing that is known."""
    if name in STYLES:
        cell.styles.add(STYLES[name])
    elif name in ("textcolor", "color") and arguments:
        cell.styles.add(_hue(arguments[0]))
    elif name == "multirow" and arguments:
        cell.rows = _count(arguments[0])
    elif name == "multicolumn" and arguments:
        cell.columns = _count(arguments[0])
    elif name not in DROPPED and not any(arguments):
        cell.unknown = name


def _arguments(tex: str, at: int, most: int) -> tuple[list[str], int]:
    """Up to `most` brace groups that follow, optional ones passed over."""
    found: list[str] = []
    follows = re.compile(r"\s*(\[[^\]]*\]\s*)*(\{|\*\s*(?=\{))")
    while len(found) < most:
        match = follows.match(tex, at)
        if match is None:
            break
        if match[2][0] == "*":
            found.append("*")
            at = match.end()
            continue
        body, at = _group(tex, match.end() - 1)
        found.append(body)
    return found, at


def _expand(name: str, tex: str, at: int, macros: _Macros, cell: _Cell, depth: int) -> int:
    count, body = macros[name]
    for number in range(1, count + 1):
        argument, at = _group(tex, at)
        body = body.replace(f"#{number}", argument)
        if len(body) > MAX_CELL:
            raise DataError("a cell is nested or expanded beyond reason")
    _walk(body, macros, cell, depth + 1)
    return at


def _hue(color: str) -> str:
    """ "red!80!black" -> "red"; other colours than red and blue say nothing."""
    base = color.partition("!")[0].replace(" ", "").casefold()
    return base if base in HUES.values() else HUES.get(base, "")


def _count(text: str) -> int:
    return min(int(text), 1000) if text.strip().isdigit() else 1


def _mark(styles: set[str]) -> Mark:
    """Colour decides, then bold with or without underline is best, underline alone second."""
    if "red" in styles:
        return "best"
    if "blue" in styles:
        return "second"
    if "bold" in styles:
        return "best"
    return "second" if "underline" in styles else ""


def _spread(rows: list[list[tuple[_Cell, int]]]) -> list[list[GridCell]]:
    """Cells at their columns; what spans several is repeated in each of them."""
    below: dict[int, tuple[int, GridCell]] = {}
    grid = []
    for row in rows:
        line: list[GridCell] = []
        for cell, number in row:
            shown = GridCell(cell.shown, _mark(cell.styles), number)
            for _ in range(cell.columns):
                column = len(line)
                left, above = below.get(column, (0, shown))
                if left:
                    below[column] = (left - 1, above)
                if cell.rows > 1:
                    below[column] = (cell.rows - 1, shown)
                line.append(replace(above, line=number) if left and not shown.text else shown)
        grid.append(line)
    return grid
