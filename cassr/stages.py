"""The noise prediction of each stage, as modules that sampling and training share.

Every stage has the same two functions, and `forward` is one after the other:

- `embed(images...)`: what depends on the images alone, once per image and not per step;
- `predict(latents, t, prompt, hints)`: what the network predicts at step t.

`prompt` may hold n stacked halves for classifier-free guidance, (n*B, T, D) with the conditional
half last; `latents` stays (B, c, h, w) and what does not depend on the prompt is computed once.

Trained are `CSCTuners` (or a ControlNet) in stage 1, ControlNet and `MultipleAttention` in stage 2;
`freeze` switches gradients accordingly.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from cassr.activation import CSCTuners
from cassr.attention import MultipleAttention
from cassr.controlnet import Residuals, embed_hint, paired_residuals, residuals
from cassr.unet import BlockRunner, check_unet, decode, embed_time, encode, repeat

if TYPE_CHECKING:
    from diffusers.models.controlnets.controlnet import ControlNetModel
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel


class TunerActivation(nn.Module):
    """Stage 1 by SCEdit: frozen U-Net, CSC-Tuners on its skip connections."""

    def __init__(self, unet: UNet2DConditionModel, tuners: CSCTuners) -> None:
        super().__init__()
        check_unet(unet)
        self.unet, self.tuners = unet, tuners

    def embed(self, lr: Tensor) -> list[Tensor]:
        """lr: (B, 3, H, W) upscaled LR image in [0, 1] -> one hint per skip connection."""
        return self.tuners.embed(lr.to(self.tuners.dtype))

    def predict(self, latents: Tensor, t: Tensor, prompt: Tensor, hints: list[Tensor]) -> Tensor:
        """Noise prediction.

        Args:
            latents: (B, c, h, w) noisy latents.
            t: () or (B,) time step.
            prompt: (n*B, T, D) prompt embeddings.
            hints: from `embed`.

        Returns:
            (n*B, c, h, w).
        """
        x = latents.to(self.unet.dtype)
        temb = _embed_time(self.unet, x, t, prompt)
        skips, mid = encode(self.unet, x, temb, prompt)
        return decode(self.unet, mid, self.tuners(skips, hints), temb, prompt)

    def forward(self, latents: Tensor, t: Tensor, prompt: Tensor, lr: Tensor) -> Tensor:
        """(B, c, h, w), (B,), (n*B, T, D) and (B, 3, H, W) in [0, 1] -> (n*B, c, h, w)."""
        return self.predict(latents, t, prompt, self.embed(lr))

    def trained(self) -> list[nn.Module]:
        """The modules that training changes."""
        return [self.tuners]


class ControlNetActivation(nn.Module):
    """Stage 1 by a ControlNet of its own (Table 2).

    Args:
        share_halves: let the ControlNet see the conditional prompt only; see `Guidance`.
    """

    def __init__(
        self, unet: UNet2DConditionModel, controlnet: ControlNetModel, share_halves: bool = True
    ) -> None:
        super().__init__()
        check_unet(unet)
        self.unet, self.controlnet, self.share_halves = unet, controlnet, share_halves

    def embed(self, lr: Tensor) -> Tensor:
        """lr: (B, 3, H, W) upscaled LR image in [0, 1] -> (B, C_0, h, w)."""
        return embed_hint(self.controlnet, lr)

    def predict(
        self,
        latents: Tensor,
        t: Tensor,
        prompt: Tensor,
        hints: Tensor,
        control_prompt: Tensor | None = None,
    ) -> Tensor:
        """Noise prediction; hints: (B, C_0, h, w), all else as in `Guidance.predict`."""
        control = _control_prompt(latents, prompt, control_prompt, self.share_halves)
        z, steps = _stack(self.controlnet, latents, t, control)
        hints = repeat(hints, z.shape[0] // hints.shape[0])
        features = residuals(self.controlnet, z, steps, control, hints)
        return _decode_guided(self.unet, latents, t, prompt, features, None)

    def forward(
        self,
        latents: Tensor,
        t: Tensor,
        prompt: Tensor,
        lr: Tensor,
        control_prompt: Tensor | None = None,
    ) -> Tensor:
        """lr: (B, 3, H, W) in [0, 1]; the others and the result as in `Guidance.predict`."""
        return self.predict(latents, t, prompt, self.embed(lr), control_prompt)

    def trained(self) -> list[nn.Module]:
        """The modules that training changes."""
        return [self.controlnet]


class Guidance(nn.Module):
    """Stage 2: one ControlNet for LR and reference, and multiple attention (section 3.3).

    Args:
        unet: frozen U-Net.
        controlnet: encodes both images, one set of weights.
        attention: None gives the plain ControlNet (the ablation "without multiple attention").
        share_halves: let the ControlNet see the conditional prompt in both halves of
            classifier-free guidance. L and R, and K and V of both attentions, are then the same
            for both and computed once. False gives each half its own.
        lr_scale, reference_scale: factors on L and R.
        attention_scale: factor on what both attentions add.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        controlnet: ControlNetModel,
        attention: MultipleAttention | None,
        share_halves: bool = True,
        lr_scale: float = 1.0,
        reference_scale: float = 1.0,
        attention_scale: float = 1.0,
    ) -> None:
        super().__init__()
        check_unet(unet)
        self.unet, self.controlnet, self.attention = unet, controlnet, attention
        self.share_halves, self.attention_scale = share_halves, attention_scale
        self.lr_scale, self.reference_scale = lr_scale, reference_scale

    def embed(self, lr: Tensor, reference: Tensor) -> Tensor:
        """Embed both condition images.

        Args:
            lr: (B, 3, H, W) upscaled LR image in [0, 1].
            reference: (B, 3, H, W) reference image in [0, 1].

        Returns:
            (2*B, C_0, h, w): the LR images first; (B, C_0, h, w) where both are one tensor, whose
            features are then computed once.
        """
        if reference is lr:
            return embed_hint(self.controlnet, lr)
        return embed_hint(self.controlnet, torch.cat([lr, reference]))

    def predict(
        self,
        latents: Tensor,
        t: Tensor,
        prompt: Tensor,
        hints: Tensor,
        control_prompt: Tensor | None = None,
    ) -> Tensor:
        """Noise prediction of Eq. 3: eps_theta(z_t, z_r, z_lr, t, c).

        Args:
            latents: (B, c, h, w) noisy latents z_t.
            t: () or (B,) time step.
            prompt: (n*B, T, D) prompt embeddings c for the U-Net.
            hints: from `embed`.
            control_prompt: (B, T, D) for the ControlNet; by default the conditional half of
                `prompt`, or all of it where halves are not shared. Training with prompt dropout
                gives the undropped embeddings here.

        Returns:
            (n*B, c, h, w).
        """
        control = _control_prompt(latents, prompt, control_prompt, self.share_halves)
        z, steps = _stack(self.controlnet, latents, t, control)
        one_image = hints.shape[0] == latents.shape[0]
        if z.shape[0] > latents.shape[0]:
            copies = z.shape[0] // latents.shape[0]
            hints = repeat(hints, copies) if one_image else _repeat_pairs(hints, copies)
        if one_image:
            lr = reference = residuals(self.controlnet, z, steps, control, hints)
        else:
            lr, reference = paired_residuals(self.controlnet, z, steps, control, hints)
        lr, reference = lr.scaled(self.lr_scale), reference.scaled(self.reference_scale)
        run_block = self._block_runner(lr, reference)
        return _decode_guided(self.unet, latents, t, prompt, lr + reference, run_block)

    def _block_runner(self, lr: Residuals, reference: Residuals) -> BlockRunner | None:
        attention = self.attention
        if attention is None:
            return None
        return partial(
            attention.run_block, lr=lr.down, reference=reference.down, scale=self.attention_scale
        )

    def forward(
        self,
        latents: Tensor,
        t: Tensor,
        prompt: Tensor,
        lr: Tensor,
        reference: Tensor,
        control_prompt: Tensor | None = None,
    ) -> Tensor:
        """lr, reference: (B, 3, H, W) in [0, 1]; the others and the result as in `predict`."""
        return self.predict(latents, t, prompt, self.embed(lr, reference), control_prompt)

    def trained(self) -> list[nn.Module]:
        """The modules that training changes."""
        return [self.controlnet] + ([self.attention] if self.attention is not None else [])


def freeze(stage: TunerActivation | ControlNetActivation | Guidance) -> list[nn.Parameter]:
    """Switch gradients off for all of a stage but its trained modules; returns what is trained."""
    stage.requires_grad_(False)
    for module in stage.trained():
        module.requires_grad_(True)
    return [p for p in stage.parameters() if p.requires_grad]


def _control_prompt(
    latents: Tensor, prompt: Tensor, given: Tensor | None, share_halves: bool
) -> Tensor:
    if given is not None:
        return given
    return prompt[-latents.shape[0] :] if share_halves else prompt


def _stack(model: Any, latents: Tensor, t: Tensor, prompt: Tensor) -> tuple[Tensor, Tensor]:
    """Repeat latents (B, ...) and t for the halves that the prompt holds; cast to the model."""
    count = prompt.shape[0] // latents.shape[0]
    steps = t.repeat(count) if t.ndim and count > 1 else t
    return repeat(latents.to(model.dtype), count), steps


def _embed_time(unet: UNet2DConditionModel, x: Tensor, t: Tensor, prompt: Tensor) -> Tensor:
    """Time embedding for all halves that the prompt holds: (n*B, D)."""
    return embed_time(unet, x, t).repeat(prompt.shape[0] // x.shape[0], 1)


def _repeat_pairs(hints: Tensor, count: int) -> Tensor:
    lr, reference = hints.chunk(2)
    return torch.cat([repeat(lr, count), repeat(reference, count)])


def _decode_guided(
    unet: UNet2DConditionModel,
    latents: Tensor,
    t: Tensor,
    prompt: Tensor,
    features: Residuals,
    run_block: BlockRunner | None,
) -> Tensor:
    """The U-Net with a ControlNet's features added to skip connections and middle."""
    x = latents.to(unet.dtype)
    temb = _embed_time(unet, x, t, prompt)
    skips, mid = encode(unet, x, temb, prompt)
    count = mid.shape[0] // features.mid.shape[0]
    pairs = zip(skips, features.down, strict=True)
    skips = [skip + repeat(feature, count) for skip, feature in pairs]
    mid = mid + repeat(features.mid, count)
    return decode(unet, mid, skips, temb, prompt, run_block)
