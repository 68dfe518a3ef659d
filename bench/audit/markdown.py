"""Markdown: its tables as grids, and single cells (of CSV files) that are marked in it."""

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from bench.audit.cells import GridCell, Printed
from bench.audit.page import Page

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token


def grids(text: str) -> tuple[list[Printed], list[str]]:
    """Every table of a file, of pipes or HTML, in its order, and why others are not read; the
    paragraphs before and after one are its caption, each that of one table alone."""
    page = Page()
    _tell(page, _reader().parse(text))
    page.end_table()
    blocks = page.blocks
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
        if block:
            found.append(Printed(block, ". ".join(str(blocks[each]) for each in sorted(own))))
    return found, page.passed_over


def read_cell(text: str, line: int) -> GridCell:
    r"""One cell of a CSV file, in Markdown or LaTeX: "**24.1**/0.71", "\textbf{24.1}"."""
    page = Page()
    page.before = line - 1
    page.handle_starttag("td", [])
    # LaTeX's spaces, of which Markdown would leave the mark of punctuation
    spaced = re.sub(r"\\[,;:!\\]", lambda match: match[0].replace("\\", r"\\"), text)
    _tell(page, _reader().parseInline(spaced))
    page.end_table()
    tables = (block for block in page.blocks if block and not isinstance(block, str))
    return next(tables, [[GridCell("")]])[0][0]


@cache
def _reader() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("table")


def _tell(page: Page, tokens: Sequence["Token"]) -> None:
    """Tell a page what a reader of Markdown found, and feed it the HTML in between."""
    for token in tokens:
        if token.map:
            page.before = token.map[0] + 1 - page.getpos()[0]
        html = token.type.startswith("html_") or (token.type == "code_block" and page.rows)
        if token.type == "inline":
            if page.rows is None:
                page.blocks.append(token.content)
            _tell(page, token.children or [])
        elif html:
            page.feed(token.content)
        elif token.nesting > 0:
            page.handle_starttag(token.tag, [])
        elif token.nesting < 0:
            page.handle_endtag(token.tag)
        else:
            page.handle_data(token.content or " ")
