"""Read results of others: an exported JSON or folder, or the reports of a run, with bounded sizes
and every field checked; nothing in them is run or used as a path."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.base.errors import DataError
from bench.base.records import what_is_wrong
from bench.base.text import first_line, of_spreadsheet, printable
from bench.base.types import MetricSpec
from bench.exchange.bundle import RESULT, SCORES, Bundle, of_run, spec_of
from bench.exchange.measured import MAX_TEXT, MetricPrint, group_rows, shorten
from bench.results.results import COLUMNS, KEYS, Item, Results

MAX_BYTES = 256 * 2**20
MAX_UNPACKED = 4 * MAX_BYTES
MAX_ROWS = 2_000_000
TEXTS = [*KEYS, "reason"]
"""Columns of scores that hold no number."""


def read_bundle(path: Path) -> Bundle:
    """Read an exported JSON, an exported folder, or the folder of a run's reports; DataError: none
    of these, too large, or a field that is not what it must be."""
    if path.is_dir():
        if (path / RESULT).is_file():
            return _read_folder(path)
        if (path / "provenance.json").is_file() and (path / "scores.csv").is_file():
            return _read_reports(path)
    elif path.is_file() and path.suffix == ".json":
        return _validated(path, _read_json(path))
    folders = f"folder (with {RESULT}) or a folder of reports (with scores.csv and provenance.json)"
    raise _refused(path, f"expected an exported .json, an exported {folders}")


def _refused(path: Path, why: str) -> DataError:
    return DataError(f"{printable(path)}: {why}")


def _inside(folder: Path, name: str) -> Path:
    """A file of a folder, never one that a link leads to elsewhere."""
    path = folder / name
    if not path.is_file():
        raise _refused(path, "expected a file, found none")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise _refused(path, "is a link out of its folder; copy the files themselves")
    return path


def _bounded(path: Path) -> Path:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise _refused(path, f"is {size >> 20} MiB, at most {MAX_BYTES >> 20} are read")
    return path


def _read_json(path: Path) -> Any:
    try:
        return json.loads(_bounded(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"is not valid JSON ({printable(error)})") from error


def _validated(path: Path, data: Any) -> Bundle:
    try:
        return Bundle.model_validate(data)
    except (ValidationError, RecursionError) as error:
        raise _refused(path, what_is_wrong(error)) from error


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

    try:
        _check_shape(path, pq.read_metadata(path))
        table = pq.ParquetFile(path, read_dictionary=TEXTS).read()
        if not pa.types.is_float64(table.schema.field("value").type):
            raise _refused(path, "column 'value' is not float64")
        _check_texts(path, table)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _refused(path, f"is not readable as Parquet ({first_line(error)[:200]})") from error
    columns = (column.to_pylist() for column in table.columns)
    return group_rows(zip(*columns, strict=True), printable(path))


def _check_shape(path: Path, metadata: Any) -> None:
    names, rows = metadata.schema.names, metadata.num_rows
    if names != COLUMNS or rows > MAX_ROWS:
        expected = f"expected columns {', '.join(COLUMNS)} and at most {MAX_ROWS} rows"
        raise _refused(path, f"{expected}, found {printable(', '.join(names))} and {rows}")
    size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if size > MAX_UNPACKED:
        raise _refused(path, f"unpacks to {size >> 20} MiB; that is too much")


def _check_texts(path: Path, table: Any) -> None:
    import pyarrow as pa

    for name in TEXTS:
        for chunk in table.column(name).chunks:
            kept = chunk.dictionary if pa.types.is_dictionary(chunk.type) else None
            if kept is None or not pa.types.is_string(kept.type):
                raise _refused(path, f"column '{name}' is not text")
            if any(len(text) > MAX_TEXT for text in kept.to_pylist()):
                raise _refused(path, f"a text in column '{name}' is too long")


def _read_reports(folder: Path) -> Bundle:
    """A run's own reports, as far as they tell it: titles and notes are not among them."""
    import pandas as pd

    provenance = _read_json(_inside(folder, "provenance.json"))
    path = _bounded(_inside(folder, "scores.csv"))
    try:
        frame = pd.read_csv(
            path, keep_default_na=False, dtype=str, usecols=COLUMNS, encoding="utf-8"
        )
        frame["value"] = [float(text) if text else None for text in frame["value"]]
        frame[TEXTS] = frame[TEXTS].map(of_spreadsheet)
        prints = provenance["metrics"]
        results = Results(
            title=shorten(str(provenance["suite"]["title"])),
            datasets=tuple(Item(name, name) for name in provenance["datasets"]),
            methods=tuple(Item(name, name) for name in provenance["methods"]),
            metrics=tuple(_reported(n, prints.get(n)) for n in dict.fromkeys(frame["metric"])),
            scores=frame,
            provenance=provenance,
        )
        return of_run(results, provenance.get("scale"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        told = what_is_wrong(error) if isinstance(error, ValidationError) else first_line(error)
        why = f"is not a folder of reports of this version ({told[:200]})"
        raise _refused(folder, why) from error


def _reported(name: str, fingerprint: Mapping[str, Any] | None) -> MetricSpec:
    """A user's own metric says in its fingerprint which way is better; its file may be gone."""
    from bench import metrics

    told = fingerprint or {}
    of_program = told.get("program", {}).get("official", {}).get("scores", {})
    better = told.get("options", {}).get("better") or of_program.get("better")
    if fingerprint is not None and better is None:
        # No other name is looked up: one that ends in .py is a file, which would be read.
        known = metrics.find if name.startswith("pyiqa:") else metrics.registered
        if spec := known(name):
            return spec
        raise ValueError(f"metric '{name}' is none of ours and says not which way is better")
    own = better and MetricPrint(better=better, kind="image", digits=4, fingerprint={})
    return spec_of(name, own or None)
