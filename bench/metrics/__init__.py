"""The metrics (of the catalogue, "pyiqa:NAME", "FILE.py"): what there is, whether it can run here,
and how to get one. Importing this costs nothing; torch and pyiqa are imported by `load`."""

import importlib
import importlib.util
import shlex
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.base.errors import BenchError, Unavailable, UnknownName, WeightsError
from bench.base.lazy import resolve
from bench.base.registry import Registry
from bench.base.remote_file import Weight
from bench.base.text import printable
from bench.base.types import CROP_BORDER, Metric, MetricSpec, Package, SetMetric
from bench.metrics import options, own, pyiqa_names
from bench.metrics.catalogue import MEANT, METRICS, REFUSED
from bench.remote import weights
from bench.remote.fetch import fetch_file

_PYIQA_LOADING = "bench.metrics.pyiqa_loading"
_METHODS = "bench.methods.find"
_known = Registry("metric", METRICS)


def every() -> list[MetricSpec]:
    """The registered metrics in the order of the tables, then those with a program of their own,
    whose cards are read only where one of these may be meant."""
    return [*METRICS, *map(resolve(f"{_METHODS}:metric"), resolve(f"{_METHODS}:metric_cards")())]


def names() -> list[str]:
    return [spec.name for spec in every()]


def find(name: str) -> MetricSpec:
    """The spec of a registered metric, "pyiqa:NAME", "FILE.py" or "FILE.toml" (a card), each with
    options behind it as in "psnr_y(crop_border=4)".

    Raises:
        UnknownName: there is none, or not with these options; says what there is.
        Unavailable: "pyiqa:NAME" was asked for and pyiqa is not installed.
        CardError: the file is not what a metric must be.
    """
    own_name, given = options.parse(name)
    return options.with_options(_named(own_name), given)


def _named(name: str) -> MetricSpec:
    called = pyiqa_names.bare(name)
    if why := REFUSED.get(called):
        raise UnknownName(f"metric '{printable(name)}': {why}")
    if name.startswith(pyiqa_names.PREFIX):
        return pyiqa_names.spec_of(name)
    if name.endswith(own.SUFFIX):
        return own.spec_of(Path(name))
    if name.endswith(".toml"):
        spec: MetricSpec = resolve(f"{_METHODS}:metric")(name)
        return spec
    if name in _known:
        return _known[name]
    if meant := called and _meant(called):
        raise UnknownName(f"unknown metric '{printable(name)}'; did you mean '{meant}'?")
    return Registry("metric", every()).find(name)


def _meant(called: str) -> str:
    """A metric of the catalogue, else of pyiqa, that is called so but for case and signs, or as
    the catalogue says."""
    if called in MEANT:
        return MEANT[called]
    for spec in METRICS:
        if called in map(pyiqa_names.bare, (spec.name, spec.title, spec.pyiqa_name)):
            return spec.name
    with suppress(Unavailable):
        return next((name for name in pyiqa_names.names() if pyiqa_names.bare(name) == called), "")
    return ""


def registered(name: str) -> MetricSpec | None:
    """The metric of the catalogue, with its options; None where there is none of that name."""
    try:
        return find(name) if options.parse(name)[0] in names() else None
    except UnknownName:
        return None


def load(spec: MetricSpec, device: str = "cpu") -> Metric | SetMetric:
    """Build a metric, ready to score, on "cpu", "cuda", "cuda:1", "mps"; downloads nothing.
    Unavailable says why it cannot run here and what to do."""
    if reason := unavailable(spec, device):
        raise Unavailable(reason)
    metric: Metric | SetMetric = resolve(spec.factory)(spec, device)
    if CROP_BORDER in spec.options:
        metric = resolve("bench.metrics.filters:Cropped")(metric, spec)
    return metric


_loaded: dict[tuple[str, ...], Any] = {}


def loaded(spec: MetricSpec, device: str) -> Any:
    """A metric, ready to score, kept by this process for as long as it is the same."""
    key = (spec.name, repr(sorted(spec.options.items())), device)
    if key not in _loaded:
        _loaded[key] = load(spec, device)
    return _loaded[key]


def unload() -> None:
    """Give the memory of all that `loaded` keeps back."""
    _loaded.clear()


def unavailable(spec: MetricSpec, device: str) -> str:
    """Why the metric cannot run on a device here, with the command that mends it; "" if it can."""
    if spec.program:
        why = spec.program.unavailable() or spec.program.card.official.refusal(device)
        return f"{spec.name}: {why}" if why else ""
    if missing := not_installed(spec):
        wanted = " ".join(package.distribution for package in missing)
        return f"{spec.name} needs a package that is not installed; run: pip install {wanted}"
    known = _weights_known(spec)
    if known is None:
        return _asked(spec.name)
    for weight in known:
        if problem := weights.problem(weight):
            told = f" ({weight.url})" if spec.name.startswith(pyiqa_names.PREFIX) else ""
            return f"{problem}{told}; {_fetching(spec)}"
    return ""


def not_installed(spec: MetricSpec) -> list[Package]:
    """The packages that it needs and that are not here."""
    return [each for each in spec.packages if importlib.util.find_spec(each.module) is None]


def fingerprint(spec: MetricSpec, device: str = "cpu") -> dict[str, Any]:
    """Everything a score of this metric depends on besides the pixels; imports no torch. Our own
    implementations depend on `spec.version`, not on that of any library.

    Raises:
        WeightsError: a weight is missing or damaged.
    """
    needed = _weights(spec)
    for weight in needed:
        weights.locate(weight)
    record: dict[str, Any] = {
        "metric": spec.name,
        "options": dict(spec.options),
        "version": spec.version,
        "weights": {weight.name: weights.identity(weight) for weight in needed},
        "device": device.partition(":")[0],
    }
    if spec.packages:
        library = spec.packages[0].distribution
        record[library] = metadata.version(library)
        record["precision"] = "float32, TF32 off"
    if spec.program:
        record["program"] = spec.program.fingerprint()
    if replaced := substituted(spec):
        record["substituted"] = replaced
    return record


def fetch(spec: MetricSpec) -> list[Path]:
    """Get every file that the metric needs, checked and where its library looks; WeightsError says
    from where one cannot be had, and why."""
    if _weights_known(spec) is None:
        importlib.import_module(_PYIQA_LOADING).find_files(spec, fetching=True)
        _asked.cache_clear()
    return [fetch_file(weight) for weight in _weights(spec)]


def substituted(spec: MetricSpec) -> list[str]:
    """Weights that are not the published ones: such scores must not be shown as the metric's."""
    return [weight.name for weight in _weights(spec) if weights.is_substitute(weight)]


def of_features(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """What of a set metric's fingerprint its features depend on: FID and KID share them."""
    return {key: value for key, value in fingerprint.items() if key not in ("metric", "version")}


def _weights_known(spec: MetricSpec) -> tuple[Weight, ...] | None:
    """The files it reads; None where no table says which and it was never built here."""
    return spec.weights if spec.files_known else pyiqa_names.recall_files(spec)


def _weights(spec: MetricSpec) -> tuple[Weight, ...]:
    """Every file the metric reads; where no table says which, it is built once to see."""
    if _weights_known(spec) is None:
        importlib.import_module(_PYIQA_LOADING).find_files(spec)
    return _weights_known(spec) or ()


@cache
def _asked(name: str) -> str:
    """Why a metric of pyiqa whose files are not known cannot be built offline; "" if it can."""
    spec = find(name)
    try:
        _weights(spec)
    except WeightsError as error:
        return f"{error}; {_fetching(spec)}"
    except BenchError as error:
        return str(error)
    return ""


def _fetching(spec: MetricSpec) -> str:
    return f"run: cassr-bench fetch {shlex.quote(spec.name)}"
