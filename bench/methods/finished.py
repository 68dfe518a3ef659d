"""Folders of finished images: `folder:PATH[@NAME]`, taken apart and read."""

from collections.abc import Mapping
from pathlib import Path

from bench.base.errors import ImageError
from bench.files.image_folders import image_files, subfolders
from bench.files.images import by_stem
from bench.files.names import STEM

DATASET = "{dataset}"
"""Stands for a dataset's name in the path of a folder of finished images."""


def folder_and_naming(path: str) -> tuple[str, str]:
    """ "out/{stem}_x4" -> "out", "{stem}_x4"; a folder alone has no naming."""
    return (str(Path(path).parent), Path(path).name) if STEM in path else (path, "")


def path_and_title(given: str) -> tuple[str, str]:
    """What stands before and behind the last @, unless that is part of a folder's name."""
    path, at, title = given.rpartition("@")
    if not at or Path(given).is_dir() or DATASET in title:
        folder, _ = folder_and_naming(given)
        return given, Path(folder.replace(DATASET, "")).resolve().name
    return path, title


def images_of(folder: str) -> Mapping[str, Path]:
    files, clashes = by_stem(image_files(Path(folder)))
    strange = [*clashes, *subfolders(Path(folder))]
    if strange:
        raise ImageError(strange[0][1], strange[0][0])
    return files
