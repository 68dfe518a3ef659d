"""Markdown: its tables as grids, and single cells (of CSV files) that are marked in it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from bench.audit.cells import GridCell
from bench.audit.values import Mark

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

TAG = re.compile(r"<(/?)(b|strong|i|em|u|ins)\s*>", re.IGNORECASE)
BOLD = {"b", "strong"}


def grids(text: str) -> list[list[list[GridCell]]]:
    """Every table of a file, in its order."""
    found: list[list[list[GridCell]]] = []
    cells = False
    for token in _reader().parse(text):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type in ("th_open", "td_open", "th_close", "td_close"):
            cells = token.nesting == 1
        elif cells and token.type == "inline":
            found[-1][-1].append(_shown(token.children or [], (token.map or [0])[0] + 1))
    return found


def passed_over(text: str) -> list[str]:
    """Why tables of a file are not among its grids."""
    return ["<table> is not read" for _ in re.finditer(r"<table\b", text)]


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
        best = any(inside[name] > 0 for name in BOLD)
        second = any(inside[name] > 0 for name in ("i", "em", "u", "ins"))
        text += plain or " " * (token.type in ("softbreak", "hardbreak") or "<br" in token.content)
        marks += ["best" if best else "second" if second else ""] * (len(text) - len(marks))
    return GridCell(text, line, tuple(marks))
