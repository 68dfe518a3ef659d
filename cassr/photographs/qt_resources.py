"""Files inside a Qt resource archive (.rcc), in which some programs carry photographs."""

import struct
import zlib

MAGIC = b"qres"
FOLDER, ZLIB, ZSTD = 2, 1, 4


def read_file(archive: bytes, path: str) -> bytes:
    """One file, "a/b/c.webp", of an archive's content.

    Raises:
        KeyError: no such file.
        ValueError: no archive, a damaged one, or a compression other than zlib.
    """
    if archive[:4] != MAGIC:
        raise ValueError("expected a Qt resource archive, found another file")
    try:
        return _payload(archive, path.strip("/").split("/"))
    except (struct.error, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"damaged Qt resource archive: {error}") from error


def _payload(archive: bytes, parts: list[str]) -> bytes:
    """What lies at a path: a tree of entries, which point to names and to data."""
    version, tree, data, names = struct.unpack_from(">IIII", archive, 4)
    size = 14 if version < 2 else 22

    def entry(number: int) -> tuple[int, int, bytes]:
        """Where its name is, its flags, and the rest."""
        return struct.unpack_from(">IH8s", archive, tree + number * size)

    def name(number: int) -> str:
        start = names + entry(number)[0]
        (length,) = struct.unpack_from(">H", archive, start)
        return archive[start + 6 : start + 6 + 2 * length].decode("utf-16-be")

    number = 0
    for part in parts:
        _, flags, rest = entry(number)
        count, first = struct.unpack(">II", rest) if flags & FOLDER else (0, 0)
        number = next((n for n in range(first, first + count) if name(n) == part), -1)
        if number < 0:
            raise KeyError("/".join(parts))
    _, flags, rest = entry(number)
    if flags & (FOLDER | ZSTD):
        raise ValueError("expected a file stored plainly or by zlib")
    start = data + struct.unpack_from(">I", rest, 4)[0]
    (length,) = struct.unpack_from(">I", archive, start)
    payload = archive[start + 4 : start + 4 + length]
    # A compressed file begins with its size, which zlib does not need.
    return zlib.decompress(payload[4:]) if flags & ZLIB else payload
