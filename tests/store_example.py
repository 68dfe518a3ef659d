"""A small run's store, and ways to damage it."""

import os
from pathlib import Path

import pytest
from pictures import photo

from bench.data.manifest import describe, file_entry, write_manifest
from bench.files import images


def keep_stamp(path: Path, content: bytes) -> None:
    """Other content under the old size and time."""
    stamp = path.stat()
    assert len(content) == stamp.st_size and content != path.read_bytes()
    path.write_bytes(content)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


def flipped(content: bytes, at: int = -20) -> bytes:
    """With one bit of the byte at `at` turned over."""
    at %= len(content)
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("manifest")
    entries = []
    for index in range(2):
        image = folder / "lr" / f"{index}.png"
        images.write_png(image, photo(8, 8, index))
        entries.append({"id": str(index), "lr": file_entry(image, photo(8, 8, index)), "hr": None})
    path = folder / "manifest.json"
    write_manifest(path, describe("d", 4, entries, [("x", "is empty")], {"crop": 8}))
    return path
