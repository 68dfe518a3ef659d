"""Which part of the work is this process's, as asked or by the variables of its launcher, and when
all parts together are whole."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace

from bench.base.device import cores, resolve_device
from bench.base.errors import BenchError
from bench.base.text import printable
from bench.running.collect import RunOutcome
from bench.running.execute import collect
from bench.running.options import Shard
from bench.running.plan import Plan

# accelerate and torchrun, Intel MPI and MPICH, Open MPI, MVAPICH
RANK = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
SIZE = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
_LOCAL = "OMPI_COMM_WORLD_LOCAL", "MV2_COMM_WORLD_LOCAL"
LOCAL_RANK = ("LOCAL_RANK", "MPI_LOCALRANKID", *(f"{start}_RANK" for start in _LOCAL))
LOCAL_SIZE = ("LOCAL_WORLD_SIZE", "MPI_LOCALNRANKS", *(f"{start}_SIZE" for start in _LOCAL))


def place(shard: str | None, device: str, workers: int | None) -> tuple[Shard, str, int | None]:
    """What this process shall do, from these options as typed and, where they are silent, its
    launcher: its part, its own GPU, its share of the cores. BenchError: a wrong option, or
    variables of a launcher that make no sense."""
    return parse_shard(shard) if shard else _launched(), *own_device(device, workers)


def own_device(device: str, workers: int | None = None) -> tuple[str, int | None]:
    """This process's own GPU and its share of the cores, of those that its launcher started."""
    local = _number(LOCAL_SIZE) or 1
    resolved = resolve_device(device)
    if resolved == "cuda" and local > 1:
        import torch  # which has found a GPU

        # A launcher may show each process its own alone, or start more than there are GPUs.
        resolved = f"cuda:{(_number(LOCAL_RANK) or 0) % torch.cuda.device_count()}"
    if workers is None and local > 1 and resolved == "cpu":
        workers = max(1, cores() // local)
    return resolved, workers


def _launched() -> Shard:
    rank, size = _number(RANK), _number(SIZE)
    if rank is None or size is None:
        return Shard()
    if rank >= size:
        raise BenchError(
            f"process {rank} of {size}, say the launcher's variables RANK and WORLD_SIZE: expected "
            "a number below; unset them or give --shard i/n"
        )
    return Shard(rank + 1, size)


def _number(names: Sequence[str]) -> int | None:
    """The first of these variables that is set."""
    name = next((name for name in names if os.environ.get(name)), None)
    if name is None:
        return None
    text = os.environ[name]
    if not text.isdecimal():
        raise BenchError(f"{name}={printable(text)}: expected a number; unset it")
    return int(text)


def whole(plan: Plan, own: RunOutcome) -> RunOutcome:
    """What all parts have stored by now; pending is what others than this one still owe. Why its
    own images failed, nobody else knows."""
    any_gpu = plan.options.device.partition(":")[0]
    options = replace(plan.options, shard=Shard(), device=any_gpu)
    known_to_all = collect(replace(plan, options=options))  # with the store as it is now
    scores, ours = known_to_all.results.scores.copy(), own.results.scores
    pending = scores["kind"] == "pending"
    known = pending & ~ours["kind"].isin(["", "pending"])
    scores.loc[known, ["reason", "kind"]] = ours.loc[known, ["reason", "kind"]]
    results = replace(known_to_all.results, scores=scores)
    return replace(known_to_all, results=results, failures=own.failures)


def owed(plans: Sequence[Plan], outcomes: Sequence[RunOutcome]) -> int:
    """How many scores are pending over all seeds; of methods without noise those of the first."""
    seeded = [entry.card.name for entry in plans[0].methods if entry.card.seeded]
    pending = [one.results.scores.query("kind == 'pending'") for one in outcomes]
    return len(pending[0]) + sum(int(one["method"].isin(seeded).sum()) for one in pending[1:])


def parse_shard(text: str) -> Shard:
    """ "2/8" -> (2, 8)."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    index, count = (int(part) for part in match.groups()) if match else (0, 0)
    if not 1 <= index <= count:
        raise BenchError(f"--shard: expected i/n with 1 <= i <= n, found '{printable(text)}'")
    return Shard(index, count)
