"""Step 1: images -> method -> image store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, cast

from bench.base.errors import BenchError, CannotWrite, ImageError, Unavailable, WorkerDied
from bench.base.metering import metered
from bench.base.text import printable
from bench.base.types import Method
from bench.cluster.work import Pool
from bench.files import images
from bench.methods.find import Entry
from bench.methods.find import find as find_method
from bench.processes.foreign import running
from bench.running.cell import Cell, UpscaleTask


def require_scale(entry: Entry, scale: int) -> None:
    if entry.card.scales and scale not in entry.card.scales:
        known = ", ".join(f"x{s}" for s in entry.card.scales)
        raise Unavailable(f"method '{entry.name}' upscales {known}, not x{scale}")


def upscale(
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


def upscale_one(task: UpscaleTask) -> dict[str, Any] | str:
    """Upscale one image into its file; gives what it cost, or one line that says why there is none.

    Raises CannotWrite where there is no room for it, or nothing may be written there.
    """
    try:
        method = _loaded(task.method, task.device)
        lr = images.to_tensor(images.read_rgb(task.lr))
        sides = lr.shape[2:]
        try:
            with running(task.method), metered(task.device) as cost:
                sr = method.upscale(lr, scale=task.scale, seeds=[task.seed])
            rgb = images.to_uint8(sr)
        except ImageError as error:
            name = f"{printable(task.lr)}: method '{printable(task.method)}'"
            raise Unavailable(f"{name}: {error}") from error
        require_size(rgb.shape[:2], sides, task)
        images.write_png(task.output, rgb)
    except CannotWrite:  # the next image would meet the same
        raise
    except BenchError as error:
        return str(error)
    except Exception as error:  # ours: a full disk, say; others' images go on
        return f"{printable(task.lr)}: {type(error).__name__}: {printable(error)}"
    return {**cost, "pixels": rgb.shape[0] * rgb.shape[1]}


def require_size(found: Sequence[int], lr: Sequence[int], task: UpscaleTask) -> None:
    """Raise Unavailable unless (height, width) `found` is `task.scale` times that of `lr`."""
    expected = tuple(side * task.scale for side in lr)
    if tuple(found) != expected:
        raise Unavailable(
            f"{printable(task.lr)}: method '{task.method}' gave {found[1]}x{found[0]} pixels, "
            f"expected x{task.scale}: {expected[1]}x{expected[0]}"
        )


@lru_cache(maxsize=1)
def _loaded(method: str, device: str) -> Method:
    return cast(Method, find_method(method).load(device))
