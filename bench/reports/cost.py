"""What the methods cost: seconds, memory, parameters, steps, on the machine that is named.

Timings differ from run to run, so they are a report of their own, which is made only when it is
asked for; no table of scores holds them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.base.records import write_atomic
from bench.base.text import printable
from bench.files.safe_csv import write_csv
from bench.reports.figures.plots import save, score_against
from bench.reports.tables.markdown import escape
from bench.results.results import Cost, Results
from bench.results.view import PLAIN, View

if TYPE_CHECKING:
    import pandas as pd

CSV = "cost.csv"
IMAGES_CSV = "cost_images.csv"
PAGE = "cost.md"
PLOT = "cost_seconds"
GROUP = ["dataset", "method", "device", "machine", "threads"]
HEADS = (
    *("dataset", "method", "parameters", "steps", "seconds per image", "seconds per megapixel"),
    *("start-up", "peak memory", "images", "measured on"),
)
LEGEND = (
    "Seconds are medians over the images, of upscaling alone: no file is read or written in them, "
    "no network is loaded; a GPU is waited for. Of an official repository's program they are those "
    "from one file to the next, with reading and writing; its start-up, in seconds, is what its "
    "first image took beyond such a one, loading included. Megapixels are those of the SR image. "
    "Peak memory on CUDA is what tensors held, weights included; of a program what the GPU held "
    "more than before its start, as nvidia-smi tells; on a CPU it is the whole process, libraries "
    "included. "
    "Timings vary between runs and with whatever else the machine did: compare only rows measured "
    "on one machine, alone on it."
)


def render(results: Results, out: Path, _view: View = PLAIN) -> list[Path]:
    """Write ``cost.csv`` (a row per dataset, method and machine), ``cost_images.csv`` and
    ``cost.md``, and where scores are there ``cost_seconds.png`` and ``.pdf``."""
    table = summarize_costs(results)
    write_csv(table, out / CSV)
    write_csv(_frame(results), out / IMAGES_CSV)
    write_atomic(out / PAGE, "\n".join(_page(results, table)) + "\n")
    seconds = {(r["dataset"], r["method"]): r["seconds"] for r in _rows(table)}
    figure = score_against(results, seconds, "seconds per image (median)")
    drawn = [] if figure is None else save(figure, out / PLOT)
    return [out / CSV, out / IMAGES_CSV, out / PAGE, *drawn]


def summarize_costs(results: Results) -> pd.DataFrame:
    """A row per dataset, method, device, machine and threads that images were made with.

    Returns:
        ``dataset, method, device, machine, threads, images, seconds, seconds_per_megapixel``
        (medians), ``start_up`` (seconds, median), ``peak_bytes`` (the largest), ``parameters,
        steps``; NaN where unknown.
    """
    costs = _frame(results)
    costs["seconds_per_megapixel"] = costs["seconds"] / (costs["pixels"].astype(float) / 1e6)
    table = (
        costs.groupby(GROUP, dropna=False, sort=False)
        .agg(
            images=("image", "size"),
            seconds=("seconds", "median"),
            seconds_per_megapixel=("seconds_per_megapixel", "median"),
            start_up=("first", "median"),
            peak_bytes=("peak_bytes", "max"),
        )
        .reset_index()
    )
    table["start_up"] -= table["seconds"]
    for name in ("parameters", "steps"):
        known = {method.name: getattr(method, name) for method in results.methods}
        table[name] = table["method"].map(known).astype("Int64")
    return table


def _frame(results: Results) -> pd.DataFrame:
    import pandas as pd

    names = [field.name for field in fields(Cost)]
    frame = pd.DataFrame([asdict(cost) for cost in results.costs], columns=names)
    whole = dict.fromkeys(("pixels", "peak_bytes", "threads"), "Int64")
    return frame.astype({**whole, "seconds": float, "first": float})


def _rows(table: pd.DataFrame) -> list[dict[Any, Any]]:
    known = table.notna().to_dict("records")
    return [
        {name: value if there[name] else None for name, value in row.items()}
        for row, there in zip(table.to_dict("records"), known, strict=True)
    ]


def _page(results: Results, table: pd.DataFrame) -> Iterator[str]:
    yield f"### {escape(printable(results.title))}: what the methods cost"
    yield ""
    if table.empty:
        yield "No method that ran here has recorded its cost."
        return
    titles = {item.name: item.title for item in (*results.datasets, *results.methods)}
    yield f"| {' | '.join(HEADS)} |"
    yield f"|---|---|{'---:|' * (len(HEADS) - 3)}---|"
    for row in _rows(table):
        cells = [
            *(titles[row["dataset"]], titles[row["method"]]),
            *(_parameters(row["parameters"]), _number(row["steps"], "d")),
            *(_number(row["seconds"], ".3g"), _number(row["seconds_per_megapixel"], ".3g")),
            _number(row["start_up"], ".3g"),
            *(_memory(row["peak_bytes"]), str(row["images"]), _where(row)),
        ]
        yield f"| {' | '.join(escape(printable(cell)) for cell in cells)} |"
    yield ""
    yield LEGEND


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else f"{value:{form}}"


def _parameters(count: int | None) -> str:
    return "–" if count is None else f"{count / 1e6:.3g} M"


def _memory(size: int | None) -> str:
    return "–" if size is None else f"{size / 2**30:.2f} GiB"


def _where(row: dict[Any, Any]) -> str:
    threads = f"{row['threads']} threads" if row["threads"] and row["device"] == "cpu" else ""
    return ", ".join(filter(None, [row["device"], row["machine"], threads])) or "–"
