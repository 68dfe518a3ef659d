"""Images whose data end before the picture does, without a mark of damage.

Pillow takes what is left out as black (PNG) or grey (JPEG).
"""

import io
import struct
import zlib
from pathlib import Path

from PIL import Image

_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))
_ADAM7 += ((0, 1, 1, 2),)
"""First column and row, and the steps to the next, of the passes of an interlaced PNG."""
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_LEFT_OUT = (128, (128, 128, 128))
"""What a decoder of JPEG sets for blocks that are not there."""
_END = b"\xff\xd9"
_MORE = b"\x55" * 64
"""Any data: read where the picture is not done, passed over where it is."""


def ends_early(path: Path, image: Image.Image) -> bool:
    """Whether data are missing at the end; `image` is the file, decoded. Only where the end of the
    picture looks like it are they counted."""
    last = image.width - 1, image.height - 1
    if image.format == "PNG":
        is_black = image.crop((0, last[1], image.width, image.height)).getbbox() is None
        return (is_black or bool(image.info.get("interlace"))) and _is_short_png(path.read_bytes())
    return image.format == "JPEG" and image.getpixel(last) in _LEFT_OUT and _is_short_jpeg(path)


def _is_short_png(data: bytes) -> bool:
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    packed, at = [], 8
    while at + 8 <= len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        if kind == b"IDAT":
            packed.append(data[at + 8 : at + 8 + size])
        at += size + 12
    expected = 0
    for left, top, right, down in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // right), -(-(height - top) // down)
        row = 1 + (columns * _CHANNELS[colour] * bits + 7) // 8
        expected += row * rows if columns > 0 else 0
    return len(zlib.decompressobj().decompress(b"".join(packed), expected)) < expected


def _is_short_jpeg(path: Path) -> bool:
    """Whether more data before the end would change the picture."""
    start, end, rest = path.read_bytes().rpartition(_END)
    pictures = []
    for more in (b"", _MORE):
        with Image.open(io.BytesIO(start + more + end + rest), formats=["JPEG"]) as image:
            pictures.append(image.tobytes())
    return pictures[0] != pictures[1]
