"""Scores of folders of images: means with intervals, and rows for a file or a data frame."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.base.types import MetricSpec
from bench.files.safe_csv import rows_as_csv

if TYPE_CHECKING:
    import pandas as pd


Row = tuple[str, str, float | None, str]
"""File ("" for the whole set), metric, value, and why there is none."""


@dataclass(frozen=True)
class FolderScores:
    """Scores of a folder.

    Attributes:
        rows: of its images, by file name, then metric as asked for.
        means: (metric, mean or None, number of images with a value, why it is missing).
        problems: (file, reason) of everything without a score, each file once.
        refused: (file, reason) of files that have no rows.
        names: stem of the HR image of each scored file; its own without HR.
    """

    folder: Path
    rows: tuple[Row, ...]
    means: tuple[tuple[MetricSpec, float | None, int, str], ...]
    problems: tuple[tuple[str, str], ...]
    refused: tuple[tuple[str, str], ...]
    names: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def of_set(self) -> list[Row]:
        """Of the metrics that score it as a whole."""
        return [("", s.name, mean, why) for s, mean, _, why in self.means if s.kind == "set"]

    @cached_property
    def half_widths(self) -> dict[str, float]:
        """Of the 95 % intervals of the means, by metric, where the images allow for one."""
        from bench.results.bootstrap import MIN_IMAGES, bootstrap, seed_of

        known: dict[str, dict[str, float]] = {}
        for image, metric, value, _ in self.rows:
            if value is not None:
                known.setdefault(metric, {})[self.names[image]] = value
        found = {}
        for name, own in known.items():
            values = np.array([[value] for _, value in sorted(own.items())])
            if len(own) >= MIN_IMAGES and np.isfinite(values).all():
                found[name] = float(bootstrap(values, seed_of(sorted(own))).half_width()[0])
        return {name: half for name, half in found.items() if np.isfinite(half)}

    def as_json(self) -> dict[str, Any]:
        halves = self.half_widths
        return {
            "means": [
                {"metric": spec.name, "better": spec.better, "mean": mean, "n": n, "reason": reason}
                | {"half_width": halves.get(spec.name)}
                for spec, mean, n, reason in self.means
            ],
            "scores": [{"image": i, "metric": m, "value": v} for i, m, v, _ in self.rows],
            "problems": [list(problem) for problem in self.problems],
            "notes": list(self.notes),
        }


def as_csv(scores: Sequence[FolderScores]) -> bytes:
    """Rows `image,metric,value,folder` with every digit, for any number of folders.

    An image without a value has an empty one; a metric over the whole set has no image.
    """
    rows = [(*row[:3], str(one.folder)) for one in scores for row in (*one.rows, *one.of_set)]
    return rows_as_csv(["image", "metric", "value", "folder"], rows)


def as_frame(scores: Sequence[FolderScores]) -> "pd.DataFrame":
    """Rows ``image, metric, value, reason``; NaN has its reason, a metric over the set no image.

    With several folders each row begins with `folder`.
    """
    import pandas as pd

    rows = []
    for one in scores:
        per_image = [spec.name for spec, *_ in one.means if spec.kind == "image"]
        names = [(_below(one.folder, Path(file)), why) for file, why in one.refused]
        refused = [(image, name, None, why) for image, why in names for name in per_image]
        rows += [(str(one.folder), *row) for row in (*one.rows, *refused, *one.of_set)]
    frame = pd.DataFrame(rows, columns=["folder", "image", "metric", "value", "reason"])
    frame = frame.astype({"value": float})
    return frame if len(scores) > 1 else frame.drop(columns="folder")


def _below(folder: Path, file: Path) -> str:
    """As images are named; an HR image's name where that is what cannot be used."""
    return file.relative_to(folder).as_posix() if file.is_relative_to(folder) else file.name
