"""The card of an archive: where it is published and what it must hash to."""

from __future__ import annotations

from pydantic import Field

from bench.base.cards import Card, Natural
from bench.base.types import FileName


class Archive(Card):
    """A file (zip or tar) or folder that a test set is published as.

    Attributes:
        name: of the file in the cache; of a folder where it has no suffix.
        url: address; "" where it can only be got by hand, from `page`.
        mirrors: other addresses of the same bytes.
        page: where a person finds it.
        size: bytes.
        sha256: of the file; where nobody states it, the one first seen is recorded and checked
            ever after.
    """

    name: FileName
    url: str = ""
    mirrors: list[str] = Field(default_factory=list)
    page: str = ""
    size: Natural = 0
    sha256: str = ""
