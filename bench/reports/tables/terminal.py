"""The table in a terminal: whole numbers and names in any width, with and without colour."""

import io
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from bench.files.safe_csv import write_files
from bench.reports.tables.layout import make_table
from bench.reports.tables.table import UNDECIDED, Group, Marking, Row, Table, TableCell, bracketed
from bench.results.results import Results
from bench.results.view import PLAIN, View

FILE_WIDTH = 80
DATASET_WIDTH = 16
LABEL_WIDTH = 30
WORD_WIDTH = 32
"""Words up to this are never split: a column is as wide as its longest."""
SIGNS = {"best": "●", "second": "○", "undecided": UNDECIDED}
STYLES = {"": "", "best": "bold red", "second": "bright_blue", "undecided": ""}
_KNOWN = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
LEGENDS: dict[Marking, str] = _KNOWN["legends"]
ASCII = str.maketrans("●○†–↑↓✓×", "*+#-^vyx")
EDGES = 2
GAP = 2


@dataclass(frozen=True)
class _Column:
    head: str
    cells: tuple[Text, ...]
    width: int


_Page = tuple[str, Sequence[_Column], Sequence[int]]
"""One table as printed: a heading above it, columns, and the rows that end a group."""


def render(results: Results, out: Path, view: View = PLAIN) -> list[Path]:
    """Write what `show` prints in 80 columns, without colour, to ``leaderboard.txt``."""
    return write_files(out, {"leaderboard.txt": text(results, view)})


def text(results: Results, view: View = PLAIN) -> str:
    """What `show` prints in 80 columns, without colour."""
    file = io.StringIO()
    # In a notebook a console would show its output there, whatever its file.
    console = Console(file=file, width=FILE_WIDTH, color_system=None, force_jupyter=False)
    show(results, console, view)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def show(results: Results, console: Console, view: View = PLAIN) -> None:
    """Print the table, its legend, footnotes and notes.

    The layout of the view is kept where it fits into the console's width; where it does not,
    there is one table per dataset with methods as rows, in blocks of as many metrics as fit.
    """
    table = make_table(results, view)
    _print(console, table.title, "bold")
    for heading, columns, ends in _pages(results, view, table, console.width):
        if heading:
            _print(console, heading)
        console.print(_rich_table(columns, ends, console.encoding), crop=False)
    for line in table.below(LEGENDS):
        _print(console, line)


def _pages(results: Results, view: View, table: Table, width: int) -> Iterator[_Page]:
    datasets = [Text(line) for group in table.groups for line in _dataset_lines(group)]
    labels, numbers = _columns(table, [row for group in table.groups for row in group.rows])
    whole = [_column("Dataset", datasets, DATASET_WIDTH), *labels, *numbers]
    if not table.single and _width(whole) <= width:
        ends = accumulate(len(group.rows) for group in table.groups)
        yield "", whole, [end - 1 for end in ends]
        return
    by_rows = make_table(results, replace(view, layout="methods-as-rows"))
    for group in by_rows.groups:
        yield from _blocks(by_rows, group, width)


def _width(columns: Sequence[_Column]) -> int:
    return EDGES + sum(column.width + GAP for column in columns) - 1


def _dataset_lines(group: Group) -> list[str]:
    """The dataset's heading spread over the rows of its group, what is left over in the last."""
    label = str(group.label)
    width = max(DATASET_WIDTH, _longest_word(label))
    wrapped = Text(label).wrap(_MEASURE, width, overflow="fold")
    lines = [line.plain.rstrip() for line in wrapped] + ([group.count] if group.count else [])
    last = len(group.rows) - 1
    head, tail = lines[:last], lines[last:]
    return [*head, "\n".join(tail), *[""] * (last - len(lines))]


def _columns(table: Table, rows: Sequence[Row]) -> tuple[list[_Column], list[_Column]]:
    labels = [
        _column(head, [Text(str(row.labels[i])) for row in rows], LABEL_WIDTH)
        for i, head in enumerate(table.heads)
    ]
    numbers = [
        _number_column(str(label), [row.cells[i] for row in rows])
        for i, label in enumerate(table.columns)
    ]
    return labels, numbers


def _number_column(head: str, cells: Sequence[TableCell]) -> _Column:
    """Numbers aligned at their right end, with room for marks and footnotes after them."""
    number_width = max(cell_len(cell.text) for cell in cells)
    unmarked = " " if any(cell.mark for cell in cells) else ""
    tails = [f"{SIGNS.get(cell.mark, unmarked)}{bracketed(cell.notes)}" for cell in cells]
    tail_width = max(len(tail.rstrip()) for tail in tails)
    texts = [
        Text.assemble(
            (cell.text.rjust(number_width), STYLES[cell.mark]), tail[:tail_width].ljust(tail_width)
        )
        for cell, tail in zip(cells, tails, strict=True)
    ]
    return _column(head, texts, number_width + tail_width)


def _column(head: str, cells: Sequence[Text], limit: int) -> _Column:
    """A column as wide as its cells up to `limit`, widened for words."""
    longest = max(cell_len(line) for cell in cells for line in cell.plain.split("\n"))
    words = max(map(_longest_word, [head, *(cell.plain for cell in cells)]))
    return _Column(head, tuple(cells), max(min(longest, limit), words, 1))


def _longest_word(text: str) -> int:
    return min(WORD_WIDTH, max((cell_len(word) for word in text.split()), default=0))


def _blocks(table: Table, group: Group, width: int) -> Iterator[_Page]:
    """One dataset's columns, as many at a time as fit beside the row labels."""
    labels, waiting = _columns(table, group.rows)
    heading = str(group.heading)
    while waiting:
        block = [*labels, waiting.pop(0)]
        while waiting and _width([*block, waiting[0]]) <= width:
            block.append(waiting.pop(0))
        yield heading, block, ()
        heading = f"{group.heading.text}, continued"


def _rich_table(columns: Sequence[_Column], ends: Sequence[int], encoding: str) -> RichTable:
    table = RichTable(box=box.HORIZONTALS, padding=(0, 1, 0, 0), pad_edge=True)
    for column in columns:
        head = Text(_encodable(column.head, encoding))
        table.add_column(head, width=column.width, overflow="fold", vertical="top")
    for i, cells in enumerate(zip(*(column.cells for column in columns), strict=True)):
        for cell in cells:
            cell.plain = _encodable(cell.plain, encoding)
        table.add_row(*cells, end_section=i in ends)
    return table


def plain(heads: Sequence[str], left: Sequence[str], rows: Iterable[Sequence[str]]) -> RichTable:
    """A table of texts as they are, all but the columns `left` aligned as numbers are."""
    table = RichTable(box=box.HORIZONTALS, padding=(0, 1, 0, 0))
    for head in heads:
        table.add_column(head, overflow="fold", justify="left" if head in left else "right")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _print(console: Console, text: str, style: str = "") -> None:
    """Print text as it is: no markup, no highlighting, words of any length folded."""
    shown = Text(_encodable(text, console.encoding), style)
    console.print(shown, overflow="fold", highlight=False)


def _encodable(text: str, encoding: str) -> str:
    """`text` in what the encoding can hold; signs have replacements of equal length."""
    plain = text if encoding.lower().startswith("utf") else text.translate(ASCII)
    return plain.encode(encoding, "backslashreplace").decode(encoding)


_MEASURE = Console(file=io.StringIO(), width=FILE_WIDTH)
