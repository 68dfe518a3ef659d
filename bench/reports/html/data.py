"""What the page of the HTML report knows of every image, as a script it loads from its folder."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from bench.base.text import printable
from bench.reports.html.pictures import Shown, Source
from bench.results.results import PictureSet, Results

Key = tuple[str, str, str, str]
"""Dataset, method, image, metric."""


def script(results: Results, shown: Mapping[Source, Shown | str], originals: bool) -> str:
    """A script that sets `REPORT`; nothing in it can end a script element or start another."""
    text = json.dumps(page_data(results, shown, originals), ensure_ascii=True, allow_nan=False)
    return f'"use strict";\nconst REPORT = {text.replace("<", chr(92) + "u003c")};\n'


def page_data(
    results: Results, shown: Mapping[Source, Shown | str], originals: bool
) -> dict[str, Any]:
    """Everything by index, so that no name is ever a key.

    Returns:
        ``datasets``, ``methods``: printed titles. ``metrics``: those with scores per image.
        ``items``: a row per image: dataset's index, name, scale, [width, height], then per source
        (LR, HR, methods) [folder, picture, thumbnail], a reason or null, then per method and
        metric a value, a reason or null.
    """
    metrics = [metric for metric in results.metrics if metric.kind == "image"]
    scores = _scores(results)
    return {
        "originals": originals,
        "datasets": [printable(item.title) for item in results.datasets],
        "methods": [printable(item.title) for item in results.methods],
        "metrics": [
            {"title": printable(m.title), "lower": m.better == "lower", "digits": m.digits}
            for m in metrics
        ],
        "items": [
            _item(results, index, item, shown, [m.name for m in metrics], scores)
            for index, item in enumerate(all_items(results))
        ],
    }


def all_items(results: Results) -> list[PictureSet]:
    """The picture sets, then a bare one for every image that has scores but no pictures."""
    known = {(item.dataset, item.image) for item in results.pictures}
    scored = results.scores.loc[results.scores["image"] != "", ["dataset", "image"]]
    others = dict.fromkeys(scored.itertuples(index=False, name=None))
    bare = [PictureSet(d, image, 1, None, None) for d, image in others if (d, image) not in known]
    return [*results.pictures, *bare]


def _scores(results: Results) -> dict[Key, float | str]:
    columns = ["dataset", "method", "image", "metric", "value", "reason"]
    rows = results.scores[columns].itertuples(index=False, name=None)
    return {tuple(key): _plain(float(value), reason) for *key, value, reason in rows}


def _plain(value: float, reason: str) -> float | str:
    """A number as JSON has it; words for any other."""
    if math.isnan(value):
        return printable(reason) or "not computed"
    return value if math.isfinite(value) else ("inf" if value > 0 else "-inf")


def _item(
    results: Results,
    index: int,
    item: PictureSet,
    shown: Mapping[Source, Shown | str],
    metrics: Sequence[str],
    scores: Mapping[Key, float | str],
) -> list[Any]:
    names = ["lr", "hr", *(f"sr-{method.name}" for method in results.methods)]
    sources = [shown.get((index, name)) for name in names]
    datasets = [dataset.name for dataset in results.datasets]
    return [
        datasets.index(item.dataset),
        printable(item.image),
        item.scale,
        _full_size(sources, item.scale),
        [_source(source) for source in sources],
        [
            [scores.get((item.dataset, method.name, item.image, metric)) for metric in metrics]
            for method in results.methods
        ],
    ]


def _full_size(sources: Sequence[Shown | str | None], scale: int) -> list[int]:
    """Size of HR, else of the first SR, else of LR times the scale."""
    lr, *others = sources
    known = [source for source in others if isinstance(source, Shown)]
    if known:
        return [known[0].width, known[0].height]
    return [lr.width * scale, lr.height * scale] if isinstance(lr, Shown) else [1, 1]


def _source(source: Shown | str | None) -> list[str] | str | None:
    if isinstance(source, Shown):
        return [source.folder, source.file, source.thumb]
    return printable(source) if source else None
