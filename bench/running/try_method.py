"""Try a method on two small photographs: does it run, and do its images keep to their seeds.

An image may depend on its LR image and its seed alone. A program of its own is run three times
over files; any other method is called by itself, so that noise that ignores the seeds, state that
is kept between images and images of a batch that mix are told apart.
"""

import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from bench.base.device import cores
from bench.base.errors import BenchError, WorkerDied
from bench.base.hashing import derive_seed
from bench.base.leftovers import scratch
from bench.base.progress import Progress
from bench.base.text import printable, without_folders
from bench.base.types import Method
from bench.data.from_card import packaged_photo, photo_collections
from bench.data.likeness import LOOK, Look, warning
from bench.files import images
from bench.methods.card import MethodCard, Official
from bench.methods.entry import Entry
from bench.methods.find import find as find_method
from bench.methods.installation import Check
from bench.processes.foreign import running
from bench.processes.workers import Workers
from bench.running.fill import PRELOAD
from bench.running.options import IMAGE_TIMEOUT, RunOptions
from bench.running.upscale_files import upscale_files

SIDE = 128
SCALE = 4
CALLS = 9
"""Of the method, at most, in `_called`."""
BATCH_LEVELS = 2
"""Of 255, by which an image may differ in a batch: a library may compute that in other ways."""
NOT_JUDGED = "not judged, since one image and seed do not give the same pixels twice"
JUDGED = tomllib.loads(Path(__file__).with_name("judged.toml").read_text("utf-8"))
"""By what is looked at: what is said where all is well, where it is not, and how to mend that."""


def try_method(
    name: str, device: str, progress: Progress, image_timeout: int = IMAGE_TIMEOUT
) -> list[Check]:
    """Upscale two photographs in several ways; where an image differs from itself, numbers depend
    on chance, on the order of the files, on shards and on where a run was stopped."""
    entry = find_method(name)
    checks: list[Check] = []
    with scratch() as folder:
        root = Path(folder)
        inputs = _photographs(root / "input")
        options = RunOptions(
            root / "store", device, workers=1, scale=SCALE, image_timeout=image_timeout
        )

        def run(into: str, inputs: Sequence[Path]) -> list[np.ndarray]:
            done = upscale_files(name, {root / into: inputs}, options, progress)
            if done.failures:
                reasons = dict.fromkeys(without_folders(printable(why)) for _, why in done.failures)
                raise BenchError("; ".join(reasons))
            return [images.read_rgb(root / into / source.name) for source in inputs]

        try:
            start = time.perf_counter()
            together = run("together", inputs)
            seconds = time.perf_counter() - start
            found = f"2 photographs of {SIDE}x{SIDE} in {seconds:.1f} s, start included"
            checks += [Check("trial", "ok", found), _look(inputs, together)]
            if entry.card.official is None:
                checks += _called_apart(entry, inputs, options)
            else:
                again, alone = run("again", inputs), run("alone", inputs[1:])
                checks += _program(entry.card.official, together, again, alone)
        except BenchError as error:
            checks.append(Check("trial", "broken", str(error)))
    return checks


def _photographs(folder: Path) -> list[Path]:
    files = []
    for photo in photo_collections()["packaged"].images[:2]:
        path = folder / f"{photo.id}.png"
        images.write_png(path, images.resize(packaged_photo(photo), SIDE, SIDE, "bicubic"))
        files.append(path)
    return sorted(files)


def _look(inputs: Sequence[Path], made: Sequence[np.ndarray]) -> Check:
    look, looks = Look(LOOK, "cpu"), []
    for path, rgb in zip(inputs, made, strict=True):
        lr = images.to_tensor(images.read_rgb(path))
        looks.append((path.stem, look.score(images.to_tensor(rgb), lr, look.prepare(lr))))
    if odd := warning(looks):
        return Check("look", "broken", odd, "compare an output with its input by eye")
    return Check("look", "ok", "images show what their inputs show, in place and in their colours")


def _program(
    official: Official, together: list[np.ndarray], again: list[np.ndarray], alone: list[np.ndarray]
) -> Iterator[Check]:
    """What three runs over files say: both photographs, both again, the second alone."""
    changed = _difference(together, again)
    yield _judged("repeat", changed)
    if changed:
        yield Check("order", "missing", NOT_JUDGED)
        return
    affected = _difference(together[1:], alone)
    if affected and official.seeding != "run":
        found = f'images affect each other: {affected}, though the card says seeding = "'
        mend = 'seed each image, or write seeding = "run"'
        yield Check("order", "broken", f'{found}{official.seeding}"', mend)
        return
    expected = (
        'images affect each other, as expected of a card with seeding = "run": '
        "shards and resumed runs give other noise"
    )
    yield Check("order", "ok", expected if affected else JUDGED["order"][0])


# -- a method that is called ---------------------------------------------------------------------


def _called_apart(entry: Entry, inputs: Sequence[Path], options: RunOptions) -> list[Check]:
    """`_called` where the method may do what it likes to its process; WorkerDied where it ended
    that, or took too long."""
    limit, apart = CALLS * options.image_timeout, entry.file is not None
    with Workers(1, cores(), PRELOAD, apart, limit=limit) as workers:
        [(_, checks)] = workers.map(_all_called, [(entry.name, inputs, options.device)])
    if isinstance(checks, WorkerDied):
        raise WorkerDied(f"method '{printable(entry.name)}': {checks}")
    return checks


def _all_called(task: tuple[str, Sequence[Path], str]) -> list[Check]:
    name, inputs, device = task
    return list(_called(find_method(name), inputs, device))


Photograph = tuple[np.ndarray, int]
"""(H, W, 3) uint8 and a seed."""


def _called(entry: Entry, inputs: Sequence[Path], device: str) -> Iterator[Check]:
    """What calls of the method say; every comparison repeats a call with one thing changed. Three
    times it is loaded anew: what a first call gives, nothing has touched."""
    files = {path.stem: images.read_rgb(path) for path in inputs}
    first, second = ((rgb, derive_seed(0, name)) for name, rgb in files.items())
    method = _loaded(entry, device)
    fresh, again = method(second), method(second)
    after = [*method(first), *method(second)]
    method = _loaded(entry, device)
    repeat = _difference(fresh, again) or _difference(fresh, method(second))
    yield _judged("repeat", repeat)
    if repeat:
        yield Check("order", "missing", NOT_JUDGED)
        yield Check("batch", "missing", NOT_JUDGED)
        return
    try:
        batch, mixed = method(first, second), ""
    except BenchError as error:
        batch, mixed = [], str(error)
    seed = _difference(fresh, method((second[0], second[1] + 1)))
    untouched = [*_loaded(entry, device)(first), *fresh]
    yield _judged("order", _difference(untouched, after))
    yield _judged("batch", mixed or _difference(untouched, batch, BATCH_LEVELS))
    yield _seed(entry.card, seed)


def _loaded(entry: Entry, device: str) -> Callable[..., list[np.ndarray]]:
    """A method, loaded anew: called with photographs, it gives (H, W, 3) uint8 of each."""
    import torch

    method = cast(Method, entry.load(device))

    def call(*photographs: Photograph) -> list[np.ndarray]:
        lr = torch.cat([images.to_tensor(rgb) for rgb, _ in photographs])
        with running(entry.name):
            sr = method.upscale(lr, scale=SCALE, seeds=[seed for _, seed in photographs])
            return [images.to_uint8(sr[i : i + 1]) for i in range(len(photographs))]

    return call


def _seed(card: MethodCard, effect: str) -> Check:
    if effect and not card.seeded:
        found = f"another seed changes the pixels ({effect}), but the card says seeded = false"
        return Check("seed", "broken", found, "write seeded = true")
    return Check("seed", "ok", f"another seed changes {'the pixels' if effect else 'nothing'}")


def _judged(what: str, difference: str) -> Check:
    right, wrong, mend = JUDGED[what]
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
