"""Published values beside measured ones: CSV, Markdown, LaTeX, and a table in the terminal."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.text import Text

from bench.base.text import printable, slug
from bench.files.safe_csv import SEVEN_DIGITS, write_files
from bench.reports.tables.latex import filled as filled_latex
from bench.reports.tables.markdown import filled, number
from bench.reports.tables.terminal import plain as plain_table
from bench.results.against import Against, against
from bench.results.published import as_results, plain, sources
from bench.results.results import Results
from bench.results.view import PLAIN, View

EXPLANATION = (
    "Noise is the half-width of the 95 % interval of a mean: how far it would move with other "
    "images of the kind. A difference within it says nothing."
)
MOSTLY = 0.5
HEADS = ("metric", "method", "published", "measured", "difference", "noise", "verdict")


def render(results: Results, out: Path, _view: View = PLAIN) -> list[Path]:
    """Write ``published.csv``, ``published.md`` and ``published.tex``."""
    rows = against(results)
    told: dict[str, Any] = {
        **{"results": results, "rows": rows, "groups": _groups(rows), "heads": HEADS},
        **{"cells": _cells, "remarks": _remarks(rows)},
        **{"explanation": EXPLANATION, "nothing": nothing()},
    }
    files = {
        "published.csv": _frame(rows),
        "published.md": filled("pages/published.md", **told),
        "published.tex": filled_latex("pages/published.tex", **told),
    }
    return write_files(out, files, SEVEN_DIGITS)


def nothing() -> str:
    """What is published, for results of which nothing is."""
    cards = [source.card for source in sources()]
    datasets = {name for card in cards for known in card.datasets.values() for name in known.names}
    metrics = {known.name for card in cards for known in card.metrics.values()}
    printed = [s.method_name(row) for s in sources() for row in s.rows if not row.variant]
    methods = {plain(name): name for name in printed}.values()
    return (
        "No published value fits these test sets, metrics and methods. Published values exist for "
        f"the test sets {', '.join(sorted(datasets))}; the metrics {', '.join(sorted(metrics))}; "
        f"the methods {', '.join(sorted(methods, key=str.casefold))}. A folder is matched by its "
        "name (--datasets folder:realsr), its method by the name after @."
    )


def show(results: Results, console: Console) -> None:
    """Print the comparison with what is unlike, and the protocol differences known."""
    rows = against(results)
    if not rows:
        console.print(Text(nothing()), highlight=False)
        return
    console.print(Text("Published against measured", "bold"))
    for heading, group in _groups(rows).items():
        console.print(Text(heading), highlight=False)
        console.print(plain_table(HEADS, ("metric", "method"), map(_cells, group)))
    for remark in (EXPLANATION, *_remarks(rows)):
        console.print(Text(remark), highlight=False)


def papers(results: Results, view: View) -> Iterator[tuple[str, Results, View]]:
    """The published tables that hold most of these datasets, methods and metrics, each with the
    name of a folder and how it is shown."""
    view = replace(view, every_metric=True, groups=None)
    for source in sources():
        for table in source.card.tables:
            paper = as_results(source, table, results.datasets, results.methods, results.metrics)
            if paper.scores["value"].notna().mean() > MOSTLY:
                yield slug(f"{source.card.name}-table-{table}"), paper, view


def _groups(rows: Sequence[Against]) -> dict[str, list[Against]]:
    """The rows below what they have in common: a table of a source, a test set and its sizes."""
    groups: dict[str, list[Against]] = {}
    for row in rows:
        there = "not stated" if row.published_n is None else f"= {row.published_n}"
        heading = (
            f"{row.source}, table {row.table}: {row.dataset}, n = {row.n} (published n {there})"
        )
        groups.setdefault(printable(heading), []).append(row)
    return groups


def _cells(row: Against) -> tuple[str, ...]:
    decimals = len(row.published.partition(".")[2])
    return (
        printable(row.metric),
        printable(row.method),
        row.published,
        number(row.measured, decimals),
        number(row.difference, decimals, "+"),
        number(row.noise, decimals),
        row.verdict,
    )


def _remarks(rows: Sequence[Against]) -> list[str]:
    """One line per thing that is unlike or known of the protocol, with where it holds."""
    lines = [
        f"Not comparable: {row.dataset}, {row.metric}: {reason}"
        for row in rows
        if row.verdict == "not comparable"
        for reason in row.unlike
    ]
    lines += [f"Protocol of {row.source}, {text}" for row in rows for text in row.protocol]
    return list(map(printable, dict.fromkeys(lines)))


def _frame(rows: Sequence[Against]) -> pd.DataFrame:
    records = [
        {**asdict(row), "unlike": "; ".join(row.unlike), "protocol": "; ".join(row.protocol)}
        for row in rows
    ]
    frame = pd.DataFrame(records, columns=[field.name for field in fields(Against)])
    return frame.astype(dict.fromkeys(("measured", "difference", "noise", "published_n"), float))
