"""Which images of a set come from one photograph: crops, patches and bursts are not independent."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path

from bench.base.errors import DataError
from bench.base.text import printable
from bench.base.types import Manifest

FILE = "groups.csv"
HEADER = ["image", "group"]


def by_pattern(manifest: Manifest, pattern: str) -> Manifest:
    """Give each image the group that the first parentheses of `pattern` hold of its id.

    An image whose id the pattern does not match is its own; without a pattern nothing changes.
    """
    if not pattern:
        return manifest
    found = {pair.id: re.fullmatch(pattern, pair.id) for pair in manifest.pairs}
    return _with(manifest, {image: match[1] for image, match in found.items() if match})


def by_file(manifest: Manifest, path: Path) -> Manifest:
    """Give each image the group that a table ``image,group`` names, where there is one.

    Raises:
        DataError: the table cannot be read, has other columns, or leaves out an image.
    """
    if not path.is_file():
        return manifest
    try:
        header, *rows = csv.reader(path.read_text(encoding="utf-8-sig").splitlines())
        groups = {image: group for image, group in rows if group} if header == HEADER else None
    except (OSError, ValueError, csv.Error):
        groups = None
    if groups is None:
        raise DataError(f"{printable(path)}: expected rows of two columns, {','.join(HEADER)}")
    left = [pair.id for pair in manifest.pairs if pair.id not in groups]
    if left:
        raise DataError(
            f"{printable(path)}: has no group for image '{printable(left[0])}' "
            f"({len(left)} of {len(manifest.pairs)} left out); give each image one, its own name "
            "where it stands alone"
        )
    return _with(manifest, groups)


def _with(manifest: Manifest, groups: dict[str, str]) -> Manifest:
    pairs = tuple(replace(pair, group=groups.get(pair.id, pair.group)) for pair in manifest.pairs)
    return replace(manifest, pairs=pairs)
