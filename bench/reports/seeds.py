"""How far a method's noise moves its scores, and how often it changes a rank."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.files.safe_csv import SEVEN_DIGITS, write_files
from bench.reports.tables.markdown import filled
from bench.results.repeats import Spread, rank_changes, spread, spreads
from bench.results.results import KEYS, Repeats, Results
from bench.results.view import PLAIN, View

LOCAL = "l_std"


def render(results: Results, out: Path, _view: View = PLAIN) -> list[Path]:
    """Write ``seeds.csv`` (means), ``seeds_images.csv``, ``seeds_ranks.csv`` and ``seeds.md``.

    Nothing where there is but one seed.
    """
    if results.repeats is None:
        return []
    found = spreads(results, results.repeats)
    changes = rank_changes(found)
    rows = [*map(_row, found), *_local(results, results.repeats)]
    columns = ["dataset", "metric", "a", "b", "difference", "changes"]
    titles = {item.name: item.title for item in (*results.datasets, *results.methods)}
    titles |= {metric.name: metric.title for metric in results.metrics} | {LOCAL: "L-STD"}
    digits = {metric.name: metric.digits for metric in results.metrics} | {LOCAL: 4}
    told: dict[str, Any] = {"rows": rows, "changes": changes, "titles": titles, "digits": digits}
    sure = {math.isfinite(one.half) for one in found}
    page = filled("pages/seeds.md", results=results, nan=np.nan, sure=sure, **told)
    files = {
        "seeds.csv": pd.DataFrame(rows),
        "seeds_images.csv": _images(results.repeats),
        "seeds_ranks.csv": pd.DataFrame(changes, columns=columns),
        "seeds.md": page,
    }
    return write_files(out, files, SEVEN_DIGITS)


def _row(one: Spread) -> dict[str, Any]:
    means = one.seed_means
    return {
        **{"dataset": one.dataset, "metric": one.metric.name, "method": one.method},
        "n": len(one.values) if one.metric.kind == "image" else np.nan,
        "mean": means.mean(),
        "low": means.mean() - one.half,
        "high": means.mean() + one.half,
        "std_of_means": float(spread(means, ddof=1)),
        "g_std": one.global_std,
    }


def _local(results: Results, repeats: Repeats) -> Iterator[dict[str, Any]]:
    """A row per dataset and method that draws noise: L-STD as `mean`, over n images."""
    for dataset in results.datasets:
        for method in results.methods:
            cell = (dataset.name, method.name)
            own = [value for key, value in repeats.local_std.items() if key[:2] == cell]
            if own:
                named = {"dataset": dataset.name, "metric": LOCAL, "method": method.name}
                yield {**named, "n": len(own), "mean": np.mean(own)}


def _images(repeats: Repeats) -> pd.DataFrame:
    """A row per image and metric: mean and standard deviation over the seeds, and each seed."""
    values = repeats.scores[list(map(str, repeats.seeds))].to_numpy(float)
    numbers = repeats.scores.drop(columns=KEYS).add_prefix("seed_")
    own = {"mean": values.mean(axis=1), "std": spread(values)}
    return repeats.scores[KEYS].assign(**own).join(numbers)
