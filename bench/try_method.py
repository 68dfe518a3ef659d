"""Try a method on two small photographs: does it run, and does an image depend on its company."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench import data, images
from bench.checks import Check
from bench.errors import BenchError
from bench.progress import Progress
from bench.run import RunOptions
from bench.text import printable
from bench.upscale_files import upscale_files

SIDE = 128


def try_method(name: str, device: str, progress: Progress) -> list[Check]:
    """Upscale two photographs together, then the second one alone, and compare.

    Where the two differ, noise or batching ties images to each other: the numbers then depend on
    the order of the files, on shards and on where a run was stopped.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        inputs = _photographs(root / "input")
        options = RunOptions(store=root / "store", device=device, workers=1)
        try:
            start = time.perf_counter()
            _run(name, inputs, root / "together", options, progress)
            seconds = time.perf_counter() - start
            _run(name, inputs[1:], root / "alone", options, progress)
        except BenchError as error:
            return [Check("trial", "broken", str(error))]
        same = _pixels(root / "together", inputs[1]) == _pixels(root / "alone", inputs[1])
    found = f"2 photographs of {SIDE}x{SIDE} in {seconds:.1f} s, start included"
    order = "images do not affect each other" if same else _DEPENDS
    return [Check("trial", "ok", found), Check("order", "ok", order)]


_DEPENDS = (
    'images affect each other, as expected of a card with seeding = "run": '
    "shards and resumed runs give other noise"
)


def _photographs(folder: Path) -> list[Path]:
    photos = data.photo_collections()["packaged"].images[:2]
    files = []
    for photo in photos:
        rgb = data.packaged_photo(photo, 1)
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


def _pixels(folder: Path, source: Path) -> str:
    return images.pixels_sha256(images.read_rgb(folder / source.name))
