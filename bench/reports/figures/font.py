"""The font of pictures and plots, which matplotlib brings along."""

from __future__ import annotations

from functools import cache
from pathlib import Path


def in_font(name: str) -> str:
    """`name` with the numbers of characters in place of those that the font does not have."""
    known = _characters()
    return "".join(char if ord(char) in known else f"U+{ord(char):04X}" for char in name)


@cache
def _characters() -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(font_file())).get_charmap())


def font_file() -> Path:
    """DejaVu Sans."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
