"""Training pairs: photographs -> random crops -> LR-HR pairs (section 4.1).

Sample i of a run depends on the run's seed and on i alone, so resuming is starting at another i.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import chain, count
from typing import Any

import cv2
import numpy as np
import PIL.Image
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from cassr.base.errors import TrainingError, UnreadableImage
from cassr.config import PairSettings, TrainingSettings
from cassr.degradation import PRESETS, Pixels, degrade
from cassr.photographs.read import Photographs, Stream, decode_cell

Sample = dict[str, Any]
AHEAD = 4
"""Batches that each worker makes ahead."""
LONGEST_DAMAGED_RUN = 1000
"""A stream with so many unusable rows one after the other is given up."""


def stream_seed(seed: int, use: str) -> int:
    """Where one use of a run's randomness starts, in [0, 2**64): the same on every machine.

    Of training alone: a test set's images have the harness's own seeds, by their names.
    """
    content = f"{seed}\0{use}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")


@dataclass(frozen=True)
class Recipe(PairSettings):
    """Settings of pairs that can be made, and what each sample draws."""

    def __post_init__(self) -> None:
        if self.crop < self.scale or self.crop % self.scale:
            raise TrainingError(f"crop={self.crop}: expected a multiple of {self.scale}")
        if unknown := sorted(set(self.degradations) - set(PRESETS)):
            raise TrainingError(f"degradation {unknown[0]!r}: expected {', '.join(PRESETS)}")
        if not self.degradations:
            raise TrainingError(f"degradation: expected one of {', '.join(PRESETS)}, found none")
        if not self.shrink >= 1:
            raise TrainingError(f"shrink={self.shrink}: expected at least 1")

    def seed_of(self, index: int, purpose: str) -> int:
        """An integer in [0, 2**63) for one use of one sample."""
        return stream_seed(self.seed, f"{purpose}/{index}") >> 1


def recipe_of(settings: TrainingSettings) -> Recipe:
    """The part of a stage's settings that makes its pairs."""
    names = [field.name for field in fields(Recipe)]
    return Recipe(**{name: getattr(settings, name) for name in names})


def make_sample(pixels: Pixels, recipe: Recipe, index: int, name: str) -> Sample:
    """Sample number `index` of a run, from the photograph (H, W, 3) uint8 called `name`.

    Returns:
        hr: (3, crop, crop) uint8; lr: (3, crop/scale, crop/scale) uint8; seed: of its noise.

    Raises:
        UnreadableImage: the photograph is smaller than a crop.
    """
    draw = np.random.Generator(np.random.PCG64(recipe.seed_of(index, "crop")))
    drawn = [_crop(pixels, recipe, draw, name) for _ in range(recipe.tries)]
    hr = max(drawn, key=_detail)
    preset = recipe.degradations[recipe.seed_of(index, "preset") % len(recipe.degradations)]
    seed = recipe.seed_of(index, "degradation")
    lr = degrade(hr, seed=seed, scale=recipe.scale, preset=preset, exact=False)
    return {
        "hr": _planes(hr),
        "lr": _planes(lr),
        "seed": recipe.seed_of(index, "noise"),
        "index": index,
        "skipped": [],
    }


def _detail(pixels: Pixels) -> float:
    """Mean absolute difference of neighbours."""
    green = pixels[..., 1].astype(np.int16)
    return float(np.abs(np.diff(green, axis=0)).mean() + np.abs(np.diff(green, axis=1)).mean())


def _planes(pixels: Pixels) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def _crop(pixels: Pixels, recipe: Recipe, draw: np.random.Generator, name: str) -> Pixels:
    """A random square, reduced, flipped and turned: (crop, crop, 3) uint8."""
    height, width = pixels.shape[:2]
    if min(height, width) < recipe.crop:
        raise UnreadableImage(
            name, f"expected sides of at least {recipe.crop} pixels, found {width}x{height}"
        )
    factor = draw.uniform(1.0, max(1.0, min(recipe.shrink, min(height, width) / recipe.crop)))
    side = min(round(recipe.crop * factor), height, width)
    top = int(draw.integers(height - side + 1))
    left = int(draw.integers(width - side + 1))
    square = pixels[top : top + side, left : left + side]
    if side != recipe.crop:
        image = PIL.Image.fromarray(np.ascontiguousarray(square))
        size = (recipe.crop, recipe.crop)
        square = np.array(image.resize(size, PIL.Image.Resampling.LANCZOS))
    if draw.random() < 0.5:
        square = square[:, ::-1]
    if recipe.rotate:
        square = np.rot90(square, int(draw.integers(4)))
    return np.ascontiguousarray(square)


class TrainingPairs(Dataset):
    """Samples by number, from photographs that can be read by number.

    Every epoch takes the photographs in another order. A photograph that cannot be used is skipped
    for the one after it and named in the sample's "skipped".

    Args:
        size: number of different pairs; sample i then has pair i modulo size, with its own noise.
            None: every sample has its own pair.
    """

    def __init__(self, photographs: Photographs, recipe: Recipe, size: int | None = None) -> None:
        self.photographs, self.recipe, self.size = photographs, recipe, size
        self._last: tuple[int, Pixels | None] = (-1, None)

    def __getitem__(self, index: int) -> Sample:
        """See `make_sample`. Raises TrainingError: no photograph can be used."""
        number = index if self.size is None else index % self.size
        skipped: list[tuple[str, str]] = []
        for chosen in self._candidates(number):
            name = self.photographs[chosen].name
            try:
                sample = make_sample(self._read(chosen), self.recipe, number, name)
            except UnreadableImage as error:
                skipped.append((error.name, error.reason))
                continue
            noise = self.recipe.seed_of(index, "noise")
            return sample | {"skipped": skipped, "index": index, "seed": noise}
        raise _unusable(f"none of {len(self.photographs)} photographs", *skipped[0])

    def photograph(self, index: int) -> int:
        """Number of the photograph that a sample is cut from, unless that is skipped."""
        return next(self._candidates(index if self.size is None else index % self.size))

    def _candidates(self, number: int) -> Iterator[int]:
        epoch, place = divmod(number, len(self.photographs))
        order = _order(len(self.photographs), self.recipe.seed, epoch)
        yield from (int(chosen) for chosen in np.roll(order, -place))

    def _read(self, chosen: int) -> Pixels:
        number, pixels = self._last
        if pixels is None or number != chosen:
            pixels = self.photographs[chosen].read()
            self._last = chosen, pixels
        return pixels


@lru_cache(maxsize=4)
def _order(length: int, seed: int, epoch: int) -> np.ndarray:
    generator = np.random.Generator(np.random.PCG64(stream_seed(seed, f"order/{epoch}")))
    return generator.permutation(length)


@dataclass(frozen=True)
class Share:
    """Which samples a process takes, and in what order.

    Step s takes samples [s*G, (s+1)*G) of the run, where G = batch * processes * accumulation, so
    two processes see together what one sees with twice the batch.

    Attributes:
        batch: samples of one forward pass, of which `accumulation` make a step.
        process, processes: this process, and how many there are.
    """

    batch: int
    accumulation: int = 1
    process: int = 0
    processes: int = 1

    @property
    def step(self) -> int:
        """G: samples of all processes in one step."""
        return self.batch * self.accumulation * self.processes

    def batches(self, first_step: int) -> Iterator[list[int]]:
        """Sample numbers of this process's batches from a step on, without end."""
        whole = self.batch * self.processes
        for number in count(first_step * self.accumulation):
            start = number * whole + self.process * self.batch
            yield list(range(start, start + self.batch))


class StreamedPairs(IterableDataset):
    """Samples from a stream: sample i is made from row i, or the next one that can be used.

    Only the rows of this process are decoded; the others are passed over. One row may serve several
    samples where the rows between are damaged.
    """

    def __init__(self, stream: Stream, recipe: Recipe, share: Share, first_step: int) -> None:
        self.stream, self.recipe, self.share, self.first_step = stream, recipe, share, first_step

    def __iter__(self) -> Iterator[Sample | TrainingError]:
        """An error comes in place of the last sample: see `_Told`."""
        try:
            yield from self._samples()
        except TrainingError as error:
            yield error

    def _samples(self) -> Iterator[Sample]:
        indices = chain.from_iterable(self.share.batches(self.first_step))
        skipped, index = [], next(indices)
        rows = enumerate(self.stream.cells(index), index)
        number, (name, cell) = next(rows)
        while True:
            while number < index:
                number, (name, cell) = next(rows)
            try:
                sample = make_sample(decode_cell(cell, name), self.recipe, index, name)
            except UnreadableImage as error:
                skipped.append((error.name, error.reason))
                if len(skipped) == LONGEST_DAMAGED_RUN:
                    raise _unusable(
                        f"{self.stream.label}: none of {len(skipped)} rows", *skipped[0]
                    ) from error
                number, (name, cell) = next(rows)
                continue
            yield sample | {"skipped": skipped}
            skipped, index = [], next(indices)


def _unusable(none: str, name: str, reason: str) -> TrainingError:
    return TrainingError(f"{none} can be used; the first: {name}: {reason}")


class _Told(Dataset):
    """Samples by number, or the error in place of one.

    An error that a worker raises comes with that process's traceback in its text; one that it
    hands over comes as it is.
    """

    def __init__(self, pairs: Dataset) -> None:
        self.pairs = pairs

    def __getitem__(self, index: int) -> Sample | TrainingError:
        try:
            return self.pairs[index]
        except TrainingError as error:
            return error


def collate(samples: Sequence[Any]) -> Any:
    """A batch: tensors stacked, 8-bit pixels as float32 in [0, 1]; or an error in place of one."""
    for sample in samples:
        if isinstance(sample, TrainingError):
            return sample
    batch: Sample = {"skipped": [pair for sample in samples for pair in sample["skipped"]]}
    for name in samples[0]:
        if name == "skipped":
            continue
        values = [sample[name] for sample in samples]
        stacked = torch.stack(values) if isinstance(values[0], Tensor) else torch.tensor(values)
        batch[name] = stacked.float() / 255 if stacked.dtype == torch.uint8 else stacked
    return batch


def scale_of(batch: Sample) -> int:
    """HR side / LR side."""
    return int(batch["hr"].shape[2] // batch["lr"].shape[2])


def loader(
    pairs: Dataset | Stream,
    recipe: Recipe,
    share: Share,
    *,
    first_step: int = 0,
    workers: int = 0,
    pin_memory: bool = False,
) -> Iterator[Sample]:
    """Batches of this process from a step on, without end.

    Args:
        pairs: `TrainingPairs`, `cassr.training.samples.prepared.PreparedSamples`, or a stream.
        workers: processes that read, decode and degrade; one at most for a stream, whose order
            is its own.

    Raises:
        TrainingError: no photograph can be used.
    """
    workers = min(workers, 1) if isinstance(pairs, Stream) else workers
    kept: dict[str, Any] = {
        "num_workers": workers,
        "collate_fn": collate,
        "pin_memory": pin_memory,
        "worker_init_fn": one_thread,
        "persistent_workers": workers > 0,
        "prefetch_factor": AHEAD if workers else None,
    }
    if isinstance(pairs, Stream):
        streamed = StreamedPairs(pairs, recipe, share, first_step)
        batches = DataLoader(streamed, batch_size=share.batch, **kept)
    else:
        batches = DataLoader(_Told(pairs), batch_sampler=share.batches(first_step), **kept)
    for batch in batches:
        if isinstance(batch, TrainingError):
            raise batch
        yield batch


def one_thread(worker: int) -> None:
    """Of a worker process: others have the other cores, and OpenCV's threads survive no fork."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
