"""Step 1 for methods that work on whole folders: foreign programs (see `SetMethod`)."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from bench.base.errors import BenchError, CannotWrite
from bench.base.progress import Progress
from bench.base.types import WHOLE_SET, SetImage, SetMethod
from bench.files import images
from bench.processes.foreign import each, running
from bench.running.cell import Cell, UpscaleTask
from bench.running.upscale import Failure, require_size
from bench.store.images import ImageStore


def upscale_set(
    cell: Cell, tasks: Sequence[UpscaleTask], progress: Progress, device: str
) -> list[Failure]:
    """Do the tasks in one go; each image is stored as soon as the method has finished with it."""
    entry, store = cell.entry, cell.images
    try:
        method = cast(SetMethod, entry.load(device))
    except BenchError as error:
        return [(task.image_id, str(error)) for task in tasks]
    known, broken = {task.image_id: task for task in tasks}, ""
    waiting = set(known)
    inputs = {task.image_id: task.lr for task in tasks}
    failures: list[Failure] = []
    with (
        _work_folder(store.folder) as work,
        progress.step(cell.title, len(tasks)) as live,
    ):
        scale, seed = tasks[0].scale, cell.seed
        try:
            with running(entry.name):
                made = method.upscale_set(inputs, work, scale=scale, seed=seed, watch=live.line)
            for image in each(entry.name, iter(made)):
                reason = _store(image, known.get(image.id), store)
                waiting.discard(image.id)
                if image.id != WHOLE_SET:  # what comes last is what counts
                    failures = [found for found in failures if found[0] != image.id]
                if reason:
                    failures.append((image.id, reason))
                live(len(tasks) - len(waiting), len(tasks))
        except CannotWrite:
            raise
        except BenchError as error:
            broken = str(error)
    store.close()
    failures += [(name, broken or "the method said nothing of it") for name in waiting]
    return sorted(failures)


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
