"""A page to look at: leaderboard, every image with every method, provenance, in one folder.

``html/index.html`` opens from disk. Nothing is loaded from outside the folder, all names are
shown as text, and the leaderboard is readable without scripts.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import markupsafe

from bench.base.text import printable
from bench.base.version import package_version
from bench.files.safe_csv import write_files
from bench.reports.html.data import scripts
from bench.reports.html.parts import Part, place_parts
from bench.reports.html.pictures import place_pictures
from bench.reports.tables.layout import count_comparisons, make_table
from bench.reports.tables.markdown import filled
from bench.results.bootstrap import ALPHA
from bench.results.results import Results
from bench.results.table_stats import NOT_TOLD_APART, Statistics, statistics
from bench.results.view import PLAIN, View

FOLDER = "html"
PAGE = Path(__file__).with_name("page")


def render(results: Results, out: Path, view: View = PLAIN) -> list[Path]:
    """Write ``html/``: the page, its scripts and style, data, pictures and thumbnails."""
    folder = out / FOLDER
    parts = () if "published" in results.provenance else place_parts(results, out, folder, view)
    return write_page(results, folder, view, list(parts))


def write_page(
    results: Results, folder: Path, view: View = PLAIN, parts: Sequence[Part] = ()
) -> list[Path]:
    """Write the page into `folder`, with the parts that are there already."""
    table = make_table(
        results, replace(view, groups=None, half_widths=None, layout="methods-as-rows")
    )
    found = statistics(results)
    names = [metric.name for metric in table.metrics]
    found = replace(found, cells=found.cells[found.cells["metric"].isin(names)])
    results = replace(results, metrics=table.metrics)
    shown = place_pictures(results, folder, view.originals)
    pictures = [path for item in shown.values() if not isinstance(item, str)
                for path in item.files(folder)]  # fmt: skip
    page = filled(
        "html/page/index.html",
        lambda text: markupsafe.escape(printable(text)),
        table=table,
        beside=_beside(found),
        metrics=results.metrics,
        parts=parts,
        datasets=results.datasets,
        methods=results.methods,
        comparisons=found.comparisons and count_comparisons(found.comparisons.values()),
        alpha=ALPHA,
        provenance=partial(_provenance, results.provenance),
        version=package_version(),
    )
    ours = [file for file in sorted(PAGE.iterdir()) if file.suffix in (".css", ".js")]
    texts = {
        "index.html": page,
        **scripts(results, found, shown, view.originals),
        "provenance.json": json.dumps(results.provenance, indent=1, sort_keys=True) + "\n",
        **{file.name: file.read_text("utf-8") for file in ours},
    }
    placed = [folder / name for part in parts for name in part.files]
    return [*write_files(folder, texts), *placed, *dict.fromkeys(pictures)]


def _beside(found: Statistics) -> dict[tuple[str, str, str], tuple[float | None, bool]]:
    """By dataset, metric and method: half of the interval of the mean, None where there is none;
    whether it is not told apart from the best, which is another method."""
    beside = {}
    for row in found.cells.to_dict("records"):
        key = (row["dataset"], row["metric"], row["method"])
        half = (row["high"] - row["low"]) / 2
        undecided = key[:2] in found.comparisons and row["against_best"] in NOT_TOLD_APART
        beside[key] = (half if math.isfinite(half) else None, undecided)
    return beside


def _provenance(known: Mapping[str, Any], kind: str = "", name: str = "") -> list[tuple[str, str]]:
    """What is known of one thing, or of the whole run, as lines of name and value."""
    if not kind:
        things = ("datasets", "methods", "metrics")
        return _lines({key: value for key, value in known.items() if key not in things})
    found = known.get(kind, {})
    own = dict(found.get(name, {}) if isinstance(found, Mapping) else {})
    if groups := own.pop("groups", None):
        alone = own["images"] - len(groups)
        own["photographs"] = alone + len(set(groups.values()))
    return _lines(own)


def _lines(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested mappings as lines of dotted names; what is empty is left out."""
    if isinstance(value, Mapping):
        return [
            line
            for key in sorted(value, key=str)
            for line in _lines(value[key], f"{prefix}.{key}" if prefix else str(key))
        ]
    if value in (None, "", [], ()):
        return []
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return [(printable(prefix), printable(text))]
