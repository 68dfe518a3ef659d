"""Any per-image metric of pyiqa by its own name, and the files that it was seen to read; pyiqa's
own table is read without importing it, since that imports torch."""

import ast
import importlib.util
import json
import os
import re
import runpy
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import RootModel

from bench.base.errors import Unavailable, UnknownName
from bench.base.records import read_as, write_atomic
from bench.base.registry import Registry
from bench.base.remote_file import Weight
from bench.base.types import CROP_BORDER, MetricOption, MetricSpec, Package
from bench.metrics.catalogue import METRICS, PYIQA_WEIGHTS
from bench.remote import weights

PREFIX = "pyiqa:"
SET_METRICS = ("fid", "sfid", "fid_dinov2", "inception_score")
"""pyiqa's metrics of folders, which are refused."""
PERCEPTUAL = "bench.metrics.perceptual:"
WHOLE = (f"{PERCEPTUAL}OnBackbone", f"{PERCEPTUAL}Afine")
"""Classes that say where a network's backbones are, whatever its options."""
_PYIQA = Package("pyiqa", "pyiqa")
_PLAIN = (bool, int, float, str)
_OURS = ("type", "device", CROP_BORDER)
"""Parameters of pyiqa's that are said elsewhere."""


class _Config(NamedTuple):
    name: str
    values: Mapping[str, Any]


def bare(name: str) -> str:
    """A metric's name without case, signs and where it is from: "Q-Align", "pyiqa:qalign"."""
    return re.sub(r"[^a-z0-9+]", "", name.casefold().removeprefix(PREFIX))


def names() -> list[str]:
    """Every "pyiqa:NAME"; Unavailable where pyiqa is not installed."""
    return list(_configs())


def spec_of(name: str) -> MetricSpec:
    """The metric "pyiqa:NAME"; UnknownName where pyiqa has none or it is one of whole folders,
    Unavailable where pyiqa is not installed."""
    own, config = name.removeprefix(PREFIX), _configs().find(name).values
    if own in SET_METRICS:
        raise UnknownName(f"{name} scores folders, not images; use 'fid' or 'kid'")
    alike = next((spec for spec in METRICS if spec.pyiqa_name == own), None)
    return MetricSpec(
        name=name,
        title=name,
        better="lower" if config.get("lower_better", False) else "higher",
        reference=config["metric_mode"] == "FR",
        means=f"pyiqa's {own} with pyiqa's defaults",
        source="chaofengc/IQA-PyTorch",
        factory=alike.factory if alike and alike.factory in WHOLE else f"{PERCEPTUAL}PyiqaMetric",
        range=config.get("score_range", ""),
        licence="PolyForm-Noncommercial-1.0.0 (pyiqa)",
        packages=alike.packages if alike and alike.packages else (_PYIQA,),
        weights=PYIQA_WEIGHTS.get(own, ()),
        files_known=own in PYIQA_WEIGHTS,
        accepts=dict(_options(config["metric_opts"])),
        min_size=alike.min_size if alike else 1,
        pyiqa_name=own,
    )


def recall_files(spec: MetricSpec) -> tuple[Weight, ...] | None:
    """The files a metric was seen to read; None when it was never built here."""
    found = _found().get(_key(spec))
    return None if found is None else tuple(weight_at(Path(name)) for name in found)


def record_files(spec: MetricSpec, paths: Iterable[Path]) -> None:
    """Keep what a metric read; asking again then imports nothing."""
    home = weights.torch_home()
    names = [os.path.relpath(path, home) for path in dict.fromkeys(paths)]
    write_atomic(_list(), json.dumps({**_found(), _key(spec): names}, indent=1, sort_keys=True))


def weight_at(path: Path, url: str = "") -> Weight:
    """A file of pyiqa's, by its path below torch's cache."""
    prefix = weights.hash_in_name(path.name)
    return Weight(name=path.name, url=url, folder=str(path.parent), sha256_prefix=prefix)


def _found() -> dict[str, list[str]]:
    """Names of files, below torch's cache, by metric and pyiqa's version."""
    found = read_as(_list(), RootModel[dict[str, list[str]]])
    return found.root if found else {}


def _list() -> Path:
    return weights.cache_dir() / "pyiqa_files.json"


def _key(spec: MetricSpec) -> str:
    chosen = json.dumps(spec.chosen, sort_keys=True) if spec.chosen else ""
    return f"{spec.pyiqa_name}{chosen}@{metadata.version('pyiqa')}"


def _folder() -> Path:
    package = importlib.util.find_spec("pyiqa")
    if package is None or not package.submodule_search_locations:
        raise Unavailable("metrics named pyiqa:NAME need pyiqa; run: pip install pyiqa")
    return Path(package.submodule_search_locations[0])


@cache
def _configs() -> Registry[_Config]:
    """pyiqa's own table of metrics."""
    path = _folder() / "default_model_configs.py"
    if not path.is_file():
        raise Unavailable(f"pyiqa's table of metrics cannot be read at {path}")
    configs = runpy.run_path(str(path))["DEFAULT_CONFIGS"].items()
    return Registry("metric", (_Config(PREFIX + own, c) for own, c in configs), listed=False)


def _options(config: Mapping[str, Any]) -> Iterator[tuple[str, MetricOption]]:
    """Parameters of a network whose defaults are numbers, words or truths; not those that name
    files, nor the one that leaves its weights at random."""
    defaults = _parameters(config["type"])
    for name, default in {**defaults, **config}.items():
        random = name.startswith("pretrained") and isinstance(default, bool)
        if isinstance(default, _PLAIN) and name not in _OURS and not random:
            yield name, MetricOption(default)


@cache
def _parameters(network: str) -> dict[str, Any]:
    """Parameters of a network's class with their defaults; none where it is not found."""
    for file in sorted((_folder() / "archs").glob("*_arch.py")):
        source = file.read_text("utf-8")
        if f"class {network}(" in source:
            nodes = ast.parse(source).body
            return next(_defaults(n) for n in nodes if getattr(n, "name", "") == network)
    return {}


def _defaults(network: ast.AST) -> dict[str, Any]:
    for node in ast.walk(network):
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            own = node.args
            pairs = [
                *zip(reversed(own.args), reversed(own.defaults), strict=False),
                *zip(own.kwonlyargs, own.kw_defaults, strict=True),
            ]
            return {name.arg: d.value for name, d in pairs if isinstance(d, ast.Constant)}
    return {}
