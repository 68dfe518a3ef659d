"""What the methods cost: seconds, memory, parameters, steps, on the machine that is named.

Timings differ from run to run, so they are a report of their own, which is made only when it is
asked for; no table of scores holds them.
"""

from dataclasses import asdict, fields
from pathlib import Path

import pandas as pd

from bench.files.safe_csv import write_files
from bench.reports.figures.plots import score_against
from bench.reports.figures.style import save
from bench.reports.tables.markdown import filled
from bench.results.results import Cost, Results
from bench.results.view import PLAIN, View

GROUP = ["dataset", "method", "device", "machine", "threads"]


def render(results: Results, out: Path, _view: View = PLAIN) -> list[Path]:
    """Write ``cost.csv`` (see `summarize_costs`), ``cost_images.csv`` and ``cost.md``, and where
    scores are there ``cost_seconds.png`` and ``.pdf``."""
    table = summarize_costs(results)
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    titles = {item.name: item.title for item in (*results.datasets, *results.methods)}
    page = filled("pages/cost.md", results=results, rows=rows, titles=titles)
    files = {"cost.csv": table, "cost_images.csv": _frame(results), "cost.md": page}
    seconds = _on_one_machine(table, results.datasets[0].name)
    figure = score_against(results, seconds, "seconds per image (median)")
    drawn = [] if figure is None else save(figure, out / "cost_seconds")
    return [*write_files(out, files), *drawn]


def _on_one_machine(table: pd.DataFrame, dataset: str) -> dict[tuple[str, str], float]:
    """Seconds by dataset and method on the machine where most of its methods ran: those of two
    machines are not to be compared."""
    known = table[(table["dataset"] == dataset) & table["seconds"].notna()]
    places = known.groupby(["device", "machine"], sort=False)
    most = max((own for _, own in places), key=lambda own: own["method"].nunique(), default=known)
    told = most.sort_values("images").set_index("method")["seconds"].to_dict()
    return {(dataset, str(method)): float(seconds) for method, seconds in told.items()}


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
    names = [field.name for field in fields(Cost)]
    frame = pd.DataFrame([asdict(cost) for cost in results.costs], columns=names)
    whole = dict.fromkeys(("pixels", "peak_bytes", "threads"), "Int64")
    return frame.astype({**whole, "seconds": float, "first": float})
