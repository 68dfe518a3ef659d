"""Images whose data end early, without a mark of damage: Pillow takes the rest as black or grey."""

import io
import re
from pathlib import Path

from PIL import Image

_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_END = b"\xff\xd9"
# Decoded where a JPEG is not done, passed over where it is; the marks restart one that has such.
_MORE = b"".join(b"\x55" * 64 + bytes([0xFF, 0xD0 + restart]) for restart in range(8))
_ZEROS = 64
"""So many, at the end of compressed data, were never written: a download that was cut."""


def ends_early(path: Path, image: Image.Image) -> bool:
    """Whether data are missing at the end; `image` is the file, decoded. SyntaxError for a PNG
    that is not what its checksums say."""
    if image.format == "PNG":
        return _png_ends_early(path, image)
    data = path.read_bytes()
    if image.format in ("JPEG", "MPO"):
        end, missing = _scans(data)
        return any(missing.values()) or (
            bool(missing) and _differs(image, data[:end] + _MORE + _END)
        )
    if image.format in ("WEBP", "AVIF"):
        zeros = len(data) - len(data.rstrip(b"\0"))
        return zeros >= _ZEROS and _differs(image, data[:-zeros] + b"\x55" * zeros)
    return False


def _png_ends_early(path: Path, image: Image.Image) -> bool:
    """Only where the last row is black, or what comes last is spread, is it decoded again."""
    with Image.open(path, formats=["PNG"]) as again:
        again.verify()
    right, bottom = image.size
    last_row = image.crop((0, bottom - 1, right, bottom))
    if "interlace" not in image.info and last_row.getbbox() is not None:
        return False
    with Image.open(path, formats=["PNG"]) as again:
        again.im = Image.new(again.mode, again.size, 1).im  # what is left out stays so
        return again.tobytes() != image.tobytes()


def _scans(data: bytes) -> tuple[int, dict[int, set[int]]]:
    """Where the scans of a JPEG end, and each component's coefficients whose last bit none of them
    gives; no components where it is coded arithmetically, which may leave out what is zero."""
    missing: dict[int, set[int]] = {}
    position = 2
    while (marker := _MARKER.search(data, position)) and marker[0] != _END:
        position = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2])
        body = data[marker.end() + 2 : position]
        if b"\xc0" <= marker[1] <= b"\xc2":
            missing = {component: set(range(64)) for component in body[6::3]}
        elif marker[1] == b"\xda" and body[-1] & 0xF == 0:
            for component in missing.keys() & set(body[1:-3:2]):
                missing[component] -= set(range(body[-3], body[-2] + 1))
    return marker.start() if marker else len(data), missing


def _differs(image: Image.Image, data: bytes) -> bool:
    with Image.open(io.BytesIO(data), formats=["JPEG", "WEBP", "AVIF"]) as again:
        return again.tobytes() != image.tobytes()
