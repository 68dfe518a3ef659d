"""Pairs of image files: matched by stem, checked, described."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.base.errors import DataError, ImageError
from bench.base.hashing import json_sha256
from bench.base.progress import Advance, several_at_once, silent
from bench.base.text import printable, slug
from bench.base.types import Manifest
from bench.data.alignment import misalignment
from bench.data.manifest import FILE, Refusals, file_entry, keep, read_manifest, to_manifest
from bench.files import image_folders, images
from bench.files.names import matched, same, without_partner

Pairs = dict[str, tuple[Path, Path | None]]
CHECKS = 4
"""Goes up when pairs are checked differently, so that folders are looked at again."""


def scan_folder(
    folder: Path, scale: int, root: Path, progress: Advance = silent, modcrop: bool = False
) -> Manifest:
    """Describe a folder that holds `lr` and `hr`, or LR images alone: a no-reference set.

    Images that cannot take part are named in `Manifest.refused`; what was learnt is kept below
    `root` and used again while no file changes.

    Args:
        modcrop: cut pairs whose sides are less than a scale off to those that fit, from the top
            left; the cut images are kept below `root` too.

    Raises:
        DataError: no such folder, or no usable image in it.
    """
    lr_folder, hr_folder = _sides(folder)
    asked = [str(folder.resolve()), scale, *(["modcrop"] if modcrop else [])]
    cache = root / f"folder-{json_sha256(asked)[:16]}"
    sources = [f for f in (lr_folder, hr_folder) if f is not None]
    files = [_stat_line(p) for source in sources for p in image_folders.looked_at(source)]
    below = [name for source in sources for name, _ in image_folders.subfolders(source)]
    state = {"checks": CHECKS, "files": files, "subfolders": below}
    known = read_manifest(cache / FILE)
    if known is not None and {**known["recipe"], **state} == known["recipe"]:
        return to_manifest(known)
    pairs, refused, note = pair_files(lr_folder, hr_folder)
    entries, bad = check_pairs(pairs, scale, progress, cache if modcrop else None)
    note = "; ".join(filter(None, (note, _cuts(entries, cache.resolve(), scale))))
    return keep(cache, f"folder:{folder}", scale, entries, refused + bad, {**state, "note": note})


def _cuts(entries: Sequence[Mapping[str, Any]], cache: Path, scale: int) -> str:
    """How many pairs were cut, and what the LR image of the first is paired with."""
    cut = [entry for entry in entries if Path(entry["lr"]["path"]).is_relative_to(cache)]
    if not cut:
        return ""
    (lr, hr), name = ((cut[0][side] for side in ("lr", "hr")), printable(cut[0]["id"]))
    sizes = f"LR {lr['width']}x{lr['height']} with HR {hr['width']}x{hr['height']}"
    return f"{len(cut)} of {len(entries)} pairs were cut to x{scale} (the first, '{name}': {sizes})"


def _sides(folder: Path) -> tuple[Path, Path | None]:
    """The folders of LR and of HR images; a folder without subfolders is LR alone."""
    lr, hr = _subfolder(folder, "lr"), _subfolder(folder, "hr")
    if lr is not None:
        return lr, hr
    if not folder.is_dir():
        raise DataError(f"{printable(folder)}: expected a folder, found none there")
    if hr is not None or not image_folders.looked_at(folder):
        raise DataError(
            f"{printable(folder)}: expected a folder with subfolders 'lr' and 'hr', or one of LR "
            "images alone, found neither"
        )
    return folder, None


def _subfolder(folder: Path, name: str) -> Path | None:
    spellings = (folder / each for each in (name, name.upper(), name.capitalize()))
    return next(filter(Path.is_dir, spellings), None)


def _stat_line(path: Path) -> list[Any]:
    stat = path.stat() if os.path.exists(path) else path.lstat()  # of a link, what it leads to
    return [os.fsencode(path).hex(), stat.st_size, stat.st_mtime_ns]


def pair_files(
    first: Path, second: Path | None, pattern: str = "", recursive: bool = False
) -> tuple[Pairs, Refusals, str]:
    """Pair two folders' images by name (see `bench.files.names.matched`), never by position.

    Args:
        recursive: pair their subfolders' too, by the subfolders' names.

    Returns:
        stem in `second` (behind its subfolder, "a/0001") -> (file in `first`, file in `second`), or
        stem -> (file, None) where `second` is None; (path, reason) of the files that have no
        partner or share a stem, and of subfolders; and what is to be said of how files are named.

    Raises:
        ImageError: a folder is missing, empty, or holds images that cannot be read.
    """
    sides = [side for side in (first, second) if side is not None]
    places = {place for side in sides for place in image_folders.places(side, recursive)}
    found: Pairs = {}
    refused: Refusals = []
    notes: list[str] = []
    for place in sorted(places):
        try:
            own, others, note = _paired(first / place, second and second / place, pattern)
        except ImageError as error:
            if len(places) == 1:
                raise
            refused.append((error.file, error.reason))
            continue
        found |= {(place / stem).as_posix(): pair for stem, pair in own.items()}
        refused += others
        notes += [note] if note else []
    if not recursive:
        refused += [named for side in sides for named in image_folders.subfolders(side)]
    return found, refused, "; ".join(dict.fromkeys(notes))


def _paired(first: Path, second: Path | None, pattern: str) -> tuple[Pairs, Refusals, str]:
    left, refused = images.by_stem(image_folders.image_files(first))
    if second is None:
        return {stem: (path, None) for stem, path in left.items()}, refused, ""
    right, others = images.by_stem(image_folders.image_files(second))
    refused += others
    found = matched(left, right, pattern)
    used = {*found.files.values(), *(right[stem] for stem in found.files)}
    for own, other, folder in ((left, right, second), (right, left, first)):
        twins = {same(stem).casefold(): stem for stem in reversed(other)}
        for stem in sorted(stem for stem, path in own.items() if path not in used):
            refused.append((printable(own[stem]), without_partner(own[stem], twins, folder)))
    return {s: (found.files[s], right[s]) for s in sorted(found.files)}, refused, found.note


def check_pairs(
    pairs: Mapping[str, tuple[Path, Path | None]], scale: int, progress: Advance, cut: Path | None
) -> tuple[list[dict[str, Any]], Refusals]:
    """Decode, hash and check pairs, several at a time.

    Args:
        cut: folder for pairs that had to be cut, where they may be.

    Returns:
        Entries for a manifest, and (file, reason) of what cannot be used: not readable, HR not
        `scale` times its LR, or another picture, place or scale than its LR.
    """
    found = list(several_at_once(partial(_checked, scale, cut), pairs.items(), progress))
    refused = [outcome for outcome in found if isinstance(outcome, tuple)]
    return [outcome for outcome in found if not isinstance(outcome, tuple)], refused


def _checked(
    scale: int, cut: Path | None, pair: tuple[str, tuple[Path, Path | None]]
) -> dict[str, Any] | tuple[str, str]:
    stem, (lr, hr) = pair
    if any("\ud800" <= character <= "\udfff" for character in stem):
        return printable(lr), "its name is not valid Unicode; rename it"
    try:
        pixels = images.read_rgb(lr)
        entry: dict[str, Any] = {"id": stem, "lr": file_entry(lr, pixels), "hr": None}
        if hr is not None:
            hr_pixels = images.read_rgb(hr)
            enlarged = [side * scale for side in pixels.shape[:2]]
            if cut and nearly_same(enlarged, hr_pixels.shape[:2], scale):
                pixels, hr_pixels = _cut(pixels, hr_pixels, scale)
                lr, hr = (cut / side / f"{slug(stem)}.png" for side in ("lr", "hr"))
                images.write_png(lr, pixels)
                images.write_png(hr, hr_pixels)
                entry["lr"] = file_entry(lr, pixels)
            require_pair(pixels, hr_pixels, scale, printable(hr))
            entry["hr"] = file_entry(hr, hr_pixels)
    except ImageError as error:
        return error.file, error.reason
    return entry


def nearly_same(one: Sequence[int], other: Sequence[int], scale: int) -> bool:
    """Whether sizes differ, and by less than a scale, as where HR was no multiple of it."""
    return 0 < max(abs(a - b) for a, b in zip(one, other, strict=True)) < scale


def _cut(lr: np.ndarray, hr: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest pair in both, at the top left, whose HR is `scale` times its LR."""
    height, width = (min(a, b // scale) for a, b in zip(lr.shape[:2], hr.shape[:2], strict=True))
    large = images.crop(hr, 0, 0, width * scale, height * scale)
    return images.crop(lr, 0, 0, width, height), large


def require_pair(lr: np.ndarray, hr: np.ndarray, scale: int, file: str) -> None:
    """Raise ImageError, naming `file`, unless both, (H, W, 3) uint8, show the same at `scale`."""
    expected = tuple(side * scale for side in lr.shape[:2])
    if hr.shape[:2] != expected:
        found = f"{hr.shape[1]}x{hr.shape[0]}"
        wanted = f"{expected[1]}x{expected[0]}"
        near = nearly_same(expected, hr.shape[:2], scale)
        hint = "; --modcrop cuts both to what fits" if near else ""
        raise ImageError(f"is {found}, expected x{scale} of its LR: {wanted}{hint}", file)
    problem = misalignment(lr, hr, scale)
    if problem:
        raise ImageError(problem, file)


Pictures = tuple[np.ndarray, np.ndarray | None]
"""LR and HR of one image as a set wants them, (H, W, 3) uint8."""


def write_pairs(
    folder: Path, made: Iterable[tuple[str, Callable[[], Pictures]]], total: int, progress: Advance
) -> tuple[list[dict[str, Any]], Refusals]:
    """Write pictures as PNGs into `lr` and `hr` below `folder`.

    Args:
        made: ids, and what makes the pictures of each or raises ImageError.

    Returns:
        Entries for a manifest, and (id, reason) of what cannot be used.
    """
    entries: list[dict[str, Any]] = []
    refused: Refusals = []
    for done, (image_id, make) in enumerate(made, start=1):
        try:
            pictures = dict(zip(("lr", "hr"), make(), strict=True))
        except ImageError as error:
            refused.append((printable(image_id), error.reason))
        else:
            entry: dict[str, Any] = {"id": image_id, "hr": None}
            for side, rgb in pictures.items():
                if rgb is not None:
                    path = folder / side / f"{slug(image_id)}.png"
                    images.write_png(path, rgb)
                    entry[side] = file_entry(path, rgb)
            entries.append(entry)
        progress(done, total)
    return entries, refused
