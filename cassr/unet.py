"""The U-Net of Stable Diffusion in two halves, so that conditions can enter between and inside.

The modules of diffusers' `UNet2DConditionModel` are called in the order of its `forward`: by
`encode` (down path and middle; a ControlNet has the same encoder) and by `decode` (up path).
"""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.utils.torch_utils import apply_freeu
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

BlockRunner = Callable[[int, BasicTransformerBlock, Tensor, Tensor], Tensor]
"""Runs a transformer block of the up path: (place, block, tokens (B, N, C), prompt (B, T, D)) ->
tokens (B, N, C); places are counted along the up path."""

_UNSUPPORTED = {
    **dict.fromkeys(("class_embed_type", "addition_embed_type", "encoder_hid_dim_type")),
    **dict.fromkeys(("time_embedding_act_fn", "time_cond_proj_dim", "num_class_embeds")),
    **dict.fromkeys(("center_input_sample", "dual_cross_attention"), False),
    "attention_type": "default",
}
_DOWN = {"CrossAttnDownBlock2D", "DownBlock2D"}
_UP = {"CrossAttnUpBlock2D", "UpBlock2D"}


def check_unet(unet: UNet2DConditionModel) -> None:
    """Refuse a U-Net that is not of the SD-1.x / SD-2.x kind; ValueError names the option."""
    for option, expected in _UNSUPPORTED.items():
        found = unet.config.get(option, expected)
        if found != expected:
            raise ValueError(f"U-Net config: {option}={found!r}; CasSR needs {expected!r} (SD-1.x)")
    kinds = set(unet.config["down_block_types"]) | set(unet.config["up_block_types"])
    if unknown := sorted(kinds - _DOWN - _UP):
        raise ValueError(f"U-Net config: block types {unknown}; CasSR needs {sorted(_DOWN | _UP)}")


def skip_channels(config: dict) -> list[int]:
    """Channels of the skip connections in the order they are made (12 of them at SD-1.5)."""
    widths = list(config["block_out_channels"])
    channels = [widths[0]]
    for level, width in enumerate(widths):
        channels += [width] * (config["layers_per_block"] + (level < len(widths) - 1))
    return channels


def skip_strides(config: dict) -> list[int]:
    """Down-sampling of each skip connection relative to the one before it (1 or 2)."""
    levels, layers = len(config["block_out_channels"]), config["layers_per_block"]
    strides = [1]
    for level in range(levels):
        strides += [1] * layers + [2] * (level < levels - 1)
    return strides


def size_multiple(config: dict) -> int:
    """Latent sides that are a multiple of this pass all levels without rounding."""
    return 2 ** (len(config["block_out_channels"]) - 1)


def embed_time(model: UNet2DConditionModel | ControlNetModel, sample: Tensor, t: Tensor) -> Tensor:
    """Time embedding: t is () or (B,); returns (B, D) in sample's dtype."""
    steps = torch.as_tensor(t, device=sample.device).expand(sample.shape[0])
    return model.time_embedding(model.time_proj(steps).to(sample.dtype))


def encode(
    model: UNet2DConditionModel | ControlNetModel,
    sample: Tensor,
    temb: Tensor,
    prompt: Tensor,
    hint: Tensor | None = None,
) -> tuple[list[Tensor], Tensor]:
    """Down path and middle block of a U-Net, or of a ControlNet when a hint is given.

    Args:
        sample: (B, c, h, w) latents.
        temb: (n*B, D), n copies of what `embed_time` gives.
        prompt: (n*B, T, D) prompt embeddings of n stacked halves. What comes before the first
            text attention is computed once for all halves.
        hint: (B, C_0, h, w) embedded condition, added after the first convolution.

    Returns the skip connections, one (n*B, C_i, h_i, w_i) each, and the middle features.
    """
    hidden, copies = model.conv_in(sample), prompt.shape[0] // sample.shape[0]
    if hint is not None:
        hidden = hidden + hint
    skips, blocks = [repeat(hidden, copies)], list(model.down_blocks)
    if copies > 1 and getattr(blocks[0], "has_cross_attention", False):
        hidden, made = _run_forked(blocks.pop(0), hidden, temb, prompt, copies)
        skips += made
    else:
        hidden = skips[0]
    for block in blocks:
        hidden, made = _run(block, hidden_states=hidden, temb=temb, prompt=prompt)
        skips += made
    return skips, _run(model.mid_block, hidden_states=hidden, temb=temb, prompt=prompt)


def _run_forked(
    block: Any, hidden: Tensor, temb: Tensor, prompt: Tensor, copies: int
) -> tuple[Tensor, list[Tensor]]:
    """A down block whose halves part at its first text attention; hidden: (B, C, h, w)."""
    transformer = block.attentions[0]
    hidden = block.resnets[0](hidden, temb[: hidden.shape[0]])
    tokens = _enter(transformer, hidden)
    first, *rest = transformer.transformer_blocks
    tokens = first.attn1(first.norm1(tokens)) + tokens
    tokens = finish_block(first, tokens.repeat(copies, 1, 1), prompt)
    for inner in rest:
        tokens = inner(tokens, encoder_hidden_states=prompt)
    hidden = _leave(transformer, tokens, repeat(hidden, copies))
    made = [hidden]
    for resnet, attention in zip(block.resnets[1:], block.attentions[1:], strict=True):
        hidden = attention(resnet(hidden, temb), encoder_hidden_states=prompt, return_dict=False)[0]
        made.append(hidden)
    for downsampler in block.downsamplers or ():
        hidden = downsampler(hidden)
        made.append(hidden)
    return hidden, made


def finish_block(block: BasicTransformerBlock, tokens: Tensor, prompt: Tensor) -> Tensor:
    """Text attention and feed-forward of a block: tokens (B, h*w, C), prompt (B, T, D)."""
    assert block.attn2 is not None
    tokens = block.attn2(block.norm2(tokens), encoder_hidden_states=prompt) + tokens
    return block.ff(block.norm3(tokens)) + tokens


def repeat(x: Tensor, copies: int) -> Tensor:
    """(B, ...) -> (copies*B, ...), the whole one after the other."""
    return x if copies == 1 else x.repeat(copies, *[1] * (x.ndim - 1))


def _run(block: nn.Module, prompt: Tensor, **inputs: Any) -> Any:
    if getattr(block, "has_cross_attention", False):
        return block(encoder_hidden_states=prompt, **inputs)
    return block(**inputs)


def decode(
    unet: UNet2DConditionModel,
    hidden: Tensor,
    skips: list[Tensor],
    temb: Tensor,
    prompt: Tensor,
    run_block: BlockRunner | None = None,
) -> Tensor:
    """Up path and output layers.

    Args:
        hidden: (B, C, h', w') middle features.
        skips: the skip connections in the order `encode` made them.
        run_block: runs every transformer block of the up path; None leaves the blocks as they are.

    Returns (B, c, h, w) the network's prediction.
    """
    rest, places = list(skips), count()
    blocks: Any = unet.up_blocks
    for block in blocks:
        layers = len(block.resnets)
        rest, taken = rest[:-layers], rest[-layers:]
        size = rest[-1].shape[2:] if rest else None
        if run_block is None or not getattr(block, "has_cross_attention", False):
            inputs = {"res_hidden_states_tuple": tuple(taken), "upsample_size": size}
            hidden = _run(block, hidden_states=hidden, temb=temb, prompt=prompt, **inputs)
        else:
            hidden = _run_steered(block, hidden, taken, temb, prompt, run_block, places)
            for upsampler in block.upsamplers or ():
                hidden = upsampler(hidden, size)
    if unet.conv_norm_out:
        hidden = unet.conv_act(unet.conv_norm_out(hidden))
    return unet.conv_out(hidden)


def _run_steered(
    block: Any,
    hidden: Tensor,
    skips: list[Tensor],
    temb: Tensor,
    prompt: Tensor,
    run_block: BlockRunner,
    places: Iterator[int],
) -> Tensor:
    """The layers of an up block whose transformer blocks are run by `run_block`."""

    def call(function: Callable[..., Tensor], *args: object) -> Tensor:
        if block.gradient_checkpointing and torch.is_grad_enabled():
            return checkpoint(function, *args, use_reentrant=False)
        return function(*args)

    freeu = {name: getattr(block, name, None) for name in ("s1", "s2", "b1", "b2")}
    layers = zip(block.resnets, block.attentions, reversed(skips), strict=True)
    for resnet, transformer, skip in layers:
        if all(freeu.values()):
            hidden, skip = apply_freeu(block.resolution_idx, hidden, skip, **freeu)
        hidden = call(resnet, torch.cat([hidden, skip], dim=1), temb)
        tokens = _enter(transformer, hidden)
        for inner in transformer.transformer_blocks:
            tokens = call(run_block, next(places), inner, tokens, prompt)
        hidden = _leave(transformer, tokens, hidden)
    return hidden


def _enter(transformer: Transformer2DModel, hidden: Tensor) -> Tensor:
    """(B, C, h, w) -> the tokens (B, h*w, C) that the transformer's blocks work on."""
    normed = transformer.norm(hidden)
    if transformer.use_linear_projection:
        return transformer.proj_in(_to_tokens(normed))
    return _to_tokens(transformer.proj_in(normed))


def _leave(transformer: Transformer2DModel, tokens: Tensor, hidden: Tensor) -> Tensor:
    """Tokens (B, h*w, C) back to an image and onto the residual branch (B, C, h, w)."""
    if transformer.use_linear_projection:
        return _to_image(transformer.proj_out(tokens), hidden.shape[2:]) + hidden
    return transformer.proj_out(_to_image(tokens, hidden.shape[2:])) + hidden


def _to_tokens(x: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, h*w, C)."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def _to_image(tokens: Tensor, size: torch.Size) -> Tensor:
    """(B, h*w, C) -> (B, C, h, w)."""
    return tokens.unflatten(1, tuple(size)).permute(0, 3, 1, 2).contiguous()
