"""What can be chosen of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import NamedTuple, TypeVar

from bench.base.errors import BenchError
from bench.base.text import printable
from bench.cluster.connection import LOCAL

Item = TypeVar("Item")
IMAGE_TIMEOUT = 1800


class Shard(NamedTuple):
    """The `part`-th of `parts` parts of every dataset, from 1."""

    part: int = 1
    parts: int = 1

    def of(self, items: Sequence[Item]) -> list[Item]:
        return list(items)[self.part - 1 :: self.parts]


@dataclass(frozen=True)
class RunOptions:
    """What the command line can choose; BenchError for a number that is out of range.

    Attributes:
        workers: processes; None means one per core on a CPU.
        seed: instead of the suite's.
        limit: only the first images of every dataset.
        apart: no method runs in this process, as one of the user's never does.
        sr_name: how SR images of a folder are named, with `{stem}` for the HR image's stem.
        recursive: look for images in the subfolders of a folder too.
        modcrop: cut images whose sides are less than a scale off to what fits their HR image.
        image_timeout: seconds after which an image is given up, where a method has a process of its
            own.
        on: whose processes work: "local" for this machine's, "ray" or "ray://HEAD:PORT".
    """

    store: Path
    device: str = "cpu"
    workers: int | None = None
    shard: Shard = Shard()  # noqa: RUF009
    seed: int | None = None
    limit: int | None = None
    scale: int = 4
    apart: bool = False
    image_timeout: int = IMAGE_TIMEOUT
    sr_name: str = ""
    modcrop: bool = False
    recursive: bool = False
    on: str = LOCAL

    def __post_init__(self) -> None:
        for name, least in {"workers": 1, "seed": 0, "limit": 1, "scale": 1}.items():
            given = getattr(self, name)
            if given is not None and not (isinstance(given, Integral) and int(given) >= least):
                found = f"expected a whole number from {least} on, found {printable(repr(given))}"
                raise BenchError(f"{name}: {found}")

    @property
    def datasets(self) -> Path:
        """Where test sets are kept."""
        return self.store / "datasets"
