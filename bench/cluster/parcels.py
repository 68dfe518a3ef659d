"""How tasks and answers travel: pickled, but for paths, which a node has below its own root."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any


def packed(value: Any, known: Iterable[str], root: str = "") -> bytes:
    """A value on its way, with all paths as the driver has them; `known` is what texts hold a path
    by: a file of the driver's, or the node's root."""

    class Packer(pickle.Pickler):
        def persistent_id(self, value: Any) -> tuple[bool, bytes] | None:
            if isinstance(value, PurePath):
                return True, os.fsencode(sent_as(value))
            holds = type(value) is str and any(path in value for path in known)
            return (False, os.fsencode(value.replace(root, ""))) if holds else None

    stream = io.BytesIO()
    Packer(stream).dump(value)
    return stream.getvalue()


def unpacked(parcel: bytes, known: Iterable[str] = (), root: str = "") -> Any:
    """What was packed, with all paths as they are here."""

    class Unpacker(pickle.Unpickler):
        def persistent_load(self, found: tuple[bool, bytes]) -> Any:
            is_path, text = found[0], os.fsdecode(found[1])
            for path in () if is_path else known:
                text = text.replace(path, root + path)
            return Path(placed(text, root)) if is_path else text

    return Unpacker(io.BytesIO(parcel)).load()


def sent_as(path: PurePath) -> str:
    """What a path of the driver's is called; none leads up out of its folder."""
    return os.path.abspath(path) if ".." in path.parts else str(path)


def placed(path: str, root: str) -> str:
    """Where a node has a path of the driver's; its working folder is the driver's, below `root`."""
    return root + path if os.path.isabs(path) else path
