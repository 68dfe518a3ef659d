"""The table, its means and all scores as one Excel workbook: text stays text, numbers are whole."""

from __future__ import annotations

import io
import math
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xlsxwriter

from bench.base.records import write_atomic
from bench.base.text import printable
from bench.reports.tables.csv_files import COLUMNS
from bench.reports.tables.layout import (
    UNDECIDED,
    Group,
    Marking,
    Table,
    TableCell,
    bracketed,
    make_table,
)
from bench.results.results import Results, summarize
from bench.results.view import PLAIN, View

if TYPE_CHECKING:
    import pandas as pd
    from xlsxwriter.format import Format
    from xlsxwriter.workbook import Workbook
    from xlsxwriter.worksheet import Worksheet

FILE_NAME = "table.xlsx"
CREATED = datetime(2000, 1, 1)
"""Of every workbook, so that equal results give equal bytes."""
CELL_LENGTH = 32_767
SHEET_ROWS = 1_048_576
STYLES: dict[str, dict[str, Any]] = {
    "title": {"bold": True, "font_size": 14},
    "head": {"bold": True, "bottom": 1, "text_wrap": True, "valign": "top"},
    "text": {"valign": "top", "text_wrap": True},
    "": {},
    "best": {"bold": True, "font_color": "#C00000"},
    "second": {"underline": 1, "font_color": "#1F4E9E"},
    "undecided": {},
}
SIGNS = {"undecided": UNDECIDED}
"""What follows a number as part of its format, so that it stays a number."""
LEGENDS: dict[Marking, str] = {
    "best": "Bold and red is best, underlined and blue second best.",
    "significant": f"Bold and red is best, {UNDECIDED} is not told apart from the best (paired "
    "test, Holm over {}, level 5 %); nothing is marked where no test is possible.",
}


def render(results: Results, out: Path, view: View = PLAIN) -> list[Path]:
    """Write ``table.xlsx`` with the sheets Table, Means and Scores.

    Names are written as text, never as formulas or links. A missing number is a dash in the table
    and an empty cell beside its reason elsewhere.
    """
    file = io.BytesIO()
    with xlsxwriter.Workbook(file, {"in_memory": True}) as workbook:
        workbook.set_properties({"title": printable(results.title), "created": CREATED})
        _Sheets(workbook, results, make_table(results, view)).write()
    write_atomic(out / FILE_NAME, file.getvalue())
    return [out / FILE_NAME]


class _Sheets:
    """The sheets of one workbook."""

    def __init__(self, workbook: Workbook, results: Results, table: Table) -> None:
        self._workbook = workbook
        self._results = results
        self._table = table
        self._formats: dict[tuple[str, int | None], Format] = {}

    def write(self) -> None:
        self._write_table(self._workbook.add_worksheet("Table"))
        self._write_frame(self._workbook.add_worksheet("Means"), summarize(self._results))
        self._write_frame(self._workbook.add_worksheet("Scores"), self._results.scores[COLUMNS])

    def _format(self, style: str, digits: int | None = None) -> Format:
        """A format made once per style and number of decimals."""
        if (style, digits) not in self._formats:
            number = {} if digits is None else {"num_format": _number_format(style, digits)}
            made = self._workbook.add_format({**STYLES[style], **number})
            self._formats[style, digits] = made
        return self._formats[style, digits]

    def _text(self, sheet: Worksheet, row: int, column: int, text: str, style: str) -> None:
        sheet.write_string(row, column, printable(text)[:CELL_LENGTH], self._format(style))

    def _write_table(self, sheet: Worksheet) -> None:
        table = self._table
        heads = ["Dataset", *table.heads, *map(str, table.columns)]
        self._text(sheet, 0, 0, table.title, "title")
        for column, head in enumerate(heads):
            self._text(sheet, 2, column, head, "head")
        row = 3
        for group in table.groups:
            row = self._write_group(sheet, row, group)
        for number, text in enumerate(table.below(LEGENDS)):
            sheet.write_string(row + 1 + number, 0, text[:CELL_LENGTH])
        sheet.set_column(0, len(table.heads), 22)
        sheet.set_column(1 + len(table.heads), len(heads) - 1, 12)
        sheet.freeze_panes(3, 1 + len(table.heads))

    def _write_group(self, sheet: Worksheet, row: int, group: Group) -> int:
        """Write a dataset's rows from `row` on; returns the row after them."""
        for line in group.rows:
            labels = [group.heading + bracketed(group.label.notes), *map(str, line.labels)]
            for column, text in enumerate(labels):
                self._text(sheet, row, column, text, "text")
            for column, cell in enumerate(line.cells, len(labels)):
                self._write_cell(sheet, row, column, cell)
            row += 1
        return row

    def _write_cell(self, sheet: Worksheet, row: int, column: int, cell: TableCell) -> None:
        if math.isfinite(cell.mean):
            sheet.write_number(row, column, cell.mean, self._format(cell.mark, cell.digits))
        else:
            self._text(sheet, row, column, cell.text + SIGNS.get(cell.mark, ""), cell.mark)
        if cell.reason:
            sheet.write_comment(row, column, cell.reason[:CELL_LENGTH])

    def _write_frame(self, sheet: Worksheet, frame: pd.DataFrame) -> None:
        for column, name in enumerate(frame.columns):
            self._text(sheet, 0, column, name, "head")
        sheet.freeze_panes(1, 0)
        if len(frame) >= SHEET_ROWS:
            sheet.write_string(1, 0, f"{len(frame)} rows are more than a sheet holds; see the CSV")
            return
        for column, name in enumerate(frame.columns):
            for row, value in enumerate(frame[name].tolist(), 1):
                _write_value(sheet, row, column, value)
        sheet.autofilter(0, 0, max(len(frame), 1), len(frame.columns) - 1)


def _write_value(sheet: Worksheet, row: int, column: int, value: object) -> None:
    if isinstance(value, str):
        sheet.write_string(row, column, printable(value)[:CELL_LENGTH])
    elif isinstance(value, (int, float)) and math.isfinite(value):
        sheet.write_number(row, column, value)
    elif isinstance(value, float) and math.isinf(value):
        sheet.write_string(row, column, str(value))


def _number_format(style: str, digits: int) -> str:
    sign = SIGNS.get(style, "")
    return f"0.{'0' * digits}".rstrip(".") + (f'"{sign}"' if sign else "")
