"""Step 1 for whole cells, however their method works: image by image in processes, or as a foreign
program that is given a folder (see `SetMethod`)."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, cast

from bench.base.errors import BenchError, CannotWrite
from bench.base.progress import Progress
from bench.base.text import printable
from bench.base.types import WHOLE_SET, SetImage, SetMethod
from bench.cluster.work import for_method
from bench.files import images
from bench.processes.foreign import each, running
from bench.processes.workers import Workers, cores, worker_count
from bench.running.cell import Cell, UpscaleTask
from bench.running.options import RunOptions, Shard
from bench.running.upscale import require_size, upscale
from bench.store.images import ImageStore

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
                    _upscale_set(cell, tasks, progress, options.device)
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


def _upscale_set(cell: Cell, tasks: Sequence[UpscaleTask], progress: Progress, device: str) -> None:
    """Do the tasks in one go; each image is stored as soon as the method has finished with it."""
    entry, store, failed = cell.entry, cell.images, cell.failed
    known, broken = {task.image_id: task for task in tasks}, ""
    waiting = set(known)
    inputs = {task.image_id: task.lr for task in tasks}
    try:
        method = cast(SetMethod, entry.load(device))
        with (
            _work_folder(store.folder) as work,
            progress.step(cell.title, len(tasks)) as live,
        ):
            scale, seed = tasks[0].scale, cell.seed
            with running(entry.name):
                made = method.upscale_set(inputs, work, scale=scale, seed=seed, watch=live.line)
            for image in each(entry.name, iter(made)):
                reason = _store(image, known.get(image.id), store)
                waiting.discard(image.id)
                before = failed.pop(image.id, "")  # what comes last is what counts
                if image.id == WHOLE_SET:
                    reason = "; ".join(filter(None, (before, reason)))
                if reason:
                    failed[image.id] = reason
                live(len(tasks) - len(waiting), len(tasks))
    except CannotWrite:
        raise
    except BenchError as error:
        broken = str(error)
    store.close()
    failed.update(dict.fromkeys(waiting, broken or "the method said nothing of it"))


def _store(image: SetImage, task: UpscaleTask | None, store: ImageStore) -> str:
    """Take one image over; why not, in one line."""
    if task is None:
        return image.reason or "is no input"
    task.output.unlink(missing_ok=True)  # what was taken before the program wrote it anew
    if image.file is None:
        return image.reason
    try:
        rgb, lr = images.read_rgb(image.file), images.read_rgb(task.lr)
        require_size(rgb.shape[:2], lr.shape[:2], task)
        images.write_png(task.output, rgb)
    except CannotWrite:
        raise
    except BenchError as error:
        return str(error)
    pixels = rgb.shape[0] * rgb.shape[1]
    store.record(task.key, task.image_id, {**image.record, "pixels": pixels})
    return ""


@contextmanager
def _work_folder(beside: Path) -> Iterator[Path]:
    """A folder of this process's own; afterwards only the files directly in it are left."""
    work = beside / "runs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    work.mkdir(parents=True)
    try:
        yield work
    finally:
        for path in work.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
