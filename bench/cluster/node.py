"""On a machine of the cluster: a task comes with what it reads and goes with what it wrote."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from tempfile import gettempdir

from bench.base import leftovers
from bench.cluster.parcels import packed, placed, unpacked
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
        leftovers.sweep(place)  # what processes before this one left when they were killed
        self.root = str(leftovers.temporary(place, "unpacking"))
        os.mkdir(self.root, 0o700)
        os.makedirs(placed(cwd, self.root))
        os.chdir(placed(cwd, self.root))
        self.known = [name for name in files if os.path.isabs(name)]
        for name, content in files.items():
            self._put(name, content)

    def do(self, parcel: bytes, files: Files, writes: list[str]) -> tuple[bytes, Files]:
        """Do what is packed, (function, task), which reads `files`; gives (whether it was done,
        result or error), packed, and what it wrote."""
        given = [self._put(name, content) for name, content in files.items()]
        answer = answered(lambda: unpacked(parcel, self.known, self.root))
        made = {name: Path(placed(name, self.root)) for name in writes}
        contents = {name: path.read_bytes() for name, path in made.items() if path.is_file()}
        for path in (*given, *made.values()):
            path.unlink(missing_ok=True)
        return packed(answer, [self.root], self.root), contents

    def close(self) -> None:
        """Remove all files, before the process is killed."""
        os.chdir(os.sep)
        leftovers.remove(Path(self.root))

    def _put(self, name: str, content: bytes) -> Path:
        place = Path(placed(name, self.root))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        return place
