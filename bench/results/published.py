"""Published values: read from `results/published`, set beside measured ones, never mixed in.

A source is a card (NAME.toml: where from, known protocol, names) and its rows (NAME.csv).
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from itertools import product
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from bench.base.cards import Card, read_card
from bench.base.errors import DataError
from bench.base.records import what_is_wrong
from bench.base.text import printable
from bench.base.types import Better, MetricSpec
from bench.metrics.options import parse
from bench.results.results import Item, Results

COLUMNS = ["table", "dataset", "method", "variant", "metric", "better", "value", "printed_bold"]
NOISE_COLUMNS = ["dataset", "metric", "half_width", "images"]


class PublishedTable(Card):
    """`marked` says how many ranks it marks (2: best and second best)."""

    caption: str
    marked: Literal[0, 1, 2]


class PublishedDataset(Card):
    """Our names for it, its size and manifest where known, what may differ."""

    names: list[str]
    images: int | None = None
    manifest_sha256: str = ""
    protocol: str = ""


class PublishedMetric(Card):
    """Our name for it, and what may differ."""

    name: str
    protocol: str = ""


class SourceCard(Card):
    """Where published numbers, the CSV file `rows`, are from; its names to registered ones.

    Attributes:
        protocol: by which they were made.
        methods: its name -> ours; names that are not listed match ours whatever their case.
        variants: text of the column `variant` -> our method's name.
    """

    name: str
    title: str
    source: str
    rows: str
    protocol: str = "not stated"
    notes: list[str] = Field(default_factory=list)
    methods: dict[str, str] = Field(default_factory=dict)
    variants: dict[str, str] = Field(default_factory=dict)
    tables: dict[str, PublishedTable]
    datasets: dict[str, PublishedDataset]
    metrics: dict[str, PublishedMetric]


class PublishedRow(Card):
    """One printed value. `value` keeps its digits; `marked` is whether it is highlighted."""

    table: str
    dataset: str
    method: str
    variant: str
    metric: str
    better: Better
    value: Annotated[Decimal, Field(allow_inf_nan=False)]
    marked: bool = Field(alias="printed_bold")


@dataclass(frozen=True)
class Source:
    card: SourceCard
    rows: tuple[PublishedRow, ...]

    def method_name(self, row: PublishedRow) -> str:
        """Our name of the row's method; the same for rows that are the same configuration."""
        if row.variant:
            return self.card.variants.get(row.variant, f"{row.method} ({row.variant})")
        return self.card.methods.get(row.method, row.method)

    def rows_of(self, dataset: Item, metric: MetricSpec, method: Item) -> list[PublishedRow]:
        """The rows that are about these; a dataset goes by any name that the card gives it."""
        called = {own: (own, *known.names) for own, known in self.card.datasets.items()}
        meant = base_name(metric)
        return [
            row
            for row in self.rows
            if self.card.metrics[row.metric].name == meant
            and same_name(self.method_name(row), method)
            and any(same_name(name, dataset) for name in called[row.dataset])
        ]


def folder() -> Path:
    """Where the published values are, in an installed package or a checkout; else DataError."""
    package = Path(__file__).parents[1]
    installed, checkout = package / "published", package.parent / "results" / "published"
    found = installed if installed.is_dir() else checkout
    if not found.is_dir():
        raise DataError(
            f"{printable(found)}: the folder of published values is missing; "
            "install the package again or work in a whole checkout"
        )
    return found


def sources() -> tuple[Source, ...]:
    """All sources, in the order of their names; raises as `read_source`."""
    return tuple(read_source(path) for path in sorted(folder().glob("*.toml")))


def read_source(path: Path) -> Source:
    """A source from its card; CardError, DataError: that, or a row, whose names it must have."""
    card = read_card(path, SourceCard)
    rows = read_rows(path.with_name(card.rows))
    for row, what in product(rows, ("table", "dataset", "metric")):
        name = printable(getattr(row, what))
        if getattr(row, what) not in getattr(card, f"{what}s"):
            raise DataError(f"{printable(card.rows)}: {what} '{name}' is not in {path.name}")
    return Source(card, tuple(rows))


def read_rows(path: Path) -> list[PublishedRow]:
    """Tidy rows of a CSV file with `COLUMNS`; DataError: it cannot be read, a column is missing, a
    value is no number."""
    rows = []
    for line, row in _records(path, COLUMNS):
        try:
            rows.append(PublishedRow.model_validate(row))
        except ValidationError as error:
            why = what_is_wrong(error)
            raise DataError(f"{printable(path)}, line {line}: {why}") from error
    return rows


def _records(path: Path, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Rows with their lines."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in columns if name not in (reader.fieldnames or [])]
            if not missing:
                cells = ({name: (row[name] or "").strip() for name in columns} for row in reader)
                return [(reader.line_num, row) for row in cells]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{printable(path)}: cannot be read ({printable(error)})") from error
    expected = f"{', '.join(missing)} are missing; expected {','.join(columns)}"
    raise DataError(f"{printable(path)}: columns {expected}")


def as_results(
    source: Source,
    table: str,
    datasets: Sequence[Item],
    methods: Sequence[Item],
    metrics: Sequence[MetricSpec],
) -> Results:
    """A published table as results, in the order of these items, each value that of a whole set;
    what it lacks is missing; the provenance `published` says where it is from."""
    import pandas as pd

    values: dict[tuple[str, ...], Decimal] = {
        (dataset.name, method.name, metric.name): row.value
        for dataset, method, metric in product(datasets, methods, metrics)
        for row in source.rows_of(dataset, metric, method)
        if row.table == table
    }
    names = ([each.name for each in items] for items in (datasets, methods, metrics))
    scores = [
        (*key, float(values.get(key, "nan")), "" if key in values else "not published")
        for key in product(*names)
    ]
    frame = pd.DataFrame(scores, columns=["dataset", "method", "metric", "value", "reason"])
    digits = {key[2]: -int(value.as_tuple().exponent) for key, value in values.items()}
    shown = [replace(m, digits=digits.get(m.name, m.digits), kind="set") for m in metrics]
    return Results(
        title=f"{source.card.title}, Table {table}, as published (protocol {source.card.protocol})",
        datasets=tuple(replace(item, note="") for item in datasets),
        methods=tuple(replace(item, note="") for item in methods),
        metrics=tuple(shown),
        scores=frame.assign(image=""),
        provenance={"published": source.card.source},
    )


@cache
def noise_floor() -> dict[tuple[str, str], tuple[float, int]]:
    """By published dataset and our metric: 95 % half-width of a mean and its n."""
    return {
        (row["dataset"], row["metric"]): (float(row["half_width"]), int(row["images"]))
        for _, row in _records(folder() / "noise_floor.csv", NOISE_COLUMNS)
    }


def base_name(metric: MetricSpec) -> str:
    """A metric's name without its options."""
    return parse(metric.name)[0]


def same_name(published: str, item: Item) -> bool:
    """Whether a published name is an item's name or title, whatever its case and punctuation."""
    return plain(published) in {plain(item.name), plain(item.title)}


@cache
def plain(name: str) -> str:
    """A name without case and separators: "DIV2K-val" is "div2k_val", "HAT+" is not "HAT"."""
    return re.sub(r"[\s_.,()-]+", "", name.casefold())
