"""A page to look at: leaderboard, every image with every method, provenance, in one folder.

``html/index.html`` opens from disk. Nothing is loaded from outside the folder, all names are
shown as text, and the leaderboard is readable without scripts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from bench.base.records import write_atomic
from bench.base.text import printable
from bench.base.version import package_version
from bench.reports.html.data import scripts
from bench.reports.html.parts import Part, place_parts
from bench.reports.html.pictures import Shelf, place_pictures
from bench.reports.tables.layout import Group, Row, Table, TableCell, count_comparisons, make_table
from bench.results.results import Results
from bench.results.table_stats import NOT_TOLD_APART, Statistics, statistics
from bench.results.view import PLAIN, View

FOLDER = "html"
PROVENANCE = "provenance.json"


@dataclass(frozen=True)
class BoardCell:
    """A cell of the leaderboard.

    Attributes:
        shown: as in every table.
        value: the unrounded mean, "" where there is none; rows are sorted by it.
        interval: half the width of its 95 % interval as printed, "" where there is none.
        undecided: not told apart from the best, which is another method.
    """

    shown: TableCell
    value: str
    interval: str
    undecided: bool


@dataclass(frozen=True)
class BoardRow:
    """A method's row on one dataset; `method` is its index."""

    method: int
    row: Row
    cells: tuple[BoardCell, ...]


@dataclass(frozen=True)
class Board:
    """The leaderboard of one dataset."""

    group: Group
    rows: tuple[BoardRow, ...]


def render(results: Results, out: Path, view: View = PLAIN) -> list[Path]:
    """Write ``html/``: the page, its scripts and style, data, pictures and thumbnails."""
    folder = out / FOLDER
    parts = list(place_parts(results, out, folder, view))
    return write_page(results, folder, view, parts)


def write_page(
    results: Results, folder: Path, view: View = PLAIN, parts: Sequence[Part] = ()
) -> list[Path]:
    """Write the page into `folder`, with the parts that are there already."""
    table = make_table(results, replace(view, groups=None, layout="methods-as-rows"))
    results = replace(results, metrics=table.metrics)
    found = statistics(results)
    shelf = Shelf(folder, view.originals)
    shown = place_pictures(results, shelf)
    pictures = [path for item in shown.values() if not isinstance(item, str)
                for path in shelf.files(item)]  # fmt: skip
    texts = {
        "index.html": _page(results, table, found, parts),
        **scripts(results, found, shown, view.originals),
        PROVENANCE: json.dumps(results.provenance, indent=1, sort_keys=True) + "\n",
        **{name: _static(name) for name in _environment().list_templates(["css", "js"])},
    }
    for name, text in texts.items():
        write_atomic(folder / name, text)
    placed = [folder / name for part in parts for name in part.files]
    return [*(folder / name for name in texts), *placed, *dict.fromkeys(pictures)]


def _page(results: Results, table: Table, found: Statistics, parts: Sequence[Part]) -> str:
    """The page's HTML, with the metrics that the table has."""
    return _environment().get_template("index.html").render(
        table=table,
        boards=_boards(results, table, found),
        metrics=results.metrics,
        parts=parts,
        datasets=results.datasets,
        methods=results.methods,
        comparisons=found.comparisons and count_comparisons(found.comparisons.values()),
        statistics=found,
        provenance=_Provenance(results),
        version=package_version(),
    )  # fmt: skip


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("bench.reports.html", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["printable"] = printable
    return environment


def _static(name: str) -> str:
    loader = _environment().loader
    assert loader is not None
    return loader.get_source(_environment(), name)[0]


def _boards(results: Results, table: Table, found: Statistics) -> list[Board]:
    known = {
        (row["dataset"], row["metric"], row["method"]): row
        for row in found.cells.to_dict("records")
    }
    return [
        Board(
            group,
            tuple(
                BoardRow(place, row, _board_cells(results, row, known, found, dataset, method.name))
                for place, (method, row) in enumerate(zip(results.methods, group.rows, strict=True))
            ),
        )
        for dataset, group in zip([d.name for d in results.datasets], table.groups, strict=True)
    ]


def _board_cells(
    results: Results,
    row: Row,
    known: Mapping[tuple[str, str, str], Mapping[Any, Any]],
    found: Statistics,
    dataset: str,
    method: str,
) -> tuple[BoardCell, ...]:
    cells = []
    for metric, shown in zip(results.metrics, row.cells, strict=True):
        own = known[dataset, metric.name, method]
        half = (own["high"] - own["low"]) / 2
        cells.append(
            BoardCell(
                shown=shown,
                value="" if math.isnan(shown.mean) else repr(shown.mean),
                interval=f"{half:.{shown.digits}f}" if math.isfinite(half) else "",
                undecided=(dataset, metric.name) in found.comparisons
                and own["against_best"] in NOT_TOLD_APART,
            )
        )
    return tuple(cells)


class _Provenance:
    """What `provenance` holds of each thing, as lines of name and value."""

    def __init__(self, results: Results) -> None:
        self._all = results.provenance

    def of(self, kind: str, name: str) -> list[tuple[str, str]]:
        found = self._all.get(kind, {})
        own = dict(found.get(name, {}) if isinstance(found, Mapping) else {})
        if groups := own.pop("groups", None):
            own["photographs"] = len(set(groups.values()))
        return _lines(own)

    @property
    def run(self) -> list[tuple[str, str]]:
        """What holds for the whole run."""
        kinds = ("datasets", "methods", "metrics")
        return _lines({key: value for key, value in self._all.items() if key not in kinds})


def _lines(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested mappings as lines of dotted names; what is empty is left out."""
    if isinstance(value, Mapping):
        return [
            line
            for key in sorted(value, key=str)
            for line in _lines(value[key], f"{prefix}.{key}" if prefix else str(key))
        ]
    if value in (None, "", [], ()):
        return []
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return [(printable(prefix), printable(text))]
