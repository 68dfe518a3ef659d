"""Measure what the gate judges: a suite, or a plain folder of SR images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import metrics
from bench.base.errors import BenchError, ImageError
from bench.base.hashing import json_sha256
from bench.base.progress import Progress
from bench.base.types import MetricSpec
from bench.exchange.measured import (
    DatasetPrint,
    Measured,
    MeasuredCell,
    MethodPrint,
    MetricPrint,
    as_unicode,
    mean,
    of_results,
)
from bench.files import image_folders, images
from bench.results.folder_scores import FolderScores
from bench.running.execute import execute
from bench.running.options import RunOptions
from bench.running.plan import make_plan
from bench.running.score_folders import score_folders
from bench.suites.find import chosen, find_suite

FOLDER_DATASET = "hr"
FOLDER_METHOD = "sr"
NO_IMAGE = "no SR image of that name that can be read"

Names = tuple[Sequence[str], Sequence[str], Sequence[str]]
"""Methods, datasets and metrics as typed; empty means: as the reference or suite has them."""


@dataclass(frozen=True)
class Found:
    """What was measured, what could not run or be read and why, what failed, as (what, reason)."""

    measured: Measured
    unavailable: Mapping[str, str]
    failures: tuple[tuple[str, str], ...]


def as_in(asked: Names, known: Measured | None) -> Names:
    """The names asked for, or those of the reference."""
    if known is None:
        return asked
    methods, datasets, metrics = asked
    typed = [method.typed for method in known.methods.values()]
    files = [metric.typed or name for name, metric in known.metrics.items()]
    return methods or typed, datasets or list(known.datasets), metrics or files


def measure_suite(suite: str, asked: Names, options: RunOptions, progress: Progress) -> Found:
    """Run a suite as far as the store does not know it, without any report; BenchError: an unknown
    name, a dataset that cannot be made."""
    made = make_plan(chosen(find_suite(suite), *asked), options, progress)
    outcome = execute(made, progress)
    typed = {entry.card.name: entry.name for entry in made.methods}
    as_typed = {shown: as_unicode(name) for name, shown in made.shown.items()}
    cannot = {n: made.unavailable[t] for n, t in typed.items() if t in made.unavailable}
    return Found(
        of_results(outcome.results, typed, options.scale, as_typed),
        {**cannot, **_unavailable(made.metrics, options.device)},
        outcome.failures,
    )


def _unavailable(specs: Sequence[MetricSpec], device: str) -> dict[str, str]:
    reasons = {spec.name: metrics.unavailable(spec, device) for spec in specs}
    return {name: reason for name, reason in reasons.items() if reason}


def measure_folder(
    sr: Path, hr: Path | None, names: Sequence[str], options: RunOptions, progress: Progress
) -> Found:
    """Score a folder; every HR image without a readable SR image counts as missing; raises as
    `score_folders`."""
    [scores] = score_folders([sr], hr, names, options, progress)
    specs = [spec for spec, *_ in scores.means]
    unavailable = _unavailable(specs, options.device)
    usable = [spec for spec in specs if spec.name not in unavailable]
    hashes = _hashes(hr, options.limit, unavailable) if hr else {}
    if not scores.rows and not any(value is not None for _, value, *_ in scores.means):
        raise BenchError("--sr: no image could be scored")
    sha256 = json_sha256(sorted(hashes.items())) if hashes else ""
    measured = Measured(
        limit=options.limit,
        datasets={FOLDER_DATASET: DatasetPrint(sha256=sha256, images=len(hashes))},
        metrics={s.name: MetricPrint.of(s, metrics.fingerprint(s, options.device)) for s in usable},
        methods={FOLDER_METHOD: MethodPrint(typed="", sha256="")},
        scores=[_cell(spec, scores, hashes) for spec in usable],
    )
    return Found(measured, unavailable, scores.problems)


def _hashes(folder: Path, limit: int | None, unreadable: dict[str, str]) -> dict[str, str]:
    """By stem, "" of an image that cannot be read, which `unreadable` is told of."""
    files, _ = images.by_stem(image_folders.image_files(folder))
    hashes = dict.fromkeys(map(as_unicode, sorted(files)[:limit]), "")
    for stem in sorted(files)[:limit]:
        try:
            hashes[as_unicode(stem)] = images.pixels_sha256(images.read_rgb(files[stem]))
        except ImageError as error:
            unreadable[error.file] = error.reason
    return hashes


def _cell(spec: MetricSpec, scores: FolderScores, hashes: Mapping[str, str]) -> MeasuredCell:
    cell = MeasuredCell(dataset=FOLDER_DATASET, method=FOLDER_METHOD, metric=spec.name)
    if spec.kind == "set":
        value, count = next((v, n) for s, v, n, _ in scores.means if s.name == spec.name)
        if count < len(hashes):
            missing = {"": f"{len(hashes) - count} images are missing; a set is scored whole"}
            return cell.model_copy(update={"missing": missing})
        return cell.model_copy(update={"mean": value})
    own = [(scores.names[i], v) for i, m, v, _ in scores.rows if m == spec.name and v is not None]
    values = {as_unicode(stem): value for stem, value in own}
    missing = {stem: NO_IMAGE for stem in hashes if stem not in values}
    return cell.model_copy(update={"mean": mean(values), "images": values, "missing": missing})
