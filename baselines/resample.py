"""Classical interpolation, as Pillow does it on 8-bit images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


class Resample:
    """Interpolate with a Pillow filter; bicubic has a = -0.5 (MATLAB's, not PyTorch's -0.75)."""

    def __init__(self, filter: str, device: str = "cpu") -> None:
        self.filter = FILTERS[filter]
        self.device = device

    def upscale(self, lr: Tensor, *, scale: int, seeds: Sequence[int]) -> Tensor:
        """(B, 3, H, W) float32 in [0, 1] -> (B, 3, scale*H, scale*W), multiples of 1/255."""
        return torch.stack([self._one(image, scale) for image in lr])

    def _one(self, image: Tensor, scale: int) -> Tensor:
        rgb = image.mul(255).round().byte().permute(1, 2, 0).cpu().numpy()
        size = (rgb.shape[1] * scale, rgb.shape[0] * scale)
        resized = Image.fromarray(rgb).resize(size, self.filter)
        pixels = torch.frombuffer(bytearray(resized.tobytes()), dtype=torch.uint8)
        return pixels.view(size[1], size[0], 3).permute(2, 0, 1).float().div(255)
