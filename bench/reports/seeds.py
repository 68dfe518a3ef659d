"""How far a method's noise moves its scores, and how often it changes a rank."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.base.records import write_atomic
from bench.base.text import printable
from bench.files.safe_csv import write_csv
from bench.reports.tables.markdown import escape
from bench.results.repeats import Spread, rank_changes, spreads
from bench.results.results import KEYS, Repeats, Results
from bench.results.view import PLAIN, View

DIGITS = "%.7g"
LOCAL = "l_std"


def render(results: Results, out: Path, _view: View = PLAIN) -> list[Path]:
    """Write ``seeds.csv`` (means), ``seeds_images.csv``, ``seeds_ranks.csv`` and ``seeds.md``.

    Nothing where there is but one seed.
    """
    if results.repeats is None:
        return []
    import pandas as pd

    found = spreads(results, results.repeats)
    changes = rank_changes(found)
    rows = [*map(_row, found), *_local(results, results.repeats)]
    write_csv(pd.DataFrame(rows), out / "seeds.csv", DIGITS)
    write_csv(_images(results.repeats), out / "seeds_images.csv", DIGITS)
    columns = ["dataset", "metric", "a", "b", "difference", "changes"]
    write_csv(pd.DataFrame(changes, columns=columns), out / "seeds_ranks.csv", DIGITS)
    write_atomic(out / "seeds.md", "\n".join(_page(results, results.repeats, rows, changes)) + "\n")
    return [out / f"seeds{name}" for name in (".csv", "_images.csv", "_ranks.csv", ".md")]


def _row(one: Spread) -> dict[str, Any]:
    means = one.seed_means
    return {
        **{"dataset": one.dataset, "metric": one.metric.name, "method": one.method},
        "n": len(one.values) if one.metric.kind == "image" else np.nan,
        "mean": means.mean(),
        "low": means.mean() - one.half,
        "high": means.mean() + one.half,
        "std_of_means": means.std(ddof=1),
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


def _images(repeats: Repeats) -> Any:
    """A row per image and metric: mean and standard deviation over the seeds, and each seed."""
    values = repeats.scores[list(map(str, repeats.seeds))].to_numpy(float)
    numbers = repeats.scores.drop(columns=KEYS).add_prefix("seed_")
    spread = {"mean": values.mean(axis=1), "std": values.std(axis=1)}
    return repeats.scores[KEYS].assign(**spread).join(numbers)


def _page(
    results: Results,
    repeats: Repeats,
    rows: Sequence[dict[str, Any]],
    changes: Sequence[dict[str, Any]],
) -> Iterator[str]:
    titles = {item.name: item.title for item in (*results.datasets, *results.methods)}
    titles |= {metric.name: metric.title for metric in results.metrics} | {LOCAL: "L-STD"}
    digits = {metric.name: metric.digits for metric in results.metrics} | {LOCAL: 4}

    def named(*names: str) -> str:
        return " | ".join(escape(printable(titles[name])) for name in names)

    yield f"### {escape(printable(results.title))}: {len(repeats.seeds)} seeds"
    yield ""
    yield (
        f"Means over the seeds {', '.join(map(str, repeats.seeds))} and the images that all "
        "methods share, ± half of the 95 % interval over images and seeds; the standard deviation "
        "of the seeds' means; G-STD: an image's standard deviation over the seeds, mean over "
        "images; L-STD: the same of its pixels, RGB in [0, 1] (both as CCSR defines them)."
    )
    yield ""
    yield "| dataset | metric | method | n | mean | std of means | G-STD |"
    yield "|---|---|---|---:|---:|---:|---:|"
    for row in rows:
        places = digits[row["metric"]]
        spread = [_number(row.get(name), places + 2) for name in ("std_of_means", "g_std")]
        half = _number(row.get("high", np.nan) - row["mean"], places)
        mean = _number(row["mean"], places) + (f" ± {half}" if half != "–" else "")
        head = named(row["dataset"], row["metric"], row["method"])
        yield f"| {head} | {_number(row['n'], 0)} | {mean} | {' | '.join(spread)} |"
    yield ""
    moved = [row for row in changes if row["changes"] > 0]
    still = len(changes) - len(moved)
    yield f"Ranks that single seeds change; {still} of {len(changes)} pairs keep theirs."
    yield ""
    yield "| dataset | metric | method | against | mean difference | ranked otherwise |"
    yield "|---|---|---|---|---:|---:|"
    for row in moved:
        head = named(row["dataset"], row["metric"], row["a"], row["b"])
        difference = _number(row["difference"], digits[row["metric"]])
        yield f"| {head} | {difference} | {row['changes']:.0%} |"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None or not np.isfinite(value) else f"{value:z.{digits}f}"
