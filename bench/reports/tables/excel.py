"""The table, its means and all scores as one Excel workbook: text stays text, numbers are whole."""

import io
import math
import tomllib
from collections.abc import Callable
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from bench.base.text import printable
from bench.files.safe_csv import write_files
from bench.reports.tables.layout import make_table
from bench.reports.tables.table import UNDECIDED, Table
from bench.results.results import COLUMNS, Results, summarize
from bench.results.view import PLAIN, View

CREATED = datetime(2000, 1, 1)
"""Of every workbook, so that equal results give equal bytes."""
AS_THEY_ARE = {"strings_to_formulas": False, "strings_to_urls": False, "in_memory": True}
CELL_LENGTH = 32_767
NUMBER_FORMATS = 100
"""With more intervals than these cells are text: Excel holds 200 formats of numbers or so."""
SHEET_ROWS = 1_048_576
STYLES: dict[str, dict[str, Any]] = {
    "": {},
    **tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8")),
}
Formats = Callable[..., Format]
"""The format of a style, a number of decimals, and what follows a number as part of its format, so
that it stays a number."""


def render(results: Results, out: Path, view: View = PLAIN) -> list[Path]:
    """Write ``table.xlsx`` with the sheets Table, Means and Scores.

    Names are written as text, never as formulas or links. A missing number is a dash in the table
    and an empty cell beside its reason elsewhere.
    """
    file = io.BytesIO()
    with xlsxwriter.Workbook(file, AS_THEY_ARE) as book:
        book.set_properties({"title": printable(results.title), "created": CREATED})

        @cache
        def formats(style: str, digits: int | None = None, after: str = "") -> Format:
            number: dict[str, Any] = {}
            if digits is not None:
                behind = f'"{after}"' if after else ""
                number = {"num_format": f"0.{'0' * digits}".rstrip(".") + behind}
            return book.add_format({**STYLES[style], **number})

        _write_table(book.add_worksheet("Table"), formats, make_table(results, view))
        _write_frame(book.add_worksheet("Means"), formats, summarize(results))
        _write_frame(book.add_worksheet("Scores"), formats, results.scores[COLUMNS])
    return write_files(out, {"table.xlsx": file.getvalue()})


def _write_table(sheet: Worksheet, formats: Formats, table: Table) -> None:
    heads = ["Dataset", *table.heads, *map(str, table.columns)]
    sheet.write(0, 0, _text(table.title), formats("title"))
    sheet.write_row(2, 0, map(_text, heads), formats("head"))
    lines = [(group, line) for group in table.groups for line in group.rows]
    shown = {(cell.digits, cell.beside) for _, line in lines for cell in line.cells}
    for row, (group, line) in enumerate(lines, 3):
        labels = [group.heading, *line.labels]
        sheet.write_row(row, 0, map(_text, labels), formats("text"))
        for column, cell in enumerate(line.cells, len(labels)):
            sign = UNDECIDED if cell.mark == "undecided" else ""
            if math.isfinite(cell.mean) and (not cell.beside or len(shown) <= NUMBER_FORMATS):
                number = formats(cell.mark, cell.digits, cell.beside + sign)
                sheet.write(row, column, cell.mean, number)
            else:
                sheet.write(row, column, cell.text + sign, formats(cell.mark))
            if cell.reason:
                sheet.write_comment(row, column, cell.reason[:CELL_LENGTH])
    sheet.write_column(4 + len(lines), 0, map(_text, table.below("excel")))
    sheet.set_column(0, len(table.heads), 22)
    sheet.set_column(1 + len(table.heads), len(heads) - 1, 12)
    sheet.freeze_panes(3, 1 + len(table.heads))


def _write_frame(sheet: Worksheet, formats: Formats, frame: pd.DataFrame) -> None:
    sheet.write_row(0, 0, map(_text, frame.columns), formats("head"))
    sheet.freeze_panes(1, 0)
    if len(frame) >= SHEET_ROWS:
        sheet.write(1, 0, f"{len(frame)} rows are more than a sheet holds; see the CSV")
        return
    for column, name in enumerate(frame.columns):
        for row, value in enumerate(frame[name].tolist(), 1):
            if isinstance(value, str) or math.isinf(value):
                sheet.write_string(row, column, _text(value))
            elif value == value:
                sheet.write_number(row, column, value)
    sheet.autofilter(0, 0, max(len(frame), 1), len(frame.columns) - 1)


def _text(value: object) -> str:
    return printable(value)[:CELL_LENGTH]
