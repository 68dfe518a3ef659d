"""The one object every report is made from: tidy scores and what they are scores of."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bench.base.errors import DataError
from bench.base.types import MetricSpec

if TYPE_CHECKING:
    import pandas as pd

REASONS_SHOWN = 3
SET_METRIC = "one value for the whole set; FID and KID rise when its images are drawn again"
T = TypeVar("T")


@dataclass(frozen=True)
class Item:
    """A method or dataset as it appears in reports, its name as registered, its title as printed.

    Attributes:
        note: shown under every table that it appears in ("" for none): deviations, labels such as
            "miniature: shows that the pipeline works, says nothing about the paper's CasSR".
        variant: what tells variants of one method apart, heading to value, e.g. {"CFG": "✓"}, for
            the title where methods are rows and all have the same headings (the paper's Table 3).
        parameters, steps: of a method's networks and sampling, None where unknown.
    """

    name: str
    title: str
    note: str = ""
    variant: Mapping[str, str] = field(default_factory=dict)
    parameters: int | None = None
    steps: int | None = None


@dataclass(frozen=True)
class Cost:
    """What one SR image cost, where its method ran here; None for what was not recorded.

    Attributes:
        seconds: of upscaling alone, no file read or written in them; of a program of its own
            those from one file to the next, with reading and writing.
        first: seconds from the start of a program of its own to this image, its first.
        peak_bytes: see `bench.base.metering`.
        device, machine: as asked for ("cuda"), and its name.
    """

    dataset: str
    method: str
    image: str
    seconds: float | None = None
    pixels: int | None = None
    peak_bytes: int | None = None
    device: str = ""
    machine: str = ""
    threads: int | None = None
    first: float | None = None


@dataclass(frozen=True)
class PictureSet:
    """The pictures of one image: LR, HR and one SR per method that has it."""

    dataset: str
    image: str
    scale: int
    lr: Path | None
    hr: Path | None
    sr: Mapping[str, Path] = field(default_factory=dict)


KEYS = ["dataset", "method", "image", "metric"]
"""The columns that name a score."""
COLUMNS = [*KEYS, "value", "reason"]
"""Of scores, as all have them; image "" is a whole set."""
SUMMARY_COLUMNS = ["dataset", "metric", "method", "mean", "n", "missing", "images", "reason"]


@dataclass(frozen=True)
class Repeats:
    """The scores of each seed: `KEYS`, then a column per seed, named by its number, NaN where there
    is none. `local_std` is (dataset, method, image) -> L-STD: mean over pixels of the standard
    deviation of RGB in [0, 1] over the seeds, 4 pixels from the edge on."""

    seeds: tuple[int, ...]
    scores: "pd.DataFrame"
    local_std: Mapping[tuple[str, str, str], float]


@dataclass(frozen=True)
class Results:
    """Scores of methods on datasets.

    ``scores`` has one row per dataset, method, image and metric that was asked for:
    ``dataset, method, image, metric, value, reason``; a missing score has value NaN and its reason.
    A run's own have the ``kind`` of each reason too (`bench.base.types.Missing`; "" for a score).
    Metrics over a whole set (FID) have one row with image "". Row order is that of ``datasets``,
    ``methods``, image id, ``metrics``. ``costs`` differ from run to run; only the report `cost`
    shows them. ``repeats`` holds each seed's scores where ``scores`` are means over several. How
    all this is shown is said by a `bench.results.view.View`.
    """

    title: str
    datasets: tuple[Item, ...]
    methods: tuple[Item, ...]
    metrics: tuple[MetricSpec, ...]
    scores: "pd.DataFrame"
    pictures: tuple[PictureSet, ...] = ()
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    costs: tuple[Cost, ...] = ()
    repeats: Repeats | None = None

    def files(self) -> list[Path]:
        """Every picture that there is."""
        files = (file for p in self.pictures for file in (p.lr, p.hr, *p.sr.values()))
        return [file for file in files if file is not None]

    def photographs(self, dataset: str) -> dict[str, str]:
        """Image -> the photograph that it is from, of the images of a set that share one."""
        return dict(self.provenance.get("datasets", {}).get(dataset, {}).get("groups", {}))

    def once(self, what: object, make: Callable[[], T]) -> T:
        """What `make` computes of these results, kept for the next report that asks."""
        if what not in self._made:
            self._made[what] = make()
        made: T = self._made[what]
        return made

    @cached_property
    def _made(self) -> dict[object, Any]:
        return {}


def common_set(results: Results, dataset: str, metric: str) -> "pd.DataFrame":
    """The scores of one dataset and metric on the images that all methods with any score share: a
    row per image in the order of their ids, a column per method. Everything that is said of more
    than one image is said of these; a missing one favours nobody."""
    scores = results.scores
    own = scores[(scores["dataset"] == dataset) & (scores["metric"] == metric)]
    table = own.pivot(index="image", columns="method", values="value").astype(float)
    return table.loc[:, table.notna().any()].dropna()


def summarize(results: Results) -> "pd.DataFrame":
    """Mean per dataset, metric and method over their `common_set`: rows of `SUMMARY_COLUMNS`.

    ``mean`` is NaN where ``n``, the size of the common set, is 0; ``missing`` counts those of the
    dataset's ``images`` that this method has no value for, ``reason`` joins their first distinct
    reasons. A metric over a whole set is one value over all images: its ``n`` is ``images`` (1
    where no image is listed), its ``missing`` 0 or 1. DataError: two rows of ``scores`` are for the
    same image, method and metric.
    """
    return results.once("summary", lambda: _summarize(results)).copy()


def _summarize(results: Results) -> "pd.DataFrame":
    import pandas as pd

    _refuse_duplicates(results.scores)
    cells = product(results.datasets, results.metrics)
    rows = [
        row for dataset, metric in cells for row in _summarize_cells(results, dataset.name, metric)
    ]
    return pd.DataFrame(rows, columns=SUMMARY_COLUMNS)


def _summarize_cells(
    results: Results, dataset: str, metric: MetricSpec
) -> Iterator[tuple[str, str, str, float, int, int, int, str]]:
    scores = results.scores[results.scores["dataset"] == dataset]
    listed = int(scores.loc[scores["image"] != "", "image"].nunique())
    images = listed or sum(picture.dataset == dataset for picture in results.pictures)
    common = common_set(results, dataset, metric.name)
    size = (images or 1) if metric.kind == "set" else len(common)
    cell = scores[scores["metric"] == metric.name]
    for method in (item.name for item in results.methods):
        own = cell[cell["method"] == method]
        has_mean = method in common.columns and len(common) > 0
        mean = float(common[method].mean()) if has_mean else float("nan")
        known = int(own["value"].notna().sum())
        reason = _join_reasons(own.loc[own["value"].isna(), "reason"])
        if known and not has_mean:
            reason = "no image that every method has a value for"
        missing = cell["image"].nunique() - known
        n = size if has_mean else 0
        yield dataset, metric.name, method, mean, n, missing, images, reason


def _join_reasons(reasons: "pd.Series[str]") -> str:
    distinct = [reason for reason in dict.fromkeys(reasons) if reason]
    more = len(distinct) - REASONS_SHOWN
    return "; ".join(distinct[:REASONS_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _refuse_duplicates(scores: "pd.DataFrame") -> None:
    twice = scores[scores.duplicated(KEYS)]
    if len(twice):
        dataset, method, image, metric = twice.iloc[0][KEYS]
        expected = f"expected one row per image, method and metric, found {len(twice)} more"
        first = f"the first is {dataset}/{image}, {method}, {metric}"
        raise DataError(f"scores: {expected}; {first}")
