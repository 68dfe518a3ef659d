"""A whole result as one checked record: scores, what they depend on and how to name them.

It is what `export` writes and `import` and `diff` read. Whatever comes from a file is data of
somebody else: its size is bounded, every field is checked, nothing in it is run or used as a path.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from bench.base.errors import DataError
from bench.base.text import printable, without_folders
from bench.base.types import MetricSpec
from bench.data.find import public_names
from bench.exchange.measured import (
    DatasetPrint,
    ExchangeCard,
    Measured,
    MeasuredCell,
    MethodPrint,
    MetricPrint,
    Name,
    Text,
    groups_of,
    mean,
    of_results,
    shorten,
)
from bench.results.results import Item, Results

if TYPE_CHECKING:
    import pandas as pd

RESULT = "result.json"
SCORES = "data/scores.parquet"
MAX_BYTES = 256 * 2**20
MAX_UNPACKED = 4 * MAX_BYTES
MAX_ROWS = 2_000_000
COLUMNS = ("dataset", "method", "image", "metric", "value", "reason")
Row = tuple[str, str, str, str, float | None, str]


class ItemLabel(ExchangeCard):
    """How a method or dataset is shown; see `results.Item`."""

    title: Text
    note: Text = ""
    variant: dict[Name, Text] = Field(default_factory=dict)


class Bundle(ExchangeCard):
    """A result; `made_with` tells versions, device and the methods' fingerprints."""

    format: Literal[1] = 1
    title: Text
    notes: list[Text] = Field(default_factory=list)
    datasets: dict[Name, ItemLabel]
    methods: dict[Name, ItemLabel]
    measured: Measured
    made_with: dict[Name, Any] = Field(default_factory=dict)


def of_run(results: Results, scale: int | None = None) -> Bundle:
    """The result of a run, without any path of this machine."""
    names = public_names(item.name for item in results.datasets)
    measured = of_results(results, scale=scale, names=names)
    cells = [cell.model_copy(update={"missing": _bare(cell.missing)}) for cell in measured.scores]
    kept = ("device", "machine", "python", "versions", "methods", "certificate")
    return Bundle(
        title=results.title,
        notes=list(results.notes),
        datasets={names[item.name]: _label(item) for item in results.datasets},
        methods={item.name: _label(item) for item in results.methods},
        measured=measured.model_copy(update={"scores": cells}),
        made_with={key: results.provenance[key] for key in kept if key in results.provenance},
    )


def to_results(bundle: Bundle) -> Results:
    """The results as far as a file holds them: no pictures, costs or layout.

    A metric that is not known here is described by its name alone. Images are in the order of
    their ids; metrics in that of the file, those over a whole set last.
    """
    cells = bundle.measured.scores
    kinds = bundle.measured.metrics
    return Results(
        title=bundle.title,
        datasets=tuple(_item(name, bundle.datasets) for name in _ordered(cells, "dataset")),
        methods=tuple(_item(name, bundle.methods) for name in _ordered(cells, "method")),
        metrics=tuple(_spec(name, kinds.get(name)) for name in _ordered(cells, "metric")),
        scores=_frame(cells),
        notes=tuple(bundle.notes),
        provenance=_provenance(bundle),
    )


def _ordered(cells: Sequence[MeasuredCell], field: str) -> list[str]:
    return list(dict.fromkeys(getattr(cell, field) for cell in cells))


def _item(name: str, labels: Mapping[str, ItemLabel]) -> Item:
    label = labels.get(name, ItemLabel(title=name))
    return Item(name, label.title, label.note, dict(label.variant))


def _spec(name: str, told: MetricPrint | None) -> MetricSpec:
    """Of a metric by which nothing was scored no direction is told; nothing hangs on it."""
    from bench import metrics

    return metrics.registered(name) or MetricSpec(
        name=name,
        title=name,
        better=told.better if told else "higher",
        reference=False,
        means="",
        source="",
        factory="",
        kind=told.kind if told else "image",
        digits=told.digits if told else 4,
    )


def _frame(cells: Sequence[MeasuredCell]) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(rows(cells), columns=list(COLUMNS)).astype({"value": float})
    orders = {name: _ordered(cells, name) for name in ("dataset", "method", "metric")}
    ranks = frame.assign(
        **{name: frame[name].map(order.index) for name, order in orders.items()},
        whole=frame["image"] == "",
    )
    order = ranks.sort_values(["dataset", "method", "whole", "image", "metric"], kind="stable")
    return frame.loc[order.index].reset_index(drop=True)


def rows(cells: Iterable[MeasuredCell]) -> Iterator[Row]:
    """Of `COLUMNS`, cell by cell; image "" is a whole set."""
    for cell in cells:
        for image, value in _values(cell).items():
            reason = cell.missing.get(image, "")
            yield cell.dataset, cell.method, image, cell.metric, value, reason


def _values(cell: MeasuredCell) -> dict[str, float | None]:
    """By image; "" is the whole set."""
    own: dict[str, float | None] = dict(cell.images)
    if not own and cell.mean is not None:
        own[""] = cell.mean
    return own | dict.fromkeys(cell.missing)


def _provenance(bundle: Bundle) -> dict[str, Any]:
    measured = bundle.measured
    return {
        **bundle.made_with,
        "suite": {"name": measured.suite, "title": bundle.title},
        "seed": measured.seed,
        "limit": measured.limit,
        "datasets": {
            name: {
                "manifest_sha256": known.sha256,
                "images": known.images,
                **({"groups": measured.groups[name]} if name in measured.groups else {}),
            }
            for name, known in measured.datasets.items()
        },
        "metrics": {name: known.fingerprint for name, known in measured.metrics.items()},
        "methods": {name: {"sha256": known.sha256} for name, known in measured.methods.items()},
    }


def _bare(missing: Mapping[str, str]) -> dict[str, str]:
    return {image: without_folders(reason) for image, reason in missing.items()}


def _label(item: Item) -> ItemLabel:
    return ItemLabel(title=item.title, note=item.note, variant=dict(item.variant))


def to_json(bundle: Bundle, with_scores: bool = True) -> str:
    """One JSON text; infinite scores are strings in it."""
    if not with_scores:
        bare = bundle.measured.model_copy(update={"scores": []})
        bundle = bundle.model_copy(update={"measured": bare})
    return bundle.model_dump_json(indent=1, exclude_defaults=True, ensure_ascii=True) + "\n"


# -- reading -------------------------------------------------------------------------------------


def read_bundle(path: Path) -> Bundle:
    """Read an exported JSON, an exported folder, or the folder of a run's reports.

    Raises:
        DataError: none of these, too large, or a field that is not what it must be.
    """
    if path.is_dir():
        if (path / RESULT).is_file():
            return _read_folder(path)
        if (path / "provenance.json").is_file() and (path / "scores.csv").is_file():
            return _read_reports(path)
    elif path.is_file() and path.suffix == ".json":
        return _validated(path, _read_json(path))
    raise DataError(
        f"{printable(path)}: expected an exported .json, an exported folder (with {RESULT}) or a "
        "folder of reports (with scores.csv and provenance.json)"
    )


def _inside(folder: Path, name: str) -> Path:
    """A file of a folder, never one that a link leads to elsewhere."""
    path = folder / name
    if not path.is_file():
        raise DataError(f"{printable(path)}: expected a file, found none")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(
            f"{printable(path)}: is a link out of its folder; copy the files themselves"
        )
    return path


def _bounded(path: Path) -> Path:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise DataError(
            f"{printable(path)}: is {size >> 20} MiB, at most {MAX_BYTES >> 20} are read"
        )
    return path


def _read_json(path: Path) -> Any:
    try:
        return json.loads(_bounded(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{printable(path)}: is not valid JSON ({printable(error)})") from error


def _validated(path: Path, data: Any) -> Bundle:
    try:
        return Bundle.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = printable(".".join(str(part) for part in first["loc"])) or "the whole"
        raise DataError(f"{printable(path)}: field '{field}': {first['msg'].lower()}") from error
    except RecursionError as error:
        raise DataError(f"{printable(path)}: is nested too deeply") from error


def _read_folder(folder: Path) -> Bundle:
    path = _inside(folder, RESULT)
    data = _read_json(path)
    scores = _read_parquet(_bounded(_inside(folder, SCORES)))
    if isinstance(data, dict) and isinstance(data.get("measured"), dict):
        data["measured"]["scores"] = scores
    return _validated(path, data)


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    """Rows as cells; names stay in dictionaries until their lengths are known to be sane."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = [name for name in COLUMNS if name != "value"]
    try:
        _check_shape(path, pq.read_metadata(path))
        table = pq.ParquetFile(path, read_dictionary=texts).read()
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{printable(path)}: is not readable as Parquet ({_line(error)})"
        ) from error
    if not pa.types.is_float64(table.schema.field("value").type):
        raise DataError(f"{printable(path)}: column 'value' is not float64")
    _check_texts(path, table, texts)
    return group_rows(zip(*(column.to_pylist() for column in table.columns), strict=True), path)


def _check_shape(path: Path, metadata: Any) -> None:
    names = metadata.schema.names
    if tuple(names) != COLUMNS or metadata.num_rows > MAX_ROWS:
        raise DataError(
            f"{printable(path)}: expected columns {', '.join(COLUMNS)} and at most {MAX_ROWS} "
            f"rows, found {printable(', '.join(names))} and {metadata.num_rows}"
        )
    size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if size > MAX_UNPACKED:
        raise DataError(f"{printable(path)}: unpacks to {size >> 20} MiB; that is too much")


def _check_texts(path: Path, table: Any, names: list[str]) -> None:
    import pyarrow as pa

    from bench.exchange.measured import MAX_TEXT

    for name in names:
        for chunk in table.column(name).chunks:
            kept = chunk.dictionary if pa.types.is_dictionary(chunk.type) else None
            if kept is None or not pa.types.is_string(kept.type):
                raise DataError(f"{printable(path)}: column '{name}' is not text")
            if any(len(text) > MAX_TEXT for text in kept.to_pylist()):
                raise DataError(f"{printable(path)}: a text in column '{name}' is too long")


def _line(error: Exception) -> str:
    return printable(str(error).splitlines()[0] if str(error) else type(error).__name__)[:200]


def group_rows(rows: Any, path: Path) -> list[dict[str, Any]]:
    """Rows in the order of `COLUMNS` -> cells, still unchecked.

    Raises:
        DataError: two rows are for the same image, method, dataset and metric.
    """
    cells: dict[tuple[str, str, str], dict[str, Any]] = {}
    for dataset, method, image, metric, value, reason in rows:
        names = {"dataset": dataset, "method": method, "metric": metric}
        cell = cells.setdefault((dataset, method, metric), {**names, "values": {}, "missing": {}})
        if image in cell["values"] or image in cell["missing"]:
            raise DataError(f"{printable(path)}: image '{printable(image)}' stands there twice")
        if value is None or value != value:
            cell["missing"][image] = reason or ""
        else:
            cell["values"][image] = value
    return [_finished(cell) for cell in cells.values()]


def _finished(cell: dict[str, Any]) -> dict[str, Any]:
    values = cell.pop("values")
    images = {image: value for image, value in values.items() if image}
    return {**cell, "mean": mean(values), "images": images}


def _read_reports(folder: Path) -> Bundle:
    """A run's own reports, for `diff`; their names are not translated."""
    import pandas as pd

    provenance = _read_json(_inside(folder, "provenance.json"))
    path = _bounded(_inside(folder, "scores.csv"))
    try:
        frame = pd.read_csv(
            path, keep_default_na=False, dtype=str, usecols=list(COLUMNS), encoding="utf-8"
        )[list(COLUMNS)]
        frame["value"] = [float(text) if text else None for text in frame["value"]]
        cells = [
            MeasuredCell.model_validate(c) for c in group_rows(frame.itertuples(index=False), path)
        ]
        return _of_reports(provenance, cells)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{printable(folder)}: is not a folder of reports of this version ({_line(error)})"
        ) from error


def _metric_print(name: str, fingerprint: dict[str, Any]) -> MetricPrint:
    """A user's own metric says in its fingerprint which way is better; its file may be gone."""
    from bench import metrics

    better = fingerprint.get("options", {}).get("better")
    if better is not None:
        return MetricPrint(better=better, kind="image", digits=4, fingerprint=fingerprint)
    spec = metrics.get(name)
    return MetricPrint(
        better=spec.better, kind=spec.kind, digits=spec.digits, fingerprint=fingerprint
    )


def _of_reports(provenance: Mapping[str, Any], cells: list[MeasuredCell]) -> Bundle:
    measured = Measured(
        suite=provenance["suite"]["name"],
        seed=provenance["seed"],
        limit=provenance["limit"],
        datasets={
            name: DatasetPrint(sha256=d["manifest_sha256"], images=d["images"])
            for name, d in provenance["datasets"].items()
        },
        metrics={name: _metric_print(name, f) for name, f in provenance["metrics"].items()},
        methods={
            name: MethodPrint(typed=name, sha256=m["sha256"])
            for name, m in provenance["methods"].items()
        },
        scores=cells,
        groups=groups_of(provenance, {name: name for name in provenance["datasets"]}),
    )
    return Bundle(
        title=shorten(str(provenance["suite"]["title"])),
        datasets={name: ItemLabel(title=name) for name in measured.datasets},
        methods={name: ItemLabel(title=name) for name in measured.methods},
        measured=measured,
    )
