"""The folder of everything computed: content-addressed, atomic, resumable, shardable; what lies
where is in docs/store.md."""

import io
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, RootModel

from bench.base.errors import CannotWrite, StoreError
from bench.base.hashing import json_sha256
from bench.base.records import read_as, read_or_why, write_atomic
from bench.base.text import printable, slug
from bench.data.manifest import read_manifest, write_manifest
from bench.files.record_log import rewrite, sealed, whole_lines
from bench.store.images import ImageStore
from bench.store.scores import FeatureStore, ScoreStore, with_digest
from bench.store.upkeep import Use, parts, write_use

LAYOUT_VERSION = 2


class _Marker(BaseModel):
    """What says that a folder is a store, of a layout that is known."""

    layout: Literal[1, 2]


class Store:
    """The folder; StoreError where it cannot be made or was written by an incompatible version."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._used: set[str] = set()
        marker = root / "store.json"
        try:
            root.mkdir(parents=True, exist_ok=True)
            known = marker.exists()
        except OSError as error:
            raise StoreError(
                f"--store {printable(root)}: cannot be made ({error.strerror}); choose another"
            ) from error
        if not known:
            _write_marker(root)
        found = read_or_why(marker, _Marker)
        if not isinstance(found, _Marker):
            raise StoreError(
                f"{printable(marker)}: is not the marker of a store of layout {LAYOUT_VERSION} "
                f"({found or 'it is gone'}); choose another --store"
            )
        if found.layout == 1:
            to_layout_2(root)
            _write_marker(root)

    def images(self, method: str, fingerprint: Mapping[str, Any], dataset: str) -> ImageStore:
        return ImageStore(self._folder("images", method, fingerprint, slug(dataset)))

    def scores(self, metric: str, fingerprint: Mapping[str, Any]) -> ScoreStore:
        return ScoreStore(self._folder("scores", metric, fingerprint), fingerprint)

    def fingerprints(self, metric: str) -> list[dict[str, Any]]:
        """Those that scores of a metric are kept by, whatever device and versions they name."""
        markers = sorted((self.root / "scores").glob(f"{slug(metric)}-*/fingerprint.json"))
        found = [read_as(marker, RootModel[dict[str, Any]]) for marker in markers]
        return [known.root for known in found if known and known.root.get("metric") == metric]

    def features(self, fingerprint: Mapping[str, Any]) -> FeatureStore:
        return FeatureStore(self._folder("features", "", fingerprint))

    def _folder(
        self, kind: str, name: str, fingerprint: Mapping[str, Any], below: str = ""
    ) -> Path:
        short = json_sha256(fingerprint)[:12]
        folder = Path(kind, f"{slug(name)}-{short}" if name else short, below)
        self._used.add(folder.as_posix())
        return self.root / folder

    def note_use(self, by: Mapping[str, Any], manifests: Iterable[str]) -> None:
        """Note what was asked for and `by` what, as plain JSON (a suite with its options, say),
        with the hashes of test sets; that replaces what the same noted before."""
        with suppress(CannotWrite):  # a store that may only be read serves all the same
            write_use(self.root, Use(by=dict(by), parts=sorted({*self._used, *manifests})))


def _write_marker(root: Path) -> None:
    write_atomic(root / "store.json", json.dumps({"layout": LAYOUT_VERSION}) + "\n")


# -- the way from an older layout ----------------------------------------------------------------


def to_layout_2(root: Path) -> None:
    """Give lines, manifests and feature files their checksums; nothing is computed again.

    Each file is replaced whole and by the same bytes whoever does it, so that this may be killed,
    or done by many processes at once. What is damaged stays as it is, to be found where it is read.
    """
    for path in [*root.glob("images/*/*/records/*.jsonl"), *root.glob("scores/*/*.jsonl")]:
        lines = whole_lines(path)
        with_checks = [_sealed(line) for line in lines]
        if with_checks != lines:
            rewrite(path, with_checks)
    for path in root.glob("features/*/*.npy"):
        content = path.read_bytes()
        if _is_bare(content):
            write_atomic(path, with_digest(content))
    manifests = {path: read_manifest(path) for path in root.glob("datasets/*/manifest.json")}
    for path, description in manifests.items():
        if description is not None:
            write_manifest(path, description)
    names = [part.name for part in parts(root)]
    names += [description["sha256"] for description in manifests.values() if description]
    write_use(root, Use(by={"by": "a version before"}, parts=sorted(names)))


def _is_bare(content: bytes) -> bool:
    """Whether this is a whole file of NumPy's with nothing behind it."""
    stream = io.BytesIO(content)
    try:
        np.load(stream, allow_pickle=False)
    except (ValueError, EOFError):
        return False
    return stream.tell() == len(content)


def _sealed(line: bytes) -> bytes:
    """The line with a checksum, unless it has one or is no record."""
    if line.startswith(b'{"check"'):
        return line
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return line
    return sealed(record).rstrip(b"\n") if isinstance(record, dict) and record else line
