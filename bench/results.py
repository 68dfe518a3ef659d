"""The one object every report is made from: tidy scores and what they are scores of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.types import MetricSpec

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Item:
    """A method or dataset as it appears in reports.

    Attributes:
        name: registered name.
        title: as printed.
        note: shown under every table that it appears in ("" for none): deviations, labels such as
            "miniature: shows that the pipeline works, says nothing about the paper's CasSR".
    """

    name: str
    title: str
    note: str = ""


@dataclass(frozen=True)
class PictureSet:
    """Where the pictures of one dataset item are: LR, HR and one SR per method that has it."""

    dataset: str
    image: str
    scale: int
    lr: Path | None
    hr: Path | None
    sr: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Results:
    """Scores of methods on datasets.

    ``scores`` has one row per dataset, method, image and metric that was asked for:
    ``dataset, method, image, metric, value, reason``; a missing score has value NaN and its reason.
    Metrics over a whole set (FID) have one row with image "". Row order is that of ``datasets``,
    ``methods``, image id, ``metrics``.
    """

    title: str
    datasets: tuple[Item, ...]
    methods: tuple[Item, ...]
    metrics: tuple[MetricSpec, ...]
    scores: pd.DataFrame
    pictures: tuple[PictureSet, ...] = ()
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)


def summarize(results: Results) -> pd.DataFrame:
    """Mean per dataset, metric and method over the images that have a value.

    Returns:
        Columns ``dataset, metric, method, mean, n, missing, reason``; mean is NaN where n is 0;
        reason joins the distinct reasons of the missing images. Rows in the order of the results.
        Means are taken over the images which all methods with any value of that metric share
        ("common set"), so a missing image never favours a method; ``n`` is that set's size and
        ``missing`` counts the images of this method without a value.
    """
    import pandas as pd

    rows = []
    for dataset in results.datasets:
        for metric in results.metrics:
            cell = results.scores.query("dataset == @dataset.name and metric == @metric.name")
            values = cell.pivot(index="image", columns="method", values="value")
            scored = values.loc[:, values.notna().any()]
            common = scored.dropna()
            for method in results.methods:
                own = cell[cell["method"] == method.name]
                missing = own[own["value"].isna()]
                has_values = method.name in common.columns and len(common) > 0
                rows.append(
                    {
                        "dataset": dataset.name,
                        "metric": metric.name,
                        "method": method.name,
                        "mean": common[method.name].mean() if has_values else float("nan"),
                        "n": len(common) if has_values else 0,
                        "missing": len(missing),
                        "reason": "; ".join(dict.fromkeys(missing["reason"])),
                    }
                )
    return pd.DataFrame(rows)
