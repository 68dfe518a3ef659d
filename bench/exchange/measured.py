"""What was measured, apart from how it is shown: scores per image and the fingerprints behind them,
as checked records, so that a file from elsewhere is read the same way as our own."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from bench.base.cards import Card, Count, Natural
from bench.base.errors import DataError
from bench.base.text import printable, without_folders
from bench.base.types import Better, MetricSpec
from bench.results.results import COLUMNS, Results

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
    raise ValueError(f"expected a number, found {printable(str(value)[:SHOWN])}")


Value = Annotated[float, BeforeValidator(_a_number)]
CellKey = tuple[str, str, str]
"""(dataset, method, metric)"""
KINDS = ("datasets", "methods", "metrics")
"""What makes a cell, in the order of its key."""


class ExchangeCard(Card):
    """A card that may hold infinite scores (PSNR of equal images) also as JSON."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=True, ser_json_inf_nan="strings"
    )


class DatasetPrint(ExchangeCard):
    """Which images: the manifest's hash (of names and pixels; "" for a folder of SR images without
    any HR) and how many of them, from the first."""

    sha256: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")]
    images: Natural


class MetricPrint(ExchangeCard):
    """How scores of a metric are read, what they depend on besides pixels, and where it is a file,
    as typed on the command line."""

    better: Better
    kind: Literal["image", "set"]
    digits: int = Field(ge=0, le=12)
    fingerprint: Fingerprint
    typed: Text = ""

    @classmethod
    def of(
        cls, spec: MetricSpec, fingerprint: Mapping[str, Any], keep: bool = True
    ) -> "MetricPrint":
        typed = as_unicode((spec.file.parent / spec.name).as_posix()) if keep and spec.file else ""
        about = {"better": spec.better, "kind": spec.kind, "digits": spec.digits}
        return cls.model_validate({**about, "fingerprint": dict(fingerprint), "typed": typed})


class MethodPrint(ExchangeCard):
    """A method: as typed on the command line, and the hash of its fingerprint."""

    typed: Name
    sha256: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")]


class MeasuredCell(ExchangeCard):
    """The scores of one method on one dataset by one metric: id -> value, `missing` id ("" for the
    set) -> why there is none; a metric over a whole set has a mean and no images."""

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
    seed: Natural | None = None
    scale: Count | None = None
    limit: Count | None = None
    datasets: dict[Name, DatasetPrint]
    metrics: dict[Name, MetricPrint]
    methods: dict[Name, MethodPrint]
    scores: list[MeasuredCell]
    groups: dict[Name, dict[Name, Name]] = Field(default_factory=dict)
    """Of datasets whose images share photographs: image -> photograph."""

    @model_validator(mode="after")
    def _is_whole(self) -> "Measured":
        """Every cell once, with the mean of its images, and nothing scored without the fingerprints
        of what it is."""
        if len(self.cells()) < len(self.scores):
            raise ValueError("scores: a dataset, method and metric stand there twice")
        for cell in (cell for cell in self.scores if cell.mean is not None or cell.images):
            named = printable(", ".join(cell.key))
            if cell.images and cell.mean is not None and not _is_mean(cell.mean, cell.images):
                raise ValueError(f"scores: {named}: the mean is not that of the images")
            if twice := cell.images.keys() & cell.missing.keys():
                told = f"'{printable(min(twice))}' has a score and a reason for none"
                raise ValueError(f"scores: {named}: {told}")
            for what, name in zip(KINDS, cell.key, strict=True):
                if name not in getattr(self, what):
                    raise ValueError(f"scores: nothing is said about '{printable(name)}'")
        return self

    def cells(self) -> dict[CellKey, MeasuredCell]:
        return {cell.key: cell for cell in self.scores}

    def of_cells(self, cells: Sequence[MeasuredCell]) -> "Measured":
        """These cells, and what they are of."""
        update: dict[str, Any] = {"scores": list(cells)}
        for i, what in enumerate(KINDS):
            used = {cell.key[i] for cell in cells}
            update[what] = {name: own for name, own in getattr(self, what).items() if name in used}
        return self.model_copy(update=update)


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
        typed: method name -> as typed on the command line, where this shall be kept.
        scale: upscaling factor of the run.
        names: dataset -> what to call it; by default as it is.
    """
    told, typed = results.provenance, typed or {}
    names = names or {item.name: as_unicode(item.name) for item in results.datasets}
    prints = told["metrics"]
    known_metrics = [metric for metric in results.metrics if metric.name in prints]
    # A file of others may tell of what has no cells, and have cells of what it does not tell of.
    datasets = {name: known for name, known in told["datasets"].items() if name in names}
    return Measured(
        suite=told["suite"]["name"],
        seed=told["seed"],
        scale=scale,
        limit=told["limit"],
        datasets={
            names[name]: DatasetPrint(sha256=d["manifest_sha256"], images=d["images"])
            for name, d in datasets.items()
        },
        metrics={m.name: MetricPrint.of(m, prints[m.name], bool(typed)) for m in known_metrics},
        methods={
            name: MethodPrint(typed=typed.get(name, name), sha256=told["methods"][name]["sha256"])
            for name in (method.name for method in results.methods)
            if name in told["methods"]
        },
        scores=_cells(results, names),
        groups={
            names[name]: {as_unicode(image): as_unicode(group) for image, group in groups.items()}
            for name, known in datasets.items()
            if (groups := known.get("groups"))
        },
    )


def _cells(results: Results, names: Mapping[str, str]) -> list[MeasuredCell]:
    """In the order of datasets, methods and metrics."""
    scores = results.scores[COLUMNS].itertuples(index=False)
    found = group_rows(
        (names[dataset], method, as_unicode(image), metric, value, shorten(reason))
        for dataset, method, image, metric, value, reason in scores
    )
    cells = {cell.key: cell for cell in (MeasuredCell(**told) for told in found)}
    orders = ([each.name for each in getattr(results, what)] for what in KINDS)
    keys = ((names[dataset], *of) for dataset, *of in product(*orders))
    return [cells[key] for key in keys if key in cells]


def group_rows(rows: Iterable[Sequence[Any]], source: str = "scores") -> list[dict[str, Any]]:
    """Rows in the order of `COLUMNS` -> cells, still unchecked; DataError: two of one image."""
    cells: dict[CellKey, dict[str, Any]] = {}
    for dataset, method, image, metric, value, reason in rows:
        names = {"dataset": dataset, "method": method, "metric": metric}
        cell = cells.setdefault((dataset, method, metric), {**names, "images": {}, "missing": {}})
        if image in cell["images"] or image in cell["missing"]:
            raise DataError(f"{source}: image '{printable(image)}' stands there twice")
        if value is None or value != value:
            cell["missing"][image] = reason or ""
        else:
            cell["images"][image] = value
    for cell in cells.values():
        cell["mean"] = mean(cell["images"])
        cell["images"].pop("", None)
    return list(cells.values())


def mean(values: Mapping[str, float]) -> float | None:
    return math.fsum(values.values()) / len(values) if values else None


def _is_mean(found: float, values: Mapping[str, float]) -> bool:
    """Whether it is their mean, but for what rounding each of them does."""
    sizes = [abs(value) for value in values.values()]
    return math.isclose(found, sum(values.values()) / len(values), abs_tol=1e-9 * max(sizes))


def shorten(reason: str) -> str:
    return as_unicode(without_folders(reason))[:MAX_TEXT]


def unlike(a: Measured, b: Measured, a_is: str, b_is: str) -> list[str]:
    """Why scores of `a` and `b` must not be compared: test sets or metrics that differ; a line says
    `a_is` and `b_is` of the two, e.g. "in the reference" and "here"."""
    lines = []
    for name in a.datasets.keys() & b.datasets.keys():
        sets = (one.datasets[name].model_dump() for one in (a, b))
        lines += _differences(f"dataset {name}", *sets)
    for name in a.metrics.keys() & b.metrics.keys():
        told = (one.metrics[name] for one in (a, b))
        prints = ({"better": m.better, "kind": m.kind, **m.fingerprint} for m in told)
        lines += _differences(f"metric {name}", *prints)
    return [f"{what}: {was} {a_is}, {now} {b_is}" for what, was, now in sorted(lines)]


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
