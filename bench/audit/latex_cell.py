r"""Cells of LaTeX tables: their text without markup, and how it is highlighted.

It knows the macros that tables are made of, expands the file's own \newcommand, and keeps the
arguments of every other.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bench.audit.cells import GridCell, spaced
from bench.audit.latex_macros import TOKEN, Macros, after_arguments, group, read_arguments
from bench.audit.numbers import looks_numeric, numbers
from bench.audit.values import RANKS, Mark
from bench.base.cards import Card, Names, read_card
from bench.base.errors import DataError

MAX_DEPTH = 40
MAX_CELL = 20_000
"""Of a cell's characters, and of the steps that it takes to read it."""
TOO_MUCH = "a cell is nested or expanded beyond reason"
MOST_ARGUMENTS = 9
LOWER, UPPER = "\x00", "\x01"
"""Around a sub- or superscript: part of a name, but no part of a number."""
MATH = re.compile(r"\$[^$]*\$")
SPACED = re.compile(r"(?<=[\d.,]) (?=[\d.,])")
"""Blanks inside a number, which mathematics do not print."""
TEN = re.compile(r"(?:^|[\s×·x*+-])10\s*$")


class _Known(Card):
    dropped: Names
    bold: Names
    underline: Names
    coloured: Names
    leading: dict[str, int]
    following: dict[str, int]
    colours: dict[str, str]
    symbols: dict[str, str]


KNOWN = read_card(Path(__file__).with_name("latex.toml"), _Known)
STYLES = dict.fromkeys(KNOWN.bold, "bold") | dict.fromkeys(KNOWN.underline, "underline")
PLAIN = {"red", "blue", "1,0,0", "ff0000", "0,0,1", "0000ff"}
"""Colours that mean a rank in text alone: behind it they may be any."""
WEIGHTS = {"bold": "best", "underline": "second"}


def _is_number(text: str) -> bool:
    text = " ".join(text.split())  # runs of blanks take long to match
    plain = looks_numeric(text) and not any(char.isalpha() for char in text)
    return plain or not isinstance(numbers(text), str)


_Styles = dict[str, str]
"""What is in force, by kind: colour, ground, bold, underline; a group has a copy of its own."""


def read_cell(tex: str, macros: Macros, line: int = 0, block: int = 0) -> GridCell:
    """A cell of LaTeX; DataError: braces or macros nested beyond reason."""
    reader = _Reader(macros)
    reader.walk(MATH.sub(lambda math: SPACED.sub("", math[0]), tex), {})
    return reader.shown(line, block)


class _Reader:
    """Gathers a cell: pieces of text, each with how it is highlighted, and what it spans."""

    def __init__(self, macros: Macros) -> None:
        self.macros = macros
        self.pieces: list[tuple[str, Mark]] = []
        self.rows = self.columns = 1
        self.unknown = ""
        self.depth = self.spent = 0

    def shown(self, line: int, block: int) -> GridCell:
        """The cell; scripts belong to names, and a macro that says nothing stands for itself."""
        text, marks = spaced(self._characters(scripts=False))
        if not _is_number(text):
            text, marks = spaced(self._characters(scripts=True))
        macro = "" if text else self.unknown
        return GridCell(text or macro, line, marks, self.rows, self.columns, macro, block)

    def _characters(self, *, scripts: bool) -> Iterator[tuple[str, Mark]]:
        """Each character with its mark."""
        depth = 0
        for char, mark in ((char, mark) for text, mark in self.pieces for char in text):
            depth += {LOWER: 1, UPPER: -1}.get(char, 0)
            if char not in (LOWER, UPPER) and (scripts or not depth):
                yield char, mark

    def add(self, text: str, styles: _Styles) -> None:
        self.pieces.append((text, mark_of(styles)))
        self.spent += len(text)

    def _after_ten(self) -> bool:
        return bool(TEN.search("".join(text for text, _ in self.pieces)))

    def _deeper(self) -> None:
        self.depth += 1
        self.spent += 1
        if self.depth > MAX_DEPTH or self.spent > MAX_CELL:
            raise DataError(TOO_MUCH)

    def walk(self, tex: str, styles: _Styles) -> None:
        """Add the text of `tex`; declarations change `styles` for what follows."""
        self._deeper()
        at = 0
        while at < len(tex):
            match = TOKEN.match(tex, at)
            if match is None:
                raise DataError("a cell ends in a backslash")
            piece = match[0]
            if piece == "{":
                body, at = group(tex, at)
                self.walk(body, dict(styles))
            elif piece in "_^":
                macro = re.compile(r"\s*(\\[A-Za-z]+)").match(tex, match.end())
                body, at = (macro[1], macro.end()) if macro else group(tex, match.end())
                self._script(body, piece == "^", styles)
            elif piece[0] == "\\":
                at = self._macro(piece[1:].rstrip("*"), tex, match.end(), styles)
            else:
                self.add(piece.replace("$", "").replace("~", " "), styles)
                at = match.end()
        self.depth -= 1

    def _script(self, body: str, raised: bool, styles: _Styles) -> None:
        """A script beside the text, or the power of a ten as a part of it."""
        power = body.strip(" $").replace("−", "-")
        if raised and re.fullmatch(r"[+-]?\d{1,2}", power) and self._after_ten():
            self.add(f"^{power}", styles)
            return
        self.add(LOWER, styles)
        self.walk(body, dict(styles))
        self.add(UPPER, styles)

    def _macro(self, name: str, tex: str, at: int, styles: _Styles) -> int:
        """Read one macro with its arguments; the position after it."""
        if name in KNOWN.symbols:
            self.add(KNOWN.symbols[name], styles)
            return at
        if name in self.macros:
            return self._expand(name, tex, at, styles)
        if name == "begin":
            inner, at = group(tex, at)
            return after_arguments(tex, at, inner) if inner.startswith("tabular") else at
        arguments, at = read_arguments(tex, at, _most_arguments(name))
        if name == "textsuperscript" and arguments and self._after_ten():
            self._script(arguments[0], True, styles)
        inner_styles = self._note(name, arguments, styles)
        for number, shown in enumerate(_shown(name, arguments)):
            self.add(" " if number else "", styles)
            self.walk(shown, dict(inner_styles))
        return at

    def _note(self, name: str, arguments: list[str], styles: _Styles) -> _Styles:
        """What a macro says about its cell; the styles of its arguments."""
        own: _Styles = {STYLES[name]: name} if name in STYLES else {}
        if name in KNOWN.coloured and arguments:
            own = {"colour" if name in ("textcolor", "color") else "ground": arguments[-2:][0]}
        if own and (not arguments or name in ("color", "cellcolor")):
            styles.update(own)
        if name == "multirow" and arguments:
            self.rows = span_of(arguments[0])
        elif name == "multicolumn" and arguments:
            self.columns = max(1, span_of(arguments[0]))
        elif not own and name not in KNOWN.dropped and not any(arguments):
            self.unknown = name
        elif len(arguments) == 1 and name not in KNOWN.leading and _is_number(arguments[0]):
            told = own or _colour(styles.get("colour", ""))
            own = own if told else {"colour": name}  # of another file: by its name or its table
        return {**styles, **own}

    def _expand(self, name: str, tex: str, at: int, styles: _Styles) -> int:
        count, body, default = self.macros[name]
        for number in range(1, count + 1):
            given = re.compile(r"\s*\[([^\]]*)\]").match(tex, at) if number == 1 else None
            if number == 1 and default is not None:
                argument, at = (given[1], given.end()) if given else (default, at)
            else:
                argument, at = group(tex, at)
            body = body.replace(f"#{number}", argument)
            if len(body) > MAX_CELL:
                raise DataError(TOO_MUCH)
        alone = re.fullmatch(r"\s*\\([A-Za-z]+)\s*", body)
        if alone is None:
            self.walk(body, styles)
            return at
        self._deeper()  # it stands for a macro, which takes what follows
        at = self._macro(alone[1], tex, at, styles)
        self.depth -= 1
        return at


def _most_arguments(name: str) -> int:
    known = name in KNOWN.leading or name in STYLES or name in KNOWN.dropped
    around = KNOWN.leading.get(name, 0) + KNOWN.following.get(name, 0)
    return around + 1 if known else MOST_ARGUMENTS


def _shown(name: str, arguments: list[str]) -> list[str]:
    """The arguments that are printed; all of a macro that is not known, since any may be."""
    if name in KNOWN.dropped:
        return []
    end = max(1, len(arguments) - KNOWN.following.get(name, 0))
    known = name in KNOWN.leading or name in STYLES
    return arguments[end - 1 : end] if known else arguments


def mark_of(styles: _Styles) -> Mark:
    """The text's colour decides, then one behind it that names a rank, its weight, any other."""
    colour, ground = _colour(styles.get("colour", "")), _colour(styles.get("ground", ""), True)
    weight = next((style for style in WEIGHTS if style in styles), "")
    named = next((rank for rank in (colour, ground) if rank in RANKS), "")
    return named or weight or colour or ground


def settled(grid: Iterable[Sequence[GridCell]]) -> list[list[GridCell]]:
    """The cells of a table with what bold and underlined mean in it: where colours show what is
    best, nothing; else best and second best."""
    rows = list(grid)
    coloured = any("best" in cell.marks for row in rows for cell in row)
    meant = {style: "any" if coloured else rank for style, rank in WEIGHTS.items()}

    def marks(cell: GridCell) -> tuple[Mark, ...]:
        return tuple(meant.get(mark, mark) for mark in cell.marks)

    return [[replace(cell, marks=marks(cell)) for cell in row] for row in rows]


def _colour(name: str, behind: bool = False) -> Mark:
    """ "red!80!black" -> "best"; "orange!25" -> "colour orange!25"; those of text say more."""
    name = name.replace(" ", "").casefold()
    base = name.partition("!")[0]
    if behind and base in PLAIN:
        return f"colour {name}"
    return KNOWN.colours.get(base, f"colour {name}") if base else ""


def span_of(text: str) -> int:
    """Rows or columns spanned; below 0 where a cell spans those above it."""
    whole = re.fullmatch(r"-?\d{1,9}", text.strip())
    return max(-1000, min(int(text), 1000)) if whole else 1
