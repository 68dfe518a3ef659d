"""SR images and scores on disk: content-addressed, atomic, resumable, shardable.

::

    STORE/images/METHOD-FINGERPRINT/DATASET/IMAGE-KEY.png   and records/*.jsonl beside it
    STORE/scores/METRIC-FINGERPRINT/*.jsonl
    STORE/features/FINGERPRINT/SHA256.npy
    STORE/datasets/DATASET-RECIPE/                          see bench.data.find
"""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import FiniteFloat

from bench.base.errors import DataError, StoreError
from bench.base.hashing import json_sha256
from bench.base.records import Line, RecordLog, write_atomic
from bench.base.text import printable, slug
from bench.files.images import file_sha256, write_png

LAYOUT_VERSION = 1
ScoreKey = tuple[str, str | None]
"""(hash of the SR file, hash of the HR file or None); of a whole set for set metrics."""


class ImageLine(Line):
    """What is recorded of an SR image: what it cost where that was measured (see `Cost`), and how
    its program wrote it where that may have cost pixels ("JPEG", "grey")."""

    key: str
    id: str
    file: str
    sha256: str
    size: int
    mtime_ns: int
    lossy: str = ""
    seconds: FiniteFloat | None = None
    first: FiniteFloat | None = None
    pixels: int | None = None
    peak_bytes: int | None = None
    device: str = ""
    machine: str = ""
    threads: int | None = None


class ScoreLine(Line):
    """A score of the image(s) `sr`, compared with `hr` where the metric compares."""

    sr: str
    hr: str | None
    value: FiniteFloat


@dataclass(frozen=True)
class StoredImage:
    """An SR image in the store; `sha256` is the hash of the file's bytes."""

    path: Path
    sha256: str
    record: ImageLine


class Store:
    """The folder that holds everything already computed.

    Raises:
        StoreError: the folder cannot be made or was written by an incompatible version.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"--store {printable(root)}: cannot be made ({error.strerror}); choose another"
            ) from error
        self._check_version()

    def _check_version(self) -> None:
        marker = self.root / "store.json"
        if not marker.exists():
            write_atomic(marker, json.dumps({"layout": LAYOUT_VERSION}) + "\n")
            return
        try:
            found = json.loads(marker.read_text())["layout"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise StoreError(
                f"{printable(marker)}: is not a store's marker; choose another --store"
            ) from error
        if found != LAYOUT_VERSION:
            raise StoreError(
                f"{printable(self.root)}: store layout {found}, expected {LAYOUT_VERSION}; "
                "choose another --store"
            )

    def images(self, method: str, fingerprint: Mapping[str, Any], dataset: str) -> ImageStore:
        short = json_sha256(fingerprint)[:12]
        return ImageStore(self.root / "images" / f"{slug(method)}-{short}" / slug(dataset))

    def scores(self, metric: str, fingerprint: Mapping[str, Any]) -> ScoreStore:
        short = json_sha256(fingerprint)[:12]
        return ScoreStore(self.root / "scores" / f"{slug(metric)}-{short}", fingerprint)

    def features(self, fingerprint: Mapping[str, Any]) -> FeatureStore:
        short = json_sha256(fingerprint)[:12]
        return FeatureStore(self.root / "features" / short)


class ImageStore:
    """The SR images of one method on one dataset."""

    def __init__(self, folder: Path, records: Path | None = None) -> None:
        self.folder = folder
        self._log = RecordLog(records or folder / "records", ImageLine)
        self._records = {record.key: record for record in self._log}

    def get(self, key: str) -> StoredImage | None:
        """The image of `key`, if it is there and its file is the one that was recorded."""
        record = self._records.get(key)
        if record is None:
            return None
        path = self.folder / Path(record.file).name
        try:
            stat = path.stat()
            same = (stat.st_size, stat.st_mtime_ns) == (record.size, record.mtime_ns)
            if same or file_sha256(path) == record.sha256:
                return StoredImage(path, record.sha256, record)
        except (OSError, ValueError):
            return None
        return None

    def file_for(self, key: str, image_id: str) -> Path:
        return self.folder / f"{slug(image_id)}-{key[:12]}.png"

    def put(self, key: str, image_id: str, rgb: np.ndarray, extra: Mapping[str, Any]) -> None:
        """Write (H, W, 3) uint8 and then its record (in this order, so a kill loses nothing)."""
        path = self.file_for(key, image_id)
        write_png(path, rgb)
        self.record(key, image_id, extra)

    def record(self, key: str, image_id: str, extra: Mapping[str, Any]) -> None:
        """Record a file that was already written to `file_for(key, image_id)`."""
        path = self.file_for(key, image_id)
        stat = path.stat()
        record = {
            **extra,
            "key": key,
            "id": image_id,
            "file": path.name,
            "sha256": file_sha256(path),
            "size": stat.st_size,
            "mtime_ns": stat.st_mtime_ns,
        }
        self._log.append(record)
        self._records[key] = ImageLine.model_validate(record)

    def close(self) -> None:
        self._log.close()


class ScoreStore:
    """The scores of one metric: (SR hash, HR hash) -> value."""

    def __init__(self, folder: Path, fingerprint: Mapping[str, Any]) -> None:
        self.folder = folder
        self.fingerprint = fingerprint
        self._log = RecordLog(folder, ScoreLine)
        self._values: dict[ScoreKey, float] = {(r.sr, r.hr): r.value for r in self._log}

    def get(self, key: ScoreKey) -> float | None:
        return self._values.get(key)

    def put(self, key: ScoreKey, value: float, extra: Mapping[str, Any] | None = None) -> None:
        if key in self._values:
            return
        marker = self.folder / "fingerprint.json"
        if not marker.exists():
            write_atomic(marker, json.dumps(self.fingerprint, indent=1, sort_keys=True) + "\n")
        self._log.append({**(extra or {}), "sr": key[0], "hr": key[1], "value": value})
        self._values[key] = value

    def close(self) -> None:
        self._log.close()


class FeatureStore:
    """Feature vectors of images, float64, one file per image content."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, sha256: str) -> bool:
        """Whether the file is there and as long as its header says; a damaged one is not."""
        try:
            with (self.folder / f"{sha256}.npy").open("rb") as file:
                return os.fstat(file.fileno()).st_size == _npy_size(file.read(NPY_HEADER))
        except OSError:
            return False

    def get(self, sha256: str) -> np.ndarray:
        """The vectors.

        Raises:
            DataError: a value is not finite.
        """
        path = self.folder / f"{sha256}.npy"
        features: np.ndarray = np.load(path, allow_pickle=False)
        if not np.isfinite(features).all():
            raise DataError(f"{printable(path)}: is damaged; delete it and run again")
        return features

    def put(self, sha256: str, features: np.ndarray) -> None:
        buffer = io.BytesIO()
        np.save(buffer, features, allow_pickle=False)
        write_atomic(self.folder / f"{sha256}.npy", buffer.getvalue())


NPY_HEADER = 128
"""Bytes before the values, for arrays of one or two dimensions."""


@lru_cache
def _npy_size(header: bytes) -> int:
    """Size of a file of float64 that begins like this; -1 when it is none."""
    stream = io.BytesIO(header)
    try:
        np.lib.format.read_magic(stream)
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    except ValueError:
        return -1
    return NPY_HEADER + 8 * math.prod(shape) if dtype == np.float64 else -1
