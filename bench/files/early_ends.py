"""Images whose data end early, without a mark of damage: Pillow takes the rest as black or grey."""

import io
import re
from pathlib import Path

from PIL import Image

_MARKER = re.compile(rb"\xff\xff*([^\x00\xd0-\xd7\xff])")
_END = b"\xff\xd9"
# Decoded where a JPEG is not done, passed over where it is; the marks restart one that has such.
_MORE = b"".join(b"\x55" * 64 + bytes([0xFF, 0xD0 + restart]) for restart in range(8))
_HIGHEST = 65500
"""Rows that a decoder takes."""
_ZEROS = 64
"""So many, at the end of compressed data, were never written: a download that was cut."""


def ends_early(path: Path, image: Image.Image) -> bool:
    """Whether data are missing at the end; `image` is the file, decoded. SyntaxError for a PNG
    that is not what its checksums say."""
    if image.format == "PNG":
        return _png_ends_early(path, image)
    data = path.read_bytes()
    if image.format in ("JPEG", "MPO"):
        end, missing, frame = _scans(data)
        if any(missing.values()) or not missing:
            return bool(missing)
        data = data[:end]
        return (not frame or _runs_out(data, frame)) and _differs(image, data + _MORE + _END)
    if image.format in ("AVIF", "HEIF"):  # whole WebPs of flat regions end in as many
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


def _scans(data: bytes) -> tuple[int, dict[int, set[int]], int]:
    """Where the scans of a JPEG end; each component's coefficients whose last bit none of them
    gives; where the frame's header lies if it is a baseline JPEG of one scan, else 0. No components
    where it is coded arithmetically, which may leave out what is zero."""
    missing: dict[int, set[int]] = {}
    position, frame, progressive = 2, 0, False
    while (marker := _MARKER.search(data, position)) and marker[1] != _END[1:]:
        position = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2])
        body = data[marker.end() + 2 : position]
        if b"\xc0" <= marker[1] <= b"\xc2":
            missing = {component: set(range(64)) for component in body[6::3]}
            progressive = marker[1] == b"\xc2"
            frame = 0 if progressive else marker.end() + 2
        elif marker[1] == b"\xda":
            frame *= body[0] == len(missing)
            first, last, bits = body[-3:] if progressive else (0, 63, 0)  # else they mean nothing
            for component in missing.keys() & set(body[1:-3:2]) if bits & 0xF == 0 else ():
                missing[component] -= set(range(first, last + 1))
    return marker.start() if marker else len(data), missing, frame


def _runs_out(data: bytes, frame: int) -> bool:
    """Whether a JPEG's data may run out before its end, for a third of the work of decoding it: of
    a row of blocks more, which is not there, the first is grey if those before took all."""
    height, count = int.from_bytes(data[frame + 1 : frame + 3]), data[frame + 5]
    factors = data[frame + 7 : frame + 6 + 3 * count : 3]
    of_row = 8 * max(each & 0xF for each in factors) if count > 1 else 8
    taller = -(-height // of_row) * of_row + 1
    if taller > _HIGHEST:
        return True
    data = data[: frame + 1] + taller.to_bytes(2) + data[frame + 3 :] + _END
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as more:
        more.draft("L", (1, 1))
        return more.getpixel((0, more.height - 1)) == 128


def _differs(image: Image.Image, data: bytes) -> bool:
    with Image.open(io.BytesIO(data), formats=["JPEG", image.format or ""]) as again:
        return again.tobytes() != image.tobytes()
