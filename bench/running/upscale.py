"""Step 1: images -> method -> image store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bench.base.errors import BenchError, ImageError, Unavailable, WorkerDied
from bench.base.foreign import running
from bench.base.hashing import derive_seed, json_sha256
from bench.base.text import printable
from bench.base.types import ImagePair, Method
from bench.base.workers import Workers
from bench.files import images
from bench.methods.find import Entry
from bench.methods.find import find as find_method
from bench.running.metering import Meter
from bench.running.store import ImageStore

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class UpscaleTask:
    """One image to upscale and the file to write."""

    method: str
    device: str
    image_id: str
    lr: Path
    scale: int
    seed: int
    key: str
    output: Path


@dataclass(frozen=True)
class Failure:
    """One image that could not be upscaled."""

    image_id: str
    reason: str


def sr_key(entry: Entry, lr_sha256: str, scale: int, seed: int) -> str:
    """The name of an SR image's content; the seed counts only where the method uses it."""
    parts: dict[str, Any] = {"method": entry.fingerprint(), "lr": lr_sha256, "scale": scale}
    if entry.card.seeded:
        parts["seed"] = seed
    return json_sha256(parts)


def pending(
    entry: Entry, pairs: Iterable[ImagePair], store: ImageStore, *, seed: int, device: str
) -> list[UpscaleTask]:
    """What is not in the store yet."""
    tasks = []
    for pair in pairs:
        assert pair.lr is not None and pair.lr_sha256 is not None
        image_seed = derive_seed(seed, pair.id)
        key = sr_key(entry, pair.lr_sha256, pair.scale, image_seed)
        if store.get(key) is None:
            output = store.file_for(key, pair.id)
            tasks.append(
                UpscaleTask(
                    entry.name, device, pair.id, pair.lr, pair.scale, image_seed, key, output
                )
            )
    return tasks


def require_scale(entry: Entry, scale: int) -> None:
    if entry.card.scales and scale not in entry.card.scales:
        known = ", ".join(f"x{s}" for s in entry.card.scales)
        raise Unavailable(f"method '{entry.name}' upscales {known}, not x{scale}")


def upscale(
    tasks: Sequence[UpscaleTask], store: ImageStore, workers: Workers, progress: Progress
) -> list[Failure]:
    """Do the tasks; each image is written and then recorded as soon as it is finished."""
    failures = []
    left = {task.image_id: task for task in tasks}
    try:
        for task, outcome in workers.map(upscale_one, tasks):
            del left[task.image_id]
            if isinstance(outcome, str):
                failures.append(Failure(task.image_id, outcome))
            else:
                store.record(task.key, task.image_id, outcome)
            progress(len(tasks) - len(left), len(tasks))
    except WorkerDied as error:
        failures += [
            Failure(i, f"method '{printable(t.method)}': {error}") for i, t in left.items()
        ]
    store.close()
    return sorted(failures, key=lambda failure: failure.image_id)


def upscale_one(task: UpscaleTask) -> dict[str, Any] | str:
    """Upscale one image into its file.

    Returns:
        What it cost, or one line that says why there is no image.
    """
    try:
        method = _loaded(task.method, task.device)
        lr = images.to_tensor(images.read_rgb(task.lr))
        sides = lr.shape[2:]
        with running(task.method), Meter(task.device) as meter:
            sr = method.upscale(lr, scale=task.scale, seeds=[task.seed])
        rgb = _taken(sr, task)
        require_size(rgb.shape[:2], sides, task)
        images.write_png(task.output, rgb)
    except BenchError as error:
        return str(error)
    except Exception as error:  # ours: a full disk, say; others' images go on
        return f"{printable(task.lr)}: {type(error).__name__}: {printable(error)}"
    return {**meter.record, "pixels": rgb.shape[0] * rgb.shape[1]}


def _taken(sr: Tensor, task: UpscaleTask) -> np.ndarray:
    """A method's output, (H, W, 3) uint8."""
    try:
        return images.to_uint8(sr)
    except ImageError as error:
        raise Unavailable(
            f"{printable(task.lr)}: method '{printable(task.method)}': {error}"
        ) from error


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
