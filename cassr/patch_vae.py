"""The miniature's variational autoencoder: 4x4 patches, principal components, small convolutions.

It starts from the linear answer, so it is good after minutes. It has the functions of diffusers'
AutoencoderKL that `cassr` uses.
"""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

Padding = Literal["zeros", "replicate"]


class PatchVAE(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Patches to principal components and back, refined by convolutions.

    Args:
        patch: side of a patch, the down-sampling factor.
        latent_channels: components that are kept of 3 * patch^2.
        width: channels of the refining convolutions.
        encoder_blocks, decoder_blocks: residual blocks at the latents' size.
        detail_width: channels of the convolutions at full size.
        texture_width, texture_blocks: of a last refinement at full size, which the stage "texture"
            trains; 0 channels for none.
        posterior_std: spread of the posterior, the same everywhere.
        scaling_factor: latents are multiplied by it to have about unit size.
    """

    @register_to_config
    def __init__(
        self,
        patch: int = 4,
        latent_channels: int = 12,
        width: int = 64,
        encoder_blocks: int = 1,
        decoder_blocks: int = 4,
        detail_width: int = 16,
        texture_width: int = 0,
        texture_blocks: int = 2,
        posterior_std: float = 0.02,
        scaling_factor: float = 1.0,
    ) -> None:
        super().__init__()
        values = 3 * patch**2
        self.analysis = nn.Conv2d(values, latent_channels, 1)
        self.synthesis = nn.Conv2d(latent_channels, values, 1)
        self.encoder = _refinement(values, latent_channels, width, encoder_blocks)
        self.decoder = nn.ModuleDict()
        self.decoder["body"] = _refinement(latent_channels, values, width, decoder_blocks)
        self.decoder["detail"] = _refinement(3, 3, detail_width, 0)
        if texture_width:
            self.decoder["texture"] = _texture(texture_width, texture_blocks)

    @property
    def factor(self) -> int:
        """Pixels per latent cell along one axis."""
        return int(self.config["patch"])

    def encode(self, x: Tensor) -> AutoencoderKLOutput:
        """x: (B, 3, H, W) in [-1, 1] -> posterior over (B, c, H/patch, W/patch)."""
        patches = F.pixel_unshuffle(x, self.config["patch"])
        mean = self.analysis(patches) + self.encoder(patches)
        log_variance = torch.full_like(mean, self.config["posterior_std"]).square().log()
        moments = torch.cat([mean, log_variance], dim=1)
        return AutoencoderKLOutput(latent_dist=DiagonalGaussianDistribution(moments))

    def decode(self, z: Tensor, return_dict: bool = True) -> Any:
        """z: (B, c, h, w) -> (B, 3, patch*h, patch*w), about [-1, 1]."""
        patches = self.synthesis(z) + self.decoder["body"](z)
        image = F.pixel_shuffle(patches, self.config["patch"])
        image = image + self.decoder["detail"](image)
        if "texture" in self.decoder:
            image = image + self.decoder["texture"](image)
        return DecoderOutput(sample=image) if return_dict else (image,)

    @property
    def is_refined(self) -> bool:
        """Whether it was trained beyond the principal components."""
        last: Any = self.encoder[-1]
        return bool(last.weight.any())

    def add_texture(self, width: int = 24, blocks: int = 2) -> None:
        """A last refinement at full size, new and without effect until it is trained.

        It maps an image (B, 3, H, W), about [-1, 1], to what is added to it. Unlike the layers
        before, it cannot make a pattern that repeats with the patches.
        """
        self.decoder["texture"] = _texture(width, blocks)
        self.register_to_config(texture_width=width, texture_blocks=blocks)

    @torch.no_grad()
    def fit_components(self, images: Tensor) -> None:
        """Start from the principal components of the patches of images (B, 3, H, W) in [-1, 1]."""
        patches = F.pixel_unshuffle(images, self.config["patch"]).movedim(1, 3).flatten(0, 2)
        mean = patches.double().mean(0)
        centred = patches.double() - mean
        _, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
        components = vectors.flip(1)[:, : self.config["latent_channels"]].T
        # The sign of an eigenvector is arbitrary; the largest entry is made positive.
        largest = components.abs().argmax(1, keepdim=True)
        components = components * components.gather(1, largest).sign()
        _assign(self.analysis, components, -components @ mean)
        _assign(self.synthesis, components.T, mean)


def _assign(convolution: nn.Conv2d, matrix: Tensor, bias: Tensor) -> None:
    assert convolution.bias is not None
    convolution.weight.copy_(matrix[..., None, None])
    convolution.bias.copy_(bias)


class _Residual(nn.Module):
    def __init__(self, width: int, padding_mode: Padding) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, padding_mode=padding_mode)
        self.second = nn.Conv2d(width, width, 3, padding=1, padding_mode=padding_mode)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(self.first(x)))


def _refinement(
    inputs: int, outputs: int, width: int, blocks: int, padding_mode: Padding = "zeros"
) -> nn.Sequential:
    """Convolutions whose output starts at zero."""
    last = nn.Conv2d(width, outputs, 3, padding=1, padding_mode=padding_mode)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)  # type: ignore[arg-type]
    first = nn.Conv2d(inputs, width, 3, padding=1, padding_mode=padding_mode)
    residuals = (_Residual(width, padding_mode) for _ in range(blocks))
    return nn.Sequential(first, *residuals, nn.SiLU(), last)


def _texture(width: int, blocks: int) -> nn.Sequential:
    """Zeros around the image would be sharpened into a frame."""
    return _refinement(3, 3, width, blocks, padding_mode="replicate")
