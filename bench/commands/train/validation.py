"""Validation while training: a few images of a suite's test sets, scored and pictured."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from bench import metrics
from bench.base.device import default_store
from bench.base.errors import DataError, ImageError
from bench.base.hashing import derive_seed
from bench.base.progress import silent
from bench.base.text import printable, slug
from bench.base.types import ImagePair
from bench.data import find as data
from bench.files import images
from bench.running.score_job import value_of
from bench.suites.find import find_suite
from cassr.training.stages import Stage

METRICS = ("psnr_y", "ssim_y", "gmsd", "niqe")
PICTURED = 2
"""Images of each test set in the panels."""
GAP = 4


class Validation:
    """Called by a training run with its pipeline, the step and a folder for pictures.

    Looks at what `stage` makes of the first `limit` images of each of a suite's test sets. Raises
    UnknownName, DataError: no such suite, or no test set of it that can be used here.
    """

    def __init__(self, suite: str, limit: int, stage: Stage) -> None:
        self.stage = stage
        self.pairs = _pairs(suite, limit)
        self.metrics = [s for s in map(metrics.find, METRICS) if not metrics.unavailable(s, "cpu")]

    def __call__(self, pipeline: Any, step: int, folder: Path) -> dict[str, float]:
        """Means over the images; a panel of LR, what was made, HR for the first of each set."""
        values: dict[str, list[float]] = {}
        for dataset, pairs in self.pairs.items():
            rows = []
            for pair in pairs:
                assert pair.lr and pair.hr  # `_pairs` takes pairs alone
                lr, hr = (images.to_tensor(images.read_rgb(path)) for path in (pair.lr, pair.hr))
                try:
                    made = self._made(pipeline, lr, hr, pair)
                    scores = self._scores(made[-1], hr)
                except ImageError as error:
                    _skip(f"{printable(dataset)}: {printable(pair.id)}: {error}")
                    continue
                for name, value in scores.items():
                    values.setdefault(f"{dataset}/{name}", []).append(value)
                enlarged = images.resize(images.to_uint8(lr), hr.shape[3], hr.shape[2], "bicubic")
                rows.append([enlarged, *map(images.to_uint8, (*made, hr))])
            if rows:
                _write_panel(folder / f"{slug(dataset)}-step-{step:08d}.png", rows[:PICTURED])
        return {name: float(np.mean(found)) for name, found in values.items()}

    def _made(self, pipeline: Any, lr: Tensor, hr: Tensor, pair: ImagePair) -> Sequence[Tensor]:
        """What the stage makes of an image, the result last; each (1, 3, H, W) in [0, 1]."""
        drawn = {"scale": pair.scale, "seed": derive_seed(0, pair.id)}
        made = self.stage.results(pipeline, lr, hr, **drawn)
        eight_bit = [images.to_tensor(images.to_uint8(x.cpu())) for x in made]
        return eight_bit if self.stage.rounded else made

    def _scores(self, sr: Tensor, hr: Tensor) -> dict[str, float]:
        usable = [spec for spec in self.metrics if min(sr.shape[2:]) >= spec.min_size]
        return {s.name: value_of(s, "cpu", sr, hr if s.reference else None) for s in usable}


def _pairs(suite: str, limit: int) -> dict[str, Sequence[ImagePair]]:
    """The first pairs of each test set that has some; the others are named on standard error."""
    found: dict[str, Sequence[ImagePair]] = {}
    problems = []
    for name in find_suite(suite).datasets:
        dataset, root = data.find(name), default_store() / "datasets"
        if problem := dataset.problem(root):
            problems.append(problem)
            continue
        manifest = dataset.manifest(root, silent)
        if pairs := [pair for pair in manifest.pairs if pair.lr and pair.hr][:limit]:
            found[name] = pairs
        else:
            problems.append(f"{printable(name)}: expected pairs of LR and HR images, found none")
    if not found:
        raise DataError(
            f"--validate-on {printable(suite)}: no test set can be used here: {problems[0]}; "
            "or give another suite"
        )
    for problem in problems:
        _skip(problem)
    return found


def _skip(problem: str) -> None:
    print(f"validation: skipped {problem}", file=sys.stderr, flush=True)


def _write_panel(path: Path, rows: Sequence[Sequence[np.ndarray]]) -> None:
    """Images (H, W, 3) uint8 side by side, a row for each test image."""
    heights = [max(len(picture) for picture in row) for row in rows]
    side = max(picture.shape[1] for row in rows for picture in row)
    width = max(map(len, rows)) * (side + GAP) - GAP
    canvas = np.full((sum(heights) + GAP * (len(rows) - 1), width, 3), 255, np.uint8)
    for down, row in enumerate(rows):
        top = sum(heights[:down]) + GAP * down
        for across, picture in enumerate(row):
            left = across * (side + GAP)
            canvas[top : top + len(picture), left : left + picture.shape[1]] = picture
    images.write_png(path, canvas)
