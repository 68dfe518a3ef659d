"""Do two people have the same test set: manifests that travel, and what differs between two."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.base.cards import read_text
from bench.base.errors import DataError
from bench.base.progress import Advance, several_at_once, silent
from bench.base.text import printable
from bench.base.types import ImagePair, Manifest
from bench.data import find as data
from bench.data.manifest import content_sha256, describe, file_entry
from bench.files import images

LOCAL = ("path", "sha256", "size", "mtime_ns")
"""What a manifest says of files on one machine only; pixels are the same on all."""


def portable(manifest: Manifest, progress: Advance = silent) -> dict[str, Any]:
    """A manifest without anything of this machine, every image decoded and hashed afresh."""
    entries = several_at_once(_entry, manifest.pairs, progress)
    refused = [(Path(name).name, reason) for name, reason in manifest.refused]
    recipe = {} if "files" in manifest.recipe else manifest.recipe  # a folder's is its files here
    return describe(manifest.dataset, manifest.scale, entries, refused, recipe)


def _entry(pair: ImagePair) -> dict[str, Any]:
    entry: dict[str, Any] = {"id": pair.id, "hr": None}
    for name, path in (("lr", pair.lr), ("hr", pair.hr)):
        if path is not None:
            said = file_entry(path, images.read_rgb(path))
            entry[name] = {key: value for key, value in said.items() if key not in LOCAL}
    if pair.group:
        entry["group"] = pair.group
    return entry


def verify(
    name: str, scale: int, root: Path, against: Path | None, progress: Advance
) -> tuple[dict[str, Any], list[str]]:
    """Hash a dataset's images afresh: the portable manifest, and a line for each difference from
    one that is given. DataError: it cannot be made here, or `against` (see `read`) is no manifest;
    then nothing was hashed."""
    theirs = read(against) if against else None
    manifest = data.find(name, scale).manifest(root, progress)
    found = portable(manifest, progress)
    differences = []
    if found["sha256"] != manifest.sha256:
        differences.append(f"{name}: the images are not those that its manifest describes")
    return found, differences + (compare(found, theirs) if theirs else [])


def read(path: Path) -> dict[str, Any]:
    """A manifest from a file; CardError where that cannot be read, DataError where it is none."""
    try:
        found = dict(json.loads(read_text(path, 2**28)))
        whole = found["sha256"] == content_sha256(found["scale"], found["pairs"])
        _sides(found)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{printable(path)}: is no manifest; make one with --out") from error
    if not whole:
        raise DataError(
            f"{printable(path)}: its hash is not that of its images; it was changed, get it anew"
        )
    return found


def compare(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """One line for each thing in which two manifests differ; [] when the pixels are the same."""
    if ours["sha256"] == theirs["sha256"]:
        return []
    lines = []
    if ours["scale"] != theirs["scale"]:
        lines.append(f"scale: x{ours['scale']} here, x{theirs['scale']} there")
    left, right = _sides(ours), _sides(theirs)
    lines += [f"{printable(i)}: only here" for i in sorted(left.keys() - right.keys())]
    lines += [f"{printable(i)}: only there" for i in sorted(right.keys() - left.keys())]
    for image_id in sorted(left.keys() & right.keys()):
        for side in ("lr", "hr"):
            if left[image_id][side] != right[image_id][side]:
                lines.append(f"{printable(image_id)}: another {side.upper()} image")
    if ours.get("recipe") and theirs.get("recipe") and ours["recipe"] != theirs["recipe"]:
        keys = ours["recipe"].keys() | theirs["recipe"].keys()
        changed = [k for k in sorted(keys) if ours["recipe"].get(k) != theirs["recipe"].get(k)]
        lines.append(f"recipe: differs in {', '.join(changed)}")
    return lines


def _sides(manifest: Mapping[str, Any]) -> dict[str, dict[str, str | None]]:
    """id -> side -> hash of the pixels."""
    return {
        pair["id"]: {side: pair[side] and pair[side]["pixels_sha256"] for side in ("lr", "hr")}
        for pair in manifest["pairs"]
    }
