"""What works on this machine, and the command that mends what does not."""

import importlib.util
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from bench.base.device import cores, may_have_accelerator
from bench.base.errors import BenchError
from bench.base.text import first_line, printable
from bench.base.version import versions
from bench.commands.listing import rows
from bench.methods.find import find_program
from bench.methods.installation import Check, Installation
from bench.store.store import Store
from bench.suites.find import find_suite
from bench.suites.prepare import needs

PACKAGES = {name: name for name in ("torch", "torchvision", "pyiqa", "spandrel", "diffusers")}
PACKAGES |= {"clean-fid": "cleanfid", "scikit-image": "skimage", "scikit-learn": "sklearn"}
KINDS = ("metrics", "methods", "datasets")
LEAST_FREE_GB = 1
MARKS = {
    "ok": ("ok     ", "green"),
    "missing": ("missing", "yellow"),
    "broken": ("BROKEN ", "bold red"),
}


def examine(store: Path, suite: str | None = None) -> list[Check]:
    """What a suite needs; else interpreter, packages, devices, store, metrics and methods."""
    if suite is not None:
        return list(_examine_suite(suite, store))
    return [_python(), *_packages(), _device(), _store(store), *_registered()]


def examine_method(name: str) -> list[Check]:
    """What one method, or metric's program, needs and lacks here; UnknownName: there is none."""
    entry = find_program(name)
    if entry.card.official is not None:
        return [_python(), *Installation(entry.card, name).checks()]
    return [_ready(name, entry.unavailable())]


def _examine_suite(name: str, store: Path) -> Iterator[Check]:
    for row in needs(find_suite(name), store / "datasets", gpu_here=True):
        if stand_in := row.get("stand_in"):
            yield Check(row["file"], "ok", f"{stand_in} is here in its place")
            continue
        mend = f"cassr-bench prepare {name}" if row["sources"] and not row["here"] else ""
        found = row["problem"] or row["state"]
        yield Check(row["file"], "ok" if row["here"] else "missing", found, mend)


def _python() -> Check:
    return Check("python", "ok", platform.python_version())


def _packages() -> Iterator[Check]:
    known = versions([*PACKAGES])
    for distribution, module in PACKAGES.items():
        if distribution in known and importlib.util.find_spec(module):
            yield Check(distribution, "ok", known[distribution])
        else:
            yield Check(distribution, "broken", "not installed", f"pip install {distribution}")
    # pyiqa's CLIPIQA imports it; setuptools 82 no longer has it.
    if importlib.util.find_spec("pkg_resources") is not None:
        yield Check("pkg_resources", "ok", "for CLIPIQA")
    else:
        mend = "pip install 'setuptools<82'"
        yield Check("pkg_resources", "missing", "CLIPIQA needs it", mend)


def _device() -> Check:
    import torch

    if torch.cuda.is_available():
        devices = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        return _computing(devices, ", ".join(map(torch.cuda.get_device_name, devices)))
    if torch.backends.mps.is_available():
        return _computing(["mps"], "Metal")
    found = f"CPU, {cores()} cores (no CUDA device)"
    if may_have_accelerator():
        found += "; there is a GPU, which this torch cannot use"
        return Check("device", "missing", found, "install its driver, and a torch built for it")
    return _computing(["cpu"], found)


def _computing(devices: Sequence[str], found: str) -> Check:
    """Whether each device gives the right result of a small computation."""
    import torch

    for device in devices:
        try:
            if torch.ones(8, 8, device=device).matmul(torch.ones(8, device=device)).sum() != 64:
                return Check("device", "broken", f"{device} computes wrongly")
        except RuntimeError as error:
            return Check("device", "broken", f"{device} cannot compute: {first_line(error)}")
    return Check("device", "ok", found)


def _store(path: Path) -> Check:
    another, shown = "choose another with --store", printable(path)
    try:
        Store(path)
    except BenchError as error:
        return Check("store", "broken", str(error), another)
    if not os.access(path, os.W_OK | os.X_OK):
        return Check("store", "broken", f"{shown}: cannot be written", another)
    free = shutil.disk_usage(path).free / 1e9
    if free < LEAST_FREE_GB:
        return Check("store", "broken", f"{shown}, {free:.1f} GB free", "make room")
    return Check("store", "ok", f"{shown}, {free:.0f} GB free")


def _registered() -> Iterator[Check]:
    for kind in KINDS:
        for row in rows(kind):
            yield _ready(f"{kind.removesuffix('s')} {row['name']}", row["unavailable"])


def _ready(what: str, unavailable: str) -> Check:
    reason, _, command = unavailable.partition("; ")
    mend = command.removeprefix("run: ")
    return Check(what, "missing" if reason else "ok", reason or "ready", mend)


def _summary(checks: list[Check]) -> str:
    """ "2 broken; ready: 9 of 19 metrics, ..., 12 of 12 others" in one line."""
    kinds: dict[str, list[bool]] = {}
    for check in checks:
        kind = check.what.partition(" ")[0] + "s"
        kinds.setdefault(kind if kind in KINDS else "others", []).append(check.state == "ok")
    broken = sum(check.state == "broken" for check in checks)
    if set(kinds) == {"others"}:
        kinds = {"needed": kinds["others"]}
    told = ", ".join(f"{sum(ok)} of {len(ok)} {kind}" for kind, ok in kinds.items())
    return f"{broken or 'nothing'} broken; ready: {told or 'all that is needed'}"


def show(checks: list[Check]) -> None:
    """Print how many of each kind there are, then what is broken, then the rest; what mends several
    in a row is said below the last."""
    console = Console(highlight=False)
    console.print(_summary(checks) + "\n")
    ordered = sorted(checks, key=lambda check: check.state != "broken")
    for check, next_one in zip_longest(ordered, ordered[1:]):
        mark, style = MARKS[check.state]
        console.print(Text(f"{mark} ", style).append(f"{check.what}: {check.found}", "default"))
        if check.mend and not (next_one and next_one.mend == check.mend):
            mend = Text(f"mend: {check.mend}", "bold")
            console.print(Padding(mend, (0, 0, 0, 8), expand=False))
