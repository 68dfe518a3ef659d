"""The metrics: what there is, whether it can run here, and how to get one.

Importing this costs nothing; torch and pyiqa are imported by `load`. Names beginning with
"pyiqa:" give any per-image metric of pyiqa by its own name and with its own defaults.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.base.errors import ImageError, Unavailable, UnknownName
from bench.base.types import Metric, MetricSpec, SetMetric, Weight
from bench.metrics.catalogue import (
    METRICS,
    PYIQA_LICENCE,
    PYIQA_SET_METRICS,
    PYIQA_WEIGHTS,
)
from bench.remote import found_files, weights
from bench.remote.fetch import fetch_file

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "METRICS",
    "check_image",
    "check_size",
    "feature_fingerprint",
    "fetch",
    "fingerprint",
    "forget",
    "get",
    "load",
    "names",
    "substituted",
    "unavailable",
    "unique",
]

_PREFIX = "pyiqa:"
_PYIQA_MODULE = "bench.metrics.perceptual"
_PYIQA_LOADING = "bench.metrics.pyiqa_loading"
_EXTRA_PACKAGES = {"clipiqa": ("clip",), "clipiqa+": ("clip",), "maniqa": ("timm",)}
_DISTRIBUTIONS = {"clip": "openai-clip", "cleanfid": "clean-fid"}


def unique(specs: Sequence[MetricSpec]) -> dict[str, MetricSpec]:
    """The specs by name, in their order.

    Raises:
        ValueError: two have the same name.
    """
    table: dict[str, MetricSpec] = {}
    for spec in specs:
        if spec.name in table:
            raise ValueError(f"metric {spec.name!r} is registered twice")
        table[spec.name] = spec
    return table


_TABLE = unique(METRICS)


def names() -> list[str]:
    """Names of the registered metrics, in the order of the tables."""
    return list(_TABLE)


def get(name: str) -> MetricSpec:
    """The spec of a metric.

    Args:
        name: a registered name, or "pyiqa:NAME" for any per-image metric of pyiqa.

    Raises:
        UnknownName: there is none; the message suggests a name that is close.
        Unavailable: "pyiqa:NAME" was asked for and pyiqa is not installed.
    """
    if name.startswith(_PREFIX):
        return _pyiqa_spec(name)
    if name not in _TABLE:
        raise UnknownName(_unknown("metric", name, list(_TABLE)))
    return _TABLE[name]


def load(spec: MetricSpec, device: str = "cpu") -> Metric | SetMetric:
    """Build a metric, ready to score; nothing is ever downloaded here.

    Args:
        spec: what `get` gave.
        device: "cpu", "cuda", "cuda:1", "mps".

    Raises:
        Unavailable: it cannot run here; the message says why and what to do.
    """
    reason = unavailable(spec)
    if reason:
        raise Unavailable(reason)
    module, _, attribute = spec.factory.partition(":")
    return getattr(importlib.import_module(module), attribute)(spec, device)


def unavailable(spec: MetricSpec) -> str:
    """Why the metric cannot run here, with the command that mends it; "" when it can."""
    missing = [package for package in _packages(spec) if importlib.util.find_spec(package) is None]
    if missing:
        wanted = " ".join(_DISTRIBUTIONS.get(package, package) for package in missing)
        return f"{spec.name} needs a package that is not installed; run: pip install {wanted}"
    for weight in _weights_known(spec):
        reason = weights.problem(weight)
        if reason:
            return f"{reason}; run: cassr-bench fetch {spec.name}"
    return _asked(spec.name) if _never_built(spec) else ""


def fingerprint(spec: MetricSpec, device: str = "cpu") -> dict[str, Any]:
    """Everything a score of this metric depends on besides the pixels.

    Neither torch nor pyiqa is imported, so that a run whose scores are all stored ends at once.
    Our own implementations depend on `spec.version` alone, not on the version of any library.

    Raises:
        WeightsError: a weight is missing or damaged.
    """
    used = {weight.name: weights.sha256(weights.locate(weight)) for weight in _weights(spec)}
    record: dict[str, Any] = {
        "metric": spec.name,
        "options": dict(spec.options),
        "version": spec.version,
        "weights": used,
        "device": device.partition(":")[0],
    }
    library = _library(spec)
    if library:
        record[library] = metadata.version(library)
        record["precision"] = "float32, TF32 off"
    replaced = substituted(spec)
    if replaced:
        record["substituted"] = replaced
    return record


def fetch(spec: MetricSpec, progress: weights.Progress | None = None) -> list[Path]:
    """Get every file the metric needs that is not here yet.

    Returns:
        the files, each checked and where its library looks.

    Raises:
        WeightsError: a file cannot be had; the message says from where and why.
    """
    if _never_built(spec):
        importlib.import_module(_PYIQA_LOADING).fetch_files(spec)
        forget()
    return [fetch_file(weight, progress) for weight in _weights(spec)]


def forget() -> None:
    """Ask again whether metrics whose files are not listed can run; the answers are kept."""
    _asked.cache_clear()


def substituted(spec: MetricSpec) -> list[str]:
    """Names of the weights that are not the published ones (see bench.remote.weights); mostly none.

    Scores made with them must not be shown as the metric's.
    """
    return [weight.name for weight in _weights(spec) if weights.is_substitute(weight)]


def check_size(spec: MetricSpec, width: int, height: int) -> None:
    """Refuse an image that is smaller than the metric is defined for.

    Raises:
        ImageError: it is too small.
    """
    if min(width, height) < spec.min_size:
        raise ImageError(
            f"{width}x{height} px is too small for {spec.name}, which needs "
            f"{spec.min_size} px on the shorter side"
        )


def check_image(spec: MetricSpec, image: Tensor) -> None:
    """`check_size` of an image (B, 3, H, W)."""
    check_size(spec, image.shape[-1], image.shape[-2])


def feature_fingerprint(spec: MetricSpec, device: str = "cpu") -> dict[str, Any]:
    """What the features of a set metric depend on: FID and KID share them.

    Raises:
        WeightsError: a weight is missing or damaged.
    """
    record = fingerprint(spec, device)
    return {key: value for key, value in record.items() if key not in ("metric", "version")}


def _packages(spec: MetricSpec) -> tuple[str, ...]:
    if _library(spec) == "pyiqa":
        return ("pyiqa", *_EXTRA_PACKAGES.get(spec.pyiqa_name.partition("-")[0], ()))
    return ("cleanfid",) if _library(spec) == "clean-fid" else ()


def _library(spec: MetricSpec) -> str:
    """The distribution whose code makes the values; "" where it is our own."""
    if spec.factory.startswith(_PYIQA_MODULE):
        return "pyiqa"
    return "clean-fid" if spec.factory.startswith("bench.metrics.inception") else ""


def _is_described(spec: MetricSpec) -> bool:
    return not spec.name.startswith(_PREFIX) or spec.pyiqa_name in PYIQA_WEIGHTS


def _never_built(spec: MetricSpec) -> bool:
    return not _is_described(spec) and found_files.recall(spec) is None


def _weights_known(spec: MetricSpec) -> tuple[Weight, ...]:
    return spec.weights if _is_described(spec) else found_files.recall(spec) or ()


def _weights(spec: MetricSpec) -> tuple[Weight, ...]:
    """Every file the metric reads; where no table says which, it is built once to see."""
    if _never_built(spec):
        importlib.import_module(_PYIQA_LOADING).find_files(spec)
    return _weights_known(spec)


@cache
def _asked(name: str) -> str:
    """Find out whether a metric of pyiqa whose files are not known can be built offline."""
    return importlib.import_module(_PYIQA_LOADING).problem_offline(get(name))


def _unknown(kind: str, name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
    return f"unknown {kind} {name!r}; {hint}"


def _pyiqa_spec(name: str) -> MetricSpec:
    known, own = _pyiqa_configs(), name.removeprefix(_PREFIX)
    if own not in known:
        raise UnknownName(_unknown("metric", name, [_PREFIX + key for key in known]))
    if own in PYIQA_SET_METRICS:
        raise UnknownName(f"{name} scores folders, not images; use 'fid' or 'kid'")
    config = known[own]
    alike = next((spec for spec in METRICS if spec.pyiqa_name == own), None)
    return MetricSpec(
        name=name,
        title=name,
        better="lower" if config.get("lower_better", False) else "higher",
        reference=config["metric_mode"] == "FR",
        means=f"pyiqa's {own} with pyiqa's defaults",
        source="chaofengc/IQA-PyTorch",
        factory=f"{_PYIQA_MODULE}:PyiqaMetric",
        range=config.get("score_range", ""),
        licence=PYIQA_LICENCE,
        weights=PYIQA_WEIGHTS.get(own, ()),
        min_size=alike.min_size if alike else 1,
        pyiqa_name=own,
    )


@cache
def _pyiqa_configs() -> dict[str, Any]:
    """pyiqa's own table of metrics, read without importing pyiqa (which imports torch)."""
    package = importlib.util.find_spec("pyiqa")
    if package is None or not package.submodule_search_locations:
        raise Unavailable("metrics named pyiqa:NAME need pyiqa; run: pip install pyiqa")
    path = f"{package.submodule_search_locations[0]}/default_model_configs.py"
    spec = importlib.util.spec_from_file_location("_pyiqa_configs", path)
    if spec is None or spec.loader is None:
        raise Unavailable(f"pyiqa's table of metrics cannot be read at {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.DEFAULT_CONFIGS)
