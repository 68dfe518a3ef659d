"""What worker processes do to score images; see `bench.running.score`.

One job is one HR image with every SR image that is compared with it, so that each file is decoded
once for all metrics and what depends on the HR image alone is computed once for all methods.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bench import metrics
from bench.base.errors import BenchError, CannotWrite, ImageError
from bench.base.text import printable
from bench.base.types import MetricSpec, Missing
from bench.data.likeness import LOOK
from bench.data.pairing import nearly_same
from bench.files import images
from bench.processes.foreign import within_memory
from bench.processes.steps import Steps
from bench.store.scores import ScoreKey, write_features

if TYPE_CHECKING:
    from torch import Tensor

    from bench.metrics.filters import Pixels

LARGEST_SCALE = 16
LARGEST = 1e100
"""Above any score: the sum of squares of such would be infinite before there is a mean of them."""


@dataclass(frozen=True)
class ImageJob:
    """An image of which scores (with an HR image) or features, in these files, are wanted."""

    path: Path
    sha256: str
    scores: tuple[MetricSpec, ...]
    features: Mapping[Path, MetricSpec]


@dataclass(frozen=True)
class ScoreJob:
    """All that is wanted of one HR image (or of one SR image without HR)."""

    hr: ImageJob | None
    srs: tuple[ImageJob, ...]
    device: str

    def reads(self) -> list[Path]:
        return [image.path for image in self._images()]

    def writes(self) -> list[Path]:
        return [path for image in self._images() for path in image.features]

    def _images(self) -> list[ImageJob]:
        return [self.hr, *self.srs] if self.hr else [*self.srs]


Outcome = tuple[str, ScoreKey, float | Missing]
"""A metric's score, or why there is none; of a set metric, why an image has no features."""
Decoded = list["Pixels | Missing | None"]
"""The HR image and the first SR image; the others wait, so that memory need not hold all."""
T = TypeVar("T")


def _first(job: ScoreJob) -> Decoded:
    return [_tried(_read, image) if image else None for image in (job.hr, *job.srs[:1])]


def _scored(job: ScoreJob, decoded: Decoded) -> list[Outcome]:
    first = decoded.pop() if job.srs else None  # nothing else is to hold it
    [hr] = decoded
    hr_sha256 = job.hr.sha256 if job.hr else None
    outcomes = _store_features(job.hr, hr, job.device) if job.hr else []
    prepared: dict[str, Any] = {}
    for sr in job.srs:
        x, first = _tried(_read, sr) if first is None else first, None
        outcomes += _store_features(sr, x, job.device)
        for spec in sr.scores:
            known, key = (hr, hr_sha256) if spec.reference else (None, None)
            value = next((each for each in (x, known) if isinstance(each, Missing)), None)
            given = (spec, job.device, x, known, prepared, printable(sr.path))
            outcome = _tried(value_of, *given) if value is None else value
            outcomes.append((spec.name, (sr.sha256, key), outcome))
    return outcomes


score_job = Steps(_first, _scored)
"""Decodes, scores, stores features. One bad image spoils nobody else's work; CannotWrite, where
features cannot be stored, stops all."""


def _tried(function: Callable[..., T], *arguments: Any) -> T | Missing:
    """What a function gives, or why it gives nothing."""
    try:
        return function(*arguments)
    except CannotWrite:
        raise
    except ImageError as error:
        return Missing("failed", error.reason, error.file)
    except BenchError as error:
        return Missing("failed", str(error))
    except Exception as error:
        return Missing("failed", f"{type(error).__name__}: {printable(error)}")


def _read(image: ImageJob) -> "Pixels":
    """The image, if its bytes are still those whose score is wanted."""
    from bench.metrics.filters import Pixels

    if images.image_sha256(image.path) != image.sha256:
        raise ImageError(
            "is not the file that was recorded; if it lies in the store, run: cassr-bench "
            "store check --repair",
            printable(image.path),
        )
    return Pixels(images.read_rgb(image.path))


def value_of(
    spec: MetricSpec,
    device: str,
    x: "Tensor | Pixels",
    hr: "Tensor | Pixels | None" = None,
    prepared: dict[str, Any] | None = None,
    file: str = "",
) -> float:
    """The score of one image by a metric, which is loaded once.

    Args:
        x, hr: (1, 3, H, W) float32 in [0, 1], or 8-bit pixels; hr None without reference.
        prepared: what is computed of `hr` alone, by metric; filled here.
        file: what the image is called in errors.

    Raises:
        ImageError: the two differ in size, or the value is no number below LARGEST.
    """
    if hr is not None and x.shape != hr.shape and spec.name != LOOK.name:
        found, expected = (f"{each.shape[3]}x{each.shape[2]}" for each in (x, hr))
        way = "; score --modcrop cuts both to what they share"
        hint = way if nearly_same(x.shape[2:], hr.shape[2:], LARGEST_SCALE) else ""
        raise ImageError(f"is {found}, its HR image is {expected}{hint}", file)
    known = {} if prepared is None else prepared

    def computed() -> float:
        metric = metrics.loaded(spec, device)
        pixels = getattr(metric, "sees_pixels", False)
        own, other = (each if pixels or each is None else each.to(device) for each in (x, hr))
        if other is not None and spec.name not in known:
            known[spec.name] = metric.prepare(other)
        return float(metric.score(own, other, known.get(spec.name)))

    value = _within_memory(computed, spec, device, known)
    if not abs(value) < LARGEST:  # nor is NaN
        raise ImageError(f"{spec.name} is not a finite number below {LARGEST:.0e} for this image")
    return value


def _within_memory(
    call: Callable[[], T], spec: MetricSpec, device: str, prepared: dict[str, Any]
) -> T:
    """`call` by one metric; where memory runs out, all metrics give theirs back."""

    def release() -> None:
        prepared.clear()
        metrics.unload()

    way = "try fewer --workers, or --device cpu for this metric alone"
    return within_memory(call, f"{spec.name} on {device}", way, device, release)


def _store_features(image: ImageJob, x: "Pixels | Missing | None", device: str) -> list[Outcome]:
    """Keep the features that are wanted; an outcome for each that cannot be had."""
    failed: list[Outcome] = []
    for path, spec in image.features.items():
        problem = x if isinstance(x, Missing) else _tried(_extract, spec, path, x, device)
        if problem is not None:
            failed.append((spec.name, (image.sha256, None), problem))
    return failed


def _extract(spec: MetricSpec, path: Path, x: "Pixels", device: str) -> None:
    def features() -> Any:
        return metrics.loaded(spec, device).features(x.to(device))

    write_features(path, _within_memory(features, spec, device, {}))
