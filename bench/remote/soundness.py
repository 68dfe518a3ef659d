"""What can be told of a file without a published hash: whether it is whole and of its kind."""

from __future__ import annotations

import re
import zipfile
from collections import deque
from pathlib import Path

from bench.base.errors import DataError
from bench.base.text import printable
from bench.remote import archives

_PICKLES = (".pth", ".pt", ".ckpt", ".pkl", ".bin")
_ARCHIVES = re.compile(r".*\.(zip|npz|tar|tgz|tar\.\w+)", re.IGNORECASE)
_SHOWN = 80
_HEAD = 512


def text_in(path: Path) -> str:
    """The beginning of a file that is text, for people: an error's page, say; "" for any other."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    try:
        text = head.decode().strip()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # no letter that was cut in two
            return ""
        text = head[: error.start].decode().strip()
    if not text or any(ord(c) < 32 and c not in "\t\r\n\f" for c in text):
        return ""
    kind = "a web page" if re.match(r"(?i)<(!doctype )?html", text) else "text"
    return f"{kind} ('{printable(text[:_SHOWN])}')"


def damage(path: Path, name: str) -> str:
    """Why a file cannot be what its name says, read to its end where that tells; "" if it can."""
    if not path.stat().st_size:
        return "is empty"
    if text := text_in(path):
        return f"is {text}"
    if _ARCHIVES.fullmatch(name):
        return _damaged_archive(path)
    if name.lower().endswith(".safetensors"):
        return _damaged_tensors(path)
    return _damaged_pickle(path) if name.lower().endswith(_PICKLES) else ""


def _damaged_archive(path: Path) -> str:
    try:
        deque(archives.members(path, limit=None), maxlen=0)
    except DataError as error:
        return str(error).removeprefix(f"{printable(path)}: ")
    return ""


def _damaged_tensors(path: Path) -> str:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            return ""
    except SafetensorError as error:
        return f"is no whole .safetensors file ({printable(error)})"


def _damaged_pickle(path: Path) -> str:
    """torch's files are zips, whose directory comes last, or bare pickles."""
    with path.open("rb") as file:
        start = file.read(2)
    if start == b"PK":
        return "" if zipfile.is_zipfile(path) else "is cut short"
    return "" if start[:1] == b"\x80" else "is no file of weights"
