"""A method in one Python file of the user's."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from bench.base.errors import Unavailable
from bench.base.text import printable
from bench.methods import siblings


class UserMethod:
    """A Python file of the user's that defines `upscale(lr, *, scale, seeds)`."""

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        file = weights
        spec = importlib.util.spec_from_file_location(file.stem, file)
        if spec is None or spec.loader is None:
            raise Unavailable(f"{printable(file)}: cannot be loaded as a Python file")
        siblings.make_importable(file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if not callable(getattr(module, "upscale", None)):
            raise Unavailable(
                f"{printable(file)}: expected a function upscale(lr, *, scale, seeds), found none"
            )
        self.upscale = module.upscale
