"""What processes of a cluster are for: a method or metrics, which all machines have alike."""

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench import metrics
from bench.base.errors import Unavailable
from bench.base.hashing import json_sha256
from bench.base.text import printable
from bench.base.types import MetricSpec
from bench.base.version import versions
from bench.cluster.connection import LOCAL
from bench.cluster.pool import Cluster
from bench.files import own_code
from bench.methods import own_function
from bench.methods.entry import Entry
from bench.methods.find import find as find_method
from bench.processes.workers import Workers

Pool = Workers | Cluster


def for_method(
    entry: Entry,
    on: str,
    device: str,
    workers: int | None,
    limit: float,
    say: Callable[[str], None],
) -> Cluster | None:
    """None where the method is to work, or can only work (that is said), on this machine."""
    if on == LOCAL:
        return None
    if entry.card.official is not None or entry.name.startswith(own_function.PREFIX):
        why = "its repository is" if entry.card.official else "a function is"
        say(f"method '{printable(entry.name)}' runs on this machine: {why} here alone")
        return None
    own = [entry.file] if entry.file else []
    cluster = _cluster(((entry.name,), ()), own, on, device, workers)
    return replace(cluster, per_machine=entry.card.max_workers, limit=limit)


def for_metrics(specs: Sequence[MetricSpec], on: str, device: str, workers: int | None) -> Cluster:
    own = [spec.file for spec in specs if spec.file is not None]
    return _cluster(((), tuple(specs)), own, on, device, workers)


def _cluster(
    asked: "Asked", own: Sequence[Path], on: str, device: str, workers: int | None
) -> Cluster:
    check = partial(require_alike, asked, device, _found(asked, device))
    files = {name: data for file in own for name, data in own_code.contents(file).items()}
    return Cluster(on, device, check, workers, files=files)


Asked = tuple[tuple[str, ...], tuple[MetricSpec, ...]]
"""Methods by name, and metrics."""


def require_alike(asked: Asked, device: str, driver: Mapping[str, str]) -> None:
    """Raise BenchError unless this machine gives what the driver's would."""
    found = _found(asked, device)
    for name in sorted(found.keys() & driver.keys()):
        if found[name] != driver[name]:
            raise Unavailable(
                f"{platform.node()}: {name} is {found[name]}, {driver[name]} where the run was "
                "started; install the same on all machines of the cluster"
            )


def _found(asked: Asked, device: str) -> dict[str, str]:
    """What pixels or scores depend on, as it is on this machine."""
    entries, specs = [find_method(name) for name in asked[0]], asked[1]
    problems = [e.unavailable() for e in entries] + [metrics.unavailable(s, device) for s in specs]
    if any(problems):
        raise Unavailable(f"{platform.node()}: {next(filter(None, problems))}")
    prints = {spec.name: metrics.fingerprint(spec, device) for spec in specs}
    prints |= {f"method {entry.card.name}": entry.fingerprint() for entry in entries}
    # One release of torch is built for several kinds of device: 2.9.0+cpu, 2.9.0+cu130.
    known = {name: version.partition("+")[0] for name, version in versions().items()}
    return known | {name: json_sha256(print_)[:12] for name, print_ in prints.items()}
