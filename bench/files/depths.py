"""Bits of one channel of an image file, as it is stored."""

import re
import struct
from pathlib import Path

from PIL import Image


def bits_per_channel(path: Path, image: Image.Image) -> int:
    """Bits of one channel as stored (Pillow quietly reads deep RGB as 8-bit)."""
    if image.mode.startswith(("I", "F")):
        return 16
    if image.format == "TIFF":
        return int(max(image.tag_v2.get(258, (8,))))  # type: ignore[attr-defined]
    if "bit_depth" in image.info:  # HEIF
        return int(image.info["bit_depth"])
    if not path.is_file():  # opened from memory; what is not decoded yet says how it lies there
        return 16 if ";16" in str(getattr(image, "tile", "")) else 8
    known = _BITS_IN_FILE.get(image.format or "")
    return known(path) if known else 8


def _head(path: Path, length: int) -> bytes:
    with path.open("rb") as file:
        return file.read(length)


def _ppm_bits(path: Path) -> int:
    """From the largest value, the fourth word of the header; bitmaps (P1, P4) have none."""
    words = re.sub(rb"#[^\n]*", b"", _head(path, 4096)).split(maxsplit=4)
    return 8 if words[0] in (b"P1", b"P4") else int(words[3]).bit_length()


def _jpeg2000_bits(path: Path) -> int:
    """From the codestream's SIZ marker: the number of components, three bytes for each."""
    data = path.read_bytes()
    start = data.index(b"\xff\x4f\xff\x51") + 40
    (count,) = struct.unpack(">H", data[start : start + 2])
    return max((depth & 0x7F) + 1 for depth in data[start + 2 : start + 2 + 3 * count : 3])


def _avif_bits(path: Path) -> int:
    """From the configuration of each coded picture: 10 and 12 bits have a flag each."""
    configurations = path.read_bytes().split(b"av1C")[1:]
    return 16 if any(found[2] & 0x60 for found in configurations) else 8


def _jxl_bits(path: Path) -> int:
    """From the start of the codestream: 8 or, for any more, 16; ValueError for an animation."""
    found = re.search(rb"(?s)(?:\A|jxlc|jxlp[\0\x80]\0{3})\xff\x0a(.{1,32})", path.read_bytes())
    bits = "".join(f"{byte:08b}"[::-1] for byte in found[1]) if found else ""
    header = _JXL_HEADER.match(bits)
    if header and "1" in (header["moving"] or ""):
        raise ValueError("is animated or holds a preview; one still image is expected")
    return 8 if header and header["depth"] in (None, "000") else 16


_SIDE = "(?:00.{9}|10.{13}|01.{18}|11.{30})"
_SIZE = f"(?:1.{{5}}(?:000.{{5}}|(?!000)...)|0{_SIDE}(?:000{_SIDE}|(?!000)...))"
_JXL_HEADER = re.compile(f"{_SIZE}(?:1|0(?:0|1...(?:0|1{_SIZE})(?P<moving>..))(?P<depth>...))")
"""Bits, the lowest first: sizes; 1 where all else is usual; orientation and more; kind of depth."""
_BITS_IN_FILE = {"PNG": lambda path: _head(path, 25)[24], "PPM": _ppm_bits}
_BITS_IN_FILE |= {"JPEG2000": _jpeg2000_bits, "AVIF": _avif_bits, "JXL": _jxl_bits}
