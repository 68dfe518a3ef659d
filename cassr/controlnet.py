"""The condition encoder of stage 2: one ControlNet, weights shared, for LR and reference."""

from collections.abc import Sequence
from dataclasses import dataclass

from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from cassr.unet import embed_time, encode, repeat


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
    controlnet: ControlNetModel, latents: Tensor, t: Tensor, prompt: Tensor, hints: Tensor
) -> tuple[Residuals, ...]:
    """One forward pass of a ControlNet on images that are embedded already; what each adds, of B.

    latents: (B, c, h, w), noisy; t: () or (B,); prompt: (B, T, D); hints: (n*B, C_0, h, w), those
    of the LR images, then those of the references.
    """
    count = hints.shape[0] // latents.shape[0]
    latents, t = repeat(latents, count), repeat(t, count) if t.ndim else t
    temb = embed_time(controlnet, latents, t)
    skips, mid = encode(controlnet, latents, temb, repeat(prompt, count), hints)
    blocks = zip(controlnet.controlnet_down_blocks, skips, strict=True)
    down = zip(*(block(skip).chunk(count) for block, skip in blocks), strict=True)
    mids = controlnet.controlnet_mid_block(mid).chunk(count)
    return tuple(Residuals(*parts) for parts in zip(down, mids, strict=True))
