"""Training pairs by number, in batches, from photographs or streams.

Sample i of a run depends on the run's seed and on i alone, so resuming is starting at another i.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, count
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from cassr.base.errors import TrainingError, UnreadableImage
from cassr.base.told import Told
from cassr.degradation import Pixels
from cassr.photographs.read import Photographs, Stream, decode_cell
from cassr.training.samples.recipe import Recipe, Sample, make_sample, stream_seed

AHEAD = 4
"""Batches that each worker makes ahead."""
LONGEST_DAMAGED_RUN = 1000
"""A stream with so many unusable rows one after the other is given up."""


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
    two processes see together what one sees with twice the batch. `accumulation` forward passes of
    `batch` samples make a step.
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

    Only the rows of this process are decoded; one may serve several samples where rows are damaged.
    """

    def __init__(self, stream: Stream, recipe: Recipe, share: Share, first_step: int) -> None:
        self.stream, self.recipe, self.share, self.first_step = stream, recipe, share, first_step

    def __iter__(self) -> Iterator[Sample | TrainingError]:
        """An error comes in place of the last sample, as of `Told`."""
        try:
            yield from self._samples()
        except TrainingError as error:
            yield error

    def _samples(self) -> Iterator[Sample]:
        indices = chain.from_iterable(self.share.batches(self.first_step))
        skipped, index = [], next(indices)
        for number, (name, cell) in enumerate(self.stream.cells(index), index):
            while index <= number:
                try:
                    sample = make_sample(decode_cell(cell, name), self.recipe, index, name)
                except UnreadableImage as error:
                    skipped.append((error.name, error.reason))
                    break
                yield sample | {"skipped": skipped}
                skipped, index = [], next(indices)
            if len(skipped) == LONGEST_DAMAGED_RUN:
                raise _unusable(f"{self.stream.label}: none of {len(skipped)} rows", *skipped[0])


def _unusable(none: str, name: str, reason: str) -> TrainingError:
    return TrainingError(f"{none} can be used; the first: {name}: {reason}")


def collate(samples: Sequence[Any]) -> Any:
    """A batch: tensors stacked, 8-bit pixels as float32 in [0, 1]; or an error in place of one."""
    for sample in samples:
        if isinstance(sample, TrainingError):
            return sample
    columns = {name: [sample[name] for sample in samples] for name in samples[0]}
    batch: Sample = {"skipped": [pair for each in columns.pop("skipped") for pair in each]}
    for name, values in columns.items():
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

    `pairs` are `TrainingPairs`, `PreparedSamples` or a stream; `workers` are processes that read,
    decode and degrade, one at most for a stream. Raises TrainingError: no photograph can be used.
    """
    workers = min(workers, 1) if isinstance(pairs, Stream) else workers
    kept: dict[str, Any] = {
        "num_workers": workers,
        "collate_fn": collate,
        "pin_memory": pin_memory,
        "persistent_workers": workers > 0,
        "prefetch_factor": AHEAD if workers else None,
    }
    if isinstance(pairs, Stream):
        streamed = StreamedPairs(pairs, recipe, share, first_step)
        batches = DataLoader(streamed, batch_size=share.batch, **kept)
    else:
        batches = DataLoader(
            Told(pairs.__getitem__), batch_sampler=share.batches(first_step), **kept
        )
    for batch in batches:
        if isinstance(batch, TrainingError):
            raise batch
        yield batch
