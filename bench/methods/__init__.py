"""Methods by name, and how a method's own repository is installed."""

from __future__ import annotations

from pathlib import Path

from bench.base.errors import Unavailable
from bench.base.text import printable
from bench.files import own_code


class UserMethod:
    """A Python file of the user's that defines `upscale(lr, *, scale, seeds)`.

    The identity of stored images names it as it is called here.
    """

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        self.upscale = getattr(own_code.load(weights), "upscale", None)
        if not callable(self.upscale):
            raise Unavailable(
                f"{printable(weights)}: expected a function upscale(lr, *, scale, seeds), "
                "found none"
            )
