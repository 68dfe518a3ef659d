"""Step 1: images -> method -> image store; image by image in processes, or as a foreign program
that is given a folder (see `SetMethod`)."""

import gc
from collections.abc import Callable, Sequence
from functools import partial, wraps
from itertools import groupby
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from bench.base.device import cores
from bench.base.errors import BenchError, CannotWrite, ImageError, Unavailable, WorkerDied
from bench.base.leftovers import work_folder
from bench.base.metering import metered
from bench.base.progress import Progress
from bench.base.text import printable
from bench.base.types import WHOLE_SET, Method, SetImage, SetMethod
from bench.cluster.work import Pool, for_method
from bench.files import images
from bench.methods import own_function
from bench.methods.find import find as find_method
from bench.processes.foreign import each, running, within_memory
from bench.processes.steps import Steps
from bench.processes.workers import Workers, worker_count
from bench.running.cell import Cell, UpscaleTask
from bench.running.options import RunOptions
from bench.store.images import ImageStore

if TYPE_CHECKING:
    from torch import Tensor

PRELOAD = ("torch", "bench.running.fill")
Made = tuple[np.ndarray, dict[str, Any]]
"""An SR image, (H, W, 3) uint8, and what it cost."""
WAY = (
    "try fewer --workers, smaller images or --device cpu; or copy its card and set smaller tiles "
    "(the copy counts as another method)"
)


def fill(cells: Sequence[Cell], options: RunOptions, progress: Progress) -> None:
    """Upscale what is missing of cells of one method, in this process's part; processes that have
    loaded the method go on with it."""
    entry = cells[0].entry
    work = [(cell, tasks) for cell in cells if (tasks := cell.pending(options))]
    for (count, apart), group in groupby(work, partial(_processes, options)):
        far = (options.on, options.device, options.workers, options.image_timeout, progress.say)
        with for_method(entry, *far) or Workers(
            count=count,
            threads=max(1, cores() // count),
            preload=PRELOAD,
            apart=apart,
            # A CPU has no time to spare; a function of the user's may change where paths lead.
            overlap=options.device != "cpu" and not entry.name.startswith(own_function.PREFIX),
            limit=options.image_timeout,
            tell=lambda task, text: progress.say(
                f"waiting for method '{printable(task.method)}' and image "
                f"'{printable(task.image_id)}': {text}"
            ),
        ) as workers:
            for cell, tasks in group:
                if cell.entry.card.official is not None:
                    _upscale_set(cell, tasks, progress, options.device)
                    continue
                with progress.step(cell.title, len(tasks)) as advance:
                    _upscale(cell, tasks, workers, advance)


def _processes(options: RunOptions, work: tuple[Cell, list[UpscaleTask]]) -> tuple[int, bool]:
    (cell, tasks), most = work, work[0].entry.card.max_workers
    count = worker_count(options.workers, options.device, len(tasks), most)
    return count, options.apart or cell.entry.file is not None


# -- image by image ------------------------------------------------------------------------------


def _upscale(
    cell: Cell, tasks: Sequence[UpscaleTask], workers: Pool, advance: Callable[[int, int], None]
) -> None:
    """Do the tasks; each image is written and then recorded as soon as it is finished."""
    left = {task.image_id: task for task in tasks}
    try:
        for task, outcome in workers.map(upscale_one, tasks):
            del left[task.image_id]
            if isinstance(outcome, dict):
                cell.images.record(task.key, task.image_id, outcome)
            else:
                cell.failed[task.image_id] = _told(task, outcome)
            advance(len(tasks) - len(left), len(tasks))
    except WorkerDied as error:
        cell.failed.update((name, _told(task, error)) for name, task in left.items())
    finally:
        cell.images.close()


def _told(task: UpscaleTask, why: str | WorkerDied) -> str:
    return why if isinstance(why, str) else f"method '{printable(task.method)}': {why}"


def _or_why(step: Callable[..., Any]) -> Callable[..., Any]:
    """The step; where it, or the one before, gives nothing, one line that says why."""

    @wraps(step)
    def tried(task: UpscaleTask, *before: Any) -> Any:
        try:
            stopped = before and isinstance(before[0], str)
            return before[0] if stopped else step(task, *before)
        except CannotWrite:  # the next image would meet the same
            raise
        except BenchError as error:
            return str(error)
        except Exception as error:  # ours: a full disk, say; others' images go on
            return f"{printable(task.lr)}: {type(error).__name__}: {printable(error)}"

    return tried


@_or_why
def _read(task: UpscaleTask) -> "Tensor":
    """The LR image, (1, 3, H, W); from pinned memory a GPU takes it faster."""
    lr = images.to_tensor(images.read_rgb(task.lr))
    if not task.device.startswith("cuda"):
        return lr
    import torch

    with torch.cuda.device(task.device):  # a new thread's is the first GPU, another process's
        return lr.pin_memory()


@_or_why
def _computed(task: UpscaleTask, lr: "Tensor") -> Made:
    method = _loaded(task.method, task.device)
    what = f"{printable(task.lr)}: method '{printable(task.method)}'"

    def call() -> Made:
        with running(task.method), metered(task.device) as record:
            sr = method.upscale(lr, scale=task.scale, seeds=[task.seed])
        return images.to_uint8(sr), record

    try:
        rgb, record = within_memory(call, what, WAY, task.device)
    except ImageError as error:
        raise Unavailable(f"{what}: {error}") from error
    _require_size(rgb.shape[:2], lr.shape[2:], task)
    return rgb, record


@_or_why
def _written(task: UpscaleTask, made: Made) -> dict[str, Any]:
    """What the image cost, once it is in its file."""
    rgb, record = made
    images.write_png(task.output, rgb)
    return {**record, "pixels": rgb.shape[0] * rgb.shape[1]}


upscale_one = Steps(_read, _computed, _written)
"""Upscales one image into its file; gives what it cost, or one line that says why there is none.
Raises CannotWrite where there is no room for it, or nothing may be written there."""


def _require_size(found: Sequence[int], lr: Sequence[int], task: UpscaleTask) -> None:
    """Raise Unavailable unless (height, width) `found` is `task.scale` times that of `lr`."""
    expected = tuple(side * task.scale for side in lr)
    if tuple(found) != expected:
        raise Unavailable(
            f"{printable(task.lr)}: method '{task.method}' gave {found[1]}x{found[0]} pixels, "
            f"expected x{task.scale}: {expected[1]}x{expected[0]}"
        )


_kept: dict[tuple[str, str], Method] = {}
"""The method that this process has in memory, by name and device."""


def _loaded(method: str, device: str) -> Method:
    if (method, device) not in _kept:
        forget()  # before: no device need hold two
        _kept[method, device] = cast(Method, find_method(method).load(device))
    return _kept[method, device]


def forget() -> None:
    """Give back the memory of the method that was used last."""
    _kept.clear()
    gc.collect()  # networks hold on to themselves


# -- a folder at once ----------------------------------------------------------------------------


def _upscale_set(cell: Cell, tasks: Sequence[UpscaleTask], progress: Progress, device: str) -> None:
    """Do the tasks in one go; each image is stored as soon as the method has finished with it."""
    entry, store, failed = cell.entry, cell.images, cell.failed
    known, broken = {task.image_id: task for task in tasks}, ""
    waiting = set(known)
    inputs = {task.image_id: task.lr for task in tasks}
    try:
        method = cast(SetMethod, entry.load(device))
        with work_folder(store.folder) as work, progress.step(cell.title, len(tasks)) as live:
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
        _require_size(rgb.shape[:2], lr.shape[:2], task)
        images.write_png(task.output, rgb)
    except CannotWrite:
        raise
    except BenchError as error:
        return str(error)
    pixels = rgb.shape[0] * rgb.shape[1]
    store.record(task.key, task.image_id, {**image.record, "pixels": pixels})
    return ""
