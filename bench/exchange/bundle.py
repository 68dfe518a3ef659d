"""A whole result as one checked record: scores, what they depend on and how to name them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from bench.base.types import MetricSpec
from bench.data.find import public_names
from bench.exchange.measured import (
    ExchangeCard,
    Measured,
    MeasuredCell,
    MetricPrint,
    Name,
    Text,
    of_results,
)
from bench.results.results import COLUMNS, Item, Results

if TYPE_CHECKING:
    import pandas as pd

RESULT = "result.json"
SCORES = "data/scores.parquet"
Row = tuple[str, str, str, str, float | None, str]


class ItemLabel(ExchangeCard):
    """How a method or dataset is shown; see `results.Item`."""

    title: Text
    note: Text = ""
    variant: dict[Name, Text] = Field(default_factory=dict)

    @classmethod
    def of(cls, item: Item) -> "ItemLabel":
        return cls(title=item.title, note=item.note, variant=dict(item.variant))


class Bundle(ExchangeCard):
    """A result; `made_with` tells versions, device and the methods' fingerprints."""

    format: Literal[1] = 1
    title: Text
    notes: list[Text] = Field(default_factory=list)
    datasets: dict[Name, ItemLabel]
    methods: dict[Name, ItemLabel]
    measured: Measured
    made_with: dict[Name, Any] = Field(default_factory=dict)

    @field_validator("made_with")
    @classmethod
    def _has_versions_by_name(cls, told: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(told.get("versions", {}), dict):
            raise ValueError("versions: expected a table of packages")
        return told


def of_run(results: Results, scale: int | None = None) -> Bundle:
    """The result of a run, without any path of this machine."""
    names = public_names(item.name for item in results.datasets)
    made = ("device", "machine", "python", "versions", "methods", "certificate")
    kept = (*made, "seeds", "modcrop")
    return Bundle(
        title=results.title,
        notes=list(results.notes),
        datasets={names[item.name]: ItemLabel.of(item) for item in results.datasets},
        methods={item.name: ItemLabel.of(item) for item in results.methods},
        measured=of_results(results, scale=scale, names=names),
        made_with={key: results.provenance[key] for key in kept if key in results.provenance},
    )


def to_results(bundle: Bundle) -> Results:
    """The results as far as a file holds them: no pictures, costs or layout; a metric that is not
    known here by its name alone. Images are in the order of their ids, metrics in the file's, those
    over a whole set last."""
    cells, kinds = bundle.measured.scores, bundle.measured.metrics
    names = ("dataset", "method", "metric")
    orders = {of: list(dict.fromkeys(getattr(cell, of) for cell in cells)) for of in names}
    return Results(
        title=bundle.title,
        datasets=tuple(item_of(name, bundle.datasets) for name in orders["dataset"]),
        methods=tuple(item_of(name, bundle.methods) for name in orders["method"]),
        metrics=tuple(spec_of(name, kinds.get(name)) for name in orders["metric"]),
        scores=_frame(cells, orders),
        notes=tuple(bundle.notes),
        provenance=_provenance(bundle),
    )


def item_of(name: str, labels: Mapping[str, ItemLabel]) -> Item:
    return Item(name, **labels.get(name, ItemLabel(title=name)).model_dump())


def spec_of(name: str, told: MetricPrint | None) -> MetricSpec:
    """Of a metric by which nothing was scored no direction is told; nothing hangs on it."""
    from bench import metrics

    told = told or MetricPrint(better="higher", kind="image", digits=4, fingerprint={})
    shown = told.model_dump(exclude={"fingerprint", "typed"})
    unknown: dict[str, Any] = {"reference": False, "means": "", "source": "", "factory": ""}
    return metrics.registered(name) or MetricSpec(name=name, title=name, **shown, **unknown)


def _frame(cells: Sequence[MeasuredCell], orders: Mapping[str, Sequence[str]]) -> "pd.DataFrame":
    import pandas as pd

    frame = pd.DataFrame(rows(cells), columns=COLUMNS).astype({"value": float})
    frame["whole"] = frame["image"] == ""
    by = ["dataset", "method", "whole", "image", "metric"]
    return in_order(frame, by, orders).drop(columns="whole")


def in_order(
    frame: "pd.DataFrame", by: Sequence[str], orders: Mapping[str, Sequence[str]]
) -> "pd.DataFrame":
    """The rows sorted by columns; the values of some have an order of their own."""
    ranks = {column: {name: i for i, name in enumerate(order)} for column, order in orders.items()}
    return frame.sort_values(
        list(by),
        key=lambda column: column.map(ranks[column.name]) if column.name in ranks else column,
        kind="stable",
        ignore_index=True,
    )


def rows(cells: Iterable[MeasuredCell]) -> Iterator[Row]:
    """Of `COLUMNS`, cell by cell; image "" is a whole set."""
    for cell in cells:
        whole = {"": cell.mean} if not cell.images and cell.mean is not None else {}
        values = {**cell.images, **whole, **dict.fromkeys(cell.missing)}
        for image, value in values.items():
            reason = cell.missing.get(image, "")
            yield cell.dataset, cell.method, image, cell.metric, value, reason


def _provenance(bundle: Bundle) -> dict[str, Any]:
    measured = bundle.measured
    return {
        **bundle.made_with,
        "suite": {"name": measured.suite, "title": bundle.title},
        "seed": measured.seed,
        "limit": measured.limit,
        "scale": measured.scale,
        "datasets": {
            name: {"manifest_sha256": known.sha256, "images": known.images}
            | ({"groups": measured.groups[name]} if name in measured.groups else {})
            for name, known in measured.datasets.items()
        },
        "metrics": {name: known.fingerprint for name, known in measured.metrics.items()},
        "methods": {name: {"sha256": known.sha256} for name, known in measured.methods.items()},
    }


def to_json(bundle: Bundle, with_scores: bool = True) -> str:
    """One JSON text; infinite scores are strings in it."""
    if not with_scores:
        bare = bundle.measured.model_copy(update={"scores": []})
        bundle = bundle.model_copy(update={"measured": bare})
    return bundle.model_dump_json(indent=1, exclude_defaults=True, ensure_ascii=True) + "\n"
