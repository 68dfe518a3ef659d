"""Step 1 for a whole cell, however its method works."""

from __future__ import annotations

from bench.base.progress import Progress
from bench.base.workers import Workers, cores, worker_count
from bench.running.cell import Cell
from bench.running.options import RunOptions, Shard
from bench.running.upscale import Failure, upscale
from bench.running.upscale_set import upscale_set


def fill(
    cell: Cell, options: RunOptions, progress: Progress, shard: Shard | None = None
) -> list[Failure]:
    """Upscale what is missing of a cell.

    Args:
        shard: the part of it that is this process's; that of the options if None.
    """
    tasks = cell.pending(shard or options.shard, options.device)
    if not tasks:
        return []
    if cell.entry.card.official is not None:
        return upscale_set(cell, tasks, progress, options.device)
    count = worker_count(options.workers, options.device, len(tasks), cell.entry.card.max_workers)
    threads = max(1, cores() // count)
    with (
        Workers(count, threads, ["torch"], apart=options.apart) as workers,
        progress.step(cell.title) as advance,
    ):
        return upscale(tasks, cell.images, workers, advance)
