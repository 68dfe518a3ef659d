"""The files that metrics of pyiqa read which the catalogue does not describe, as found once.

Kept on disk with pyiqa's version, so that asking again imports nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from pydantic import RootModel

from bench.base.records import read_as, write_atomic
from bench.base.types import MetricSpec, Weight
from bench.remote import weights


def recall(spec: MetricSpec) -> tuple[Weight, ...] | None:
    """The files a metric was seen to read; None when it was never built here."""
    found = _read().get(_key(spec))
    if found is None:
        return None
    return tuple(_weight(Path(name)) for name in found)


def record(spec: MetricSpec, paths: Iterable[Path]) -> None:
    """Keep what a metric read."""
    home = weights.torch_home()
    names = [os.path.relpath(path, home) for path in dict.fromkeys(paths)]
    found = {**_read(), _key(spec): names}
    write_atomic(_path(), json.dumps(found, indent=1, sort_keys=True))


def _weight(path: Path) -> Weight:
    prefix = weights.hash_in_name(path.name)
    return Weight(name=path.name, folder=str(path.parent), sha256_prefix=prefix)


def _key(spec: MetricSpec) -> str:
    chosen = json.dumps(spec.chosen, sort_keys=True) if spec.chosen else ""
    return f"{spec.pyiqa_name}{chosen}@{metadata.version('pyiqa')}"


def _path() -> Path:
    return weights.cache_dir() / "pyiqa_files.json"


class _Found(RootModel[dict[str, list[str]]]):
    """Names of files by metric."""


def _read() -> dict[str, list[str]]:
    found = read_as(_path(), _Found)
    return found.root if found else {}
