"""Every metric, in the order of the tables, as catalogue.toml describes them."""

from importlib.resources import files
from typing import Any

from pydantic import model_validator

from bench.base.cards import Card, read_card
from bench.base.remote_file import Weight
from bench.base.types import MetricSpec


class Catalogue(Card):
    """The metrics in the order of the tables, and what `pyiqa:NAME` reads beside theirs; on the
    card both give names of `files`."""

    metrics: tuple[MetricSpec, ...]
    meant: dict[str, str]
    refused: dict[str, tuple[str, ...]]
    pyiqa: dict[str, tuple[Weight, ...]]
    files: dict[str, Weight]

    @model_validator(mode="before")
    @classmethod
    def _with_files(cls, said: dict[str, Any]) -> dict[str, Any]:
        def named(names: list[str]) -> list[Any]:
            return [said["files"][name] for name in names]

        return {
            **said,
            "metrics": [{**m, "weights": named(m.get("weights", []))} for m in said["metrics"]],
            "pyiqa": {own: named(names) for own, names in said["pyiqa"].items()},
        }


_read = read_card(files("bench.metrics") / "catalogue.toml", Catalogue)

METRICS = _read.metrics
MEANT = _read.meant
"""Metrics by what else they are called, without case and signs."""
REFUSED = {name: why for why, names in _read.refused.items() for name in names}
"""Why metrics that people ask for are not here; likewise."""

PYIQA_WEIGHTS: dict[str, tuple[Weight, ...]] = {
    **{s.pyiqa_name: s.weights for s in METRICS if s.kind == "image" and s.pyiqa_name},
    **_read.pyiqa,
}
"""What `pyiqa:NAME` loads, for the metrics whose files are known; the rest is found by asking."""
