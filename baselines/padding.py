"""How official scripts extend an image before their network sees it, and cut large ones to tiles.

Both are data on a method's card, since they change the pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
import torch
from torch import Tensor

PadMode = Literal["flip", "reflect"]


@dataclass(frozen=True)
class Pad:
    """Extend at the right and bottom to a multiple.

    Attributes:
        mode: "flip" repeats the edge pixel (c b a | a b c), "reflect" does not (c b | a b c).
        multiple: both sides become multiples of it.
        always: add a whole multiple where a side is one already (SwinIR, FeMaSR).
    """

    mode: PadMode
    multiple: int
    always: bool = False

    def __post_init__(self) -> None:
        if self.mode not in ("flip", "reflect") or self.multiple < 1:
            raise ValueError(f"pad: expected mode flip or reflect, multiple >= 1, found {self}")

    def __call__(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H', W') with H', W' multiples of `multiple`."""
        rows, columns = (self._indices(side) for side in x.shape[2:])
        return x[:, :, rows.to(x.device)][:, :, :, columns.to(x.device)].contiguous()

    def _indices(self, side: int) -> Tensor:
        target = -(-side // self.multiple) * self.multiple
        if self.always and target == side:
            target += self.multiple
        return mirrored(side, target, repeat_edge=self.mode == "flip")


def mirrored(side: int, target: int, repeat_edge: bool) -> Tensor:
    """Indices into `side` pixels that continue them by mirroring up to `target`, (target,) int64.

    Any target is allowed: the mirror image is itself mirrored where one is not enough.
    """
    mode: Literal["symmetric", "reflect"] = "symmetric" if repeat_edge else "reflect"
    return torch.from_numpy(np.pad(np.arange(side), (0, target - side), mode))


@dataclass(frozen=True)
class Tiles:
    """Cut large images into tiles, each seen with its surroundings.

    Attributes:
        size: side of a tile in LR pixels.
        overlap: LR pixels of surroundings on every side, cut off again.
        above: images of more LR pixels than this are tiled; smaller ones are seen whole.
    """

    size: int
    overlap: int
    above: int = 0

    def __post_init__(self) -> None:
        if self.size < 1 or self.overlap < 0 or self.above < 0:
            raise ValueError(f"tiles: expected size >= 1, overlap and above >= 0, found {self}")

    def needed(self, height: int, width: int) -> bool:
        return height * width > self.above and (height > self.size or width > self.size)

    def __call__(self, x: Tensor, scale: int, run: Callable[[Tensor], Tensor]) -> Tensor:
        """(B, C, H, W) -> (B, C, scale*H, scale*W), tile by tile; `run` does so with each."""
        height, width = x.shape[2:]
        output = x.new_zeros(*x.shape[:2], height * scale, width * scale)
        for top, left in product(range(0, height, self.size), range(0, width, self.size)):
            rows, columns = min(self.size, height - top), min(self.size, width - left)
            above, before = max(top - self.overlap, 0), max(left - self.overlap, 0)
            below, behind = top + rows + self.overlap, left + columns + self.overlap
            tile = run(x[..., above:below, before:behind])
            _box(output, top, left, rows, columns, scale).copy_(
                _box(tile, top - above, left - before, rows, columns, scale)
            )
        return output


def _box(x: Tensor, top: int, left: int, rows: int, columns: int, scale: int) -> Tensor:
    """A part of an upscaled image (B, C, H, W), its place and size given in LR pixels."""
    return x[..., top * scale : (top + rows) * scale, left * scale : (left + columns) * scale]
