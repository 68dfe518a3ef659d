"""Step 1 for whole cells, however their method works."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import Any

from bench.base.progress import Progress
from bench.base.text import printable
from bench.cluster.work import for_method
from bench.processes.workers import Workers, cores, worker_count
from bench.running.cell import Cell, UpscaleTask
from bench.running.options import RunOptions, Shard
from bench.running.upscale import upscale
from bench.running.upscale_set import upscale_set

PRELOAD = ("torch", "bench.running.upscale")


def fill(
    cells: Sequence[Cell], options: RunOptions, progress: Progress, shard: Shard | None = None
) -> None:
    """Upscale what is missing of cells of one method, in this process's part (`shard`, by default
    that of the options); processes that have loaded the method go on with it."""
    part = shard or options.shard
    work = [(cell, tasks) for cell in cells if (tasks := cell.pending(part, options.device))]
    for (count, apart), group in groupby(work, partial(_processes, options)):
        far = (options.on, options.device, options.workers, options.image_timeout, progress.say)
        with for_method(cells[0].entry, *far) or Workers(
            count=count,
            threads=max(1, cores() // count),
            preload=PRELOAD,
            apart=apart,
            limit=options.image_timeout,
            tell=partial(_tell, progress),
        ) as workers:
            for cell, tasks in group:
                if cell.entry.card.official is not None:
                    upscale_set(cell, tasks, progress, options.device)
                    continue
                with progress.step(cell.title, len(tasks)) as advance:
                    upscale(cell, tasks, workers, advance)


def _processes(options: RunOptions, work: tuple[Cell, list[UpscaleTask]]) -> tuple[int, bool]:
    (cell, tasks), most = work, work[0].entry.card.max_workers
    count = worker_count(options.workers, options.device, len(tasks), most)
    return count, options.apart or cell.entry.foreign


def _tell(progress: Progress, task: Any, text: str) -> None:
    name = printable(task.method)
    progress.say(f"waiting for method '{name}' and image '{printable(task.image_id)}': {text}")
