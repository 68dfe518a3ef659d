"""The condition encoder of stage 2: one ControlNet, weights shared, for LR and reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cassr.unet import embed_time, encode

if TYPE_CHECKING:
    from diffusers.models.controlnets.controlnet import ControlNetModel


@dataclass(frozen=True)
class Residuals:
    """What a ControlNet adds to the U-Net.

    Attributes:
        down: one (B, C_i, h_i, w_i) for every skip connection.
        mid: (B, C, h', w') for the middle features.
    """

    down: tuple[Tensor, ...]
    mid: Tensor

    def __add__(self, other: Residuals) -> Residuals:
        down = tuple(a + b for a, b in zip(self.down, other.down, strict=True))
        return Residuals(down, self.mid + other.mid)

    def chunk(self, count: int) -> list[Residuals]:
        """Split along the batch into `count` equal parts."""
        down = zip(*(r.chunk(count) for r in self.down), strict=True)
        return [Residuals(d, m) for d, m in zip(down, self.mid.chunk(count), strict=True)]


def embed_hint(controlnet: ControlNetModel, image: Tensor) -> Tensor:
    """Embed a condition image; the result does not depend on the step, so once is enough.

    Args:
        image: (B, 3, H, W) in [0, 1].

    Returns:
        (B, C_0, h, w) in the ControlNet's dtype.
    """
    return controlnet.controlnet_cond_embedding(image.to(controlnet.dtype))


def residuals(
    controlnet: ControlNetModel,
    latents: Tensor,
    t: Tensor,
    prompt: Tensor,
    hint: Tensor,
    scale: float = 1.0,
) -> Residuals:
    """Forward pass of a ControlNet on a hint that is embedded already.

    Args:
        latents: (B, c, h, w) noisy latents.
        t: () or (B,) time step.
        prompt: (B, T, D).
        hint: (B, C_0, h, w) from `embed_hint`.
        scale: factor on all residuals.
    """
    temb = embed_time(controlnet, latents, t)
    skips, mid = encode(controlnet, latents, temb, prompt, hint)
    blocks = controlnet.controlnet_down_blocks
    down = tuple(block(skip) * scale for block, skip in zip(blocks, skips, strict=True))
    return Residuals(down, controlnet.controlnet_mid_block(mid) * scale)


def paired_residuals(
    controlnet: ControlNetModel,
    latents: Tensor,
    t: Tensor,
    prompt: Tensor,
    hints: Tensor,
    scale: float = 1.0,
) -> tuple[Residuals, Residuals]:
    """L and R by one call on a batch that holds both images.

    Args:
        latents: (B, c, h, w).
        t: () or (B,).
        prompt: (B, T, D).
        hints: (2*B, C_0, h, w): the hints of the LR images, then those of the references.

    Returns:
        L, R, each for a batch of B.
    """
    t = torch.as_tensor(t, device=latents.device)
    t = t if t.ndim == 0 else t.repeat(2)
    both = residuals(
        controlnet, latents.repeat(2, 1, 1, 1), t, prompt.repeat(2, 1, 1), hints, scale
    )
    lr, reference = both.chunk(2)
    return lr, reference
