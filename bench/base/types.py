"""What the parts of the harness hand to each other: Manifest, ImagePair, Method, Metric, score.

A number belongs to content, not to names: a score's key is the hash of the SR bytes, the hash of
the HR bytes and the metric's fingerprint.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

from bench.base.remote_file import Weight

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ImagePair:
    """One item of a dataset: an LR input and, where the set has one, its HR ground truth.

    Attributes:
        id: the file stem, unique in the dataset; SR, LR and HR are matched by it.
        lr: path of the LR image (absent when only scoring).
        hr: path of the HR image (absent in no-reference sets).
        lr_sha256, hr_sha256: hashes of the files' bytes.
        scale: HR side / LR side.
        group: the photograph (scene, burst) that it is from, where others of the set are too.
    """

    id: str
    lr: Path | None
    hr: Path | None
    lr_sha256: str | None
    hr_sha256: str | None
    scale: int
    group: str = ""


@dataclass(frozen=True)
class Manifest:
    """A dataset on disk: content-hashed pairs, in the order of their ids.

    ``sha256`` covers every id and the decoded pixels of every image, so it is the same on two
    machines whose PNG encoders differ. ``refused`` names files that cannot take part and why.
    """

    dataset: str
    pairs: tuple[ImagePair, ...]
    sha256: str
    scale: int
    recipe: Mapping[str, Any] = field(default_factory=dict)
    refused: tuple[tuple[str, str], ...] = ()


class Method(Protocol):
    """A loaded way to upscale: one function. What it depends on is said by its card."""

    def upscale(self, lr: "Tensor", *, scale: int, seeds: Sequence[int]) -> "Tensor":
        """Upscale a batch.

        Args:
            lr: (B, 3, H, W) float32 in [0, 1], RGB.
            scale: integer factor.
            seeds: one seed per image; all randomness comes from it, so that batch size, order
                and sharding change nothing.

        Returns:
            (B, 3, scale*H, scale*W) float, nominally in [0, 1] (clamped when written).
        """


WHOLE_SET = "output/"
"""The id of a `SetImage` that says something about the set; no file's stem has a slash in it."""


@dataclass(frozen=True)
class SetImage:
    """One image of a set that a method has finished with.

    Attributes:
        id: the input's id, or WHOLE_SET.
        file: the SR image, any readable format; None when there is none.
        reason: why there is none, in one line.
        record: what it depended on and cost, kept beside the image.
        value: its score, of a metric's program.
    """

    id: str
    file: Path | None
    reason: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)
    value: float | None = None


class SetMethod(Protocol):
    """A loaded way to upscale whole folders: a foreign program, which loads its network once."""

    def upscale_set(
        self,
        inputs: Mapping[str, Path],
        work: Path,
        *,
        scale: int,
        seed: int,
        watch: Callable[[str], None],
    ) -> Iterator[SetImage]:
        """Upscale images.

        Args:
            inputs: id -> LR image file, in the order in which they are to be done.
            work: an empty folder for everything that the method writes; its subfolders are
                removed afterwards, its files (logs) stay.
            scale: integer factor.
            seed: of the whole set.
            watch: called with the last line that the program wrote.

        Yields:
            Each input as soon as it is finished or given up; once more when that has changed, and
            then the later one counts.
        """


Better = Literal["higher", "lower"]
BEYOND = 1e9
"""More than any metric gives."""


class Package(NamedTuple):
    """A module that is imported, and the distribution that brings it."""

    module: str
    distribution: str


OptionValue = bool | int | float | str


@dataclass(frozen=True)
class MetricOption:
    """What can be said of a metric in parentheses: `psnr_y(crop_border=4)`.

    Attributes:
        default: what holds where nothing is said; a value is of its type.
        means: in one line.
        choices: of a word, all there are; any word where there are none.
        least: of a whole number, the smallest.
    """

    default: OptionValue
    means: str = ""
    choices: tuple[str, ...] = ()
    least: int = 0


CROP_BORDER = "crop_border"
_BORDER = {CROP_BORDER: MetricOption(0, "pixels that are cut off at each side")}


@dataclass(frozen=True)
class MetricSpec:
    """What a metric is; the tables, docs and `list metrics` are made from it.

    Attributes:
        name: as typed on the command line, e.g. "psnr_y".
        title: as printed in tables, e.g. "PSNR-Y".
        better: which direction is better.
        reference: whether the HR image is needed.
        kind: "image" scores each image; "set" scores a whole folder (FID).
        range: typical range, in words.
        bounds: no score lies outside; those of a metric that has none are far beyond any score.
        unit: "dB" or "".
        digits: decimals printed.
        means: one line: what it measures and by which convention.
        source: paper or repository.
        licence: of the implementation and weights.
        factory: "module:attr" called with the spec and a device, gives a Metric (or SetMetric).
        packages: imported beside our own; the first one's code makes the value.
        weights: files needed.
        files_known: whether these are all that it reads; else it is built once to find out.
        options: what a value depends on besides; of those accepted the ones not at their default.
        accepts: what can be said in parentheses, beside the border of single images.
        version: goes up when our own implementation changes a value.
        min_size: smallest side in pixels the metric is defined for.
        pyiqa_name: what pyiqa calls it ("" if it has none).
        file: of a user's own metric.
        unbiased: of a set metric: whether its mean is the same for any number of images; where it
            is not, only sets of equal size may be compared.
        parity: how far a score may be from the reference implementation: pyiqa called directly,
            and for FID and KID clean-fid's distances of the same features (relative).
        program: of one that its authors' own program computes, the `bench.methods.entry.Entry`,
            which gives a `baselines.official_metric.OfficialMetric`.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str
    title: str
    better: Better
    reference: bool
    means: str
    source: str
    factory: str
    kind: Literal["image", "set"] = "image"
    range: str = ""
    bounds: tuple[float, float] = (-BEYOND, BEYOND)
    unit: str = ""
    digits: int = 4
    licence: str = ""
    packages: tuple[Package, ...] = ()
    weights: tuple[Weight, ...] = ()
    files_known: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)
    accepts: Mapping[str, MetricOption] = field(default_factory=dict)
    version: int = 1
    min_size: int = 1
    pyiqa_name: str = ""
    file: Path | None = None
    unbiased: bool = False
    parity: float = 0
    program: Any = None

    @property
    def accepted(self) -> dict[str, MetricOption]:
        """All that can be said in parentheses."""
        return {**self.accepts, **(_BORDER if self.kind == "image" and not self.program else {})}

    @property
    def chosen(self) -> dict[str, OptionValue]:
        """What was said of `accepts`."""
        return {name: self.options[name] for name in self.accepts if name in self.options}

    @property
    def arrow(self) -> str:
        return "↑" if self.better == "higher" else "↓"


class Metric(Protocol):
    """Scores one image at a time; their order changes nothing."""

    def prepare(self, hr: "Tensor") -> Any:
        """What can be computed from the HR image alone, once for all methods.

        `hr` is (1, 3, H, W) float32 in [0, 1]."""

    def score(self, sr: "Tensor", hr: "Tensor | None", prepared: Any) -> float:
        """Score one image.

        Args:
            sr: (1, 3, H, W) float32 in [0, 1], decoded from 8-bit files, so multiples of 1/255.
            hr: the same shape; None for no-reference metrics.
            prepared: what `prepare(hr)` returned; None for no-reference metrics.
        """


class SetMetric(Protocol):
    """Scores one set of images against another (FID, KID)."""

    def features(self, image: "Tensor") -> Any:
        """Features of one image, numpy (d,) float64; (k, d) where it gives several (patches).

        `image` is (1, 3, H, W) float32 in [0, 1]."""

    def distance(self, sr_features: Any, hr_features: Any) -> float:
        """Distance of two feature sets, numpy (rows, d) each."""


@dataclass(frozen=True)
class Missing:
    """Why there is no score.

    Attributes:
        kind: "pending": nobody has tried yet, another part of the run will; "failed": it was tried;
            "unavailable": the method or metric cannot run here; "absent": what it would be a score
            of does not exist. This is what decides; the text is for people alone.
        reason: in one line.
        file: the one at fault, as `ImageError` names it; "" where it is none.
    """

    kind: Literal["pending", "failed", "unavailable", "absent"]
    reason: str
    file: str = ""

    @property
    def text(self) -> str:
        return f"{self.file}: {self.reason}" if self.file else self.reason


TRAINING_SEED = "Training seed"
"""The heading of what is repeated: methods that differ in it alone are one configuration."""
