"""What was measured, apart from how it is shown: scores per image and the fingerprints behind them.

The gate, `diff`, `export` and `import` all compare two of these. Everything is a checked record, so
that a file from elsewhere is read the same way as our own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from bench.base.cards import Card
from bench.base.hashing import json_sha256
from bench.base.text import printable
from bench.base.types import Better

if TYPE_CHECKING:
    import pandas as pd

    from bench.results.results import Results

MAX_NAME = 300
MAX_TEXT = 4000
SHOWN = 16

Name = Annotated[str, StringConstraints(max_length=MAX_NAME)]
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
Fingerprint = dict[Name, Any]


def _a_number(value: Any) -> Any:
    """Numbers, and the words that stand for infinity in JSON; text and truth are no scores."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value in ("Infinity", "-Infinity") or (is_number and value == value):
        return value
    raise ValueError(f"expected a number, found {str(value)[:SHOWN]}")


Value = Annotated[float, BeforeValidator(_a_number)]
CellKey = tuple[str, str, str]
"""(dataset, method, metric)"""


class ExchangeCard(Card):
    """A card that may hold infinite scores (PSNR of equal images) also as JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


class DatasetPrint(ExchangeCard):
    """Which images: the manifest's hash (of names and pixels) and how many of them, from the first.

    The hash is "" for a folder of SR images without any HR: nothing tells its test set.
    """

    sha256: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")]
    images: int = Field(ge=0)


class MetricPrint(ExchangeCard):
    """How scores of a metric are read, and what they depend on besides pixels."""

    better: Better
    kind: Literal["image", "set"]
    digits: int = Field(ge=0, le=12)
    fingerprint: Fingerprint


class MethodPrint(ExchangeCard):
    """A method: as typed on the command line, and the hash of its fingerprint."""

    typed: Name
    sha256: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")]


class MeasuredCell(ExchangeCard):
    """The scores of one method on one dataset by one metric.

    Attributes:
        mean: over `images`; a metric over a whole set has a mean and no images. None without any.
        images: id -> value.
        missing: id ("" for the set) -> why there is no value.
    """

    dataset: Name
    method: Name
    metric: Name
    mean: Value | None = None
    images: dict[Name, Value] = Field(default_factory=dict)
    missing: dict[Name, Text] = Field(default_factory=dict)

    @property
    def key(self) -> CellKey:
        return self.dataset, self.method, self.metric


class Measured(ExchangeCard):
    """Everything measured in one run; only metrics that could run here are in `metrics`."""

    suite: Name = ""
    seed: int | None = None
    scale: int | None = Field(default=None, ge=1)
    limit: int | None = Field(default=None, ge=1)
    datasets: dict[Name, DatasetPrint]
    metrics: dict[Name, MetricPrint]
    methods: dict[Name, MethodPrint]
    scores: list[MeasuredCell]
    groups: dict[Name, dict[Name, Name]] = Field(default_factory=dict)
    """Of datasets whose images share photographs: image -> photograph."""

    @model_validator(mode="after")
    def _is_whole(self) -> Measured:
        """Every cell once, and nothing scored without the fingerprints of what it is."""
        if len(self.cells()) < len(self.scores):
            raise ValueError("scores: a dataset, method and metric stand there twice")
        described: tuple[Mapping[str, ExchangeCard], ...] = (
            self.datasets,
            self.methods,
            self.metrics,
        )
        for cell in (cell for cell in self.scores if cell.mean is not None or cell.images):
            for name, known in zip(cell.key, described, strict=True):
                if name not in known:
                    raise ValueError(f"scores: nothing is said about '{printable(name)}'")
        return self

    def cells(self) -> dict[CellKey, MeasuredCell]:
        return {cell.key: cell for cell in self.scores}


def as_unicode(name: str) -> str:
    """A file's name as Unicode; bytes that are not are shown as escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


def of_results(
    results: Results,
    typed: Mapping[str, str] | None = None,
    scale: int | None = None,
    names: Mapping[str, str] | None = None,
) -> Measured:
    """What was measured in `results`.

    Args:
        typed: method name -> as typed on the command line, where it shall be kept.
        scale: upscaling factor of the run.
        names: dataset -> what to call it; by default as it is.
    """
    provenance = results.provenance
    prints = provenance["metrics"]
    typed = typed or {}
    names = names or {item.name: as_unicode(item.name) for item in results.datasets}
    return Measured(
        suite=provenance["suite"]["name"],
        seed=provenance["seed"],
        scale=scale,
        limit=provenance["limit"],
        datasets={
            names[name]: DatasetPrint(sha256=d["manifest_sha256"], images=d["images"])
            for name, d in provenance["datasets"].items()
        },
        metrics={
            m.name: MetricPrint(
                better=m.better, kind=m.kind, digits=m.digits, fingerprint=prints[m.name]
            )
            for m in results.metrics
            if m.name in prints
        },
        methods={
            m.name: MethodPrint(
                typed=typed.get(m.name, m.name), sha256=provenance["methods"][m.name]["sha256"]
            )
            for m in results.methods
        },
        scores=list(_cells(results, names)),
        groups=groups_of(provenance, names),
    )


def groups_of(provenance: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The photographs of the images of each dataset, called as in `names`, that says so."""
    return {
        names[name]: {as_unicode(image): as_unicode(group) for image, group in groups.items()}
        for name, known in provenance["datasets"].items()
        if (groups := known.get("groups"))
    }


def _cells(results: Results, names: Mapping[str, str]) -> Iterator[MeasuredCell]:
    groups = dict(list(results.scores.groupby(["dataset", "method", "metric"], sort=False)))
    for dataset in results.datasets:
        for method in results.methods:
            for metric in results.metrics:
                rows = groups.get((dataset.name, method.name, metric.name))
                if rows is not None:
                    yield _cell(names[dataset.name], method.name, metric.name, rows)


def _cell(dataset: str, method: str, metric: str, rows: pd.DataFrame) -> MeasuredCell:
    known = rows["value"].notna()
    images = rows["image"].map(as_unicode)
    values = dict(zip(images[known], rows.loc[known, "value"].map(float), strict=True))
    reasons = rows.loc[~known, "reason"].map(shorten)
    return MeasuredCell(
        dataset=dataset,
        method=method,
        metric=metric,
        mean=mean(values),
        images={image: value for image, value in values.items() if image},
        missing=dict(zip(images[~known], reasons, strict=True)),
    )


def mean(values: Mapping[str, float]) -> float | None:
    return math.fsum(values.values()) / len(values) if values else None


def shorten(reason: str) -> str:
    return as_unicode(reason)[:MAX_TEXT]


# -- whether two may be compared -----------------------------------------------------------------


def unlike(a: Measured, b: Measured, a_is: str, b_is: str) -> list[str]:
    """Why scores of `a` and `b` must not be compared: test sets or metrics that differ.

    Args:
        a_is, b_is: how the two are called in the lines, e.g. "in the reference" and "here".
    """
    lines = []
    for name in a.datasets.keys() & b.datasets.keys():
        lines += _differences(f"dataset {name}", _plain(a.datasets[name]), _plain(b.datasets[name]))
    for name in a.metrics.keys() & b.metrics.keys():
        lines += _differences(f"metric {name}", _prints(a, name), _prints(b, name))
    return [f"{what}: {was} {a_is}, {now} {b_is}" for what, was, now in sorted(lines)]


def _plain(record: ExchangeCard) -> dict[str, Any]:
    return record.model_dump(mode="json")


def _prints(measured: Measured, metric: str) -> dict[str, Any]:
    print_ = measured.metrics[metric]
    return {"better": print_.better, "kind": print_.kind, **print_.fingerprint}


def _differences(
    what: str, a: Mapping[str, Any], b: Mapping[str, Any]
) -> list[tuple[str, str, str]]:
    """(name of what differs, its value in a, in b), looking into nested tables."""
    found = []
    for key in sorted(a.keys() | b.keys()):
        one, other = a.get(key), b.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += _differences(f"{what}: {key}", one, other)
        elif json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True):
            found.append((printable(f"{what}: {key}"), show(one), show(other)))
    return found


def show(value: Any) -> str:
    """A value in a line; long hashes are cut."""
    if value is None or value == "":
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return printable(text[:SHOWN] + "…" if len(text) > 3 * SHOWN else text)


def folder_sha256(hashes: Mapping[str, str]) -> str:
    """Hash of a folder's images: stem -> hash of decoded pixels."""
    return json_sha256(sorted(hashes.items()))
