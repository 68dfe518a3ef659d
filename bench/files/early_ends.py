"""Images whose data end before the picture does, without a mark of damage.

Pillow takes what is left out as black (PNG) or grey (JPEG).
"""

import io
from pathlib import Path

from PIL import Image

_LEFT_OUT = (128, (128, 128, 128))
"""What a decoder of JPEG sets for blocks that are not there."""
_MORE = b"\x55" * 64
"""Any data: decoded where the picture is not done, passed over where it is."""


def ends_early(path: Path, image: Image.Image) -> bool:
    """Whether data are missing at the end; `image` is the file, decoded. Only where the end of the
    picture looks like it is the file decoded again."""
    last = image.width - 1, image.height - 1
    if image.format == "PNG":
        is_black = image.crop((0, last[1], image.width, image.height)).getbbox() is None
        return (is_black or "interlace" in image.info) and _leaves_pixels(path, image)
    return image.format == "JPEG" and image.getpixel(last) in _LEFT_OUT and _takes_more(path, image)


def _leaves_pixels(path: Path, image: Image.Image) -> bool:
    """Whether pixels that were not black before the file is decoded stay so."""
    with Image.open(path, formats=["PNG"]) as again:
        again.im = Image.new(again.mode, again.size, 1).im
        return again.tobytes() != image.tobytes()


def _takes_more(path: Path, image: Image.Image) -> bool:
    start, end, rest = path.read_bytes().rpartition(b"\xff\xd9")
    with Image.open(io.BytesIO(start + _MORE + end + rest), formats=["JPEG"]) as again:
        return again.tobytes() != image.tobytes()
