"""Markdown: its tables as grids, and single cells (of CSV files) that are marked in it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from bench.audit.cells import GridCell, Printed
from bench.audit.values import Mark

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

TAG = re.compile(r"<(/?)(b|strong|i|em|u|ins)\s*>", re.IGNORECASE)
BOLD = {"b", "strong"}
ARROWS = {r"$\uparrow$": "↑", r"$\downarrow$": "↓"}


def grids(text: str) -> tuple[list[Printed], list[str]]:
    """Every table of pipes of a file, in its order, and why others are not there; the paragraphs
    before and after one are its caption."""
    found: list[Printed] = []
    cells, followed, said = False, True, ""
    for token in _reader().parse(text):
        if token.type == "table_open":
            found.append(Printed([], said))
            followed = False
        elif token.type == "tr_open":
            found[-1].rows.append([])
        elif token.type in ("th_open", "td_open", "th_close", "td_close"):
            cells = token.nesting == 1
        elif cells and token.type == "inline":
            found[-1].rows[-1].append(_shown(token.children or [], (token.map or [0])[0] + 1))
        elif token.type == "inline":
            said = token.content
            if not followed:
                found[-1] = found[-1]._replace(caption=f"{found[-1].caption}. {said}")
            followed = True
    return found, ["<table> is not read" for _ in re.finditer(r"<table\b", text)]


def read_cell(text: str, line: int) -> GridCell:
    """One cell that stands outside of any table: "**24.1**/0.71"."""
    return _shown(_reader().parseInline(text)[0].children or [], line)


@cache
def _reader() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("table")


def _shown(tokens: Sequence[Token], line: int) -> GridCell:
    """Strong is best, emphasis or underlined second best, for each character of the text."""
    text, marks = "", list[Mark]()
    inside: Counter[str] = Counter()
    for token in tokens:
        tag = TAG.fullmatch(token.content) if token.type == "html_inline" else None
        if tag:
            inside[tag[2].casefold()] += -1 if tag[1] else 1
        inside[token.tag] += token.nesting
        plain = "" if token.type == "html_inline" else token.content
        for math, arrow in ARROWS.items():
            plain = plain.replace(math, arrow)
        best = any(inside[name] > 0 for name in BOLD)
        second = any(inside[name] > 0 for name in ("i", "em", "u", "ins"))
        text += plain or " " * (token.type in ("softbreak", "hardbreak") or "<br" in token.content)
        marks += ["best" if best else "second" if second else ""] * (len(text) - len(marks))
    return GridCell(text, line, tuple(marks))
