"""Files inside a Qt resource archive (.rcc), in which some programs carry photographs."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

MAGIC = b"qres"
FOLDER, ZLIB, ZSTD = 2, 1, 4
DEEPEST = 32


def read_file(archive: bytes, path: str) -> bytes:
    """One file, "a/b/c.webp", of an archive's content.

    Raises:
        KeyError: no such file.
        ValueError: no archive, a damaged one, or a compression other than zlib.
    """
    try:
        return _Archive(archive).read(path.strip("/").split("/"))
    except (struct.error, IndexError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"damaged Qt resource archive: {error}") from error


class _Archive:
    def __init__(self, content: bytes) -> None:
        if content[:4] != MAGIC:
            raise ValueError("expected a Qt resource archive, found another file")
        version, self.tree, self.data, self.names = struct.unpack(">IIII", content[4:20])
        self.content, self.entry_size = content, 14 if version < 2 else 22

    def read(self, parts: list[str]) -> bytes:
        number = 0
        if len(parts) > DEEPEST:
            raise KeyError("/".join(parts))
        for part in parts:
            number = next((n for n in self._children(number) if self._name(n) == part), -1)
            if number < 0:
                raise KeyError("/".join(parts))
        return self._payload(number)

    def _entry(self, number: int) -> bytes:
        start = self.tree + number * self.entry_size
        return self.content[start : start + self.entry_size]

    def _name(self, number: int) -> str:
        (offset,) = struct.unpack(">I", self._entry(number)[:4])
        start = self.names + offset
        (length,) = struct.unpack(">H", self.content[start : start + 2])
        return self.content[start + 6 : start + 6 + 2 * length].decode("utf-16-be")

    def _flags(self, number: int) -> int:
        return int(struct.unpack(">H", self._entry(number)[4:6])[0])

    def _children(self, number: int) -> Iterator[int]:
        if not self._flags(number) & FOLDER:
            return iter(())
        count, first = struct.unpack(">II", self._entry(number)[6:14])
        return iter(range(first, first + count))

    def _payload(self, number: int) -> bytes:
        flags = self._flags(number)
        if flags & (FOLDER | ZSTD):
            raise ValueError("expected a file stored plainly or by zlib")
        (offset,) = struct.unpack(">I", self._entry(number)[10:14])
        start = self.data + offset
        (length,) = struct.unpack(">I", self.content[start : start + 4])
        payload = self.content[start + 4 : start + 4 + length]
        # A compressed file begins with its size, which zlib does not need.
        return zlib.decompress(payload[4:]) if flags & ZLIB else payload
