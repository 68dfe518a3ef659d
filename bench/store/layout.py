"""What is on disk by which version, and the way from an older one."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np

from bench.base.records import write_atomic
from bench.data.manifest import read_manifest, write_manifest
from bench.files.record_log import rewrite, sealed, whole_lines
from bench.store.scores import with_digest
from bench.store.upkeep import KINDS, Use, write_use

LAYOUT_VERSION = 2


def to_layout_2(root: Path) -> None:
    """Give lines, manifests and feature files their checksums; nothing is computed again.

    Each file is replaced whole and by the same bytes whoever does it, so that this may be killed,
    or done by many processes at once. What is damaged stays as it is, to be found where it is read.
    """
    for path in [*root.glob("images/*/*/records/*.jsonl"), *root.glob("scores/*/*.jsonl")]:
        lines = whole_lines(path)
        with_checks = [_sealed(line) for line in lines]
        if with_checks != lines:
            rewrite(path, with_checks)
    for path in root.glob("features/*/*.npy"):
        content = path.read_bytes()
        if _is_bare(content):
            write_atomic(path, with_digest(content))
    manifests = {path: read_manifest(path) for path in root.glob("datasets/*/manifest.json")}
    for path, description in manifests.items():
        if description is not None:
            write_manifest(path, description)
    found = (root.glob(f"{kind}/{pattern}") for kind, pattern in KINDS.items())
    names = [path.relative_to(root).as_posix() for paths in found for path in paths]
    names += [description["sha256"] for description in manifests.values() if description]
    write_use(root, Use(by={"by": "a version before"}, parts=sorted(names)))


def _is_bare(content: bytes) -> bool:
    """Whether this is a whole file of NumPy's with nothing behind it."""
    stream = io.BytesIO(content)
    try:
        np.load(stream, allow_pickle=False)
    except (ValueError, EOFError):
        return False
    return stream.tell() == len(content)


def _sealed(line: bytes) -> bytes:
    """The line with a checksum, unless it has one or is no record."""
    if line.startswith(b'{"check"'):
        return line
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return line
    return sealed(record).rstrip(b"\n") if isinstance(record, dict) and record else line
