"""`submit`: the parts of a run as an array of jobs, sent to a scheduler by submitit."""

import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from bench.base.errors import BenchError
from bench.base.text import printable
from bench.commands.shared.groups import grouped
from bench.commands.shared.output import exit_if, tell

FIXED = ("--shard", "--prepare", "--dry-run")
"""Options of `run` that a part cannot have."""


class Part:
    """One part of a run, a job; one that is stopped before its end is sent again and goes on."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = [sys.executable, "-m", "bench", "run", *words]

    def __call__(self) -> None:
        print(shlex.join(self.words), flush=True)
        subprocess.run(self.words, check=True)  # noqa: S603

    def checkpoint(self) -> Any:
        """What submitit sends again when the time is up, or the machine is taken away."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


@grouped
def submit(
    suite: str,
    run_options: list[str] | None = None,
    parts: int = 8,
    to: Literal["slurm", "local"] = "slurm",
    minutes: int = 240,
    gpus: int = 1,
    cpus: int = 8,
    setting: list[str] | None = None,
    logs: Path = Path("results/jobs"),
    wait: bool = False,
    as_json: bool = False,
) -> None:
    """Send a suite's parts to Slurm as an array of jobs.

    They share --store. The same command again goes on: parts with nothing left to do end at once.
    """
    from bench.suites.find import find_suite

    words = [suite, "--offline", *(run_options or ())]
    if fixed := next((word for word in words if word.partition("=")[0] in FIXED), ""):
        raise BenchError(f"{printable(fixed)}: is not for single parts; leave it out")
    find_suite(suite)
    known = {} if to == "local" else dict(map(_setting, setting or ()))
    jobs = [Part([*words, "--shard", f"{i}/{parts}"]) for i in range(1, parts + 1)]
    size = {"timeout_min": minutes, "gpus_per_node": gpus, "cpus_per_task": cpus}
    sent = _sent(jobs, to, logs, {**size, **known})
    failed = [job.job_id for job in sent if wait and job.exception() is not None]
    value = {"jobs": [job.job_id for job in sent], "logs": str(logs), "failed": failed}
    lines = [f"failed: {name}" for name in failed]
    tell(as_json, value, f"{parts} jobs, logs in {printable(logs)}: {sent[0].job_id} ...", *lines)
    exit_if(failed)


def _setting(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not name.isidentifier() or not value:
        raise BenchError(f"--setting: expected NAME=VALUE, found '{printable(text)}'")
    return f"slurm_{name}", value


def _sent(jobs: Sequence[Part], to: str, logs: Path, settings: Mapping[str, Any]) -> list[Any]:
    try:
        import submitit
    except ImportError as error:
        raise BenchError("submit: needs submitit: pip install 'cassr-bench[slurm]'") from error
    try:
        executor = submitit.AutoExecutor(folder=logs, cluster=to)
        executor.update_parameters(name="cassr-bench", **settings)
        with executor.batch():
            return [executor.submit(job) for job in jobs]
    except (RuntimeError, NameError, OSError, subprocess.SubprocessError) as error:
        raise BenchError(f"--to {to}: jobs cannot be sent ({printable(error)})") from error
