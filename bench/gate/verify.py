"""Whether metrics are right on this machine: published images scored again, beside their log."""

import csv
import io
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from bench import metrics
from bench.base.cards import Card, read_folder
from bench.base.errors import DataError, UnknownName
from bench.base.hashing import json_sha256
from bench.base.leftovers import scratch
from bench.base.metering import machine_name
from bench.base.progress import Progress
from bench.base.registry import Registry
from bench.base.remote_file import Archive
from bench.base.text import printable, suggestion
from bench.base.version import versions
from bench.remote import archives
from bench.remote.fetch import fetch_file
from bench.results.certificate import Certificate, Line
from bench.results.folder_scores import as_frame
from bench.running.options import RunOptions
from bench.running.score_folders import score_folders

_LOGGED_IMAGE = re.compile(r"INFO: [^|/]*/(?P<image>[^|/]+) \| (?P<scores>[^|]*)")
_SCORE = re.compile(r"(\w+): (-?[\d.]+(?:e-?\d+)?)")
_WHOLE_SET = re.compile(r"\| (FID: [\d.]+) \|")
MAX_LOG_BYTES = 16 << 20

Logged = dict[tuple[str, str, str], float]
"""(dataset, file name or "" for the set, name in the log) -> value."""


class Held(Card):
    """What a metric is called in the log, and how far an image's score may be from it."""

    logged: str
    tolerance: float


class PublishedScores(Card):
    """Published SR images with per-image scores; `sr`, `hr` and `logs` are patterns of files of the
    archive, `{dataset}` in them a set's name."""

    name: str
    title: str
    licence: str
    datasets: list[str]
    sr: list[str]
    hr: list[str]
    logs: list[str]
    archive: Archive
    metrics: dict[str, Held]


def verify(
    name: str,
    given: Path | None,
    names: Sequence[str],
    *,
    device: str,
    workers: int | None,
    progress: Progress,
) -> Certificate:
    """Score published images afresh, by all metrics that were logged or those named, and compare.

    Raises:
        BenchError: an unknown source or metric, no files of it in `given` (its archive or a folder;
            None downloads it), nothing that could be compared.
    """
    cards = read_folder("bench.gate", "sources", PublishedScores)
    source = Registry("source", cards.values(), listed=False).find(name)
    if unknown := sorted(set(names) - source.metrics.keys()):
        raise UnknownName(
            f"{source.name} logs no metric '{printable(unknown[0])}'"
            f"{suggestion(unknown[0], source.metrics)}; known: {', '.join(source.metrics)}"
        )
    held = {metric: source.metrics[metric] for metric in names} or source.metrics
    if given is not None and not given.exists():
        raise DataError(f"--from {printable(given)}: expected a folder or archive, found nothing")
    with scratch() as place:
        path = given or _fetched(source, progress)
        logged = _unpack(source, path, Path(place))
        options = RunOptions(Path(place) / "store", device, workers)
        lines = [
            line
            for dataset in source.datasets
            for line in _compare(dataset, Path(place), held, logged, options, progress)
        ]
    if not any(line.images for line in lines):
        raise DataError(f"{printable(path)}: nothing of {source.title} could be compared")
    prints = {m: json_sha256(metrics.fingerprint(metrics.find(m), device)) for m in _usable(held)}
    return Certificate(
        source=source.name,
        title=source.title,
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        device=device.partition(":")[0],
        machine=machine_name(device),
        versions=versions(),
        prints=prints,
        lines=lines,
    )


def _usable(names: Iterable[str]) -> list[str]:
    return [name for name in names if not metrics.unavailable(metrics.find(name), "cpu")]


def _fetched(source: PublishedScores, progress: Progress) -> Path:
    by_hand = f"clone {source.archive.page} and give it as --from"
    with progress.step(source.archive.name) as advance:
        return fetch_file(source.archive, advance, by_hand)


def _unpack(source: PublishedScores, path: Path, place: Path) -> Logged:
    """Images to `place`/DATASET/sr and hr; gives what the logs say."""
    logged: Logged = {}
    for member in archives.members(path):
        for dataset in source.datasets:
            for side in ("sr", "hr"):
                if _fits(member.path, getattr(source, side), dataset):
                    name = PurePosixPath(member.path).name
                    archives.extract(member, place / dataset / side / name)
            if _fits(member.path, source.logs, dataset) and member.size <= MAX_LOG_BYTES:
                with member.open() as file:
                    text = file.read().decode("utf-8", "replace")
                try:
                    logged |= _read(text, dataset)
                except (KeyError, TypeError, ValueError, csv.Error) as error:
                    raise DataError(
                        f"{printable(path)}: {printable(member.path)}: expected a log of scores as "
                        f"published, found {printable(str(error))}; fetch it again"
                    ) from error
    if not logged:
        raise DataError(
            f"{printable(path)}: expected the files of {source.archive.page}, found no log"
        )
    return logged


def _fits(path: str, patterns: Iterable[str], dataset: str) -> bool:
    return any(archives.matches(path, each.replace("{dataset}", dataset)) for each in patterns)


def _read(text: str, dataset: str) -> Logged:
    """A log of OSEDiff's script, or a table `dataset,image,metric,value`."""
    if text.startswith("dataset,image,metric,value"):
        rows = [row for row in csv.DictReader(io.StringIO(text)) if row["dataset"] == dataset]
        return {(dataset, row["image"], row["metric"]): float(row["value"]) for row in rows}
    found = [(line["image"], line["scores"]) for line in _LOGGED_IMAGE.finditer(text)]
    found += [("", line[1]) for line in _WHOLE_SET.finditer(text)]
    return {
        (dataset, image, name): float(value)
        for image, scores in found
        for name, value in _SCORE.findall(scores)
    }


def _compare(
    dataset: str,
    place: Path,
    held: Mapping[str, Held],
    logged: Logged,
    options: RunOptions,
    progress: Progress,
) -> list[Line]:
    """A line for each metric that the log has of this dataset."""
    wanted = {
        metric: {image: v for (d, image, n), v in logged.items() if (d, n) == (dataset, to.logged)}
        for metric, to in held.items()
    }
    wanted = {metric: values for metric, values in wanted.items() if values}
    usable = _usable(wanted)
    sr, hr = place / dataset / "sr", place / dataset / "hr"
    ours: dict[str, dict[str, float]] = {}
    if usable and sr.is_dir() and hr.is_dir():
        scores = as_frame(score_folders([sr], hr, usable, options, progress))
        for metric, own in scores.dropna(subset="value").groupby("metric"):
            ours[str(metric)] = dict(zip(own["image"], own["value"], strict=True))
    return [_line(dataset, m, held[m], values, ours.get(m, {})) for m, values in wanted.items()]


def _line(
    dataset: str, metric: str, held: Held, published: Mapping[str, float], ours: Mapping[str, float]
) -> Line:
    apart = [abs(ours[image] - value) for image, value in published.items() if image in ours]
    about: dict[str, Any] = {"dataset": dataset, "metric": metric, "tolerance": held.tolerance}
    if not apart:
        reason = metrics.unavailable(metrics.find(metric), "cpu") or "no image of the log was found"
        return Line(**about, images=0, verdict="not run", reason=reason)
    absent = len(published) - len(apart)
    return Line(
        **about,
        images=len(apart),
        largest=max(apart),
        mean=statistics.fmean(apart),
        verdict="holds" if max(apart) <= held.tolerance and not absent else "differs",
        reason=f"{absent} logged images could not be scored" if absent else "",
    )
