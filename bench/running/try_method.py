"""Try a method on two small photographs: does it run, and do its images keep to their seeds.

An image may depend on its LR image and its seed alone. A program of its own is run three times
over files; any other method is called by itself, so that noise that ignores the seeds, state that
is kept between images and images of a batch that mix are told apart.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from bench.base.errors import BenchError, WorkerDied
from bench.base.hashing import derive_seed
from bench.base.progress import Progress
from bench.base.text import printable
from bench.base.types import Method
from bench.data.from_photos import packaged_photo, photo_collections
from bench.files import images
from bench.methods.card import MethodCard
from bench.methods.find import Entry
from bench.methods.find import find as find_method
from bench.methods.installation import Check
from bench.processes.foreign import running
from bench.processes.workers import Workers, cores
from bench.running.fill import PRELOAD
from bench.running.options import IMAGE_TIMEOUT, RunOptions
from bench.running.upscale_files import upscale_files

SIDE = 128
SCALE = 4
CALLS = 9
"""Of the method, at most, in `_called`."""
BATCH_LEVELS = 2
"""Of 255, by which an image may differ in a batch: a library may compute that in other ways."""


def try_method(
    name: str, device: str, progress: Progress, image_timeout: int = IMAGE_TIMEOUT
) -> list[Check]:
    """Upscale two photographs in several ways, and compare.

    Where an image differs from itself, numbers depend on chance, on the order of the files, on
    shards and on where a run was stopped.
    """
    entry = find_method(name)
    checks: list[Check] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        inputs = _photographs(root / "input")
        options = RunOptions(
            root / "store", device, workers=1, scale=SCALE, image_timeout=image_timeout
        )
        try:
            start = time.perf_counter()
            _run(name, inputs, root / "together", options, progress)
            seconds = time.perf_counter() - start
            found = f"2 photographs of {SIDE}x{SIDE} in {seconds:.1f} s, start included"
            checks.append(Check("trial", "ok", found))
            if entry.card.official is None:
                checks += _called_apart(entry, inputs, options)
            else:
                _run(name, inputs, root / "again", options, progress)
                _run(name, inputs[1:], root / "alone", options, progress)
                checks += _program(entry.card, inputs, root)
        except BenchError as error:
            checks.append(Check("trial", "broken", str(error)))
    return checks


# -- a program that is given a folder ------------------------------------------------------------


def _program(card: MethodCard, inputs: Sequence[Path], root: Path) -> Iterator[Check]:
    """What three runs say: both photographs, both again, the second alone."""
    assert card.official is not None
    together = _files(root / "together", inputs)
    again = _difference(together, _files(root / "again", inputs))
    yield _judged(_REPEAT, again)
    if again:
        yield Check("order", "missing", _NOT_JUDGED)
        return
    alone = _difference(together[1:], _files(root / "alone", inputs[1:]))
    if not alone:
        yield Check("order", "ok", _INDEPENDENT)
    elif card.official.seeding == "run":
        yield Check("order", "ok", _EXPECTED)
    else:
        found = f"images affect each other: {alone}, though the card says seeding = "
        yield Check("order", "broken", f'{found}"{card.official.seeding}"', _MEND_CARD)


def _files(folder: Path, inputs: Sequence[Path]) -> list[np.ndarray]:
    return [images.read_rgb(folder / source.name) for source in inputs]


# -- a method that is called ---------------------------------------------------------------------


def _called_apart(entry: Entry, inputs: Sequence[Path], options: RunOptions) -> list[Check]:
    """`_called` where the method may do what it likes to its process.

    Raises:
        WorkerDied: it ended that, or took too long.
    """
    limit = CALLS * options.image_timeout
    with Workers(1, cores(), PRELOAD, entry.foreign, limit) as workers:
        [(_, checks)] = workers.map(_all_called, [(entry.name, inputs, options.device)])
    if isinstance(checks, WorkerDied):
        raise WorkerDied(f"method '{printable(entry.name)}': {checks}")
    return checks


def _all_called(task: tuple[str, Sequence[Path], str]) -> list[Check]:
    name, inputs, device = task
    return list(_called(find_method(name), inputs, device))


def _called(entry: Entry, inputs: Sequence[Path], device: str) -> Iterator[Check]:
    """What calls of the method say; every comparison repeats a call with one thing changed.

    Three times it is loaded anew, one after the other: what a first call gives, nothing has
    touched.
    """
    files = {path.stem: images.read_rgb(path) for path in inputs}
    first, second = ((rgb, derive_seed(0, name)) for name, rgb in files.items())
    method = _Loaded(entry, device)
    fresh, again = method(second), method(second)
    after = [*method(first), *method(second)]
    method = _Loaded(entry, device)
    repeat = _difference(fresh, again) or _difference(fresh, method(second))
    yield _judged(_REPEAT, repeat)
    if repeat:
        yield Check("order", "missing", _NOT_JUDGED)
        yield Check("batch", "missing", _NOT_JUDGED)
        return
    try:
        batch, mixed = method(first, second), ""
    except BenchError as error:
        batch, mixed = [], str(error)
    seed = _difference(fresh, method((second[0], second[1] + 1)))
    untouched = [*_Loaded(entry, device)(first), *fresh]
    yield _judged(_ORDER, _difference(untouched, after))
    yield _judged(_BATCH, mixed or _difference(untouched, batch, BATCH_LEVELS))
    yield _seed(entry.card, seed)


Photograph = tuple[np.ndarray, int]
"""(H, W, 3) uint8 and a seed."""


class _Loaded:
    """A method, loaded anew."""

    def __init__(self, entry: Entry, device: str) -> None:
        self.name = entry.name
        self.method = cast(Method, entry.load(device))

    def __call__(self, *photographs: Photograph) -> list[np.ndarray]:
        """One call with all of them; (H, W, 3) uint8 each."""
        import torch

        lr = torch.cat([images.to_tensor(rgb) for rgb, _ in photographs])
        with running(self.name):
            sr = self.method.upscale(lr, scale=SCALE, seeds=[seed for _, seed in photographs])
            return [images.to_uint8(sr[i : i + 1]) for i in range(len(photographs))]


def _seed(card: MethodCard, effect: str) -> Check:
    if effect and not card.seeded:
        found = f"another seed changes the pixels ({effect}), but the card says seeded = false"
        return Check("seed", "broken", found, "write seeded = true")
    return Check("seed", "ok", f"another seed changes {'the pixels' if effect else 'nothing'}")


# -- what is said --------------------------------------------------------------------------------

_INDEPENDENT = "images do not affect each other"
_NOT_JUDGED = "not judged, since one image and seed do not give the same pixels twice"
_EXPECTED = (
    'images affect each other, as expected of a card with seeding = "run": '
    "shards and resumed runs give other noise"
)
_MEND_CARD = 'seed each image, or write seeding = "run"'
_REPEAT = (
    *("repeat", "the same image and seed give the same pixels"),
    "noise ignores the seed: the same image and seed gave other pixels",
    "take all randomness from `seeds`, one generator for each image",
)
_ORDER = (
    *("order", _INDEPENDENT),
    "images affect each other: one depends on those before it",
    "keep nothing between calls that changes pixels",
)
_BATCH = (
    *("batch", "images of a batch do not affect each other"),
    "an image is another in a batch of 2",
    "treat each image of a batch by itself, with its own seed",
)


def _judged(check: tuple[str, str, str, str], difference: str) -> Check:
    what, right, wrong, mend = check
    if difference:
        return Check(what, "broken", f"{wrong}: {difference}", mend)
    return Check(what, "ok", right)


def _difference(one: Sequence[np.ndarray], other: Sequence[np.ndarray], allowed: int = 0) -> str:
    """How far images are apart, in words; "" where that is nothing."""
    if any(a.shape != b.shape for a, b in zip(one, other, strict=True)):
        return "of another size"
    apart = [np.abs(a.astype(int) - b) for a, b in zip(one, other, strict=True)]
    most = max(int(levels.max()) for levels in apart)
    share = max(float((levels > 0).mean()) for levels in apart)
    return f"{100 * share:.0f} % of the values, by up to {most} of 255" if most > allowed else ""


def _photographs(folder: Path) -> list[Path]:
    photos = photo_collections()["packaged"].images[:2]
    files = []
    for photo in photos:
        rgb = packaged_photo(photo, 1)
        path = folder / f"{photo.id}.png"
        images.write_png(path, images.resize(rgb, SIDE, SIDE, "bicubic"))
        files.append(path)
    return sorted(files)


def _run(
    name: str, inputs: Sequence[Path], output: Path, options: RunOptions, progress: Progress
) -> None:
    done = upscale_files(name, inputs, output, options, progress)
    if done.failures:
        raise BenchError("; ".join(f"{what}: {printable(why)}" for what, why in done.failures))
