"""The Ray cluster that `--on` names."""

import logging
import os
import re
import signal
import socket
import threading
from typing import Any

from bench.base.device import resolve_device
from bench.base.errors import BenchError
from bench.base.text import printable

LOCAL = "local"
REACHED = 10.0
"""Seconds in which a cluster's machine is to answer."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # its announcement of a change to come
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # what it prints on standard output of each death
}
"""Settings under which Ray leaves it to us what is printed, where they are not given."""


def device(on: str, asked: str) -> str:
    """The device that is meant by a name, of this machine or of the cluster's; BenchError where
    there is no such device or place."""
    if on == LOCAL:
        return resolve_device(asked)
    gpus = connected(on).cluster_resources().get("GPU", 0)
    found = ("cuda" if gpus else "cpu") if asked == "auto" else asked
    if found not in ("cpu", "cuda") or (found == "cuda" and not gpus):
        raise BenchError(
            f"--device {printable(asked)}: with --on {on} expected auto, cpu or cuda, found "
            f"{gpus:g} GPUs in the cluster; try --device auto"
        )
    return found


def connected(on: str) -> Any:
    """Ray, joined to the cluster: "ray" is that of RAY_ADDRESS or of this machine, which is started
    where there is none. BenchError: Ray is not installed, the cluster not there, or of other
    versions."""
    if not re.fullmatch(r"ray(://[^\s:/]+:\d+)?", on):
        raise BenchError(f"--on: expected local, ray or ray://HEAD:PORT, found '{printable(on)}'")
    os.environ.update({name: os.environ.get(name, value) for name, value in QUIET.items()})
    try:
        import ray
    except ImportError as error:
        raise BenchError(f"--on {on}: needs Ray; run: pip install 'cassr-bench[ray]'") from error
    if not ray.is_initialized():
        address = os.environ.get("RAY_ADDRESS") if on == "ray" else on
        try:
            _require_reachable(address or "")
            ours = signal.getsignal(signal.SIGTERM)
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, ours)  # Ray would end the process at once
        except (OSError, RuntimeError, ValueError) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            why = printable(" ".join(lines[-1:] if "Traceback" in str(error) else lines))
            raise BenchError(
                f"--on {on}: cannot join the cluster {address or 'of this machine'} ({why})"
            ) from error
    return ray


def _require_reachable(address: str) -> None:
    """Raise OSError where nothing listens; Ray would try for minutes."""
    found = re.fullmatch(r"(?:ray://)?([^\s:/]+):(\d+)", address)
    if found:
        socket.create_connection((found[1], int(found[2])), REACHED).close()
