"""Step 2: SR images and their HR images -> scores in the store.

One job is one HR image with every SR image that is compared with it, so that each file is decoded
once for all metrics and what depends on the HR image alone is computed once for all methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import images, metrics
from bench.errors import BenchError, DataError, ImageError
from bench.hashing import set_sha256
from bench.metrics.sets import stacked
from bench.store import FeatureStore, ScoreKey, ScoreStore, Store
from bench.text import printable
from bench.types import MetricSpec
from bench.workers import Workers

if TYPE_CHECKING:
    from torch import Tensor

Progress = Callable[[int, int], None]


def modules(specs: Iterable[MetricSpec]) -> list[str]:
    """What the metrics import, for worker processes to load once."""
    return ["torch", *dict.fromkeys(spec.factory.partition(":")[0] for spec in specs)]


@dataclass(frozen=True)
class Target:
    """One SR image to score; without a file, `reason` says why there is none."""

    dataset: str
    method: str
    image: str
    sr: Path | None
    sr_sha256: str
    hr: Path | None = None
    hr_sha256: str | None = None
    reason: str = ""


@dataclass(frozen=True)
class ImageJob:
    """An image of which scores (with an HR image) or features are wanted."""

    path: Path
    sha256: str
    scores: tuple[str, ...] = ()
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScoreJob:
    """All that is wanted of one HR image (or of one SR image without HR)."""

    hr: ImageJob | None
    srs: tuple[ImageJob, ...]
    device: str
    feature_folders: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """A score, or the reason why there is none; of a set metric, why an image has no features."""

    metric: str
    key: ScoreKey
    value: float | None
    reason: str = ""


class Scorer:
    """Scores targets, keeps what is known in the store and says why a score is missing."""

    def __init__(self, specs: Sequence[MetricSpec], store: Store, device: str) -> None:
        self.specs = list(specs)
        self.device = device
        self.reasons = {spec.name: metrics.unavailable(spec) for spec in specs}
        self.usable = [spec for spec in specs if not self.reasons[spec.name]]
        self.fingerprints = {s.name: metrics.fingerprint(s, device) for s in self.usable}
        self._failures: dict[tuple[str, ScoreKey], str] = {}
        self._scores: dict[str, ScoreStore] = {}
        self._features: dict[str, FeatureStore] = {}
        for spec in self.usable:
            print_ = self.fingerprints[spec.name]
            self._scores[spec.name] = store.scores(spec.name, print_)
            if spec.kind == "set":
                shared = metrics.feature_fingerprint(spec, device)
                self._features[spec.name] = store.features(shared)
        # Metrics that share features (FID and KID) have them computed once, by the first.
        self._extractors = {s.folder: name for name, s in reversed(self._features.items())}

    # -- planning --------------------------------------------------------------------------------

    def jobs(self, targets: Iterable[Target]) -> list[ScoreJob]:
        """What is not in the store yet, grouped by HR image."""
        groups: dict[str, list[Target]] = {}
        for target in targets:
            if target.sr is not None:
                groups.setdefault(target.hr_sha256 or target.sr_sha256, []).append(target)
        jobs = (self._job(group) for group in groups.values())
        return [job for job in jobs if job is not None]

    def _job(self, group: Sequence[Target]) -> ScoreJob | None:
        hr = self._hr_job(group[0])
        found: dict[str, ImageJob] = {}
        for target in group:
            job = self._sr_job(target)
            if job.scores or job.features:
                found.setdefault(target.sr_sha256, job)
        if not found and (hr is None or not hr.features):
            return None
        folders = {name: store.folder for name, store in self._features.items()}
        return ScoreJob(hr, tuple(found.values()), self.device, folders)

    def _hr_job(self, target: Target) -> ImageJob | None:
        if target.hr is None or target.hr_sha256 is None:
            return None
        return ImageJob(
            target.hr, target.hr_sha256, (), self._features_missing(target.hr_sha256, True)
        )

    def _sr_job(self, target: Target) -> ImageJob:
        assert target.sr is not None
        wanted = [
            spec.name
            for spec in self.usable
            if spec.kind == "image"
            and (target.hr is not None or not spec.reference)
            and self._scores[spec.name].get(_key(spec, target)) is None
        ]
        has_hr = target.hr is not None
        missing = self._features_missing(target.sr_sha256, has_hr)
        return ImageJob(target.sr, target.sr_sha256, tuple(wanted), missing)

    def _features_missing(self, sha256: str, has_hr: bool) -> tuple[str, ...]:
        if not has_hr:
            return ()
        extractors = self._extractors.values()
        return tuple(name for name in extractors if not self._features[name].has(sha256))

    # -- doing -----------------------------------------------------------------------------------

    def run(self, jobs: Sequence[ScoreJob], workers: Workers, progress: Progress) -> None:
        """Do the jobs; every score is stored as soon as it is known."""
        for done, (_, outcomes) in enumerate(workers.map(score_job, jobs), start=1):
            for outcome in outcomes:
                if outcome.value is None:
                    self._failures[outcome.metric, outcome.key] = outcome.reason
                else:
                    self._scores[outcome.metric].put(outcome.key, outcome.value)
            progress(done, len(jobs))
        for store in self._scores.values():
            store.close()

    # -- reading ---------------------------------------------------------------------------------

    def score(self, spec: MetricSpec, target: Target) -> tuple[float | None, str]:
        """The value of one image, or the reason why there is none."""
        if self.reasons[spec.name]:
            return None, self.reasons[spec.name]
        if target.sr is None:
            return None, target.reason
        if spec.reference and target.hr is None:
            return None, "needs an HR image; this set has none"
        key = _key(spec, target)
        value = self._scores[spec.name].get(key)
        if value is not None:
            return value, ""
        return None, self._failures.get((spec.name, key), "not computed yet")

    def set_score(self, spec: MetricSpec, targets: Sequence[Target]) -> tuple[float | None, str]:
        """The value of a whole set (FID, KID): only when no image of it is missing."""
        if self.reasons[spec.name]:
            return None, self.reasons[spec.name]
        absent = sum(target.sr is None for target in targets)
        if absent:
            return None, f"{absent} of {len(targets)} images are missing; a set is scored whole"
        if any(target.hr_sha256 is None for target in targets):
            return None, "needs HR images; this set has none"
        if len(targets) < 2:
            return None, "needs at least 2 images"
        key = _set_key(targets)
        value = self._scores[spec.name].get(key)
        return (value, "") if value is not None else self._distance(spec, targets, key)

    def _distance(
        self, spec: MetricSpec, targets: Sequence[Target], key: ScoreKey
    ) -> tuple[float | None, str]:
        features = self._features[spec.name]
        srs = sorted(target.sr_sha256 for target in targets)
        hrs = sorted(target.hr_sha256 or "" for target in targets)
        unknown = [sha for sha in [*srs, *hrs] if not features.has(sha)]
        if unknown:
            return None, self._no_features(features, unknown)
        try:
            (sr, hr), size = stacked([[features.get(sha) for sha in set_] for set_ in (srs, hrs)])
        except DataError as error:
            return None, str(error)
        metric = metrics.load(spec, self.device)
        value = float(metric.distance(sr, hr))  # type: ignore[union-attr]
        self._scores[spec.name].put(key, value, size.as_json())
        self._scores[spec.name].close()
        return value, ""

    def _no_features(self, features: FeatureStore, unknown: Sequence[str]) -> str:
        extractor = self._extractors[features.folder]
        known = (self._failures.get((extractor, (sha, None))) for sha in unknown)
        why = next(filter(None, known), "not computed yet")
        return f"features of {len(unknown)} images are missing: {why}"


def _key(spec: MetricSpec, target: Target) -> ScoreKey:
    return target.sr_sha256, target.hr_sha256 if spec.reference else None


def _set_key(targets: Sequence[Target]) -> ScoreKey:
    sr = set_sha256(target.sr_sha256 for target in targets)
    return sr, set_sha256(target.hr_sha256 or "" for target in targets)


# -- in the worker processes ---------------------------------------------------------------------


def score_job(job: ScoreJob) -> list[Outcome]:
    """Decode, score, store features. Never raises: one bad image spoils nobody else's work."""
    hr_tensor: Tensor | None = None
    hr_problem = ""
    outcomes: list[Outcome] = []
    if job.hr is not None:
        try:
            hr_tensor = images.to_tensor(images.read_rgb(job.hr.path)).to(job.device)
        except Exception as error:
            hr_problem = _line(error)
        outcomes += _store_features(job.hr, hr_tensor, hr_problem, job)
    prepared: dict[str, Any] = {}
    for sr in job.srs:
        outcomes += _score_image(sr, job, hr_tensor, hr_problem, prepared)
    return outcomes


def _score_image(
    sr: ImageJob, job: ScoreJob, hr: Tensor | None, hr_problem: str, prepared: dict[str, Any]
) -> list[Outcome]:
    hr_sha256 = job.hr.sha256 if job.hr else None
    try:
        x = images.to_tensor(images.read_rgb(sr.path)).to(job.device)
    except Exception as error:
        outcomes = _store_features(sr, None, _line(error), job)
        return outcomes + [_failed(name, sr, hr_sha256, _line(error)) for name in sr.scores]
    outcomes = _store_features(sr, x, "", job)
    for name in sr.scores:
        reference = metrics.get(name).reference
        try:
            if reference:
                _require_reference(sr, x, hr, hr_problem, job)
            value = _value(name, job.device, x, hr, prepared)
            key = (sr.sha256, hr_sha256 if reference else None)
            outcomes.append(Outcome(name, key, value))
        except Exception as error:
            outcomes.append(_failed(name, sr, hr_sha256, _line(error)))
    return outcomes


def _value(name: str, device: str, x: Tensor, hr: Tensor | None, prepared: dict[str, Any]) -> float:
    metric = _loaded(name, device)
    if not metrics.get(name).reference:
        value = metric.score(x, None, None)
    else:
        if name not in prepared:
            prepared[name] = metric.prepare(hr)
        value = metric.score(x, hr, prepared[name])
    if value != value:
        raise ImageError(f"{name} is not a number for this image")
    return float(value)


def _require_reference(
    sr: ImageJob, x: Tensor, hr: Tensor | None, hr_problem: str, job: ScoreJob
) -> None:
    if hr is None:
        raise ImageError(hr_problem)
    if x.shape != hr.shape:
        found = f"{x.shape[3]}x{x.shape[2]}"
        expected = f"{hr.shape[3]}x{hr.shape[2]}"
        raise ImageError(f"is {found}, its HR image is {expected}", printable(sr.path))


def _failed(name: str, sr: ImageJob, hr_sha256: str | None, reason: str) -> Outcome:
    key = (sr.sha256, hr_sha256 if metrics.get(name).reference else None)
    return Outcome(name, key, None, reason)


def _store_features(
    image: ImageJob, x: Tensor | None, problem: str, job: ScoreJob
) -> list[Outcome]:
    """Keep the features that are wanted; an outcome for each that cannot be had."""
    failed = []
    for name in image.features:
        try:
            if x is None:
                raise ImageError(problem)
            vectors = _loaded(name, job.device).features(x)
            FeatureStore(job.feature_folders[name]).put(image.sha256, vectors)
        except Exception as error:
            failed.append(Outcome(name, (image.sha256, None), None, _line(error)))
    return failed


@cache
def _loaded(name: str, device: str) -> Any:
    return metrics.load(metrics.get(name), device)


def _line(error: Exception) -> str:
    if isinstance(error, BenchError):
        return str(error)
    return f"{type(error).__name__}: {printable(error)}"
