"""Upscale any files by one method, or a dataset into the store."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.base.errors import ImageError, Unavailable
from bench.base.hashing import json_sha256
from bench.base.progress import Progress
from bench.base.text import printable
from bench.base.types import WHOLE_SET, ImagePair
from bench.data import find as data
from bench.files import colour
from bench.files.image_folders import RECORDS, image_files, places, subfolders
from bench.files.images import by_stem, file_sha256, read_rgb, write_png
from bench.files.outputs import Inputs, ignores_case, require_folder, require_free
from bench.methods.entry import Entry
from bench.methods.find import find as find_method
from bench.running.cell import Cell
from bench.running.fill import fill
from bench.running.options import RunOptions, Shard
from bench.running.plan import manifest_of
from bench.store.images import ImageLine, ImageStore
from bench.store.store import Store


@dataclass(frozen=True)
class Upscaled:
    """What `upscale` did: images made now, known before, still to do, and (file, reason)."""

    folder: Path
    made: int
    known: int
    todo: int
    failures: tuple[tuple[str, str], ...]

    def as_json(self) -> dict[str, Any]:
        return {**self.__dict__, "folder": str(self.folder)}


def upscale_files(
    method: str,
    inputs: Mapping[Path, Sequence[Path]],
    options: RunOptions,
    progress: Progress,
    dry_run: bool = False,
    overwrite: bool = False,
    to_srgb: bool = False,
) -> Upscaled:
    """Write one PNG per input, under its stem and subfolder, into the folder that it is for.

    Pixels are upscaled as they are stored. An RGB profile of the input is kept; grey ones, and
    with `to_srgb` all, are converted to sRGB afterwards.

    Raises:
        BenchError: the method cannot run here, no input is usable, or an input or a file that is
            not ours is where an image is to be written.
    """
    entry = _ready(method, options.scale)
    kept = "kept (--to-srgb converts; grey ones always are)"
    own = replace(options, shard=Shard())  # the pairs are this process's part
    cells: list[Cell] = []
    refused: list[tuple[str, str]] = []
    for output, some in inputs.items():
        known = Inputs([*some, *(file for files in _by_place(some, options) for file in files[1])])
        known.refuse(output, "--output")
        require_folder(output, "--output")
        pairs, clashes, profiles = _pairs(some, output, options, to_srgb)
        refused += clashes
        if profiles:
            names = ", ".join(sorted({colour.name_of(profile) for profile in profiles.values()}))
            done = "converted to sRGB" if to_srgb else kept
            progress.say(f"{len(profiles)} inputs have a colour profile ({names}): {done}")
        images = NamedImages(output, profiles, to_srgb)
        cells.append(Cell(entry, "", entry.card.title, pairs, images, options.seed or 0))
        for task in cells[-1].pending(own):
            images.require_free(task.image_id, known, overwrite)
    return _fill(cells, refused, own, progress, dry_run)


def upscale_dataset(
    method: str, dataset: str, options: RunOptions, progress: Progress, dry_run: bool = False
) -> Upscaled:
    """Fill the store with a method's images of a dataset."""
    found = data.find(dataset, options.scale, options.modcrop)
    entry = _ready(method, found.scale)
    manifest = manifest_of(found, options, progress)
    store = Store(options.store)
    cell = Cell.open(entry, found, manifest.pairs, store, options.seed or 0)
    store.note_use({"upscale": method, "dataset": dataset, "scale": found.scale}, [manifest.sha256])
    return _fill([cell], manifest.refused, options, progress, dry_run)


class NamedImages(ImageStore):
    """A plain folder of `STEM.png`, with the records that let a stopped run go on.

    An image is made beside the records, given its input's ICC profile (or converted by it, where
    that is grey or `to_srgb`), recorded, and only then put in its place.
    """

    def __init__(self, folder: Path, profiles: Mapping[str, bytes], to_srgb: bool) -> None:
        super().__init__(folder, folder / RECORDS)
        self._profiles, self._to_srgb = profiles, to_srgb
        self._hashes = {(record.file, record.sha256) for record in self._log}

    def file_for(self, key: str, image_id: str) -> Path:
        return self.folder / RECORDS / "new" / f"{image_id}.png"

    def record(self, key: str, image_id: str, extra: Mapping[str, Any]) -> None:
        if image_id in self._profiles:
            self._colour(self.file_for(key, image_id), self._profiles[image_id])
        super().record(key, image_id, extra)
        self._place(image_id).parent.mkdir(parents=True, exist_ok=True)
        os.replace(self.file_for(key, image_id), self._place(image_id))

    def _place_of(self, known: ImageLine, image_id: str) -> Path | None:
        return self._place(image_id) if known.id == image_id else None

    def _colour(self, made: Path, profile: bytes) -> None:
        rgb = read_rgb(made)
        if self._to_srgb or colour.is_grey(profile):
            rgb, profile = colour.to_srgb(rgb, profile), b""
        write_png(made, rgb, profile)

    def require_free(self, image_id: str, inputs: Inputs, overwrite: bool) -> None:
        """Raise BenchError if an input, or a file that we did not write, is in its place."""
        path = self._place(image_id)
        require_folder(path.parent, "--output")

        def ours(digest: str) -> bool:
            return (path.name, digest) in self._hashes

        require_free(path, ours, "--output", inputs, overwrite)

    def _place(self, image_id: str) -> Path:
        return self.folder / f"{image_id}.png"


def _ready(method: str, scale: int) -> Entry:
    entry = find_method(method)
    if entry.files is not None:
        raise Unavailable(f"method '{printable(method)}' is a folder of finished images")
    if reason := entry.unavailable(scale):
        raise Unavailable(reason)
    return entry


def _by_place(inputs: Sequence[Path], options: RunOptions) -> Iterable[tuple[Path, list[Path]]]:
    """The files of the inputs, by the subfolder that they lie in and are written into."""
    found: dict[Path, list[Path]] = {}
    for given in inputs:
        if not given.is_dir():
            found.setdefault(Path(), []).append(given)
            continue
        for place in places(given, options.recursive):
            found.setdefault(place, []).extend(image_files(given / place))
    return found.items()


def _pairs(
    inputs: Sequence[Path], output: Path, options: RunOptions, to_srgb: bool
) -> tuple[list[ImagePair], list[tuple[str, str]], dict[str, bytes]]:
    """The inputs, (file, reason) of those that cannot be used, and colour profiles by id."""
    unique: dict[str, Path] = {}
    refused: list[tuple[str, str]] = []
    for place, files in _by_place(inputs, options):
        some, clashes = by_stem(files)
        unique |= {(place / stem).as_posix(): file for stem, file in some.items()}
        refused += clashes
    if not options.recursive:
        refused += [named for given in inputs if given.is_dir() for named in subfolders(given)]
    if ignores_case(output):
        refused += _same_but_for_case(unique)
    pairs, profiles = [], {}
    for stem in options.shard.of(sorted(unique)[: options.limit]):
        try:
            read_rgb(unique[stem])
            digest = file_sha256(unique[stem])
        except ImageError as error:
            refused.append((error.file, error.reason))
            continue
        if profile := colour.profile_of(unique[stem]):
            profiles[stem] = profile
            digest = json_sha256([digest, "profile", to_srgb])  # what is written is another
        pairs.append(ImagePair(stem, unique[stem], None, digest, None, options.scale))
    if not pairs and refused:
        raise ImageError(f"no usable input, {len(refused)} refused; first: {': '.join(refused[0])}")
    return pairs, refused, profiles


def _same_but_for_case(unique: dict[str, Path]) -> Iterator[tuple[str, str]]:
    """Take out what would be written where another is, where case is ignored."""
    first: dict[str, str] = {}
    for stem in sorted(unique):
        other = first.setdefault(stem.lower(), stem)
        if other != stem:
            name = printable(unique[other].name)
            yield unique.pop(stem).name, f"has the name of {name} but for case; rename one of them"


def _fill(
    cells: Sequence[Cell],
    refused: Sequence[tuple[str, str]],
    options: RunOptions,
    progress: Progress,
    dry_run: bool,
) -> Upscaled:
    folder = cells[0].images.folder
    todo = sum(len(cell.pending(options)) for cell in cells)
    known = sum(len(options.shard.of(cell.pairs)) for cell in cells) - todo
    if dry_run:
        return Upscaled(folder, 0, known, todo, tuple(refused))
    fill(cells, options, progress)
    failed = [each for cell in cells for each in sorted(cell.failed.items())]
    left = sum(image != WHOLE_SET for image, _ in failed)
    told = ((printable(image), reason) for image, reason in failed)
    return Upscaled(folder, todo - left, known, left, (*refused, *told))
