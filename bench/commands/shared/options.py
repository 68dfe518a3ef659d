"""Options that several commands share, so that they read and behave the same everywhere."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.base.device import default_store, resolve_device
from bench.base.errors import BenchError
from bench.base.text import printable
from bench.cluster.connection import LOCAL
from bench.cluster.connection import device as device_of
from bench.running.options import IMAGE_TIMEOUT, RunOptions
from bench.suites.protocols import protocols

if TYPE_CHECKING:
    from bench.suites.find import SuiteCard

_IN_PARENTHESES = re.compile(r"\([^()\"]*\)")
_COMMA = "\x1f"


def names(option: str, values: list[str] | None) -> list[str]:
    """Names given as comma lists, repeated options or both; [] where the option was not given.

    Commas in parentheses are part of a name; one with other commas is put in double quotes.
    BenchError for a list that names nothing, or a quote that does not end.
    """
    return [name for value in values or [] for name in _split(option, value)]


def _split(option: str, value: str) -> list[str]:
    kept = _IN_PARENTHESES.sub(lambda inside: inside[0].replace(",", _COMMA), value)
    said = f"found '{printable(value)}'"
    try:
        rows = list(csv.reader([kept], skipinitialspace=True, strict=True))
    except csv.Error as error:
        expected = "expected names with commas between them"
        raise BenchError(f"{option}: {expected}, {said} ({error})") from error
    found = [name.strip().replace(_COMMA, ",") for row in rows for name in row if name.strip()]
    if not found:
        advice = "give some or leave the option out"
        raise BenchError(f"{option}: expected at least one name, {said}; {advice}")
    return found


def metric_names(metrics: list[str] | None, protocol: str | None) -> list[str]:
    """Metrics by name, or those of a protocol; [] where neither was given; BenchError where both
    were, or there is no such protocol."""
    if protocol is None:
        return names("--metrics", metrics)
    if metrics:
        raise BenchError("--protocol and --metrics: both say which metrics; give one of them")
    return list(protocols().find(protocol).metrics)


Marks = Literal["best", "significant"]


@dataclass(frozen=True)
class Choice:
    """What is taken of a suite, or instead of what it names."""

    methods: list[str] | None = None
    datasets: list[str] | None = None
    metrics: list[str] | None = None
    protocol: str | None = None
    limit: int | None = None

    def names(self) -> tuple[list[str], list[str], list[str]]:
        """Methods, datasets and metrics by name; [] for the suite's own."""
        methods, datasets = names("--methods", self.methods), names("--datasets", self.datasets)
        return methods, datasets, metric_names(self.metrics, self.protocol)

    def suite(self, name: str) -> "SuiteCard":
        """The suite of that name, or in that file, with what was named in place of its own."""
        from bench.suites.find import chosen, find_suite

        suite = chosen(find_suite(name), *self.names())
        if self.protocol is None:
            return suite
        notes = filter(None, (suite.note, str(protocols().find(self.protocol))))
        return suite.model_copy(update={"note": " ".join(notes), "protocol": self.protocol})


@dataclass(frozen=True)
class StoredChoice(Choice):
    """What is taken of a suite as far as it is stored, wherever its scores were made."""

    scale: int = 4
    modcrop: bool = False
    device: str = "auto"
    seed: int | None = None
    store: Path | None = None

    def options(self) -> RunOptions:
        store, device = self.store or default_store(), resolve_device("auto")
        return RunOptions(
            store, device, seed=self.seed, limit=self.limit, scale=self.scale, modcrop=self.modcrop
        )


@dataclass(frozen=True)
class Work:
    """Where and how this process upscales and scores; called as in `RunOptions`."""

    scale: int = 4
    modcrop: bool = False
    device: str = "auto"
    workers: int | None = None
    image_timeout: int = IMAGE_TIMEOUT
    on: str = LOCAL
    shard: str | None = None
    seed: int | None = None
    store: Path | None = None

    def options(self, limit: int | None) -> RunOptions:
        from bench.running import shards

        here = self.on == LOCAL
        given = self.device if here else "cpu"
        part, device, workers = shards.place(self.shard, given, self.workers)
        place = device if here else device_of(self.on, self.device)
        own = {"store": self.store or default_store(), "device": place, "workers": workers}
        return RunOptions(**{**vars(self), **own, "shard": part, "limit": limit})


@dataclass(frozen=True)
class ViewOptions:
    """How results are shown, and where they may be written."""

    marks: Marks = "best"
    intervals: bool = False
    compare: list[Literal["published", "measured"]] | None = None
    reports: list[str] | None = None
    region: list[str] | None = None
    panel_scores: list[str] | None = None
    originals: bool = True
    overwrite: bool = False
