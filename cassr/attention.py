"""Multiple attention: reference attention, self-attention, LR attention (Eq. 1 and 2).

In every transformer block of the up path, in this order (docs/cassr.md says what the paper does not
say of it)::

    X' = X + O_r  Softmax(Q_r K_r^T / sqrt(d)) V_r        Q_r from X,  K_r and V_r from R   (Eq. 1)
    X' = X' + SelfAttention(X')                           the block's own, frozen
    X  = X' + O_lr Softmax(Q_lr K_lr^T / sqrt(d)) V_lr    Q_lr from X', K_lr, V_lr from L   (Eq. 2)
    X  = X + TextAttention(X);  X = X + FeedForward(X)    the block's own, frozen

L and R are the ControlNet's residuals at the level of the skip connection that the block consumes.
They come from zero-initialised convolutions and K, V have no biases, so both branches are exactly
zero in an untrained model, which then equals the plain ControlNet.
"""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from cassr.unet import finish_block, repeat, skip_channels


class ConditionAttention(nn.Module):
    """One of the two attentions: Eq. 1 with condition R, Eq. 2 with condition L.

    Args:
        dim: channels C of the U-Net's tokens.
        condition_dim: channels C' of the condition.
        heads: attention heads; d = dim / heads.
        zero_output: start the output projection at zero. Needed only for a ControlNet that is
            already trained; with an untrained one it would stop all gradients.
    """

    def __init__(self, dim: int, condition_dim: int, heads: int, zero_output: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k = nn.Linear(condition_dim, dim, bias=False)
        self.to_v = nn.Linear(condition_dim, dim, bias=False)
        self.to_out = nn.Linear(dim, dim, bias=False)
        if zero_output:
            nn.init.zeros_(self.to_out.weight)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Attend from the U-Net's tokens to the condition.

        Args:
            x: (n*B, N, C) tokens; n stacked halves (classifier-free guidance) share the condition.
            condition: (B, C', h, w) residual of the ControlNet.

        Returns (n*B, N, C), to be added to x.
        """
        tokens = condition.flatten(2).transpose(1, 2)
        copies = x.shape[0] // condition.shape[0]
        k, v = (repeat(made(tokens), copies) for made in (self.to_k, self.to_v))
        projected = (self.to_q(self.norm(x)), k, v)  # (n*B, N, C) -> (n*B, heads, N, C / heads)
        heads = (each.unflatten(2, (self.heads, -1)).transpose(1, 2) for each in projected)
        mixed = F.scaled_dot_product_attention(*heads)
        return self.to_out(mixed.transpose(1, 2).flatten(2))


class MultipleAttention(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """The trained attentions of stage 2, one pair for every transformer block of the up path.

    They are held apart from the U-Net, whose state dict therefore keeps its keys.

    Args:
        dims, condition_dims, heads, zero_output: of the `ConditionAttention`s at each place.
        skips: index of the ControlNet residual used at each place.
    """

    @register_to_config
    def __init__(
        self,
        dims: Sequence[int],
        condition_dims: Sequence[int],
        heads: Sequence[int],
        skips: Sequence[int],
        zero_output: bool = False,
    ) -> None:
        super().__init__()
        places = list(zip(dims, condition_dims, heads, strict=True))
        if len(skips) != len(places):
            raise ValueError(f"MultipleAttention: {len(places)} places but {len(skips)} skips")
        self.reference = nn.ModuleList(ConditionAttention(*p, zero_output) for p in places)
        self.lr = nn.ModuleList(ConditionAttention(*p, zero_output) for p in places)

    @classmethod
    def from_unet(
        cls, unet: UNet2DConditionModel, *, zero_output: bool = False
    ) -> "MultipleAttention":
        """Untrained attentions that fit a U-Net of the SD-1.x kind."""
        channels = skip_channels(unet.config)
        consumed = len(channels)
        places: list[tuple[int, int, int, int]] = []
        blocks: Any = unet.up_blocks
        for block in blocks:
            for layer in range(len(block.resnets)):
                consumed -= 1
                if not getattr(block, "has_cross_attention", False):
                    continue
                for inner in block.attentions[layer].transformer_blocks:
                    heads = inner.num_attention_heads
                    places.append((inner.dim, channels[consumed], heads, consumed))
        dims, condition_dims, heads, skips = (list(column) for column in zip(*places, strict=True))
        return cls(dims, condition_dims, heads, skips, zero_output)

    def run_block(
        self,
        place: int,
        block: BasicTransformerBlock,
        tokens: Tensor,
        prompt: Tensor,
        lr: Sequence[Tensor],
        reference: Sequence[Tensor],
        scale: float = 1.0,
    ) -> Tensor:
        """A transformer block with reference attention before and LR attention after its own.

        Args:
            place: index of the block, counted along the up path.
            tokens: (n*B, N, C).
            prompt: (n*B, T, D).
            lr, reference: L and R, one (B, C_i, h_i, w_i) for every skip connection.
            scale: factor on what both attentions add.
        """
        skip = self.config["skips"][place]
        x = tokens + scale * self.reference[place](tokens, reference[skip])
        x = block.attn1(block.norm1(x)) + x
        x = x + scale * self.lr[place](x, lr[skip])
        return finish_block(block, x, prompt)
