"""Markdown: its tables, of pipes or HTML, as grids, and single cells (of CSV files) in it."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from itertools import repeat
from typing import TYPE_CHECKING

from bench.audit.cells import GridCell, Printed, spaced, spread
from bench.audit.latex_cell import mark_of, settled, span_of
from bench.audit.latex_cell import read_cell as read_latex
from bench.audit.values import Mark
from bench.base.errors import DataError

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

STYLES = dict.fromkeys(("b", "strong"), "font-weight: bold")
STYLES |= dict.fromkeys(("u", "ins", "i", "em"), "text-decoration: underline")
STYLES["sup"] = "vertical-align: super"
"""What a tag means; emphasis stands for underlined, which Markdown has not."""
CSS = {
    "colour": re.compile(r"(?<![\w-])color\s*:\s*#?(rgb\([^)]*\)|\w+)"),
    "ground": re.compile(r"(?<![\w-])background(?:-color)?\s*:\s*#?(rgb\([^)]*\)|\w+)"),
    "bold": re.compile(r"font-weight\s*:\s*(bold|[6-9]00)"),
    "underline": re.compile(r"text-decoration[a-z-]*\s*:\s*(underline)"),
    "raised": re.compile(r"vertical-align\s*:\s*(super)"),  # a footnote's number is none of a value
}
CLOSES = {"td": ("td", "th"), "th": ("td", "th"), "tr": ("td", "th", "tr")}
CLOSES |= dict.fromkeys(("thead", "tbody", "tfoot"), ("td", "th", "tr", "thead", "tbody", "tfoot"))
"""What a tag ends where its own end is left out, as HTML allows."""
VOID = ("br", "hr", "img", "input", "col", "wbr", "table")
MOST_COLUMNS = 1000
MOST_CELLS = 50_000
MOST_OPEN = 100


class _Page(HTMLParser):
    """Gathers what it is fed, or told by the handlers: `blocks` are paragraphs and tables."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks: list[str | list[list[GridCell]]] = []
        self.rows: list[list[GridCell]] | None = None
        self.cell: GridCell | None = None
        self.chars: list[tuple[str, Mark]] = []
        self.open: list[tuple[str, dict[str, str]]] = []
        self.too_deep = False
        self.passed_over: list[str] = []
        self.before = 0
        """Lines of the file before what is fed next."""

    @property
    def line(self) -> int:
        return self.before + self.getpos()[0]

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "table" or tag in CLOSES:
            self._begin(tag, given)
        elif tag == "br":
            self.handle_data(" ")
        if self.rows is not None and tag not in VOID:
            told = [STYLES.get(tag, ""), given.get("style", ""), f"color: {given.get('color', '')}"]
            style = ";".join([*told, f"background: {given.get('bgcolor', '')}"]).casefold()
            found = {kind: match[1] for kind, form in CSS.items() if (match := form.search(style))}
            around = self.open[-1][1] if self.open else {}
            self.too_deep |= len(self.open) == MOST_OPEN
            self.open += [] if self.too_deep else [(tag, around | found)]

    def _begin(self, tag: str, given: dict[str, str]) -> None:
        self.end_cell()
        if tag == "table":
            self.end_table()
        if self.rows is None:
            self.rows = []
        ended = (i for i, one in enumerate(self.open) if one[0] in CLOSES.get(tag, ()))
        del self.open[next(ended, len(self.open)) :]
        if tag == "tr" or (tag in ("td", "th") and not self.rows):
            self.rows.append([])
        if tag in ("td", "th"):
            rows, columns = (span_of(given.get(name, "1")) for name in ("rowspan", "colspan"))
            columns = min(max(1, columns), MOST_COLUMNS)
            self.cell = GridCell("", self.line, rows=max(1, rows), columns=columns)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "tr"):
            self.end_cell()
        elif tag == "table":
            self.end_table()
        opened = (i for i in reversed(range(len(self.open))) if self.open[i][0] == tag)
        if (last := next(opened, None)) is not None:
            del self.open[last:]

    def handle_data(self, data: str) -> None:
        styles = self.open[-1][1] if self.open else {}
        if self.cell and "raised" not in styles:
            self.chars += zip(data, repeat(mark_of(styles)), strict=False)
        if self.rows is not None and not self.cell and data.strip():
            self.blocks.append(" ".join(data.split()))  # its caption

    def end_cell(self) -> None:
        if self.cell and self.rows:
            text, marks = spaced(self.chars)
            self.rows[-1].append(_shown(replace(self.cell, text=text, marks=marks)))
        self.cell, self.chars = None, []

    def end_table(self) -> None:
        self.end_cell()
        if rows := [row for row in self.rows or [] if row]:
            try:
                if self.too_deep:
                    raise DataError(f"its tags are nested more than {MOST_OPEN} deep")
                self.blocks.append(spread(settled(_placed(rows))))
            except DataError as error:
                self.blocks.append([])
                self.passed_over.append(f"line {rows[0][0].line}: a <table> is not read: {error}")
        self.rows, self.open, self.too_deep = None, [], False


def _shown(cell: GridCell) -> GridCell:
    r"""A cell, whose text may be LaTeX: $\mathbf{24.1}$, LPIPS $\downarrow$."""
    if "\\" in cell.text:
        with suppress(DataError):
            read = read_latex(cell.text, {}, cell.line)
            marks = read.marks if read.marked else cell.marks[:1] * len(read.text)
            return replace(cell, text=read.text, marks=marks)
    return cell


def _placed(rows: Sequence[Sequence[GridCell]]) -> Iterator[list[GridCell]]:
    """The rows with an empty cell wherever one from above reaches down, as LaTeX has them."""
    below = Counter[int]()
    cells = 0
    for row in rows:
        line: list[GridCell] = []
        column = 0
        width = sum(cell.columns for cell in row) + len(+below)
        cells += width
        if width > MOST_COLUMNS or cells > MOST_CELLS:
            raise DataError(f"it has more than {MOST_COLUMNS} columns or {MOST_CELLS} cells")
        last = max(+below, default=-1)
        for cell in [*row, None]:
            while below[column] or (not cell and column <= last):
                line.append(GridCell(""))
                below[column] = max(0, below[column] - 1)
                column += 1
            if cell:
                line.append(cell)
                below.update(dict.fromkeys(range(column, column + cell.columns), cell.rows - 1))
                column += cell.columns
        yield line


def grids(text: str) -> tuple[list[Printed], list[str]]:
    """Every table of a file, of pipes or HTML, in its order, and why others are not read; the
    paragraphs before and after one are its caption, each that of one table alone."""
    page = _Page()
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
    page = _Page()
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


def _tell(page: _Page, tokens: Sequence["Token"]) -> None:
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
