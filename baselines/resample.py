"""Classical interpolation, as Pillow does it on 8-bit images."""

from collections.abc import Sequence

import torch
from PIL.Image import Resampling
from torch import Tensor

from bench.files import images


class Resample:
    """Interpolate with a Pillow filter; bicubic has a = -0.5 (MATLAB's, not PyTorch's -0.75)."""

    def __init__(self, filter: str, device: str = "cpu") -> None:
        known = [each.name.lower() for each in Resampling]
        if filter not in known:
            raise ValueError(f"filter: expected one of {', '.join(known)}, found {filter!r}")
        self.filter = filter

    def upscale(self, lr: Tensor, *, scale: int, seeds: Sequence[int]) -> Tensor:
        """(B, 3, H, W) float32 in [0, 1] -> (B, 3, scale*H, scale*W), multiples of 1/255."""
        width, height = lr.shape[3] * scale, lr.shape[2] * scale
        rgbs = (images.to_uint8(image[None]) for image in lr)
        resized = (images.resize(rgb, width, height, self.filter) for rgb in rgbs)
        return torch.cat([images.to_tensor(rgb) for rgb in resized])
