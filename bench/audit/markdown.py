"""Markdown: its tables as grids, and single cells (of CSV files) that are marked in it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

from bench.audit.cells import GridCell, Printed
from bench.audit.values import Mark

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

TAG = re.compile(r"<(/?)(b|strong|i|em|u|ins|sup)\s*>", re.IGNORECASE)
BOLD = {"b", "strong"}
ARROWS = {r"$\uparrow$": "↑", r"$\downarrow$": "↓"}


def grids(text: str) -> tuple[list[Printed], list[str]]:
    """Every table of pipes of a file, in its order, and why others are not there; the paragraphs
    before and after one are its caption, each that of one table alone."""
    blocks = list(_blocks(text))
    found: list[Printed] = []
    free = {number for number, block in enumerate(blocks) if isinstance(block, str)}
    for number, block in enumerate(blocks):
        if isinstance(block, str):
            continue
        before, after, tables = number - 1, number + 1, number + 2 < len(blocks)
        own = free & {before}
        if after in free and not (own and tables and not isinstance(blocks[number + 2], str)):
            own.add(after)
        free -= own
        found.append(Printed(block, ". ".join(str(blocks[each]) for each in sorted(own))))
    return found, ["<table> is not read" for _ in re.finditer(r"<table\b", text)]


def _blocks(text: str) -> Iterator[str | list[list[GridCell]]]:
    """The paragraphs and the rows of the tables."""
    rows: list[list[GridCell]] | None = None
    for token in _reader().parse(text):
        if token.type == "table_open":
            rows = []
        elif token.type == "table_close" and rows is not None:
            yield rows
            rows = None
        elif token.type == "tr_open" and rows is not None:
            rows.append([])
        elif token.type == "inline" and rows is not None:
            rows[-1].append(_shown(token.children or [], (token.map or [0])[0] + 1))
        elif token.type == "inline":
            yield token.content


def read_cell(text: str, line: int) -> GridCell:
    """One cell that stands outside of any table: "**24.1**/0.71"."""
    return _shown(_reader().parseInline(text)[0].children or [], line)


@cache
def _reader() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("table")


def _shown(tokens: Sequence[Token], line: int) -> GridCell:
    """Strong is best, emphasis or underlined second best, for each character of the text; what is
    raised is a footnote's number and none of it."""
    text, marks = "", list[Mark]()
    inside: Counter[str] = Counter()
    for token in tokens:
        tag = TAG.fullmatch(token.content) if token.type == "html_inline" else None
        if tag:
            inside[tag[2].casefold()] += -1 if tag[1] else 1
        inside[token.tag] += token.nesting
        plain = "" if token.type == "html_inline" or inside["sup"] > 0 else token.content
        for math, arrow in ARROWS.items():
            plain = plain.replace(math, arrow)
        best = any(inside[name] > 0 for name in BOLD)
        second = any(inside[name] > 0 for name in ("i", "em", "u", "ins"))
        text += plain or " " * (token.type in ("softbreak", "hardbreak") or "<br" in token.content)
        marks += ["best" if best else "second" if second else ""] * (len(text) - len(marks))
    return GridCell(text, line, tuple(marks))
