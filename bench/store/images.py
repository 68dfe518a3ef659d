"""SR images in the store, and the records that say which files they are and what they cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import FiniteFloat

from bench.base.hashing import is_same_file
from bench.base.text import slug
from bench.files.images import file_sha256
from bench.files.record_log import Line, RecordLog


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


@dataclass(frozen=True)
class StoredImage:
    """An SR image in the store; `sha256` is the hash of the file's bytes."""

    path: Path
    sha256: str
    record: ImageLine


class ImageStore:
    """The SR images of one method on one dataset."""

    def __init__(self, folder: Path, records: Path | None = None) -> None:
        self.folder = folder
        # Beside people's images there may be records of versions that knew no checksums.
        self._log = RecordLog(
            records or folder / "records", ImageLine, unsealed=records is not None
        )
        self._records: dict[str, list[ImageLine]] = {}
        for record in self._log:
            self._records.setdefault(record.key, []).append(record)

    def get(self, key: str, image_id: str) -> StoredImage | None:
        """The image of `key`, if it is there and its file is, by size and time, the recorded one;
        bytes are held against the record when it is scored and by `bench.store.upkeep`."""
        for known in self._records.get(key, ()):  # more than one where it was made again
            path = self._place_of(known, image_id)
            if path and is_same_file(path, known.size, known.mtime_ns, known.sha256):
                return StoredImage(path, known.sha256, known)
        return None

    def _place_of(self, known: ImageLine, image_id: str) -> Path | None:
        """Where its file is; images of one content are one file, whatever their names."""
        return self.folder / Path(known.file).name

    def file_for(self, key: str, image_id: str) -> Path:
        return self.folder / f"{slug(image_id)}-{key[:12]}.png"

    def record(self, key: str, image_id: str, extra: Mapping[str, Any]) -> None:
        """Record a file that was written to `file_for(key, image_id)`; so a kill loses nothing."""
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
        known = self._records.get(key, ())
        self._records[key] = [ImageLine.model_validate(record), *known]

    def close(self) -> None:
        self._log.close()
