"""What the page of the HTML report knows of every image, as scripts it loads from its folder."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.base.text import printable
from bench.reports.html.pictures import Shown, Source
from bench.results.results import COLUMNS, PictureSet, Results
from bench.results.table_stats import Statistics, mean_rank_intervals

if TYPE_CHECKING:
    import pandas as pd

CELL = ["mean", "low", "high", "n", "rank", "rank_low", "rank_high", "best_probability"]
PAIR = ["dataset", "metric", "a", "b", "holm_p", "verdict"]
Key = tuple[str, str, str, str]
"""Dataset, method, image, metric."""


def scripts(
    results: Results, found: Statistics, shown: Mapping[Source, Shown | str], originals: bool
) -> dict[str, str]:
    """By file name: a script that sets `REPORT`, and one for the images of each dataset.

    Nothing in them can end a script element or start another.
    """
    parts = _rows(results, shown)
    known = _json(page_data(results, found, originals))
    return {
        "data.js": f'"use strict";\nconst REPORT = {known};\n',
        **{f"data/{i}.js": f"REPORT.parts[{i}] = {_json(part)};\n" for i, part in enumerate(parts)},
    }


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", chr(92) + "u003c")


def page_data(results: Results, found: Statistics, originals: bool) -> dict[str, Any]:
    """What the page knows without its images.

    Returns:
        ``datasets``, ``methods``: printed titles. ``names``: what an address and ``pairs`` call
        them. ``columns``: all metrics; ``image`` is the index among ``metrics``, those with scores
        per image. ``cells``: `CELL` by dataset, metric and method; ``pairs``: `PAIR`.
        ``meanRanks``: `mean_rank_intervals` by dataset. ``parts``: to be filled, by dataset.
    """
    per_image = [metric.name for metric in results.metrics if metric.kind == "image"]
    columns: list[dict[str, Any]] = [
        {"name": m.name, "title": printable(m.title), "lower": m.better == "lower",
         "digits": m.digits, "image": per_image.index(m.name) if m.kind == "image" else None}
        for m in results.metrics
    ]  # fmt: skip
    items = {"datasets": results.datasets, "methods": results.methods}
    return {
        **{"originals": originals, "columns": columns, "parts": []},
        "names": {kind: [item.name for item in own] for kind, own in items.items()},
        **{kind: [printable(item.title) for item in own] for kind, own in items.items()},
        "metrics": [column for column in columns if column["image"] is not None],
        **{"cells": _values(found.cells[CELL]), "pairs": _values(found.pairs[PAIR])},
        "meanRanks": [mean_rank_intervals(results, item.name) for item in results.datasets],
    }


def _values(frame: "pd.DataFrame") -> list[list[Any]]:
    """Rows as JSON has them: null for NaN, words for what is infinite."""
    words = frame.astype(object).replace({math.inf: "inf", -math.inf: "-inf"})
    return list(json.loads(words.to_json(orient="values", double_precision=15)))


def _rows(results: Results, shown: Mapping[Source, Shown | str]) -> list[list[list[Any]]]:
    """By dataset, a row per image: dataset's index, name, scale, [width, height], then per source
    (LR, HR, methods) [folder, picture, thumbnail], a reason or null, then per method and metric a
    value, a reason or null."""
    metrics = [metric.name for metric in results.metrics if metric.kind == "image"]
    methods = [method.name for method in results.methods]
    names = ["lr", "hr", *(f"sr-{method}" for method in methods)]
    places = {dataset.name: place for place, dataset in enumerate(results.datasets)}
    parts: list[list[list[Any]]] = [[] for _ in places]
    scores = _scores(results)
    for index, item in enumerate(all_items(results)):
        sources = [shown.get((index, name)) for name in names]
        own = [
            [scores.get((item.dataset, method, item.image, metric)) for metric in metrics]
            for method in methods
        ]
        place, size = places[item.dataset], _full_size(sources, item.scale)
        addresses = [
            [source.folder, source.file, source.thumb]
            if isinstance(source, Shown)
            else printable(source or "") or None
            for source in sources
        ]
        parts[place].append([place, printable(item.image), item.scale, size, addresses, own])
    return parts


def all_items(results: Results) -> list[PictureSet]:
    """The picture sets, then a bare one for every image that has scores but no pictures."""
    known = {(item.dataset, item.image) for item in results.pictures}
    scored = results.scores.loc[results.scores["image"] != "", ["dataset", "image"]]
    others = dict.fromkeys(scored.itertuples(index=False, name=None))
    bare = [PictureSet(d, image, 1, None, None) for d, image in others if (d, image) not in known]
    return [*results.pictures, *bare]


def _scores(results: Results) -> dict[Key, float | str]:
    rows = results.scores[COLUMNS].itertuples(index=False, name=None)
    return {tuple(key): _plain(float(value), reason) for *key, value, reason in rows}


def _plain(value: float, reason: str) -> float | str:
    """A number as JSON has it; words for any other."""
    if math.isnan(value):
        return printable(reason) or "not computed"
    return value if math.isfinite(value) else ("inf" if value > 0 else "-inf")


def _full_size(sources: Sequence[Shown | str | None], scale: int) -> list[int]:
    """Size of HR, else of the first SR, else of LR times the scale."""
    lr, *others = sources
    known = [source for source in others if isinstance(source, Shown)]
    if known:
        return [known[0].width, known[0].height]
    return [lr.width * scale, lr.height * scale] if isinstance(lr, Shown) else [1, 1]
