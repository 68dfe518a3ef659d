"""Score any folders of SR images against any folder of HR images, or none.

Several folders together cost less than one by one: each HR image is decoded, and what depends on
it alone computed, once for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import metrics
from bench.base.errors import BenchError, ImageError
from bench.base.progress import Progress
from bench.base.text import printable
from bench.base.types import MetricSpec, Missing
from bench.data.pairing import pair_files
from bench.files.images import image_sha256
from bench.files.safe_csv import csv_bytes
from bench.running.options import RunOptions
from bench.running.score import Scorer, Target
from bench.store.store import Store

if TYPE_CHECKING:
    import pandas as pd


Row = tuple[str, str, float | None, str]
"""File name ("" for the whole set), metric, value, and why there is none."""


@dataclass(frozen=True)
class FolderScores:
    """Scores of a folder.

    Attributes:
        folder: of the SR images, as given.
        rows: of its images, by file name, then metric as asked for.
        means: (metric, mean or None, number of images with a value, why it is missing).
        problems: (file, reason) of everything without a score, each file once.
        refused: (file, reason) of files that have no rows.
    """

    folder: Path
    rows: tuple[Row, ...]
    means: tuple[tuple[MetricSpec, float | None, int, str], ...]
    problems: tuple[tuple[str, str], ...]
    refused: tuple[tuple[str, str], ...]

    @property
    def of_set(self) -> list[Row]:
        """Of the metrics that score it as a whole."""
        return [("", s.name, mean, why) for s, mean, _, why in self.means if s.kind == "set"]

    def as_json(self) -> dict[str, Any]:
        return {
            "means": [
                {"metric": spec.name, "better": spec.better, "mean": mean, "n": n, "reason": reason}
                for spec, mean, n, reason in self.means
            ],
            "scores": [{"image": i, "metric": m, "value": v} for i, m, v, _ in self.rows],
            "problems": [list(problem) for problem in self.problems],
        }


def score_folders(
    srs: Sequence[Path],
    hr: Path | None,
    names: Sequence[str],
    options: RunOptions,
    progress: Progress,
) -> list[FolderScores]:
    """Score every image of each folder by every metric, pairing with `hr` by file stem.

    Of the options these count: store, device, workers and limit.

    Raises:
        BenchError: an unknown metric, one that needs `hr` where there is none, a folder that is
            missing or empty, or no metric that can run here.
    """
    specs = [metrics.get(name) for name in names]
    _require_usable(specs, hr)
    hashes: dict[Path, str] = {}
    found = [_targets(sr, hr, options.limit, hashes) for sr in srs]
    store = Store(options.store)
    scorer = Scorer(specs, store, options.device)
    store.note_use({"score": [str(sr.resolve()) for sr in srs], "metrics": [*names]}, ())
    if not scorer.usable:
        raise BenchError("; ".join(dict.fromkeys(scorer.reasons.values())))
    every = [target for targets, _ in found for target in targets]
    scorer.score_missing(every, options.workers, progress)
    return [_collect(sr, specs, scorer, *target) for sr, target in zip(srs, found, strict=True)]


def _require_usable(specs: Sequence[MetricSpec], hr: Path | None) -> None:
    if not specs:
        raise BenchError("--metrics: expected at least one name (`cassr-bench list metrics`)")
    for spec in specs:
        if hr is None and (spec.reference or spec.kind == "set"):
            raise BenchError(f"--metrics: {spec.name} compares with HR images; give --hr DIR")


def _targets(
    sr: Path, hr: Path | None, limit: int | None, hashes: dict[Path, str]
) -> tuple[list[Target], list[tuple[str, str]]]:
    """What is to be scored, and what is refused; `hashes` of HR images are kept for the next."""
    pairs, refused = pair_files(sr, hr)
    targets, problems = [], list(refused)
    for stem in sorted(pairs)[:limit]:
        file, of = pairs[stem]
        try:
            if of is not None and of not in hashes:
                hashes[of] = image_sha256(of)
            known = hashes[of] if of else None
            targets.append(Target(file.name, file, image_sha256(file), of, known))
        except ImageError as error:
            problems.append((error.file, error.reason))
    return targets, problems


def _collect(
    folder: Path,
    specs: Sequence[MetricSpec],
    scorer: Scorer,
    targets: Sequence[Target],
    refused: Sequence[tuple[str, str]],
) -> FolderScores:
    values: dict[str, list[float]] = {spec.name: [] for spec in specs}
    rows: list[Row] = []
    problems = list(refused)
    for target in sorted(targets, key=lambda t: t.image):
        for spec in (spec for spec in specs if spec.kind == "image"):
            value = scorer.score(spec, target)
            if isinstance(value, Missing):
                rows.append((target.image, spec.name, None, value.text))
                if value.kind != "unavailable":
                    problems.append(_problem(target, spec, value))
            else:
                rows.append((target.image, spec.name, value, ""))
                values[spec.name].append(value)
    means = tuple(_mean(spec, scorer, targets, values[spec.name]) for spec in specs)
    return FolderScores(folder, tuple(rows), means, _one_line_each(problems), tuple(refused))


def _mean(
    spec: MetricSpec, scorer: Scorer, targets: Sequence[Target], known: Sequence[float]
) -> tuple[MetricSpec, float | None, int, str]:
    if spec.kind == "set":
        value = scorer.set_score(spec, targets)
        if isinstance(value, Missing):
            return spec, None, 0, value.text
        return spec, value, len(targets), ""
    if known:
        return spec, sum(known) / len(known), len(known), ""
    return spec, None, 0, scorer.reasons[spec.name] or "no image could be scored"


def _problem(target: Target, spec: MetricSpec, missing: Missing) -> tuple[str, str]:
    if missing.file:
        return missing.file, missing.reason
    return printable(target.sr), f"{spec.name}: {missing.reason}"


def _one_line_each(problems: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    reasons: dict[str, list[str]] = {}
    for path, reason in problems:
        if reason not in reasons.setdefault(path, []):
            reasons[path].append(reason)
    return tuple((path, "; ".join(reasons[path])) for path in sorted(reasons))


def as_csv(scores: Sequence[FolderScores]) -> bytes:
    """Rows `image,metric,value,folder` with every digit, for any number of folders.

    An image without a value has an empty one; a metric over the whole set has no image.
    """
    rows = [(str(one.folder), *row) for one in scores for row in (*one.rows, *one.of_set)]
    return csv_bytes(_frame(rows)[["image", "metric", "value", "folder"]])


def as_frame(scores: Sequence[FolderScores]) -> pd.DataFrame:
    """Rows ``image, metric, value, reason``; NaN has its reason, a metric over the set no image.

    With several folders each row begins with `folder`.
    """
    rows = []
    for one in scores:
        per_image = [spec.name for spec, *_ in one.means if spec.kind == "image"]
        refused = [(Path(f).name, name, None, why) for f, why in one.refused for name in per_image]
        rows += [(str(one.folder), *row) for row in (*one.rows, *refused, *one.of_set)]
    frame = _frame(rows)
    return frame if len(scores) > 1 else frame.drop(columns="folder")


def _frame(rows: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(rows, columns=["folder", "image", "metric", "value", "reason"])
    return frame.astype({"value": float})
