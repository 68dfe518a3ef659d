"""Scores and features in the store, by the content of the images that they are of."""

import hashlib
import io
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import FiniteFloat

from bench.base.errors import DataError
from bench.base.records import write_atomic
from bench.base.text import printable
from bench.files.record_log import Line, RecordLog

ScoreKey = tuple[str, str | None]
"""(hash of the SR file, hash of the HR file or None); of a whole set for set metrics."""


class ScoreLine(Line):
    """A score of image(s) `sr`, compared with `hr` where the metric compares, or its withdrawal."""

    sr: str
    hr: str | None
    value: FiniteFloat | Literal["withdrawn"]


class ScoreStore:
    """The scores of one metric: (SR hash, HR hash) -> value."""

    def __init__(self, folder: Path, fingerprint: Mapping[str, Any]) -> None:
        self.folder = folder
        self.fingerprint = fingerprint
        self._log = RecordLog(folder, ScoreLine)
        lines = (((r.sr, r.hr), r.value) for r in self._log)
        self._values = {key: None if isinstance(v, str) else v for key, v in lines}

    def get(self, key: ScoreKey) -> float | None:
        return self._values.get(key)

    def put(self, key: ScoreKey, value: float | None, **extra: Any) -> None:
        if self.get(key) == value:
            return
        marker = self.folder / "fingerprint.json"
        if not marker.exists():
            write_atomic(marker, json.dumps(self.fingerprint, indent=1, sort_keys=True) + "\n")
        told = "withdrawn" if value is None else value
        self._log.append({**extra, "sr": key[0], "hr": key[1], "value": told})
        self._values[key] = value

    def close(self) -> None:
        self._log.close()


class FeatureStore:
    """Feature vectors of images, float64, one file per image content: NumPy's, with the SHA-256 of
    its bytes behind them, which NumPy does not read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, sha256: str) -> Path:
        return self.folder / f"{sha256}.npy"

    def has(self, sha256: str) -> bool:
        """Whether the file is there and as long as its header says; a damaged one is not."""
        path = self.place(sha256)
        if not path.is_file():
            return False
        try:
            values = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return False
        whole = values.offset + values.nbytes + DIGEST
        return bool(values.dtype == np.float64 and path.stat().st_size == whole)

    def get(self, sha256: str) -> np.ndarray:
        """The vectors; DataError where the file is damaged, which is set aside, so that the next
        run makes it anew."""
        path = self.place(sha256)
        try:
            return read_features(path)
        except DataError as error:
            with suppress(OSError):
                set_aside(path)
            raise DataError(f"{error} and is set aside; run again") from error


def write_features(path: Path, features: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.save(buffer, features, allow_pickle=False)
    write_atomic(path, with_digest(buffer.getvalue()))


def with_digest(npy: bytes) -> bytes:
    return npy + hashlib.sha256(npy).digest()


def read_features(path: Path) -> np.ndarray:
    """The vectors in a file; DataError says how it is damaged."""
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content[:-DIGEST]).digest() != content[-DIGEST:]:
        raise DataError(f"{printable(path)}: is not as it was written")
    try:
        features: np.ndarray = np.load(io.BytesIO(content), allow_pickle=False)
    except ValueError as error:
        raise DataError(f"{printable(path)}: holds no numbers alone") from error
    if features.dtype.kind != "f":
        raise DataError(f"{printable(path)}: holds {features.dtype}, expected floats")
    if not np.isfinite(features).all():
        raise DataError(f"{printable(path)}: holds values that are not finite")
    return features


def set_aside(path: Path) -> None:
    """Rename a damaged file, so that it counts as not there and can still be looked at."""
    path.replace(path.with_name(path.name + DAMAGED))


DAMAGED = ".damaged"
"""Suffix of files that were set aside."""
DIGEST = hashlib.sha256().digest_size
