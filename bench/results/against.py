"""Measured means beside published ones: the difference, the noise floor, and what is unlike."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np

from bench.base.types import MetricSpec
from bench.metrics.frechet import incomparable
from bench.results.bootstrap import MIN_IMAGES, bootstrap
from bench.results.published import PublishedRow, Source, base_name, noise_floor, sources
from bench.results.results import Item, Results, summarize
from bench.results.table_stats import common_scores, statistics

PublishedVerdict = Literal[
    "within noise", "beyond noise", "noise unknown", "not comparable", "not measured"
]


@dataclass(frozen=True)
class Against:
    """One published value, as printed, beside ours: measured - published, and the 95 % half-width
    of the mean by the scores of `noise_of`; None where there is none. `unlike` is why the two may
    not be compared, `protocol` by which it was made, what is known to differ or may."""

    source: str
    table: str
    dataset: str
    metric: str
    method: str
    published: str
    measured: float | None
    difference: float | None
    noise: float | None
    noise_of: str
    n: int
    published_n: int | None
    verdict: PublishedVerdict
    unlike: tuple[str, ...]
    protocol: tuple[str, ...]


def against(results: Results) -> list[Against]:
    """Every published value of a dataset, metric and method that the results hold."""
    cells = {
        (row["dataset"], row["metric"], row["method"]): row
        for row in summarize(results).to_dict("records")
    }
    return [
        _compare(results, source, row, own, cells[own[0].name, own[1].name, own[2].name])
        for source in sources()
        for own in product(results.datasets, results.metrics, results.methods)
        for row in source.rows_of(*own)
    ]


def _compare(
    results: Results,
    source: Source,
    row: PublishedRow,
    own: tuple[Item, MetricSpec, Item],
    cell: Mapping[Any, Any],
) -> Against:
    dataset, metric, method = own
    known = source.card.datasets[row.dataset]
    n = int(cell["n"])
    measured = float(cell["mean"]) if n else None
    difference = None if measured is None else measured - float(row.value)
    noise, noise_of = _noise(results, *own, noise_floor().get((row.dataset, metric.name)))
    unlike = [*_unlike(results, source, row, dataset, metric, n)] if n else [str(cell["reason"])]
    protocols = {
        row.dataset: known.protocol,
        row.metric: source.card.metrics[row.metric].protocol,
        "the whole table": f"its protocol is {source.card.protocol}",
    }
    return Against(
        source=source.card.title,
        table=row.table,
        dataset=dataset.title,
        metric=metric.title,
        method=method.title,
        published=str(row.value),
        measured=measured,
        difference=difference,
        noise=noise,
        noise_of=noise_of,
        n=n,
        published_n=known.images,
        verdict=_verdict(difference, noise, bool(unlike)),
        unlike=tuple(unlike),
        protocol=tuple(f"{name}: {text}" for name, text in protocols.items() if text),
    )


def _verdict(difference: float | None, noise: float | None, unlike: bool) -> PublishedVerdict:
    if difference is None or unlike:
        return "not measured" if difference is None else "not comparable"
    if noise is None:
        return "noise unknown"
    return "within noise" if abs(difference) <= noise else "beyond noise"


def _unlike(
    results: Results, source: Source, row: PublishedRow, dataset: Item, metric: MetricSpec, n: int
) -> Iterator[str]:
    known, told = source.card.datasets[row.dataset], results.provenance
    protocol = told.get("suite", {}).get("protocol", "")
    if protocol not in ("", source.card.protocol):
        yield f"protocol {protocol} here, {source.card.protocol} there"
    if metric.name != base_name(metric):
        yield f"{metric.name} here, {base_name(metric)} there"
    if known.images is not None and n != known.images:
        yield f"n = {n} here, {known.images} there"
    if known.images is None and incomparable(metric, n, None):
        yield incomparable(metric, n, None)
    if dataset.name.startswith("folder:") and not known.manifest_sha256:
        yield "a folder of images: its name alone does not make it the source's test set"
    ours = told.get("datasets", {}).get(dataset.name, {}).get("manifest_sha256", "")
    if known.manifest_sha256 and ours != known.manifest_sha256:
        yield f"other images: manifest {ours[:12] or 'unknown'}, not {known.manifest_sha256[:12]}"
    if told.get("metrics", {}).get(metric.name, {}).get("substituted"):
        yield f"{metric.title} was computed with substituted weights"


def _alone(results: Results, dataset: Item, metric: MetricSpec, method: Item) -> float | None:
    """The half-width of a method where another one's infinite score keeps all from a test."""
    row = common_scores(results, dataset.name, metric)
    if metric.kind == "set" or len(row.values) < MIN_IMAGES or method.name not in row.methods:
        return None
    own = row.values[:, [row.methods.index(method.name)]]
    half = float(bootstrap(own, row.seed).half_width()[0]) if np.isfinite(own).all() else np.nan
    return half if np.isfinite(half) else None


def _noise(
    results: Results, dataset: Item, metric: MetricSpec, method: Item, logged: Any
) -> tuple[float | None, str]:
    """The half-width from the scores that our mean is of, else the logged one, and whose it is."""
    key = (dataset.name, metric.name, method.name)
    half = statistics(results).half_widths.get(key)
    if half is None:
        half = results.once(("noise", *key), lambda: _alone(results, dataset, metric, method))
    if half is not None:
        return half, "these scores"
    return (logged[0], f"OSEDiff's log, n = {logged[1]}") if logged else (None, "")
