"""The Python interface: what the commands do, for scripts and notebooks, with the same values.

Everything here is reached as `bench.NAME`. Nothing is printed and no bar is shown unless
`progress` is true; what a user can mend is raised as `bench.BenchError`.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import metrics as known_metrics
from bench.base.device import default_store, resolve_device
from bench.base.errors import BenchError, UnknownName
from bench.base.leftovers import scratch
from bench.base.progress import Progress
from bench.base.text import printable
from bench.base.types import MetricSpec
from bench.cluster.connection import LOCAL
from bench.cluster.connection import device as device_of
from bench.files.given import Image, unpack
from bench.files.images import read_rgb, write_png
from bench.files.names import same
from bench.methods import own_function
from bench.processes.workers import threads
from bench.reports.leaderboard import Leaderboard

if TYPE_CHECKING:
    import pandas as pd

PathLike = str | os.PathLike[str]
Function = Callable[..., Any]
"""upscale(lr, *, scale, seeds): a method; see docs/add-a-method.md."""
Method = str | Function


def score(
    sr: PathLike | Sequence[PathLike],
    hr: PathLike | None = None,
    *,
    metrics: str | Sequence[str],
    sr_name: str = "",
    modcrop: bool = False,
    recursive: bool = False,
    device: str = "auto",
    workers: int | None = None,
    limit: int | None = None,
    store: PathLike | None = None,
    progress: bool = False,
) -> "pd.DataFrame":
    """Score folders of images, with or without HR, as `cassr-bench score` does.

    Gives a frame with the columns `image`, `metric`, `value` and `reason`: why a value is NaN.
    A metric of a whole set (FID) has one row, whose image is "". Several folders, scored
    together, have a first column `folder`. Nothing is kept unless a `store` is named.
    """
    from bench.results.folder_scores import as_frame
    from bench.running.options import RunOptions
    from bench.running.score_folders import score_folders

    srs, hrs = [Path(folder) for folder in _several(sr)], None if hr is None else Path(hr)
    how: dict[str, Any] = {"sr_name": sr_name, "modcrop": modcrop, "recursive": recursive}
    with scratch() if store is None else nullcontext(store) as place:
        options = RunOptions(Path(place), resolve_device(device), workers, limit=limit, **how)
        scores = score_folders(srs, hrs, _several(metrics), options, Progress(not progress))
    return as_frame(scores)


@dataclass(frozen=True)
class ImageMetric:
    """A metric to call with images; `spec` says what it is, which way is better and whose it is."""

    spec: MetricSpec
    device: str

    def __call__(self, sr: Image, hr: Image = None) -> Any:
        """The value of one image, or an array of those of a batch or list."""
        from bench.metrics.filters import Pixels
        from bench.running.score_job import value_of

        srs, hrs = unpack(sr), None if hr is None or not self.spec.reference else unpack(hr)
        if self.spec.reference and hrs is None:
            raise BenchError(f"{self.spec.name} compares with HR images; give hr too")
        if hrs is not None and len(hrs.images) != len(srs.images):
            found = f"found {len(hrs.images)} for {len(srs.images)}"
            raise BenchError(f"{self.spec.name}: expected an HR image for each SR image, {found}")
        pairs = zip(srs.images, hrs.images if hrs else [None] * len(srs.images), strict=True)
        values = []
        with threads(1):  # as the commands compute
            for i, (own, other) in enumerate(pairs):
                x, reference = Pixels(own), None if other is None else Pixels(other)
                values.append(value_of(self.spec, self.device, x, reference, file=f"image {i}"))
        return np.array(values) if srs.many else values[0]


def metric(name: str, *, device: str = "auto") -> ImageMetric:
    """A metric of single images as a function: `metric("lpips")(sr, hr)`.

    Images are arrays (H, W, 3) of uint8 or of floats in [0, 1], tensors (3, H, W) in [0, 1],
    images of Pillow's, or paths; of a batch, or of a list of them, it gives an array. Floats are
    rounded to 8 bits first, so that a value is that of the file that would be written.
    """
    spec = known_metrics.find(name)
    if spec.kind == "set" or spec.program:
        raise BenchError(f"{name} scores whole folders of images; use bench.score")
    place = resolve_device(device)
    known_metrics.loaded(spec, place)
    return ImageMetric(spec, place)


def upscale(
    method: Method,
    image: Image,
    *,
    scale: int = 4,
    seed: int = 0,
    device: str = "auto",
    workers: int | None = None,
    progress: bool = False,
) -> Any:
    """Upscale one image, a batch or a list of images, as `cassr-bench upscale` does.

    The method is a name, `spandrel:FILE`, `FILE.py` or a function upscale(lr, *, scale, seeds).
    Gives what was given (an image of Pillow's, in sRGB, for a path), in the 8 bits of a file. An
    image's noise follows from `seed` and the file's stem; those that are no files are called 0,
    1, 2 and so on.
    """
    from bench.running.options import RunOptions
    from bench.running.upscale_files import upscale_files

    given = unpack(image)
    with scratch() as folder:
        place = Path(folder)
        inputs = [file or place / f"{i}.png" for i, file in enumerate(given.files)]
        for file, rgb in zip(inputs, given.images, strict=True):
            if file not in given.files:
                write_png(file, rgb)
        options = RunOptions(place, resolve_device(device), workers, seed=seed, scale=scale)
        shown, name, files = Progress(not progress), _name(method), [*dict.fromkeys(inputs)]
        stems = [same(file.stem).lower() for file in files]
        groups: dict[Path, list[Path]] = {place / "sr0": []}
        for i, file in enumerate(files):  # images of one name are each in another folder
            groups.setdefault(place / f"sr{stems[:i].count(stems[i])}", []).append(file)
        if failures := upscale_files(name, groups, options, shown, to_srgb=True).failures:
            reasons = (reason.replace(f"{folder}/", "") for _, reason in failures)
            raise BenchError("; ".join(dict.fromkeys(reasons)))
        made = {file: to / f"{file.stem}.png" for to, some in groups.items() for file in some}
        return given.back([read_rgb(made[file]) for file in inputs])


def run(
    suite: str,
    *,
    methods: Method | Sequence[Method] = (),
    datasets: str | Sequence[str] = (),
    metrics: str | Sequence[str] = (),
    limit: int | None = None,
    scale: int = 4,
    device: str = "auto",
    workers: int | None = None,
    seed: int | None = None,
    fetch: bool | None = None,
    store: PathLike | None = None,
    on: str = LOCAL,
    progress: bool = False,
) -> Leaderboard:
    """Run a suite, or its datasets and metrics with other methods, as `cassr-bench run` does.

    A method may be a function upscale(lr, *, scale, seeds), which runs in this process. What is
    in the store (by default the command's) is not computed again; no report is written until
    `report` is called. Missing weights are fetched first, up to the size that the suite says;
    `fetch=True` fetches all, `fetch=False` none. `on="ray"` or `on="ray://HEAD:PORT"` works on a
    Ray cluster, but for functions, which stay here.
    """
    from bench.running.execute import Course, execute
    from bench.running.options import RunOptions
    from bench.running.plan import make_plan
    from bench.suites.fetch import fetch_for_run
    from bench.suites.find import chosen, find_suite

    names = [_name(method) for method in _several(methods)]
    card = chosen(find_suite(suite), names, _several(datasets), _several(metrics))
    place, device = Path(store) if store else default_store(), device_of(on, device)
    options = RunOptions(place, device, workers, seed=seed, limit=limit, scale=scale, on=on)
    shown = Progress(not progress)
    plan = make_plan(card, options, shown)
    if fetch is not False:
        fetch_for_run(card, fetch, shown)
        plan = make_plan(card, options, shown)
    outcome = execute(plan, Course([plan], not progress))
    return Leaderboard(outcome.results, outcome.failures, view=outcome.view)


def load(path: PathLike) -> Leaderboard:
    """Results from a folder of reports, or from an exported folder or JSON.

    Scores, means, statistics and tables are those of the run; `absent` says what is not in the
    file.
    """
    from bench.exchange.bundle import to_results
    from bench.exchange.reading import read_bundle

    results = to_results(read_bundle(Path(path)))
    titles = ("titles and notes of methods and test sets",)
    reports = Path(path, "scores.csv").is_file()
    return Leaderboard(results, absent=("pictures", "costs", *(titles if reports else ())))


class Evaluator:
    """Scores a network in training on a validation set every so many steps.

    Called with a step and a network (or a function upscale(lr, *, scale, seeds)), it gives the
    means as {metric: mean}, or None where no evaluation is due. A network is called with
    (1, 3, H, W) in [0, 1] on its own device, without gradients and in evaluation mode. With
    several test sets the names are "DATASET/METRIC".

    Args:
        data: a suite, or a folder with `lr` and `hr` in it.
        metrics: names; by default the suite's.
        every: how many steps lie between two evaluations.
    """

    def __init__(
        self,
        data: PathLike,
        metrics: str | Sequence[str] = (),
        *,
        every: int = 500,
        limit: int | None = None,
        scale: int = 4,
        device: str = "auto",
    ) -> None:
        from bench.suites.find import find_suite

        if every < 1:
            raise BenchError(f"every: expected a whole number from 1 on, found {every}")
        is_folder = Path(data).is_dir()
        try:
            if not is_folder:
                find_suite(str(data))
        except UnknownName as error:
            raise UnknownName(f"{printable(data)} is no folder; {error}") from None
        self._every, self._store = every, scratch()
        how: dict[str, Any] = {"metrics": metrics, "limit": limit, "scale": scale, "device": device}
        sets = [f"folder:{data}"] if is_folder else []
        suite = "quick" if is_folder else str(data)
        self._run = partial(run, suite, datasets=sets, store=self._store.name, **how)

    def __call__(self, step: int, method: Any) -> dict[str, float] | None:
        """The means, when `step` is a multiple of `every`."""
        if step % self._every:
            return None
        found = self._run(methods=[_evaluated(method)])
        shutil.rmtree(Path(self._store.name, "images"), ignore_errors=True)
        if found.failures:
            raise BenchError("; ".join(dict.fromkeys(reason for _, reason in found.failures)))
        table = found.table
        several = table["dataset"].nunique() > 1
        names = table["dataset"] + "/" + table["metric"] if several else table["metric"]
        return dict(zip(names, table["mean"], strict=True))


def _evaluated(method: Any) -> Method:
    if not hasattr(method, "state_dict"):
        return method

    def network(lr: Any, *, scale: int, seeds: Sequence[int]) -> Any:
        import torch

        trains = {part: part.training for part in method.modules()}  # some may be frozen
        place = next(method.parameters(), lr).device
        method.eval()
        try:
            with torch.inference_mode():
                return method(lr.to(place))
        finally:
            for part, before in trains.items():
                part.training = before

    return network


def _name(method: Method) -> str:
    return method if isinstance(method, str) else own_function.register(method)


def _several(given: Any) -> list[Any]:
    """A list of what may have been given alone."""
    alone = isinstance(given, (str, os.PathLike)) or callable(given)
    return [given] if alone else list(given or ())
