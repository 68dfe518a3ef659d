"""Step 2: SR images and their HR images -> scores in the store.

One job is one HR image with every SR image that is compared with it, so that each file is decoded
once for all metrics and what depends on the HR image alone is computed once for all methods.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import metrics
from bench.base.errors import BenchError, CannotWrite, DataError, ImageError, WorkerDied
from bench.base.hashing import json_sha256, set_sha256
from bench.base.progress import Advance, Progress
from bench.base.text import printable
from bench.base.types import MetricSpec, Missing
from bench.files import images
from bench.metrics.sets import stacked
from bench.processes.workers import Workers, worker_count
from bench.store.scores import FeatureStore, ScoreKey, ScoreStore
from bench.store.store import Store

if TYPE_CHECKING:
    from torch import Tensor

NOT_COMPUTED = Missing("pending", "not computed yet")


def modules(specs: Iterable[MetricSpec]) -> list[str]:
    """What the metrics import, for worker processes to load once."""
    return ["torch", *dict.fromkeys(spec.factory.partition(":")[0] for spec in specs)]


@dataclass(frozen=True)
class Target:
    """One SR image to score, or why there is none."""

    dataset: str
    method: str
    image: str
    sr: Path | None
    sr_sha256: str
    hr: Path | None = None
    hr_sha256: str | None = None
    missing: Missing | None = None


@dataclass(frozen=True)
class ImageJob:
    """An image of which scores (with an HR image) or features are wanted."""

    path: Path
    sha256: str
    scores: tuple[MetricSpec, ...] = ()
    features: tuple[MetricSpec, ...] = ()


@dataclass(frozen=True)
class ScoreJob:
    """All that is wanted of one HR image (or of one SR image without HR)."""

    hr: ImageJob | None
    srs: tuple[ImageJob, ...]
    device: str
    feature_folders: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class ScoreOutcome:
    """A score, or why there is none; of a set metric, why an image has no features."""

    metric: str
    key: ScoreKey
    value: float | Missing


class Scorer:
    """Scores targets, keeps what is known in the store and says why a score is missing.

    Args:
        stored: fingerprints of metrics whose scores were made elsewhere and are only read here.
    """

    def __init__(
        self,
        specs: Sequence[MetricSpec],
        store: Store,
        device: str,
        stored: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.specs = list(specs)
        self.device = device
        self._stored = stored or {}
        self.reasons = {
            s.name: "" if s.name in self._stored else metrics.unavailable(s) for s in specs
        }
        self.usable = [spec for spec in specs if not self.reasons[spec.name]]
        self.fingerprints = {
            s.name: self._stored.get(s.name) or metrics.fingerprint(s, device) for s in self.usable
        }
        self._failures: dict[tuple[str, ScoreKey], Missing] = {}
        self._scores: dict[str, ScoreStore] = {}
        self._features: dict[str, FeatureStore] = {}
        for spec in self.usable:
            print_ = self.fingerprints[spec.name]
            self._scores[spec.name] = store.scores(spec.name, print_)
            if spec.kind == "set":
                self._features[spec.name] = store.features(metrics.of_features(print_))
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
        missing = self._features_missing(target.hr_sha256, True)
        return ImageJob(target.hr, target.hr_sha256, features=missing)

    def _sr_job(self, target: Target) -> ImageJob:
        assert target.sr is not None
        wanted = [
            spec
            for spec in self.usable
            if spec.kind == "image"
            and (target.hr is not None or not spec.reference)
            and self._scores[spec.name].get(_key(spec, target)) is None
        ]
        missing = self._features_missing(target.sr_sha256, target.hr is not None)
        return ImageJob(target.sr, target.sr_sha256, tuple(wanted), missing)

    def _features_missing(self, sha256: str, has_hr: bool) -> tuple[MetricSpec, ...]:
        extractors = set(self._extractors.values()) if has_hr else set()
        wanted = [spec for spec in self.usable if spec.name in extractors]
        return tuple(spec for spec in wanted if not self._features[spec.name].has(sha256))

    # -- doing -----------------------------------------------------------------------------------

    def run(self, jobs: Sequence[ScoreJob], workers: Workers, advance: Advance) -> None:
        """Do the jobs; every score is stored as soon as it is known."""
        for done, (_, outcomes) in enumerate(workers.map(score_job, jobs), start=1):
            if isinstance(outcomes, WorkerDied):
                raise WorkerDied(f"scores: {outcomes}; what is finished is kept, run again")
            for outcome in outcomes:
                if isinstance(outcome.value, Missing):
                    self._failures[outcome.metric, outcome.key] = outcome.value
                else:
                    self._scores[outcome.metric].put(outcome.key, outcome.value)
            advance(done, len(jobs))
        for store in self._scores.values():
            store.close()

    # -- reading ---------------------------------------------------------------------------------

    def score(self, spec: MetricSpec, target: Target) -> float | Missing:
        """The value of one image, or why there is none."""
        if self.reasons[spec.name]:
            return Missing("unavailable", self.reasons[spec.name])
        if target.missing is not None:
            return target.missing
        if spec.reference and target.hr is None:
            return Missing("absent", "needs an HR image; this set has none")
        key = _key(spec, target)
        value = self._scores[spec.name].get(key)
        return self._failures.get((spec.name, key), NOT_COMPUTED) if value is None else value

    def set_score(self, spec: MetricSpec, targets: Sequence[Target]) -> float | Missing:
        """The value of a whole set (FID, KID): only when no image of it is missing."""
        if self.reasons[spec.name]:
            return Missing("unavailable", self.reasons[spec.name])
        missing = [target.missing for target in targets if target.missing is not None]
        if missing:
            reason = f"{len(missing)} of {len(targets)} images are missing; a set is scored whole"
            return Missing(_for_good(missing).kind, reason)
        if any(target.hr_sha256 is None for target in targets):
            return Missing("absent", "needs HR images; this set has none")
        if len(targets) < 2:
            return Missing("absent", "needs at least 2 images")
        key = _set_key(targets)
        value = self._scores[spec.name].get(key)
        return self._distance(spec, targets, key) if value is None else value

    def _distance(
        self, spec: MetricSpec, targets: Sequence[Target], key: ScoreKey
    ) -> float | Missing:
        if spec.name in self._stored:
            return NOT_COMPUTED
        features = self._features[spec.name]
        srs = sorted(target.sr_sha256 for target in targets)
        hrs = sorted(target.hr_sha256 or "" for target in targets)
        unknown = [sha for sha in [*srs, *hrs] if not features.has(sha)]
        if unknown:
            return self._no_features(features, unknown)
        try:
            (sr, hr), size = stacked([[features.get(sha) for sha in set_] for set_ in (srs, hrs)])
        except DataError as error:
            return Missing("failed", str(error))
        metric = metrics.load(spec, self.device)
        value = float(metric.distance(sr, hr))  # type: ignore[union-attr]
        if not math.isfinite(value):
            return Missing("failed", f"{spec.name} is not a finite number for this set")
        self._scores[spec.name].put(key, value, asdict(size))
        self._scores[spec.name].close()
        return value

    def _no_features(self, features: FeatureStore, unknown: Sequence[str]) -> Missing:
        extractor = self._extractors[features.folder]
        known = [self._failures.get((extractor, (sha, None)), NOT_COMPUTED) for sha in unknown]
        why = _for_good(known)
        return Missing(why.kind, f"features of {len(unknown)} images are missing: {why.text}")


def _for_good(missing: Sequence[Missing]) -> Missing:
    """The first that no other part will bring; the first of all where others will bring all."""
    return next((one for one in missing if one.kind != "pending"), missing[0])


def score_missing(
    scorer: Scorer, targets: Iterable[Target], workers: int | None, progress: Progress
) -> None:
    """Score what is not in the store yet.

    Each process computes with one thread, so that scores do not depend on the machine.
    """
    jobs = scorer.jobs(targets)
    if not jobs:
        return
    count = worker_count(workers, scorer.device, len(jobs))
    with (
        Workers(count, 1, modules(scorer.usable)) as pool,
        progress.step("scores", len(jobs)) as advance,
    ):
        scorer.run(jobs, pool, advance)


def _key(spec: MetricSpec, target: Target) -> ScoreKey:
    return target.sr_sha256, target.hr_sha256 if spec.reference else None


def _set_key(targets: Sequence[Target]) -> ScoreKey:
    sr = set_sha256(target.sr_sha256 for target in targets)
    return sr, set_sha256(target.hr_sha256 or "" for target in targets)


# -- in the worker processes ---------------------------------------------------------------------


def score_job(job: ScoreJob) -> list[ScoreOutcome]:
    """Decode, score, store features. One bad image spoils nobody else's work.

    Raises:
        CannotWrite: features cannot be stored, which stops all.
    """
    hr = None if job.hr is None else _read(job.hr, job.device)
    outcomes = [] if job.hr is None or hr is None else _store_features(job.hr, hr, job)
    prepared: dict[str, Any] = {}
    for sr in job.srs:
        outcomes += _score_image(sr, job, hr, prepared)
    return outcomes


def _read(image: ImageJob, device: str) -> Tensor | Missing:
    """The image, (1, 3, H, W), if its bytes are still those whose score is wanted; or why not."""
    try:
        if images.image_sha256(image.path) != image.sha256:
            raise ImageError(
                "is not the file that was recorded; if it lies in the store, run: cassr-bench "
                "store check --repair",
                printable(image.path),
            )
        return images.to_tensor(images.read_rgb(image.path)).to(device)
    except Exception as error:
        return _failure(error)


def _score_image(
    sr: ImageJob, job: ScoreJob, hr: Tensor | Missing | None, prepared: dict[str, Any]
) -> list[ScoreOutcome]:
    x = _read(sr, job.device)
    outcomes = _store_features(sr, x, job)
    hr_sha256 = job.hr.sha256 if job.hr else None
    for spec in sr.scores:
        value = _value(spec, job.device, x, hr if spec.reference else None, prepared, sr.path)
        key = sr.sha256, hr_sha256 if spec.reference else None
        outcomes.append(ScoreOutcome(spec.name, key, value))
    return outcomes


def _value(
    spec: MetricSpec,
    device: str,
    x: Tensor | Missing,
    hr: Tensor | Missing | None,
    prepared: dict[str, Any],
    file: Path,
) -> float | Missing:
    if isinstance(x, Missing):
        return x
    if isinstance(hr, Missing):
        return hr
    try:
        return value_of(spec, device, x, hr, prepared, printable(file))
    except Exception as error:
        return _failure(error)


def value_of(
    spec: MetricSpec,
    device: str,
    x: Tensor,
    hr: Tensor | None = None,
    prepared: dict[str, Any] | None = None,
    file: str = "",
) -> float:
    """The score of one image by a metric, which is loaded once.

    Args:
        x, hr: (1, 3, H, W) float32 in [0, 1], multiples of 1/255; hr None without reference.
        prepared: what is computed of `hr` alone, by metric; filled here.
        file: what the image is called in errors.

    Raises:
        ImageError: the two differ in size, or the value is not a finite number.
    """
    if hr is not None:
        _require_same_size(x, hr, file)
    metric, prepared = loaded(spec, device), {} if prepared is None else prepared
    if hr is not None and spec.name not in prepared:
        prepared[spec.name] = metric.prepare(hr)
    value = metric.score(x, hr, prepared.get(spec.name))
    if not math.isfinite(value):
        raise ImageError(f"{spec.name} is not a finite number for this image")
    return float(value)


def _require_same_size(x: Tensor, hr: Tensor, file: str) -> None:
    if x.shape != hr.shape:
        found = f"{x.shape[3]}x{x.shape[2]}"
        expected = f"{hr.shape[3]}x{hr.shape[2]}"
        raise ImageError(f"is {found}, its HR image is {expected}", file)


def _store_features(image: ImageJob, x: Tensor | Missing, job: ScoreJob) -> list[ScoreOutcome]:
    """Keep the features that are wanted; an outcome for each that cannot be had."""
    failed = []
    for spec in image.features:
        problem = x if isinstance(x, Missing) else _extract(spec, image, x, job)
        if problem is not None:
            failed.append(ScoreOutcome(spec.name, (image.sha256, None), problem))
    return failed


def _extract(spec: MetricSpec, image: ImageJob, x: Tensor, job: ScoreJob) -> Missing | None:
    try:
        vectors = loaded(spec, job.device).features(x)
        FeatureStore(job.feature_folders[spec.name]).put(image.sha256, vectors)
    except CannotWrite:
        raise
    except Exception as error:
        return _failure(error)
    return None


_loaded: dict[str, Any] = {}


def loaded(spec: MetricSpec, device: str) -> Any:
    """A metric, ready to score, kept by this process for as long as it is the same."""
    key = json_sha256([spec.name, dict(spec.options), device])
    if key not in _loaded:
        _loaded[key] = metrics.load(spec, device)
    return _loaded[key]


def _failure(error: Exception) -> Missing:
    if isinstance(error, ImageError):
        return Missing("failed", error.reason, error.file)
    if isinstance(error, BenchError):
        return Missing("failed", str(error))
    return Missing("failed", f"{type(error).__name__}: {printable(error)}")
