"""Synthetic pictures, and files that are not what they seem."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """(H, W, 3) uint8: smooth colours with edges and a little texture, unlike noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    waves = [np.sin(2 * np.pi * (a * x + b * y + c)) for a, b, c in rng.uniform(0, 5, (3, 3))]
    picture = np.stack(waves, axis=-1) * 70 + 128
    picture[(x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.06] += 50
    picture += rng.normal(0, 4, picture.shape)
    return picture.clip(0, 255).astype(np.uint8)


def hostile_files(folder: Path) -> dict[str, str]:
    """Write files that cannot be used as images; file name -> a word of the reason expected."""
    good = Image.fromarray(photo(64, 64))
    expected = {}

    def bad(name: str, word: str) -> Path:
        expected[name] = word
        return folder / name

    whole = io.BytesIO()
    good.save(whole, "PNG")
    bad("truncated.png", "truncated").write_bytes(whole.getvalue()[:-3000])
    bad("zero.png", "empty").write_bytes(b"")
    bad("text.png", "not an image").write_text("hello, I am no picture\n")
    deep = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    Image.fromarray(deep).save(bad("grey16.png", "16 bits"))
    bad("rgb16.png", "16 bits").write_bytes(_png_rgb16())
    good.convert("CMYK").save(bad("cmyk.jpg", "CMYK"))
    palette = good.convert("P")
    palette.save(bad("palette-alpha.png", "transparent"), transparency=palette.getpixel((3, 3)))
    translucent = good.convert("RGBA")
    translucent.putalpha(128)
    translucent.save(bad("translucent.png", "transparent"))
    frames = [Image.fromarray(photo(64, 64, seed)) for seed in range(3)]
    frames[0].save(bad("moving.gif", "3 frames"), save_all=True, append_images=frames[1:])
    frames[0].save(bad("moving.png", "3 frames"), save_all=True, append_images=frames[1:])
    bad("folder.png", "not a file").mkdir()
    bad("broken-link.png", "link").symlink_to(folder / "nowhere")
    return expected


def not_read_in_folders(folder: Path) -> dict[str, str]:
    """The hostile files but for the one whose suffix a folder of images may not hold."""
    expected = hostile_files(folder)
    (folder / "moving.gif").unlink()
    return {name: word for name, word in expected.items() if name != "moving.gif"}


def _png_rgb16() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 64, 64, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + bytes(64 * 6) for _ in range(64))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


ODD_NAMES = (
    "with space",
    "qu'ote\"s",
    "new\nline",
    "ünïcödé 図",
    "up..%2F..",
    "<script>alert(1)<",
    "-rf",
)
