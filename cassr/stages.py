"""The noise prediction of each stage, as modules that sampling and training share.

Every stage has the same two functions, and `forward` is one after the other:

- `embed(images...)`: what depends on the images alone, once per image and not per step;
- `predict(latents, t, prompt, hints)`: what the network predicts at step t.

`latents` are (B, c, h, w) and noisy, `t` is () or (B,), images are (B, 3, H, W) in [0, 1]. `prompt`
may hold n stacked halves for classifier-free guidance, (n*B, T, D) with the conditional half last;
the prediction is (n*B, c, h, w), and what does not depend on the prompt is computed once.
"""

from functools import partial
from typing import Any

import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from cassr.activation import CSCTuners
from cassr.attention import MultipleAttention
from cassr.controlnet import Residuals, embed_hint, residuals
from cassr.unet import BlockRunner, check_unet, decode, embed_time, encode, repeat


class _Stage(nn.Module):
    """A frozen U-Net and, as further children, the modules that training changes."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        check_unet(unet)
        self.unet = unet

    embed: Any
    predict: Any

    def forward(self, latents: Tensor, t: Tensor, prompt: Tensor, lr: Tensor) -> Tensor:
        return self.predict(latents, t, prompt, self.embed(lr))

    def trained(self) -> list[nn.Module]:
        """The modules that training changes."""
        return [module for name, module in self.named_children() if name != "unet"]


class TunerActivation(_Stage):
    """Stage 1 by SCEdit: frozen U-Net, CSC-Tuners on its skip connections."""

    def __init__(self, unet: UNet2DConditionModel, tuners: CSCTuners) -> None:
        super().__init__(unet)
        self.tuners = tuners

    def embed(self, lr: Tensor) -> list[Tensor]:
        """Upscaled LR images -> one hint per skip connection."""
        return self.tuners.encoder(lr.to(self.tuners.dtype))

    def predict(self, latents: Tensor, t: Tensor, prompt: Tensor, hints: list[Tensor]) -> Tensor:
        """Noise prediction; hints: from `embed`."""
        temb, skips, mid = _encoded(self.unet, latents, t, prompt)
        return decode(self.unet, mid, self.tuners(skips, hints), temb, prompt)


class _Controlled(_Stage):
    """A frozen U-Net with a ControlNet beside it; `share_halves` as in `Guidance`."""

    def __init__(
        self, unet: UNet2DConditionModel, controlnet: ControlNetModel, share_halves: bool = True
    ) -> None:
        super().__init__(unet)
        self.controlnet, self.share_halves = controlnet, share_halves

    def _features(
        self, latents: Tensor, t: Tensor, prompt: Tensor, hints: Tensor
    ) -> tuple[Residuals, ...]:
        """What the ControlNet makes of one image, hints (B, C_0, h, w), or two (2*B, C_0, h, w)."""
        count = prompt.shape[0] // latents.shape[0]
        steps = repeat(t, count) if t.ndim else t
        z = repeat(latents.to(self.controlnet.dtype), count)
        images = hints.split(latents.shape[0])
        given = torch.cat([repeat(each, count) for each in images])
        return residuals(self.controlnet, z, steps, prompt, given)

    def _shared(self, latents: Tensor, prompt: Tensor) -> Tensor:
        """The part of a prompt that the ControlNet sees."""
        return prompt[-latents.shape[0] :] if self.share_halves else prompt

    def _decode(
        self,
        latents: Tensor,
        t: Tensor,
        prompt: Tensor,
        features: Residuals,
        run_block: BlockRunner | None = None,
    ) -> Tensor:
        """The U-Net with a ControlNet's features added to skip connections and middle."""
        temb, skips, mid = _encoded(self.unet, latents, t, prompt)
        count = mid.shape[0] // features.mid.shape[0]
        pairs = zip(skips, features.down, strict=True)
        skips = [skip + repeat(feature, count) for skip, feature in pairs]
        mid = mid + repeat(features.mid, count)
        return decode(self.unet, mid, skips, temb, prompt, run_block)


class ControlNetActivation(_Controlled):
    """Stage 1 by a ControlNet of its own (Table 2); arguments as for `Guidance`."""

    def embed(self, lr: Tensor) -> Tensor:
        """Upscaled LR images -> (B, C_0, h, w)."""
        return embed_hint(self.controlnet, lr)

    def predict(self, latents: Tensor, t: Tensor, prompt: Tensor, hints: Tensor) -> Tensor:
        """Noise prediction; hints: from `embed`."""
        (features,) = self._features(latents, t, self._shared(latents, prompt), hints)
        return self._decode(latents, t, prompt, features)


class Guidance(_Controlled):
    """Stage 2: one ControlNet for LR and reference, and multiple attention (section 3.3).

    Args:
        unet: frozen U-Net.
        controlnet: encodes both images, one set of weights.
        attention: None gives the plain ControlNet (the ablation "without multiple attention").
        share_halves: let the ControlNet see the conditional prompt in both halves of
            classifier-free guidance. L and R, and K and V of both attentions, are then the same
            for both and computed once. False gives each half its own.

    Attributes:
        lr_scale, reference_scale: factors on L and R.
        attention_scale: factor on what both attentions add.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        controlnet: ControlNetModel,
        attention: MultipleAttention | None,
        share_halves: bool = True,
    ) -> None:
        super().__init__(unet, controlnet, share_halves)
        self.attention = attention
        self.lr_scale = self.reference_scale = self.attention_scale = 1.0

    def embed(self, lr: Tensor, reference: Tensor) -> Tensor:
        """LR, then reference images: (2*B, C_0, h, w); (B, C_0, h, w) where both are one tensor."""
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
            prompt: c for the U-Net.
            hints: from `embed`.
            control_prompt: (B, T, D) for the ControlNet; by default the conditional half of
                `prompt`, or all of it where halves are not shared. Training with prompt dropout
                gives the undropped embeddings here.
        """
        seen = self._shared(latents, prompt) if control_prompt is None else control_prompt
        features = self._features(latents, t, seen, hints)
        lr, reference = features[0].scaled(self.lr_scale), features[-1].scaled(self.reference_scale)
        run_block = None
        if self.attention is not None:
            run_block = partial(
                self.attention.run_block,
                lr=lr.down,
                reference=reference.down,
                scale=self.attention_scale,
            )
        return self._decode(latents, t, prompt, lr + reference, run_block)

    def forward(  # type: ignore[override]
        self,
        latents: Tensor,
        t: Tensor,
        prompt: Tensor,
        lr: Tensor,
        reference: Tensor,
        control_prompt: Tensor | None = None,
    ) -> Tensor:
        return self.predict(latents, t, prompt, self.embed(lr, reference), control_prompt)


def freeze(stage: TunerActivation | ControlNetActivation | Guidance) -> list[nn.Parameter]:
    """Switch gradients off for all of a stage but its trained modules; returns what is trained."""
    stage.requires_grad_(False)
    for module in stage.trained():
        module.requires_grad_(True)
    return [p for p in stage.parameters() if p.requires_grad]


def _encoded(
    unet: UNet2DConditionModel, latents: Tensor, t: Tensor, prompt: Tensor
) -> tuple[Tensor, list[Tensor], Tensor]:
    """Time embedding (n*B, D), skip connections and middle, of all halves that the prompt holds."""
    x = latents.to(unet.dtype)
    temb = embed_time(unet, x, t).repeat(prompt.shape[0] // x.shape[0], 1)
    return temb, *encode(unet, x, temb, prompt)
