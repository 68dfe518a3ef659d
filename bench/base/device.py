"""Which device computes, and where its results are kept."""

import os
import re
from collections.abc import Callable
from pathlib import Path

from bench.base.errors import BenchError
from bench.base.text import printable


def resolve_device(name: str) -> str:
    """The device meant by "auto", "cpu", "cuda", "cuda:1" or "mps"; BenchError for another name, or
    a device this machine does not have."""
    if name == "cpu" or (name == "auto" and not may_have_accelerator()):
        return "cpu"
    _require_name(name)
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "mps" and not torch.backends.mps.is_available():
        raise BenchError("--device mps: this machine has no Metal device; use --device cpu")
    count = torch.cuda.device_count()
    if name.startswith("cuda") and int(name.partition(":")[2] or 0) >= count:
        raise BenchError(f"--device {name}: {count} CUDA devices found; use --device cpu")
    return name


def name_for_others(device: str) -> str:
    """What programs of others call the GPU that is "cuda" or "cuda:N" here, where
    CUDA_VISIBLE_DEVICES may leave some out."""
    seen = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    index = int(device.partition(":")[2] or 0)
    return seen[index] if index < len(seen) else str(index)


def stored_kind(name: str) -> str:
    """The kind of device whose stored scores are meant, "" for any; it need not be here; BenchError
    where no device is called so."""
    _require_name(name)
    return "" if name == "auto" else name.partition(":")[0]


def _require_name(name: str) -> None:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        found = f"found '{printable(name)}'"
        raise BenchError(f"--device: expected auto, cpu, cuda, cuda:N or mps, {found}")


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def may_have_accelerator() -> bool:
    """Cheap look that spares importing torch when there is surely no GPU."""
    devices = Path("/dev")
    return not devices.is_dir() or any(devices.glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()


def default_store() -> Path:
    """`CASSR_BENCH_STORE`, else a folder of the user's cache."""
    return folder_named("CASSR_BENCH_STORE", lambda: user_cache() / "cassr-bench" / "store")


def user_cache() -> Path:
    """Where programs keep what they can get again."""
    return folder_named("XDG_CACHE_HOME", lambda: Path("~/.cache"))


def folder_named(variable: str, default: Callable[[], Path]) -> Path:
    """The folder that a variable of the environment names, else the default, which is asked for
    only then; BenchError where it is in a home that is not known, as of a container's user."""
    folder = Path(os.environ.get(variable) or default())
    try:
        return folder.expanduser()
    except RuntimeError as error:
        what = f"{printable(folder)}: expected a home directory, found none"
        raise BenchError(f"{what}; set HOME or {variable}") from error
