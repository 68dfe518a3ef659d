"""Files that are there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path, place: Path | None = None) -> Iterator[Path]:
    """A file to write to, which takes the place of `path` once the block is done.

    Args:
        path: may be there already; its folder is made if needed.
        place: folder on the same disk where the file lies until then; that of `path` if None.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = (place or path.parent) / f".{path.name}.{os.getpid()}.part"
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
