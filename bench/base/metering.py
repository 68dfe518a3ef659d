"""What a piece of work costs: seconds and the most memory held, on a device that is named."""

import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

from bench.base.device import name_for_others

RESET_PEAK = "5"
"""Written to Linux's clear_refs: the peak of resident memory starts anew (man 5 proc)."""

LOOK_SECONDS = 2.0
"""Between two questions to nvidia-smi, which takes a part of a second itself."""


@contextmanager
def metered(device: str) -> Iterator[dict[str, Any]]:
    """Measures the body of a `with`, on whose end what was yielded is filled.

    It is plain JSON: ``seconds``, ``device`` as asked for, ``machine`` (the processor's or GPU's
    name), ``threads``, and ``peak_bytes``: on CUDA the most that tensors held, weights included; on
    a CPU the most resident memory of the whole process, libraries included, where Linux tells (else
    it is left out). A GPU is waited for at both ends.
    """
    import torch

    record: dict[str, Any] = {}
    waits: dict[str, Callable[[], None]] = {"mps": torch.mps.synchronize}
    waits["cuda"] = partial(torch.cuda.synchronize, device)
    tells_peak, wait = _reset_peak(device), waits.get(device.partition(":")[0], lambda: None)
    wait()
    start = time.perf_counter()
    yield record
    wait()
    record["seconds"] = round(time.perf_counter() - start, 4)
    record |= {"device": device, "machine": machine_name(device)}
    record["threads"] = torch.get_num_threads()
    peak = _peak(device) if tells_peak else None
    if peak is not None:
        record["peak_bytes"] = peak


@cache
def machine_name(device: str) -> str:
    """The GPU's name, or the processor's."""
    if device.startswith("cuda"):
        import torch

        return str(torch.cuda.get_device_name(device))
    return _linux_says("cpuinfo", "model name") or platform.processor() or platform.machine()


def _linux_says(file: str, of: str) -> str:
    """What stands behind a name in a file below /proc; "" where there is none."""
    try:
        lines = Path("/proc", file).read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    found = (line.partition(":")[2].strip() for line in lines if line.startswith(of))
    return next(filter(None, found), "")


def _reset_peak(device: str) -> bool:
    """Start the peak anew; False where that cannot be done, so that it would be a past one."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        return True
    try:
        Path("/proc/self/clear_refs").write_text(RESET_PEAK, encoding="utf-8")
    except OSError:  # not Linux, or not allowed here
        return False
    return True


def _peak(device: str) -> int | None:
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    found = _linux_says("self/status", "VmHWM")
    return int(found.split()[0]) * 1024 if found else None


class GpuMemory:
    """The most that a GPU held while a program ran, beyond what it held before, by nvidia-smi.

    What other programs took in the meantime is in it. Nothing is known without nvidia-smi.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.machine, self._before = _nvidia_smi(device)
        self._peak = self._before
        self._looked = time.monotonic()

    def look(self) -> None:
        if self._before is None or time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._peak = max(self._peak or 0, _nvidia_smi(self.device)[1] or 0)
        self._looked = time.monotonic()

    def record(self) -> dict[str, Any]:
        """``device``, ``machine`` and, where it is known, ``peak_bytes``."""
        known = self._before is not None and self._peak is not None
        peak = {"peak_bytes": self._peak - self._before} if known else {}  # type: ignore[operator]
        return {"device": self.device, "machine": self.machine, **peak}


def _nvidia_smi(device: str) -> tuple[str, int | None]:
    """Name and used bytes of a GPU; of the processor its name."""
    if not device.startswith("cuda"):
        return machine_name(device), None
    program = shutil.which("nvidia-smi") or "nvidia-smi"
    command = [program, "-i", name_for_others(device)]
    command += ["--query-gpu=name,memory.used", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)  # noqa: S603
        name, _, used = done.stdout.splitlines()[0].rpartition(",")
        return name.strip(), int(used) << 20
    except (OSError, subprocess.TimeoutExpired, IndexError, ValueError):
        return "", None
