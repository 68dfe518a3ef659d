"""Large photographs cut once into crops that decode fast.

Each photograph's crops lie in a folder of their own, which is there whole or not at all.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from uuid import getnode

import PIL.Image
import psutil
from torch.utils.data import DataLoader

from cassr.base.errors import TrainingError, UnreadableImage
from cassr.base.files import replacing
from cassr.base.told import Told
from cassr.photographs.read import Photographs
from cassr.sampling.tiling import Grid

INDEX = "crops.json"
"""Beside the crops: what they were cut with, by which a folder of ours is known."""
PART = ".part"
FAST_PNG = 1
"""Effort of zlib, 0 to 9."""


def cut(
    photographs: Photographs,
    target: Path,
    side: int,
    *,
    workers: int = 0,
    report: Callable[[int, int], None],
    skip: Callable[[str, str], None],
) -> Counter[str]:
    """Cut what is not cut yet into crops of side x side pixels, evenly spread to cover all.

    A photograph that is smaller along an axis keeps its size there. `target` is a new or empty
    folder, or one of an earlier call with the same side; `report` is told of (photographs done, in
    all), `skip` of each that cannot be used: (name, reason).

    Returns how many were "cut" or "there already" or "skipped", and "crops" written. Raises
    TrainingError: a target with other files in it, or cut otherwise.
    """
    _claim(target, side)
    done = Counter[str]()
    folders: dict[int, Path] = {}
    for number, photograph in enumerate(photographs):
        try:
            mark = hashlib.sha256(photograph.mark().encode()).hexdigest()
            folders[number] = target / mark[:16]
        except OSError as error:
            skip(photograph.name, f"cannot be read: {error.strerror}")
            done["skipped"] += 1
    numbers = {folder: number for number, folder in folders.items()}  # the same one only once
    missing = [number for folder, number in numbers.items() if not folder.is_dir()]
    done["there already"] = len(numbers) - len(missing)
    cuts = Told(partial(_cut, photographs, folders, side), (UnreadableImage, OSError))
    made = DataLoader(cuts, batch_size=None, sampler=missing, num_workers=workers)
    for number, found in enumerate(made, done["there already"] + 1):
        if isinstance(found, OSError):
            reason = f"cannot be written: {found.strerror or found}"
            raise TrainingError(f"{target}: {reason}; crops are kept")
        if isinstance(found, UnreadableImage):
            skip(found.name, found.reason)
            done["skipped"] += 1
        else:
            done.update(cut=1, crops=found)
        report(number, len(numbers))
    return done


def _claim(target: Path, side: int) -> None:
    # Photographs that are marked otherwise, another version, would be cut once more beside.
    index, wanted = target / INDEX, {"side": side, "version": 2}
    if index.is_file():
        try:
            found = json.loads(index.read_text("utf-8"))
        except ValueError:
            found = "what cannot be read"
        if found != wanted:
            told = f"{index}: expected {wanted}, found {found}; give another folder"
            raise TrainingError(f"{told}, or delete this one to make it anew")
    elif target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise TrainingError(
            f"{target}: expected an empty folder or one of crops, found other files"
        )
    else:
        with replacing(index) as part:
            part.write_text(json.dumps(wanted), encoding="utf-8")
    for part in target.glob(f"*{PART}"):
        place, _, process = part.stem.rpartition("-")
        here = place.endswith(f".{getnode():x}")  # whether one lives elsewhere cannot be seen
        if not process.isdecimal() or (here and not _lives(int(process))):
            shutil.rmtree(part, ignore_errors=True)


def _lives(process: int) -> bool:
    try:
        return bool(psutil.Process(process).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _cut(photographs: Photographs, folders: dict[int, Path], side: int, number: int) -> int:
    """The crops of one photograph, written in a worker; how many they are."""
    pixels = photographs[number].read()
    part = folders[number].with_suffix(f".{getnode():x}-{psutil.Process().pid}{PART}")
    part.mkdir(exist_ok=True)
    height, width = pixels.shape[:2]
    grid = Grid(height, width, side, 0)
    for window in grid:
        rows = slice(window.top, window.top + window.height)
        crop = pixels[rows, window.left : window.left + window.width]
        file = part / f"{window.top:05d}-{window.left:05d}.png"
        PIL.Image.fromarray(crop).save(file, compress_level=FAST_PNG)
    if folders[number].is_dir():  # another run was faster
        shutil.rmtree(part)
    else:
        part.replace(folders[number])
    return len(grid)
