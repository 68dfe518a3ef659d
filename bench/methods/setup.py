"""Install the official repository of a method or metric: clone, environment, packages, weights."""

import filecmp
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.base import leftovers
from bench.base.errors import Unavailable, WeightsError
from bench.base.progress import Progress
from bench.base.text import printable
from bench.methods import environment
from bench.methods.card import Official, Snapshot
from bench.methods.find import find_program
from bench.methods.installation import Installation, git
from bench.remote import archives, hub, weights
from bench.remote.fetch import fetch_file


@dataclass(frozen=True)
class SetupOptions:
    """What the command line can choose.

    Attributes:
        source: a clone or bare repository to take instead of the card's address.
        python: interpreter that the environment is made with.
        as_is: use `python` itself and install nothing into it.
        conda: make the environment with conda.
        weights: fetch weights too.
    """

    source: str = ""
    python: Path | None = None
    as_is: bool = False
    conda: bool = False
    weights: bool = True


def setup(name: str, options: SetupOptions, progress: Progress) -> list[str]:
    """Do what is missing, in order; a setup that was stopped goes on.

    Returns:
        One line for each step: what was done, or was there already.

    Raises:
        Unavailable: a step failed; what was finished stays.
    """
    entry = find_program(name)
    if entry.card.official is None:
        raise Unavailable(
            f"method '{printable(name)}' needs no setup: it runs in our own environment; "
            f"its weights: cassr-bench fetch {name}"
        )
    where = Installation(entry.card)
    where.root.mkdir(parents=True, exist_ok=True)
    with (where.root / "setup.log").open("a", encoding="utf-8") as log:
        return list(_steps(where, options, log, progress))


def _steps(
    where: Installation, options: SetupOptions, log: IO[str], progress: Progress
) -> Iterator[str]:
    with progress.step(f"{where.card.title}: repository"):
        yield _clone(where, options.source)
    with progress.step(f"{where.card.title}: environment"):
        if options.as_is:
            yield environment.use_as_is(where, options.python)
        else:
            yield environment.build(where, options.python, options.conda, log)
    if not options.as_is:
        with progress.step(f"{where.card.title}: packages"):
            yield environment.install(where, log)
    with progress.step(f"{where.card.title}: first start"):
        yield from environment.start(where, log)
    where.remember(
        packages_installed=True,
        packages_wanted=where.wanted_packages,
        packages=environment.freeze(where),
    )
    if options.weights:
        yield from _weights(where, progress)


def _clone(where: Installation, source: str) -> str:
    wanted = where.official.commit
    if _head(where.repo) == wanted:
        _replace(where.repo, where.official)
        return f"repository: is there, at {wanted[:12]}"
    fresh = where.root / f"repo.{os.getpid()}"
    leftovers.remove(fresh)
    try:
        address = source or where.official.repository
        git(["clone", "--quiet", "--no-checkout", "--", address, str(fresh)])
        git(["-C", str(fresh), "checkout", "--quiet", "--detach", wanted])
        _replace(fresh, where.official)
        leftovers.remove(where.repo)
        fresh.rename(where.repo)
    finally:
        leftovers.remove(fresh)
    where.remember(commit=wanted, source=address, unpacked={})  # that was in the former clone
    return f"repository: cloned, at {wanted[:12]}"


def _replace(repo: Path, official: Official) -> None:
    for change in official.replacements:
        path = repo / change.file
        if not path.is_file():
            git(["-C", str(repo), "checkout", "--quiet", "--", change.file])
        text = path.read_text(encoding="utf-8")
        if change.new in text:
            continue
        if text.count(change.old) != 1:
            raise Unavailable(
                f"{printable(path)}: expected the text {change.old!r} once, found it "
                f"{text.count(change.old)} times"
            )
        path.write_text(text.replace(change.old, change.new), encoding="utf-8")


def _head(repo: Path) -> str:
    try:
        return git(["-C", str(repo), "rev-parse", "HEAD"])
    except Unavailable:
        return ""


def _weights(where: Installation, progress: Progress) -> Iterator[str]:
    """Fetch what can be had and put it where the program looks; what is missing is told last."""
    missing: list[str] = []
    for weight in where.card.weights:
        with _noted(missing), progress.step(weight.name) as advance:
            fetch_file(weight, advance)
            yield f"{weight.name}: is there"
    there = {weight.name for weight in where.card.weights if weights.find(weight)}
    for name, inside in where.official.links.items():
        if name in there:
            link(where.weight(name), where.repo / inside, where.repo)
    for name, into in where.official.unpack.items():
        if name in there:
            yield _unpack(where, name, into)
    for snapshot in where.official.snapshots:
        with _noted(missing), progress.step(snapshot.repository):
            yield _snapshot(where, snapshot)
    if missing:
        raise Unavailable("; ".join(missing))


@contextmanager
def _noted(missing: list[str]) -> Iterator[None]:
    """Add the reason to a list where weights cannot be had."""
    try:
        yield
    except WeightsError as error:
        missing.append(str(error))


def _unpack(where: Installation, name: str, into: str) -> str:
    """Extract an archive of weights into the clone; members that would leave it are refused."""
    known = where.record().get("unpacked", {})
    source = where.weight(name)
    digest = weights.sha256(source)
    if known.get(into) == digest:
        return f"{name}: is unpacked"
    for member in archives.members(source, limit=None):
        archives.extract(member, where.repo / into / member.path)
    where.remember(unpacked={**known, into: digest})
    return f"{name}: unpacked into {into}"


def _snapshot(where: Installation, wanted: Snapshot) -> str:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    known = where.record().get("revisions", {})
    revision = wanted.revision or known.get(wanted.repository)
    try:
        folder = snapshot_download(
            wanted.repository, revision=revision, allow_patterns=wanted.files or None
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = hub.reason(error, wanted.repository)
        raise WeightsError(f"{wanted.repository} could not be fetched: {reason}") from error
    found = Path(folder).name
    link(Path(folder), where.repo / wanted.into, where.repo)
    where.remember(revisions={**known, wanted.repository: found})
    return f"{wanted.repository}: is there, revision {found[:12]}"


def link(target: Path, path: Path, inside: Path) -> None:
    """Make `target` appear at `path`, which must lie inside `inside`; Unavailable where it lies
    outside, or something else is there."""
    if not path.absolute().is_relative_to(inside.absolute()) or ".." in path.parts:
        raise Unavailable(f"{printable(path)}: expected a path inside {printable(inside)}")
    if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
        path.rmdir()
    elif path.exists() and not (path.is_symlink() or filecmp.cmp(path, target, shallow=False)):
        raise Unavailable(f"{printable(path)}: is in the way of {printable(target)}; move it away")
    weights.link_or_copy(target.absolute(), path)
