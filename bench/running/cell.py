"""One method on one dataset: opened once, handed on to what upscales, scores and shows it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.base.hashing import derive_seed, json_sha256
from bench.base.types import ImagePair, Missing
from bench.data.find import Dataset
from bench.files.images import image_sha256
from bench.files.names import Matched
from bench.methods.entry import Entry
from bench.running.options import RunOptions
from bench.running.score import Target
from bench.store.images import ImageLine, ImageStore, StoredImage
from bench.store.store import Store


@dataclass(frozen=True)
class UpscaleTask:
    """One image to upscale and the file to write."""

    method: str
    device: str
    image_id: str
    lr: Path
    scale: int
    seed: int
    key: str
    output: Path

    def reads(self) -> list[Path]:
        return [self.lr]

    def writes(self) -> list[Path]:
        return [self.output]


@dataclass(frozen=True)
class Cell:
    """What is known of a method on a dataset.

    Attributes:
        dataset: name of the dataset; "" for files that are none.
        title: as progress shows it.
        pairs: all of the dataset's.
        images: where the SR images are and are put.
        seed: of the run; each image's follows from it and its id.
        problem: why the method cannot run here; "" when it can.
        failed: image id -> why it could not be upscaled just now.
    """

    entry: Entry
    dataset: str
    title: str
    pairs: Sequence[ImagePair]
    images: ImageStore
    seed: int
    problem: str = ""
    failed: dict[str, str] = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        entry: Entry,
        dataset: Dataset,
        pairs: Sequence[ImagePair],
        store: Store,
        seed: int,
        problem: str = "",
    ) -> "Cell":
        """A method on a dataset, as the store knows it now."""
        images = store.images(entry.card.name, entry.fingerprint(), dataset.name)
        title = f"{entry.card.title} on {dataset.title}"
        return cls(entry, dataset.name, title, pairs, images, seed, problem)

    @cached_property
    def fingerprint(self) -> Mapping[str, Any]:
        return self.entry.fingerprint()

    @cached_property
    def finished(self) -> Matched:
        """The images of a method that is a folder of them."""
        return self.entry.finished(self.dataset, self.pairs)

    def key(self, pair: ImagePair) -> str:
        """The name of an SR image's content; the seed counts only where the method uses it."""
        assert pair.lr_sha256 is not None
        parts = {"method": self.fingerprint, "lr": pair.lr_sha256, "scale": pair.scale}
        if self.entry.card.seeded:
            parts["seed"] = derive_seed(self.seed, pair.id)
        return json_sha256(parts)

    def stored(self, pair: ImagePair) -> StoredImage | None:
        return self.images.get(self.key(pair), pair.id)

    def records(self) -> Iterator[tuple[str, ImageLine]]:
        """What is recorded of each image that was upscaled here, by its id."""
        for pair in self.pairs if self.entry.files is None else ():
            if stored := self.stored(pair):
                yield pair.id, stored.record

    def pending(self, options: RunOptions) -> list[UpscaleTask]:
        """What is to be upscaled in this process's part, and is not there yet."""
        if self.problem or self.entry.files is not None:
            return []
        own, device = options.shard.of(self.pairs), options.device
        return [self._task(pair, device) for pair in own if self.stored(pair) is None]

    def _task(self, pair: ImagePair, device: str) -> UpscaleTask:
        assert pair.lr is not None
        key, seed = self.key(pair), derive_seed(self.seed, pair.id)
        output = self.images.file_for(key, pair.id)
        return UpscaleTask(self.entry.name, device, pair.id, pair.lr, pair.scale, seed, key, output)

    @cached_property
    def targets(self) -> list[Target]:
        """The SR images as they are to be scored, or why there is none; asked for once upscaled."""
        return [self._target(pair) for pair in self.pairs]

    def _target(self, pair: ImagePair) -> Target:
        if self.entry.files is not None:
            sr = self.finished.files.get(pair.id)
            sha256 = image_sha256(sr) if sr else ""
        else:
            stored = self.stored(pair)
            sr, sha256 = (stored.path, stored.sha256) if stored else (None, "")
        missing = None if sr else self._why_missing(pair.id)
        return Target(
            pair.id, sr, sha256, pair.hr, pair.hr_sha256, missing, pair.lr, pair.lr_sha256
        )

    def _why_missing(self, image_id: str) -> Missing:
        if self.entry.files is not None:
            return Missing("absent", f"{self.entry.card.title} has no image of that name")
        if self.problem:
            return Missing("unavailable", self.problem)
        if image_id in self.failed:
            return Missing("failed", self.failed[image_id])
        return Missing("pending", "not upscaled yet")
