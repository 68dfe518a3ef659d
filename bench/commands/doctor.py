"""What works on this machine, and the command that mends what does not."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.base.device import may_have_accelerator
from bench.base.errors import BenchError
from bench.base.text import printable
from bench.commands.listing import rows
from bench.methods.installation import Check, Installation, State
from bench.store.store import Store

PACKAGES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "pyiqa": "pyiqa",
    "spandrel": "spandrel",
    "diffusers": "diffusers",
    "clean-fid": "cleanfid",
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
}
LEAST_FREE_GB = 1
MARKS = {"ok": "ok     ", "missing": "missing", "broken": "BROKEN "}


def examine(store: Path) -> list[Check]:
    """All findings: interpreter, packages, devices, store, weights of metrics and methods."""
    return [_python(), *_packages(), _setuptools(), _device(), _store(store), *_registered()]


def examine_method(name: str) -> list[Check]:
    """What one method needs, and what of it is missing here.

    Raises:
        UnknownName: no such method.
    """
    from bench.methods.find import find as find_method

    entry = find_method(name)
    if entry.card.official is not None:
        return [_python(), *Installation(entry.card).checks()]
    return [_ready(name, entry.unavailable())]


def examine_suite(name: str, store: Path) -> list[Check]:
    """What a suite needs and what of it is missing here."""
    from bench.suites.find import find_suite
    from bench.suites.prepare import needs

    checks = []
    for row in needs(find_suite(name), store / "datasets", gpu_here=True):
        mend = f"cassr-bench prepare {name}" if row["sources"] and not row["here"] else ""
        found = row["problem"] or row["state"]
        checks.append(Check(row["file"], "ok" if row["here"] else "missing", found, mend))
    return checks


def _python() -> Check:
    return Check("python", "ok", platform.python_version())


def _packages() -> list[Check]:
    checks = []
    for distribution, module in PACKAGES.items():
        try:
            found = version(distribution)
        except PackageNotFoundError:
            found = ""
        if found and importlib.util.find_spec(module) is not None:
            checks.append(Check(distribution, "ok", found))
        else:
            checks.append(
                Check(distribution, "broken", "not installed", f"pip install {distribution}")
            )
    return checks


def _setuptools() -> Check:
    """pyiqa's CLIPIQA imports pkg_resources, which setuptools 82 no longer has."""
    if importlib.util.find_spec("pkg_resources") is not None:
        return Check("pkg_resources", "ok", "for CLIPIQA")
    return Check("pkg_resources", "missing", "CLIPIQA needs it", "pip install 'setuptools<82'")


def _device() -> Check:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return _computing([f"cuda:{i}" for i in range(len(names))], ", ".join(names))
    if torch.backends.mps.is_available():
        return _computing(["mps"], "Metal")
    found = f"CPU, {os.cpu_count()} cores (no CUDA device)"
    if may_have_accelerator():
        found += "; there is a GPU, which this torch cannot use"
        return Check("device", "missing", found, "install its driver, and a torch built for it")
    return _computing(["cpu"], found)


def _computing(devices: Sequence[str], found: str) -> Check:
    """Whether each device gives the right result of a small computation."""
    import torch

    for device in devices:
        try:
            right = torch.ones(8, 8, device=device).matmul(torch.ones(8, device=device)).sum() == 64
        except RuntimeError as error:
            lines = str(error).strip().splitlines() or ["no message"]
            return Check("device", "broken", f"{device} cannot compute: {printable(lines[0])}")
        if not right:
            return Check("device", "broken", f"{device} computes wrongly")
    return Check("device", "ok", found)


def _store(path: Path) -> Check:
    try:
        Store(path)
    except BenchError as error:
        return Check("store", "broken", str(error), "choose another with --store")
    if not os.access(path, os.W_OK | os.X_OK):
        found = f"{printable(path)}: cannot be written"
        return Check("store", "broken", found, "choose another with --store")
    free = shutil.disk_usage(path).free / 1e9
    if free < LEAST_FREE_GB:
        return Check("store", "broken", f"{printable(path)}, {free:.1f} GB free", "make room")
    return Check("store", "ok", f"{printable(path)}, {free:.0f} GB free")


def _registered() -> list[Check]:
    return [
        _ready(f"{kind.removesuffix('s')} {row['name']}", row["unavailable"])
        for kind in ("metrics", "methods", "datasets")
        for row in rows(kind)
    ]


def _ready(what: str, unavailable: str) -> Check:
    reason, _, command = unavailable.partition("; ")
    state: State = "missing" if reason else "ok"
    return Check(what, state, reason or "ready", command.removeprefix("run: "))


def _summary(checks: list[Check]) -> str:
    """ "2 broken; ready: 9 of 19 metrics, ..., 12 of 12 others" in one line."""
    kinds: dict[str, list[bool]] = {}
    for check in checks:
        kind = check.what.partition(" ")[0] + "s"
        known = kind in ("metrics", "methods", "datasets")
        kinds.setdefault(kind if known else "others", []).append(check.state == "ok")
    broken = sum(check.state == "broken" for check in checks)
    told = ", ".join(f"{sum(ok)} of {len(ok)} {kind}" for kind, ok in kinds.items())
    return f"{broken or 'nothing'} broken; ready: {told}"


def show(checks: list[Check]) -> None:
    """Print how many of each kind there are, then what is broken, then the rest."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(highlight=False)
    console.print(_summary(checks) + "\n")
    for check in sorted(checks, key=lambda check: check.state != "broken"):
        style = {"ok": "green", "missing": "yellow", "broken": "bold red"}[check.state]
        line = Text(f"{MARKS[check.state]} ", style=style)
        line.append(f"{check.what}: {check.found}", style="default")
        console.print(line)
        if check.mend:
            console.print(
                Padding(Text(f"mend: {check.mend}", style="bold"), (0, 0, 0, 8), expand=False)
            )
