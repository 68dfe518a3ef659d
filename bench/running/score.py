"""Step 2: SR images and their HR images -> scores in the store."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bench import metrics
from bench.base.errors import BenchError, CannotWrite, DataError, WorkerDied
from bench.base.hashing import set_sha256
from bench.base.leftovers import work_folder
from bench.base.progress import Progress
from bench.base.types import WHOLE_SET, MetricSpec, Missing
from bench.cluster.connection import LOCAL
from bench.data.likeness import FINGERPRINT, LOOK, warning
from bench.files.images import image_sha256
from bench.metrics.frechet import stacked
from bench.processes.foreign import each
from bench.processes.workers import Workers, worker_count
from bench.running.options import RunOptions
from bench.running.score_job import ImageJob, ScoreJob, score_job
from bench.store.scores import ScoreKey
from bench.store.store import Store

if TYPE_CHECKING:
    from bench.cluster.work import Pool

NOT_COMPUTED = Missing("pending", "not computed yet")


@dataclass(frozen=True)
class Target:
    """One SR image to score, or why there is none."""

    image: str
    sr: Path | None
    sr_sha256: str
    hr: Path | None = None
    hr_sha256: str | None = None
    missing: Missing | None = None
    lr: Path | None = None
    lr_sha256: str | None = None


Row = tuple[str, MetricSpec, float | Missing]
"""Image ("" for the whole set), metric and value, or why there is none."""


class Scorer:
    """Scores targets, keeps what is known in the store and says why a score is missing; of metrics
    in `stored`, scores by that fingerprint, made elsewhere, are only read."""

    def __init__(
        self,
        specs: Sequence[MetricSpec],
        store: Store,
        device: str,
        stored: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.specs, self.device = specs, device
        self._stored = stored or {}
        self.reasons = {
            s.name: "" if s.name in self._stored else metrics.unavailable(s, device) for s in specs
        }
        self.usable = [spec for spec in specs if not self.reasons[spec.name]]
        self._here = [spec for spec in self.usable if not spec.program]
        self.fingerprints = {
            s.name: self._stored.get(s.name) or metrics.fingerprint(s, device) for s in self.usable
        }
        self._failures: dict[tuple[str, ScoreKey], Missing] = {}
        known = self.fingerprints | ({LOOK.name: FINGERPRINT} if specs else {})
        self._scores = {name: store.scores(name, print_) for name, print_ in known.items()}
        sets = [spec.name for spec in self.usable if spec.kind == "set"]
        self._features = {n: store.features(metrics.of_features(known[n])) for n in sets}
        # Metrics that share features (FID and KID) have them computed once, by the first.
        self._extractors = {s.folder: name for name, s in reversed(self._features.items())}

    def score_missing(
        self, targets: Iterable[Target], options: RunOptions, progress: Progress
    ) -> None:
        """Score what is not in the store yet; every score is stored as soon as it is known.

        Each process computes with one thread, so that scores do not depend on the machine.
        """
        known = list(targets)
        for spec in (spec for spec in self.usable if spec.program):
            self._score_by_program(spec, known, options.on, progress)
        if jobs := self._jobs(known):
            self._score(jobs, options, progress)

    def _score(self, jobs: list[ScoreJob], options: RunOptions, progress: Progress) -> None:
        with self._pool(options, len(jobs)) as pool, progress.step("scores", len(jobs)) as advance:
            for done, (_, outcomes) in enumerate(pool.map(score_job, jobs), start=1):
                if isinstance(outcomes, WorkerDied):
                    raise WorkerDied(f"scores: {outcomes}; what is finished is kept, run again")
                for metric, key, value in outcomes:
                    if isinstance(value, Missing):
                        self._failures[metric, key] = value
                    else:
                        self._scores[metric].put(key, value)
                advance(done, len(jobs))
        for store in self._scores.values():
            store.close()

    def _score_by_program(
        self, spec: MetricSpec, targets: Sequence[Target], on: str, progress: Progress
    ) -> None:
        """Start a metric's program once for all images that it has not scored."""
        wanted = {_key(spec, t): t for t in targets if t.sr and self._lacks(spec, t)}
        left = {str(number): target for number, target in enumerate(wanted.values())}
        if not left:
            return
        if on != LOCAL:
            progress.say(f"metric '{spec.name}' runs on this machine: its repository is here alone")
        try:
            self._run_program(spec, left, progress)
        except CannotWrite:
            raise
        except BenchError as error:
            missing = Missing("failed", str(error))
            self._failures.update({(spec.name, _key(spec, t)): missing for t in left.values()})
        self._scores[spec.name].close()

    def _run_program(self, spec: MetricSpec, left: dict[str, Target], progress: Progress) -> None:
        """Score what is `left`, which loses each image that the program has said something of."""
        known, store = dict(left), self._scores[spec.name]
        pairs = {name: (t.sr, t.hr if spec.reference else None) for name, t in known.items()}
        program = spec.program.load(self.device)
        with work_folder(store.folder) as work, progress.step(spec.title, len(known)) as live:
            for image in each(spec.name, program.score_set(pairs, work, live.line)):
                if image.id == WHOLE_SET:
                    progress.say(f"{spec.title} {image.reason}")
                    continue
                left.pop(image.id, None)
                target = known[image.id]
                key, why = _key(spec, target), image.reason or _changed(spec, target)
                store.put(key, None if why else image.value)  # what comes last counts
                if why:
                    self._failures[spec.name, key] = Missing("failed", why)
                live(len(known) - len(left), len(known))

    def get_ready(self, target: Target, options: RunOptions, images: int) -> None:
        """Start, where this one of so many images is not scored yet, what makes processes for all:
        it imports what they need, meanwhile."""
        if options.on == LOCAL and self._jobs([target]):
            cast(Workers, self._pool(options, images)).begin()

    def _pool(self, options: RunOptions, jobs: int) -> "Pool":
        if options.on != LOCAL:
            from bench.cluster.work import for_metrics  # heavy

            return for_metrics(self._here, options.on, self.device, options.workers)
        count = worker_count(options.workers, self.device, jobs)
        needed = [score_job.read.__module__, *(s.factory for s in self._here)]
        imported = list(dict.fromkeys(name.partition(":")[0] for name in needed))
        own = any(s.file for s in self._here)  # people's code, which may change where paths lead
        imported += ["torch"] if own else []
        return Workers(count, 1, imported, overlap=self.device != "cpu" and not own)

    def _jobs(self, targets: Iterable[Target]) -> list[ScoreJob]:
        """What is not in the store yet, grouped by HR image."""
        groups: dict[str, list[Target]] = {}
        for target in targets:
            if target.sr is not None:
                known = target.hr_sha256 or target.lr_sha256 or target.sr_sha256
                groups.setdefault(known, []).append(target)
        jobs = []
        for group in groups.values():
            with_hr = next((t for t in group if t.hr_sha256), group[0])
            hr, srs = self._hr_job(with_hr), {t.sr_sha256: self._sr_job(t) for t in group}
            wanted = tuple(sr for sr in srs.values() if sr.scores or sr.features)
            if wanted or (hr is not None and hr.features):
                jobs.append(ScoreJob(hr, wanted, self.device))
        return jobs

    def _hr_job(self, target: Target) -> ImageJob | None:
        if target.hr is None or target.hr_sha256 is None:
            known = target.lr and target.lr_sha256
            return ImageJob(target.lr, known, (), {}) if target.lr and known else None
        return ImageJob(target.hr, target.hr_sha256, (), self._unknown_features(target.hr_sha256))

    def _sr_job(self, target: Target) -> ImageJob:
        assert target.sr is not None
        of_images = [spec for spec in self._here if spec.kind == "image"]
        wanted = tuple(spec for spec in [*of_images, LOOK] if self._lacks(spec, target))
        features = {} if target.hr is None else self._unknown_features(target.sr_sha256)
        return ImageJob(target.sr, target.sr_sha256, wanted, features)

    def _lacks(self, spec: MetricSpec, target: Target) -> bool:
        """Whether there could be a score that is not in the store yet."""
        comparable = not spec.reference or target.hr or (spec is LOOK and target.lr)
        return bool(comparable) and self._scores[spec.name].get(_key(spec, target)) is None

    def _unknown_features(self, sha256: str) -> dict[Path, MetricSpec]:
        """Where features that are not in the store are to be, and what extracts them."""
        wanted = [s for s in self.usable if s.name in self._extractors.values()]
        stores = [(self._features[spec.name], spec) for spec in wanted]
        return {store.place(sha256): spec for store, spec in stores if not store.has(sha256)}

    def rows(self, targets: Sequence[Target]) -> Iterator[Row]:
        """All scores of one method on one dataset: image by image, then those of the whole set."""
        of_images = [spec for spec in self.specs if spec.kind == "image"]
        for target in targets:
            yield from ((target.image, spec, self.score(spec, target)) for spec in of_images)
        of_sets = [spec for spec in self.specs if spec.kind == "set"]
        yield from (("", spec, self.set_score(spec, targets)) for spec in of_sets)

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

    def oddity(self, targets: Iterable[Target]) -> str:
        """What is wrong with images as a whole, in one line; "" where nothing is known to be."""
        looks = self._scores.get(LOOK.name)
        found = [(t.image, looks.get(_key(LOOK, t))) for t in targets if looks and t.sr]
        return warning([(image, value) for image, value in found if value is not None])

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
        srs = sorted(target.sr_sha256 for target in targets)
        hrs = sorted(target.hr_sha256 or "" for target in targets)
        value = self._scores[spec.name].get((set_sha256(srs), set_sha256(hrs)))
        return self._distance(spec, srs, hrs) if value is None else value

    def _distance(
        self, spec: MetricSpec, srs: Sequence[str], hrs: Sequence[str]
    ) -> float | Missing:
        """Of images by their hashes, from their features."""
        if spec.name in self._stored:
            return NOT_COMPUTED
        features = self._features[spec.name]
        unknown = [sha for sha in [*srs, *hrs] if not features.has(sha)]
        if unknown:
            extractor = self._extractors[features.folder]
            known = [self._failures.get((extractor, (sha, None)), NOT_COMPUTED) for sha in unknown]
            why = _for_good(known)
            return Missing(why.kind, f"features of {len(unknown)} images are missing: {why.text}")
        try:
            (sr, hr), size = stacked([[features.get(sha) for sha in set_] for set_ in (srs, hrs)])
            value = float(metrics.loaded(spec, "cpu").distance(sr, hr))  # whatever made features
        except DataError as error:
            return Missing("failed", str(error))
        if not math.isfinite(value):
            return Missing("failed", f"{spec.name} is not a finite number for this set")
        self._scores[spec.name].put((set_sha256(srs), set_sha256(hrs)), value, **asdict(size))
        self._scores[spec.name].close()
        return value


def _for_good(missing: Sequence[Missing]) -> Missing:
    """The first that no other part will bring; the first of all where others will bring all."""
    return next((one for one in missing if one.kind != "pending"), missing[0])


def _changed(spec: MetricSpec, target: Target) -> str:
    """Why what was scored is not what was recorded; "" where it is."""
    hr = target.hr if spec.reference else None
    files = ((target.sr, target.sr_sha256), (hr, target.hr_sha256))
    same = all(p.is_file() and image_sha256(p) == sha256 for p, sha256 in files if p)
    return "" if same else "it, or its HR image, is not the file that was recorded; run again"


def _key(spec: MetricSpec, target: Target) -> ScoreKey:
    known = target.hr_sha256 or (target.lr_sha256 if spec is LOOK else None)
    return target.sr_sha256, known if spec.reference else None
