"""CSV whose texts no spreadsheet runs and no terminal obeys."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.base.records import write_atomic
from bench.base.text import spreadsheet_text

if TYPE_CHECKING:
    import pandas as pd

SEVEN_DIGITS = "%.7g"
"""For what is computed from scores: more would differ between machines that round otherwise."""


def write_files(out: Path, files: Mapping[str, Any], float_format: str | None = None) -> list[Path]:
    """Write texts (str or bytes), and data frames as CSV, by their names below `out`."""
    for name, content in files.items():
        data = content if isinstance(content, str | bytes) else csv_bytes(content, float_format)
        write_atomic(out / name, data)
    return [out / name for name in files]


def rows_as_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """Texts and numbers (None for a missing one) as `csv_bytes` has them, at once: without pandas.

    No number is NaN.
    """
    file = io.StringIO()
    safe = (
        [spreadsheet_text(cell) if isinstance(cell, str) else cell for cell in row]
        for row in (columns, *rows)
    )
    csv.writer(file, lineterminator="\n").writerows(safe)
    return file.getvalue().encode("utf-8", "backslashreplace")


def csv_bytes(frame: "pd.DataFrame", float_format: str | None = None) -> bytes:
    """A frame of numbers and texts; the only way to CSV, for names come from outside.

    Control characters of a text are shown as escapes, and one that a spreadsheet would run as a
    formula gets a leading apostrophe.
    """
    texts = frame.select_dtypes(exclude="number").columns
    safe = frame.assign(**{name: frame[name].map(spreadsheet_text) for name in texts})
    safe = safe.rename(columns=spreadsheet_text)
    text = safe.to_csv(index=False, lineterminator="\n", float_format=float_format)
    return text.encode("utf-8", "backslashreplace")
