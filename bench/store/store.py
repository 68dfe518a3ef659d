"""The folder of everything computed: content-addressed, atomic, resumable, shardable; what lies
where is in docs/store.md."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import RootModel

from bench.base.errors import CannotWrite, StoreError
from bench.base.hashing import json_sha256
from bench.base.records import read_as, write_atomic
from bench.base.text import printable, slug
from bench.store.images import ImageStore
from bench.store.layout import LAYOUT_VERSION, to_layout_2
from bench.store.scores import FeatureStore, ScoreStore
from bench.store.upkeep import Use, write_use


class Store:
    """The folder; StoreError where it cannot be made or was written by an incompatible version."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._used: set[str] = set()
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"--store {printable(root)}: cannot be made ({error.strerror}); choose another"
            ) from error
        if self._layout() == 1:
            to_layout_2(root)
            _write_marker(root)

    def _layout(self) -> int:
        marker = self.root / "store.json"
        if not marker.exists():
            _write_marker(self.root)
        try:
            found = json.loads(marker.read_text(encoding="utf-8"))["layout"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise StoreError(
                f"{printable(marker)}: is not a store's marker; choose another --store"
            ) from error
        if found not in (1, LAYOUT_VERSION):
            raise StoreError(
                f"{printable(self.root)}: store layout {found}, expected {LAYOUT_VERSION}; "
                "choose another --store"
            )
        return int(found)

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
