"""Images whose data end early, without a mark of damage: Pillow takes the rest as black or grey."""

import io
from pathlib import Path

from PIL import Image

_GREY = (128, (128, 128, 128))
_MORE = b"\x55" * 64  # decoded where a JPEG is not done, passed over where it is


def ends_early(path: Path, image: Image.Image) -> bool:
    """Whether data are missing at the end; `image` is the file, decoded. Only where the end of the
    picture looks like it is the file decoded again."""
    right, bottom = image.size
    if image.format == "PNG":
        last_row = image.crop((0, bottom - 1, right, bottom))
        if "interlace" in image.info or last_row.getbbox() is None:
            with Image.open(path, formats=["PNG"]) as again:
                again.im = Image.new(again.mode, again.size, 1).im  # what is left out stays so
                return again.tobytes() != image.tobytes()
    if image.format == "JPEG" and image.getpixel((right - 1, bottom - 1)) in _GREY:
        start, end, rest = path.read_bytes().rpartition(b"\xff\xd9")
        with Image.open(io.BytesIO(start + _MORE + end + rest), formats=["JPEG"]) as again:
            return again.tobytes() != image.tobytes()
    return False
