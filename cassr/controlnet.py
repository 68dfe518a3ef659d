"""The condition encoder of stage 2: one ControlNet, weights shared, for LR and reference."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from cassr.unet import embed_time, encode


@dataclass(frozen=True)
class Residuals:
    """What a ControlNet adds to every skip connection, (B, C_i, h_i, w_i), and to the middle."""

    down: tuple[Tensor, ...]
    mid: Tensor

    def __add__(self, other: "Residuals") -> "Residuals":
        down = tuple(a + b for a, b in zip(self.down, other.down, strict=True))
        return Residuals(down, self.mid + other.mid)

    def scaled(self, factor: float) -> "Residuals":
        if factor == 1:
            return self
        return Residuals(tuple(factor * part for part in self.down), factor * self.mid)


def controlnet_from_unet(
    unet: UNet2DConditionModel, hint_channels: Sequence[int]
) -> ControlNetModel:
    """An untrained ControlNet whose encoder starts as the U-Net's and whose outputs are zero.

    diffusers also starts the last convolution of the hint embedding at zero; two zeros in a row
    would keep the layers before it without a gradient until the third step, so that one starts as
    any convolution. `hint_channels` are those of the embedding, see `cassr.config.Preset`.
    """
    controlnet = ControlNetModel.from_unet(
        unet, conditioning_embedding_out_channels=tuple(hint_channels)
    )
    controlnet.controlnet_cond_embedding.conv_out.reset_parameters()
    return controlnet


def embed_hint(controlnet: ControlNetModel, image: Tensor) -> Tensor:
    """(B, 3, H, W) in [0, 1] -> (B, C_0, h, w), which does not depend on the step."""
    return controlnet.controlnet_cond_embedding(image.to(controlnet.dtype))


def residuals(
    controlnet: ControlNetModel, latents: Tensor, t: Tensor, prompt: Tensor, hint: Tensor
) -> Residuals:
    """Forward pass of a ControlNet on a hint (B, C_0, h, w) that is embedded already.

    latents: (B, c, h, w), noisy; t: () or (B,); prompt: (B, T, D).
    """
    temb = embed_time(controlnet, latents, t)
    skips, mid = encode(controlnet, latents, temb, prompt, hint)
    blocks = controlnet.controlnet_down_blocks
    down = tuple(block(skip) for block, skip in zip(blocks, skips, strict=True))
    return Residuals(down, controlnet.controlnet_mid_block(mid))


def paired_residuals(
    controlnet: ControlNetModel, latents: Tensor, t: Tensor, prompt: Tensor, hints: Tensor
) -> tuple[Residuals, Residuals]:
    """L and R, each of B, by one call of `residuals`.

    hints: (2*B, C_0, h, w), those of the LR images, then those of the references.
    """
    t = torch.as_tensor(t, device=latents.device)
    t = t if t.ndim == 0 else t.repeat(2)
    both = residuals(controlnet, latents.repeat(2, 1, 1, 1), t, prompt.repeat(2, 1, 1), hints)
    down = zip(*(part.chunk(2) for part in both.down), strict=True)
    lr, reference = (Residuals(d, m) for d, m in zip(down, both.mid.chunk(2), strict=True))
    return lr, reference
