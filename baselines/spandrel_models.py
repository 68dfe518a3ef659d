"""Single-pass networks through spandrel, which tells the architecture from the weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor


class SpandrelNetwork:
    """A super-resolution network from one file of weights.

    Args:
        weights: a .safetensors file, or a .pth that holds tensors only (code in it is refused).
        device: "cpu", "cuda", "cuda:1" or "mps".

    Raises:
        ValueError: the file holds no super-resolution network that spandrel knows.
    """

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self.model = _load(weights).to(self.device).eval()

    @torch.inference_mode()
    def upscale(self, lr: Tensor, *, scale: int, seeds: Sequence[int]) -> Tensor:
        """(B, 3, H, W) float32 in [0, 1] -> (B, 3, scale*H, scale*W) float32."""
        if scale != self.model.scale:
            raise ValueError(f"the network upscales x{self.model.scale}, not x{scale}")
        return torch.cat([self.model(image[None].to(self.device)).float().cpu() for image in lr])


def _load(weights: Path):  # type: ignore[no-untyped-def]
    from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError

    loader = ModelLoader(device="cpu")
    try:
        descriptor = loader.load_from_file(weights)
    except UnsupportedModelError as error:
        raise ValueError(f"{weights}: no architecture that spandrel knows fits it") from error
    if not isinstance(descriptor, ImageModelDescriptor) or descriptor.input_channels != 3:
        raise ValueError(f"{weights}: holds a network, but not one from RGB image to RGB image")
    return descriptor
