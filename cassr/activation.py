"""Stage 1 by SCEdit: CSC-Tuners on the skip connections of the frozen U-Net.

Source of the structure: SCEdit (Jiang et al., CVPR 2024) and its public code in modelscope/scepter.
A hint encoder turns the upscaled LR image into one hint c per skip connection s, and a tuner edits
the skip before the up path concatenates it::

    s' = s + alpha * [ c + W2 GELU(W1 (s + c) + b1) + b2 ]

W2, b2 and the hint encoder's last convolutions start at zero: an untrained stage 1 is the plain
U-Net.
"""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from cassr.unet import skip_channels, skip_strides


class HintEncoder(nn.Module):
    """Image -> one hint per skip connection.

    Args:
        channels: channels of the U-Net's skip connections (12 of them at SD-1.5).
        strides: stride of each skip connection relative to the one before it.
        pre_channels, pre_strides: 3x3 convolutions at image resolution; their strides multiply to
            the VAE's down-sampling factor.
        kernel_size: of the dense-hint convolutions, 1 (28.8 M parameters at SD-1.5) or 3 (99.1 M).
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        pre_channels: Sequence[int],
        pre_strides: Sequence[int],
        kernel_size: int,
    ) -> None:
        super().__init__()
        pre_inputs = [3, *pre_channels[:-1]]
        self.pre = nn.ModuleList(
            nn.Conv2d(i, o, 3, stride=s, padding=1)
            for i, o, s in zip(pre_inputs, pre_channels, pre_strides, strict=True)
        )
        inputs = [pre_channels[-1], *channels[:-1]]
        self.dense = nn.ModuleList(
            _zeros(nn.Conv2d(i, o, kernel_size, stride=s, padding=kernel_size // 2))
            for i, o, s in zip(inputs, channels, strides, strict=True)
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """image: (B, 3, H, W) in [0, 1] -> hints, one (B, C_i, h_i, w_i) per skip connection."""
        x = image
        for conv in self.pre:
            x = F.silu(conv(x))
        hints = [self.dense[0](x)]
        for conv in self.dense[1:]:
            hints.append(conv(F.silu(hints[-1])))
        return hints


class CSCTuner(nn.Module):
    """Controllable skip-connection tuner: a per-pixel two-layer perceptron over s + c."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Conv2d(channels, channels, 1)
        self.outer = _zeros(nn.Conv2d(channels, channels, 1))

    def forward(self, skip: Tensor, hint: Tensor) -> Tensor:
        """skip, hint: (B, C, h, w) -> what is to be added to the skip, same shape."""
        return hint + self.outer(F.gelu(self.inner(skip + hint)))


class CSCTuners(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """The trained part of stage 1: hint encoder and one tuner per skip connection.

    Args:
        channels, strides, pre_channels, pre_strides, kernel_size: see `HintEncoder`.
        alpha: weight of the tuners' edits, 1 in training.
    """

    @register_to_config
    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        pre_channels: Sequence[int],
        pre_strides: Sequence[int],
        kernel_size: int = 1,
        alpha: float = 1.0,
    ) -> None:
        super().__init__()
        self.encoder = HintEncoder(channels, strides, pre_channels, pre_strides, kernel_size)
        self.tuners = nn.ModuleList(CSCTuner(c) for c in channels)

    @classmethod
    def from_unet(cls, unet: UNet2DConditionModel, **options: Any) -> "CSCTuners":
        """Untrained tuners that fit a U-Net; `options` as of the class."""
        return cls(skip_channels(unet.config), skip_strides(unet.config), **options)

    def forward(self, skips: Sequence[Tensor], hints: Sequence[Tensor]) -> list[Tensor]:
        """Edited skips, from skips (n*B, C_i, h_i, w_i) whose n halves share hints (B, ...)."""
        repeats = skips[0].shape[0] // hints[0].shape[0]
        return [
            skip + self.config["alpha"] * tuner(skip, hint.repeat(repeats, 1, 1, 1))
            for tuner, skip, hint in zip(self.tuners, skips, hints, strict=True)
        ]


def _zeros(module: nn.Conv2d) -> nn.Conv2d:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module
