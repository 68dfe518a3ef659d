r"""Tabulars of a LaTeX file as grids: text without markup, and how each cell is highlighted.

A reader for tables, not for LaTeX: it knows the macros that tables are made of, expands the file's
own \newcommand, and keeps the last argument of every macro that it does not know. (pylatexenc would
give the tree of macros, but the columns, spans and marks would still have to be read from it.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from bench.audit.grid import GridCell
from bench.audit.numbers import looks_numeric, numbers
from bench.audit.recompute import Mark
from bench.base.errors import DataError

MAX_DEPTH = 40
MAX_CELL = 20_000
MOST_ARGUMENTS = 9
TABULAR = re.compile(
    r"\\(begin|end)\s*\{(tabular[xy*]?|tabulary|longtable|longtabu|tabu|array|supertabular\*?"
    r"|xtabular\*?|xltabular|NiceTabular[X*]?)\}"
)
WIDTH_FIRST = {"tabular*", "tabularx", "tabulary", "supertabular*", "xtabular*", "xltabular"}
UNREAD = re.compile(r"\\begin\s*\{((?:long|tall)?tblr|tabbing)\}")
INPUT = re.compile(r"\\(?:input|include)\s*\{([^}]*)\}")
NEW_COMMAND = re.compile(
    r"\\(?:(?:re)?newcommand|providecommand|DeclareRobustCommand)\*?\s*\{?\\([A-Za-z]+)\}?"
    r"\s*(?:\[(\d)\])?\s*(?:\[([^\]]*)\])?\s*(?=\{)"
    r"|\\def\s*\\([A-Za-z]+)\s*((?:#\d)*)\s*(?=\{)"
)
LET = re.compile(r"\\let\s*\\([A-Za-z]+)\s*=?\s*(\\[A-Za-z]+)")
RULES = re.compile(
    r"\\(?:(?:top|mid|bottom)rule(?:\s*\[[^\]]*\])?|h(?:dash)?line|morecmidrules"
    r"|(?:Xhline|arrayrulecolor|cdashline)\s*\{[^}]*\}|addlinespace(?:\s*\[[^\]]*\])?"
    r"|c(?:mid)?rule\s*(?:\[[^\]]*\])?(?:\([^)]*\))?\s*\{[^}]*\}|cline\s*\{[^}]*\}"
    r"|specialrule(?:\s*\{[^}]*\}){3}|rowcolor\s*(?:\[[^\]]*\])?\s*\{[^}]*\}(?:\[[^\]]*\])*"
    r"|noalign\s*\{[^}]*\}|endhead|endfirsthead|endfoot|endlastfoot)(?![A-Za-z])"
)
BREAK = re.compile(r"\\(?:begin|end|tabularnewline)\b|\\\\\*?(?:\s*\[[^\]]*\])?|\\.|[{}&]", re.S)
TOKEN = re.compile(r"\\(?:[A-Za-z]+\*?|.)|[{}_^]|[^\\{}_^]+", re.S)
LOWER, UPPER = "\x00", "\x01"
"""Around a sub- or superscript: part of a name, but no part of a number."""
TEN = re.compile(r"(?:^|[\s×·x*+-])10\s*$")
SYMBOLS = {
    "uparrow": "↑",
    "downarrow": "↓",
    "pm": "±",
    "times": "×",
    "cdot": "·",
    "triangle": "△",
    "blacktriangle": "▲",
    "blacktriangledown": "▼",
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
LEADING = {
    **{"multirow": 2, "multicolumn": 2, "resizebox": 2, "fcolorbox": 2},
    **dict.fromkeys(("textcolor", "scalebox", "colorbox", "raisebox", "rotatebox", "parbox"), 1),
}
"""Arguments before the one that is shown."""
FIRST_SHOWN = {"benchchar": 2}
"""Macros of our own tables of which the first argument is shown, and how many they have."""
HUES = {"1,0,0": "red", "ff0000": "red", "0,0,1": "blue", "0000ff": "blue"}


@dataclass
class _Cell:
    """What is gathered while a cell is read: pieces of text, each with how it is highlighted."""

    pieces: list[tuple[str, Mark]] = field(default_factory=list)
    rows: int = 1
    columns: int = 1
    unknown: str = ""

    def add(self, text: str, styles: _Styles) -> None:
        self.pieces.append((text, _mark(styles)))

    @property
    def written(self) -> str:
        return "".join(text for text, _ in self.pieces)

    def shown(self, line: int) -> GridCell:
        """The cell; scripts belong to names, and a macro that says nothing stands for itself."""
        bare, whole = self._characters(scripts=False), self._characters(scripts=True)
        chars = bare if _is_number("".join(char for char, _ in bare)) else whole
        text, marks = "".join(char for char, _ in chars), tuple(mark for _, mark in chars)
        digit = next((i for i, char in enumerate(text) if char.isdigit()), None)
        own: list[Mark] = [mark for mark in marks if mark]
        mark: Mark = marks[digit] if digit is not None else (own or [""])[0]
        macro = "" if text else self.unknown
        spans = self.columns > 1 or self.rows not in (0, 1)
        return GridCell(text or macro, mark, line, marks, spans, macro)

    def _characters(self, *, scripts: bool) -> list[tuple[str, Mark]]:
        """Each character with its mark; runs of blanks are one, those at the ends none."""
        found: list[tuple[str, Mark]] = []
        depth = 0
        for char, mark in ((char, mark) for text, mark in self.pieces for char in text):
            depth += {LOWER: 1, UPPER: -1}.get(char, 0)
            if char in (LOWER, UPPER) or (depth and not scripts):
                continue
            if not char.isspace():
                found.append((char, mark))
            elif found and found[-1][0] != " ":
                found.append((" ", mark))
        return found[:-1] if found and found[-1][0] == " " else found


def _is_number(text: str) -> bool:
    plain = looks_numeric(text) and not any(char.isalpha() for char in text)
    return plain or not isinstance(numbers(text), str)


_Styles = set[str]
"""Styles in force; a group has a copy of its own."""


class _Macro(NamedTuple):
    """One of the file's own: how many arguments, what it stands for, the first one's default."""

    arguments: int
    body: str
    default: str | None = None


_Macros = Mapping[str, _Macro]


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
        count = int(match[2] or 0) if match[1] else (match[5] or "").count("#")
        body, _ = _group(tex, match.end())
        macros[match[1] or match[4]] = _Macro(count, body, match[3])
    for match in LET.finditer(tex):
        macros.setdefault(match[1], _Macro(0, match[2]))
    return macros


def passed_over(tex: str) -> list[str]:
    """Why some of a file's tables, or of their rows, are not among its grids."""
    plain = _without_comments(tex)
    found = [f"\\begin{{{match[1]}}} is not read" for match in UNREAD.finditer(plain)]
    for start, end in _environments(plain):
        for match in INPUT.finditer(plain[start:end]):
            found.append(f"\\input of {match[1]} is not followed")
    return found


def read_cell(tex: str) -> GridCell:
    """One cell that stands outside of any table."""
    return _read(tex, {}).shown(0)


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
    for _ in range(2 if name in WIDTH_FIRST else 1):
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
    _walk(tex, macros, cell, set(), 0)
    return cell


def _walk(tex: str, macros: _Macros, cell: _Cell, styles: _Styles, depth: int) -> None:
    """Add the text of `tex` to the cell; declarations change `styles` for what follows."""
    if depth > MAX_DEPTH or sum(len(text) for text, _ in cell.pieces) > MAX_CELL:
        raise DataError("a cell is nested or expanded beyond reason")
    at = 0
    while at < len(tex):
        match = TOKEN.match(tex, at)
        if match is None:
            raise DataError("a cell ends in a backslash")
        piece = match[0]
        if piece == "{":
            body, at = _group(tex, at)
            _walk(body, macros, cell, set(styles), depth + 1)
        elif piece in "_^":
            body, at = _script(tex, match.end())
            _add_script(body, piece == "^", macros, cell, styles, depth)
        elif piece[0] == "\\":
            at = _macro(piece[1:].rstrip("*"), tex, match.end(), macros, cell, styles, depth)
        else:
            cell.add(piece.replace("$", "").replace("~", " "), styles)
            at = match.end()


def _add_script(
    body: str, raised: bool, macros: _Macros, cell: _Cell, styles: _Styles, depth: int
) -> None:
    """A script beside the text, or the power of a ten as a part of it."""
    power = body.strip(" $").replace("−", "-")
    if raised and re.fullmatch(r"[+-]?\d{1,2}", power) and TEN.search(cell.written):
        cell.add(f"^{power}", styles)
        return
    cell.add(LOWER, styles)
    _walk(body, macros, cell, set(styles), depth + 1)
    cell.add(UPPER, styles)


def _script(tex: str, at: int) -> tuple[str, int]:
    """What is raised or lowered: a group, a macro or one character."""
    macro = re.compile(r"\s*(\\[A-Za-z]+)").match(tex, at)
    return (macro[1], macro.end()) if macro else _group(tex, at)


def _macro(
    name: str, tex: str, at: int, macros: _Macros, cell: _Cell, styles: _Styles, depth: int
) -> int:
    """Read one macro with its arguments; the position after it."""
    if name in SYMBOLS:
        cell.add(SYMBOLS[name], styles)
        return at
    if name in macros:
        return _expand(name, tex, at, macros, cell, styles, depth)
    if name == "begin":
        return _begin(tex, at)
    arguments, at = _arguments(tex, at, _most_arguments(name))
    if name == "textsuperscript" and arguments and TEN.search(cell.written):
        _add_script(arguments[0], True, macros, cell, styles, depth)
    inner = _note(name, arguments, cell, styles)
    for number, shown in enumerate(_shown(name, arguments)):
        cell.add(" " if number else "", styles)
        _walk(shown, macros, cell, inner, depth + 1)
    return at


def _most_arguments(name: str) -> int:
    if name in FIRST_SHOWN:
        return FIRST_SHOWN[name]
    known = name in LEADING or name in STYLES or name in DROPPED
    return LEADING.get(name, 0) + 1 if known else MOST_ARGUMENTS


def _shown(name: str, arguments: list[str]) -> list[str]:
    """The arguments that are printed; all of a macro that is not known, since any may be."""
    if name in DROPPED or not arguments:
        return []
    if name in FIRST_SHOWN:
        return arguments[:1]
    return arguments[-1:] if name in LEADING or name in STYLES else arguments


def _begin(tex: str, at: int) -> int:
    """Past the beginning of an environment inside of a cell."""
    name, at = _group(tex, at)
    return _after_arguments(tex, at, name) if name.startswith("tabular") else at


def _note(name: str, arguments: list[str], cell: _Cell, styles: _Styles) -> _Styles:
    """What a macro says about its cell; the styles of its arguments."""
    own = STYLES.get(name, "")
    if name in ("textcolor", "color") and arguments:
        own = _hue(arguments[0])
        inner = (styles - {"red", "blue"}) | {own}
    else:
        inner = styles | {own}
    if name == "color" or (own and not arguments):
        styles.clear()
        styles.update(inner)
    if name == "multirow" and arguments:
        cell.rows = _count(arguments[0])
    elif name == "multicolumn" and arguments:
        cell.columns = max(1, _count(arguments[0]))
    elif not own and name not in DROPPED and not any(arguments):
        cell.unknown = name
    return inner


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


def _expand(
    name: str, tex: str, at: int, macros: _Macros, cell: _Cell, styles: _Styles, depth: int
) -> int:
    count, body, default = macros[name]
    for number in range(1, count + 1):
        given = re.compile(r"\s*\[([^\]]*)\]").match(tex, at) if number == 1 else None
        if number == 1 and default is not None:
            argument, at = (given[1], given.end()) if given else (default, at)
        else:
            argument, at = _group(tex, at)
        body = body.replace(f"#{number}", argument)
        if len(body) > MAX_CELL:
            raise DataError("a cell is nested or expanded beyond reason")
    if re.fullmatch(r"\s*\\[A-Za-z]+\s*", body):  # it stands for a macro, which takes what follows
        return _macro(body.strip()[1:], tex, at, macros, cell, styles, depth + 1)
    _walk(body, macros, cell, styles, depth + 1)
    return at


def _hue(color: str) -> str:
    """ "red!80!black" -> "red"; other colours than red and blue say nothing."""
    base = color.partition("!")[0].replace(" ", "").casefold()
    return base if base in HUES.values() else HUES.get(base, "")


def _count(text: str) -> int:
    """Rows or columns spanned; below 0 where a cell spans those above it."""
    whole = re.fullmatch(r"-?\d{1,9}", text.strip())
    return max(-1000, min(int(text), 1000)) if whole else 1


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
    grid: list[list[GridCell]] = []
    for row in rows:
        line: list[GridCell] = []
        for cell, number in row:
            shown = cell.shown(number)
            for _ in range(cell.columns):
                column = len(line)
                left, above = below.get(column, (0, shown))
                if left:
                    below[column] = (left - 1, above)
                if cell.rows > 1:
                    below[column] = (cell.rows - 1, shown)
                line.append(replace(above, line=number) if left and not shown.text else shown)
                _fill_above(grid, column, shown, -cell.rows - 1)
        grid.append(line)
    return grid


def _fill_above(grid: list[list[GridCell]], column: int, shown: GridCell, rows: int) -> None:
    for line in grid[-rows:] if rows > 0 else []:
        if column < len(line) and not line[column].text:
            line[column] = replace(shown, line=line[column].line)
