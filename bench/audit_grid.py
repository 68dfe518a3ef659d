"""From a grid of cells (a LaTeX tabular, a wide CSV) to values: which is metric, method, dataset.

Two layouts, told apart by where arrows or known metrics' names are: in the headings (methods as
rows), or in the first columns (methods as columns).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Literal

from bench.audit import Mark, Value
from bench.errors import DataError
from bench.metrics.catalogue import METRICS
from bench.published import plain
from bench.text import printable
from bench.types import Better

NUMBER = re.compile(r"([+-]?\d+(?:\.\d+)?)\s*(?:dB|%)?(?:\s*(?:±|\+/-)\s*[\d.]+)?\s*[*†‡]*")
MISSING = {"", "-", "–", "—", "--", "---", "n/a", "na", "none", "nan", "/"}
DATASET_HEADS = {"dataset", "datasets", "data", "benchmark", "benchmarks", "testset", "testsets"}
CHECKS = {"✓", "✔", "×", "✗", "✘", "x", "", "yes", "no", "on", "off"}
ARROWS: dict[str, Better] = {"↑": "higher", "↓": "lower"}
Role = Literal["metric", "dataset", "method"]


@dataclass(frozen=True)
class GridCell:
    """A cell as read: text without markup, how it is highlighted, its line in the file."""

    text: str
    mark: Mark = ""
    line: int = 0

    @property
    def number(self) -> Decimal | None:
        match = NUMBER.fullmatch(self.text.replace("−", "-").strip())
        return Decimal(match[1]) if match else None

    @property
    def missing(self) -> bool:
        return self.text.strip().casefold() in MISSING


Grid = Sequence[Sequence[GridCell]]


@cache
def known_metrics() -> dict[str, Better]:
    """Directions of the registered metrics, by every name that they go by."""
    names: dict[str, Better] = {"ssim": "higher", "psnr": "higher"}
    for spec in METRICS:
        for name in (spec.name, spec.title, spec.pyiqa_name):
            names.setdefault(plain(name), spec.better)
    return {name: better for name, better in names.items() if name}


def split_metric(text: str) -> tuple[str, Better | None]:
    """ "LPIPS ↓ [74]" -> ("LPIPS", "lower"): the name, and the direction the arrow states."""
    stated = next((better for arrow, better in ARROWS.items() if arrow in text), None)
    bare = re.sub(r"[↑↓]|\[[^\]]*\]|\((?:dB|↑|↓|\s)*\)", "", text)
    return " ".join(bare.split()), stated


def direction(name: str, stated: Better | None) -> Better | None:
    """The metric's own direction where it is known, else the stated one."""
    return known_metrics().get(plain(name), stated)


def read_grid(grid: Grid, table: str) -> list[Value]:
    """The values of a table.

    Args:
        table: what it is called in places.

    Raises:
        DataError: there are no numbers, or nothing that tells where the metrics are.
    """
    rows = _rectangular(grid)
    first = next((i for i, row in enumerate(rows) if _is_data(row)), None)
    if first is None:
        raise DataError(f"{printable(table)}: no row with numbers was found")
    while first > 1 and _heading(rows[first - 1], 1):
        first -= 1
    body = [row for row in rows[first:] if any(cell.text for cell in row)]
    labels = _label_columns(body)
    if not first or not labels:
        raise DataError(f"{printable(table)}: a heading and a first column of names are needed")
    heads = [_joined([row[column] for row in rows[:first]]) for column in range(len(rows[0]))]
    if _tells_metrics(heads[labels:]):
        uppers = [_joined([row[column] for row in rows[: first - 1]]) for column in _span(rows)]
        bottom = [row.text for row in rows[first - 1]]
        return _apart(_methods_as_rows(body, labels, bottom, uppers, heads, table), table)
    metric = _metric_column(body, labels)
    if metric is None:
        raise DataError(
            f"{printable(table)}: neither headings nor first columns name metrics; "
            "give them arrows (↑ ↓ or $\\uparrow$ $\\downarrow$)"
        )
    return _apart(_methods_as_columns(body, labels, metric, heads, table), table)


def _apart(values: Iterable[Value], table: str) -> list[Value]:
    """The values, each with a dataset, metric and method of its own."""
    seen: dict[tuple[str, str, str], Value] = {}
    for value in values:
        key = (value.dataset, value.metric, value.method)
        if key in seen:
            raise DataError(
                f"{printable(table)}: two values are both {printable(', '.join(filter(None, key)))}"
                "; give datasets a column headed Dataset, and methods names of their own"
            )
        seen[key] = value
    return list(seen.values())


def _span(rows: Grid) -> range:
    return range(len(rows[0]))


def _rectangular(grid: Grid) -> list[list[GridCell]]:
    width = max((len(row) for row in grid), default=0)
    return [[*row, *[GridCell("")] * (width - len(row))] for row in grid]


def _is_data(row: Sequence[GridCell]) -> bool:
    """At least half of what follows the first cell are numbers."""
    rest = [cell for cell in row[1:] if cell.text]
    numbers = sum(cell.number is not None for cell in rest)
    return bool(numbers) and 2 * numbers >= len([c for c in rest if not c.missing])


def _label_columns(body: Grid) -> int:
    """How many columns at the left hold names: those before the first that is mostly numbers."""
    for column in range(len(body[0])):
        cells = [row[column] for row in body if row[column].text]
        numbers = sum(cell.number is not None or cell.missing for cell in cells)
        if cells and 2 * numbers > len(cells) and any(c.number is not None for c in cells):
            return column
    return len(body[0])


def _joined(cells: Sequence[GridCell]) -> str:
    return " ".join(dict.fromkeys(cell.text for cell in cells if cell.text))


def _is_metric(text: str) -> bool:
    name, stated = split_metric(text)
    return stated is not None or plain(name) in known_metrics()


def _tells_metrics(texts: Sequence[str]) -> bool:
    return 2 * sum(_is_metric(text) or _ends_in_metric(text) for text in texts) >= len(texts)


def _ends_in_metric(text: str) -> bool:
    return any(_is_metric(word) for word in text.split()[-1:])


def _metric_column(body: Grid, labels: int) -> int | None:
    for column in range(labels):
        texts = [row[column].text for row in body if row[column].text]
        if texts and _tells_metrics(texts):
            return column
    return None


def _methods_as_rows(
    body: Grid,
    labels: int,
    bottom: Sequence[str],
    uppers: Sequence[str],
    heads: Sequence[str],
    table: str,
) -> Iterator[Value]:
    dataset_column = _dataset_column(body, labels, heads)
    dataset = ""
    for row in body:
        if _heading(row, labels):
            dataset = _heading(row, labels)
            continue
        if dataset_column is not None and row[dataset_column].text:
            dataset = row[dataset_column].text
        names = [row[i].text for i in range(labels) if i != dataset_column]
        method = ", ".join(name for name in names if name)
        for column in range(labels, len(row)):
            upper = uppers[column] if _is_metric(bottom[column]) else ""
            metric = bottom[column] if _is_metric(bottom[column]) else heads[column]
            here = ", ".join(part for part in (dataset, upper) if part)
            yield from _value(row[column], table, here, method, metric)


def _dataset_column(body: Grid, labels: int, heads: Sequence[str]) -> int | None:
    """The column headed so; else the first of several, where methods are repeated under it."""
    named = next((i for i in range(labels) if plain(heads[i]) in DATASET_HEADS), None)
    if named is not None or labels < 2:
        return named
    groups: dict[str, set[str]] = {}
    for row in body:
        groups.setdefault(row[0].text, set()).add(row[labels - 1].text)
    names = {row[labels - 1].text for row in body}
    repeated = len(groups) > 1 and sum(map(len, groups.values())) > len(names)
    return 0 if repeated and not names <= CHECKS and not set(groups) <= CHECKS else None


def _methods_as_columns(
    body: Grid, labels: int, metric: int, heads: Sequence[str], table: str
) -> Iterator[Value]:
    dataset = ""
    for row in body:
        if _heading(row, labels):
            dataset = _heading(row, labels)
            continue
        others = [row[i].text for i in range(labels) if i != metric]
        dataset = ", ".join(text for text in others if text) or dataset
        for column in range(labels, len(row)):
            yield from _value(row[column], table, dataset, heads[column], row[metric].text)


def _heading(row: Sequence[GridCell], labels: int) -> str:
    """The text of a row that holds nothing else: a heading between groups of rows."""
    texts = list(dict.fromkeys(cell.text for cell in row if cell.text))
    numbers = [cell for cell in row[labels:] if cell.number is not None]
    return texts[0] if len(texts) == 1 and not numbers else ""


def _value(cell: GridCell, table: str, dataset: str, method: str, metric: str) -> Iterator[Value]:
    number = cell.number
    if number is not None:
        name, stated = split_metric(metric)
        yield Value(
            table=table,
            dataset=_bare(dataset),
            method=_bare(method),
            metric=name,
            value=number,
            better=direction(name, stated),
            mark=cell.mark,
            stated=stated,
            line=cell.line,
        )


def _bare(text: str) -> str:
    """A name without the number of its citation."""
    return " ".join(re.sub(r"\[[\d,\s–-]+\]", "", text).split())
