"""Overlapping tiles with smooth weights, for the denoiser and for the VAE.

Each tile's weight rises from its border to one over the overlap by a squared sine; the weights are
normalised along each axis, so they add up to one everywhere.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Window:
    """A rectangle of a plane, in cells of that plane."""

    top: int
    left: int
    height: int
    width: int

    def scaled(self, factor: int) -> "Window":
        """The same rectangle in cells that are `factor` times finer."""
        return Window(*(factor * n for n in (self.top, self.left, self.height, self.width)))

    def crop(self, x: Tensor, factor: int = 1) -> Tensor:
        """The window's part of x: (..., H, W), whose cells are `factor` times finer."""
        fine = self.scaled(factor)
        rows = slice(fine.top, fine.top + fine.height)
        return x[..., rows, fine.left : fine.left + fine.width]


Windows = tuple[Window, ...]


@dataclass(frozen=True)
class Grid:
    """Tiles over a plane of height x width cells; a tile is never larger than the plane.

    `tile` is its side, `overlap` the least overlap of neighbours.
    """

    height: int
    width: int
    tile: int
    overlap: int

    def __iter__(self) -> Iterator[Window]:
        tall, wide = min(self.tile, self.height), min(self.tile, self.width)
        for top in _starts(self.height, self.tile, self.overlap):
            for left in _starts(self.width, self.tile, self.overlap):
                yield Window(top, left, tall, wide)

    def __len__(self) -> int:
        sides = (self.height, self.width)
        return math.prod(len(_starts(side, self.tile, self.overlap)) for side in sides)


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    """First cells of the tiles along one axis, evenly spread."""
    if length <= tile:
        return [0]
    count = math.ceil((length - overlap) / (tile - overlap))
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]


def _axis_weights(length: int, tile: int, overlap: int, factor: int) -> dict[int, Tensor]:
    """Normalised weights (factor*tile,) by the tiles' first fine cells; they add up to one.

    The tiles are laid out in whole coarse cells and then refined: a layout of the fine cells
    themselves would be rounded elsewhere.
    """
    starts = [factor * start for start in _starts(length, tile, overlap)]
    side, fade = factor * min(length, tile), factor * max(overlap, 1)
    distance = torch.arange(side).minimum(torch.arange(side).flip(0)) + 0.5
    ramp = torch.sin(math.pi / 2 * (distance / fade).clamp(max=1)) ** 2
    total = torch.zeros(factor * length)
    for start in starts:
        total[start : start + side] += ramp
    return {start: ramp / total[start : start + side] for start in starts}


def crops(windows: Windows, x: Tensor, factor: int = 1) -> Tensor:
    """The parts of x (B, C, H, W), one window's after the other's: (n*B, C, factor*h, factor*w)."""
    parts = [window.crop(x, factor) for window in windows]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def blend(
    function: Callable[[Windows], Tensor], grid: Grid, factor: int = 1, batch: int = 1
) -> Tensor:
    """Put together what a function gives for every window.

    Args:
        function: n windows -> (n*B, C, factor*h, factor*w), as `crops` lays them out.
        factor: how much finer the result's cells are than the grid's.
        batch: windows that the function is given together; the last may be fewer.

    Returns (B, C, factor*height, factor*width), float32 unless there is one window, whose result is
    returned as it is.
    """
    windows = tuple(grid)
    if len(windows) == 1:
        return function(windows)
    rows = _axis_weights(grid.height, grid.tile, grid.overlap, factor)
    columns = _axis_weights(grid.width, grid.tile, grid.overlap, factor)
    result = torch.empty(0)
    for start in range(0, len(windows), batch):
        some = windows[start : start + batch]
        for window, tile in zip(some, function(some).float().chunk(len(some)), strict=True):
            if not result.numel():
                shape = (*tile.shape[:2], factor * grid.height, factor * grid.width)
                result = torch.zeros(shape, device=tile.device)
            place = window.scaled(factor)
            weights = rows[place.top][:, None] * columns[place.left]
            place.crop(result).add_((tile * weights.to(tile.device)).to(result.device))
    return result


class HintCache:
    """Keeps what was computed for windows, up to a size.

    Args:
        embed: windows -> tensor or list of tensors.
        limit: bytes that may be kept; what does not fit is computed again at every use.
    """

    def __init__(self, embed: Callable[[Windows], Any], limit: int) -> None:
        self._embed, self._free = embed, limit
        self._kept: dict[Windows, Any] = {}

    def __call__(self, windows: Windows) -> Any:
        if windows in self._kept:
            return self._kept[windows]
        hints = self._embed(windows)
        size = sum(h.nbytes for h in ([hints] if isinstance(hints, Tensor) else hints))
        if size <= self._free:
            self._free -= size
            self._kept[windows] = hints
        return hints


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Extend (B, C, H, W), from 1x1, bottom and right by reflection until sides are multiples."""
    for dim in (-2, -1):
        length = image.shape[dim]
        target = math.ceil(length / multiple) * multiple
        if target > length:
            period = max(2 * (length - 1), 1)
            index = torch.arange(target, device=image.device) % period
            image = image.index_select(dim, torch.minimum(index, period - index))
    return image
