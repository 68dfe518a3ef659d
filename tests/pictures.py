"""Synthetic pictures, and files that are not what they seem."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from bench.files.images import write_png
from bench.store.images import ImageStore


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


def icc_profile(name: str, gamma: float, primaries: dict[str, tuple[float, ...]]) -> bytes:
    """A small ICC profile: of RGB with the XYZ of its primaries (D50), of grey without any."""

    def number(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(values: tuple[float, ...]) -> bytes:
        return b"XYZ " + bytes(4) + b"".join(map(number, values))

    text = name.encode() + b"\0"
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": xyz((0.9642, 1.0, 0.8249)),
        **{f"{channel}XYZ".encode(): xyz(values) for channel, values in primaries.items()},
        **{f"{channel}TRC".encode(): curve for channel in primaries or "k"},
    }
    table, data = b"", b""
    for tag, content in tags.items():
        table += tag + struct.pack(">II", 132 + 12 * len(tags) + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    body = struct.pack(">I", len(tags)) + table + data
    kind = b"RGB " if primaries else b"GRAY"
    head = struct.pack(">I4sI4s4s4s", 128 + len(body), b"", 0x02400000, b"mntr", kind, b"XYZ ")
    middle = bytes(12) + b"acsp" + bytes(28) + b"".join(map(number, (0.9642, 1.0, 0.8249)))
    return (head + middle).ljust(128, b"\0") + body


ADOBE = icc_profile(
    "Adobe RGB (1998)",
    2.2,
    {
        "r": (0.60974, 0.31111, 0.01947),
        "g": (0.20528, 0.62567, 0.06087),
        "b": (0.14919, 0.06322, 0.74457),
    },
)
DOT_GAIN = icc_profile("Dot Gain", 1.6, {})


def put(store: ImageStore, image_id: str = "x", shade: int = 0, **extra: float) -> None:
    """Keep a small grey image under the key "k"."""
    write_png(store.file_for("k", image_id), np.full((2, 2, 3), shade, np.uint8))
    store.record("k", image_id, extra)
