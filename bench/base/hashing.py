"""Hashes that name content, and the seeds that follow from names."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def file_sha256(path: Path) -> str:
    """Hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_same_file(path: Path, size: int, mtime_ns: int, sha256: str) -> bool:
    """Whether a file is the one that was seen: by size and time, or else by its content."""
    try:
        stat = path.stat()
        same = (stat.st_size, stat.st_mtime_ns) == (size, mtime_ns)
        return same or (path.is_file() and file_sha256(path) == sha256)
    except (OSError, ValueError):  # it is not there, or no file can have that name
        return False


def state_sha256(path: Path) -> str:
    """Hash that changes with a name, size or time of change of a file, or of a folder's files."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    stats = ((os.fsencode(file.relative_to(path)).hex(), file.stat()) for file in files)
    return json_sha256([[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats])


def json_sha256(value: Any) -> str:
    """Hash of a JSON value; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def set_sha256(hashes: Iterable[str]) -> str:
    """Hash of a set of images, whatever their order."""
    return json_sha256(sorted(hashes))


def derive_seed(seed: int, image_id: str) -> int:
    """The seed of one image, in [0, 2**63): the same in every order, batch and shard."""
    digest = hashlib.sha256(f"{seed}\0{image_id}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") >> 1
