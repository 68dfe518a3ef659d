"""A method in one Python file of the user's."""

from __future__ import annotations

from pathlib import Path

from bench.base.errors import Unavailable
from bench.base.text import printable
from bench.files import own_code


class UserMethod:
    """A Python file of the user's that defines `upscale(lr, *, scale, seeds)`."""

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        module = own_code.load(weights)
        if not callable(getattr(module, "upscale", None)):
            raise Unavailable(
                f"{printable(weights)}: expected a function upscale(lr, *, scale, seeds), "
                "found none"
            )
        self.upscale = module.upscale
