"""How official scripts extend an image before their network sees it, and cut large ones to tiles.

Both are data on a method's card, since they change the pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

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
    period = max(1, 2 * side if repeat_edge else 2 * side - 2)
    index = torch.arange(target) % period
    last = period - 1 if repeat_edge else period
    return torch.where(index < side, index, last - index)


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
        """Upscale tile by tile.

        Args:
            x: (B, C, H, W).
            scale: of `run`.
            run: (B, C, h, w) -> (B, C, scale*h, scale*w).

        Returns:
            (B, C, scale*H, scale*W).
        """
        height, width = x.shape[2:]
        output = x.new_zeros(*x.shape[:2], height * scale, width * scale)
        for top, bottom in self._spans(height):
            for left, right in self._spans(width):
                output[..., top * scale : bottom * scale, left * scale : right * scale] = (
                    self._tile(x, (top, bottom), (left, right), scale, run)
                )
        return output

    def _spans(self, side: int) -> Iterator[tuple[int, int]]:
        for start in range(0, side, self.size):
            yield start, min(start + self.size, side)

    def _tile(
        self,
        x: Tensor,
        rows: tuple[int, int],
        columns: tuple[int, int],
        scale: int,
        run: Callable[[Tensor], Tensor],
    ) -> Tensor:
        top, left = max(rows[0] - self.overlap, 0), max(columns[0] - self.overlap, 0)
        seen = x[..., top : rows[1] + self.overlap, left : columns[1] + self.overlap]
        sr = run(seen)
        y, x0 = (rows[0] - top) * scale, (columns[0] - left) * scale
        height, width = (rows[1] - rows[0]) * scale, (columns[1] - columns[0]) * scale
        return sr[..., y : y + height, x0 : x0 + width]
