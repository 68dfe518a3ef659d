"""On a machine of the cluster: a task comes with what it reads and goes with what it wrote, pickled
but for paths, which a node has below its own root."""

import io
import os
import pickle
import warnings
from collections.abc import Iterable
from pathlib import Path, PurePath
from tempfile import gettempdir
from typing import Any

from bench.base import leftovers
from bench.processes.foreign import gpu_lost
from bench.processes.worker import answered

Files = dict[str, bytes]
"""Contents by the path that the driver has them under."""


class Node:
    """A process, an actor of Ray's, that does one task after the other in what stands for the
    driver's working folder; every task may read `files`."""

    def __init__(self, cwd: str, files: Files, threads: int) -> None:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # read when torch is imported, by a task
        warnings.simplefilter("ignore")  # of third-party networks: nothing a user could act on
        place = Path(gettempdir()).resolve()
        leftovers.sweep(place, ".unpacking-")  # of processes that were killed
        self.root = str(leftovers.temporary(place, "unpacking"))
        os.mkdir(self.root, 0o700)
        os.makedirs(placed(cwd, self.root))
        os.chdir(placed(cwd, self.root))
        self.known = [name for name in files if os.path.isabs(name)]
        for name, content in files.items():
            self._put(name, content)

    def do(self, parcel: bytes, files: Files, writes: list[str]) -> tuple[bytes, Files]:
        """Do what is packed, (function, task), which reads `files`; gives (whether it was done,
        result or error, whether a GPU is lost), packed, and what it wrote."""
        given = [self._put(name, content) for name, content in files.items()]
        answer = answered(lambda: unpacked(parcel, self.known, self.root))
        made = {name: Path(placed(name, self.root)) for name in writes}
        contents = {name: path.read_bytes() for name, path in made.items() if path.is_file()}
        for path in (*given, *made.values()):
            path.unlink(missing_ok=True)
        return packed((*answer, gpu_lost()), [self.root], self.root), contents

    def close(self) -> None:
        """Remove all files, before the process is killed."""
        os.chdir(os.sep)
        leftovers.remove(Path(self.root))

    def _put(self, name: str, content: bytes) -> Path:
        place = Path(placed(name, self.root))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        return place


# -- how tasks and answers travel ----------------------------------------------------------------


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
