"""A critic that tells generated images from photographs, for the image loss.

Judgement by neighbourhoods (Isola et al., CVPR 2017), the non-saturating loss (Goodfellow et al.,
2014). Its weights and moments are part of the run's one optimizer, so a checkpoint holds them too;
the model does not.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call


class PatchCritic(nn.Module):
    """How real each neighbourhood of 34 pixels looks, given the upscaled LR image.

    `width` is the channels of the first layer, `seed` that of the weights.
    """

    def __init__(self, width: int = 16, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = nn.Sequential(
                nn.Conv2d(6, width, 3, padding=1),
                nn.LeakyReLU(0.2),
                *_halving(width, 2 * width),
                *_halving(2 * width, 4 * width),
                nn.Conv2d(4 * width, 4 * width, 3, padding=1),
                nn.GroupNorm(4, 4 * width),
                nn.LeakyReLU(0.2),
                nn.Conv2d(4 * width, 1, 3, padding=1),
            )

    def forward(self, image: Tensor, upscaled: Tensor) -> Tensor:
        """Logits (B, 1, H/4, W/4), positive for real; inputs are (B, 3, H, W) in [0, 1]."""
        judged: Tensor = self.layers(torch.cat([image, image - upscaled], 1) * 2)
        return judged


def _halving(channels: int, out: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, out, 4, stride=2, padding=1)
    return [convolution, nn.GroupNorm(4, out), nn.LeakyReLU(0.2)]


def adversarial_loss(
    critic: PatchCritic, image: Tensor, target: Tensor, upscaled: Tensor
) -> dict[str, Tensor]:
    """Both sides of the game for one batch.

    Args:
        image, target, upscaled: (B, 3, H, W) in [0, 1]; the image not clamped.

    Returns:
        "adversarial": gradients for the image alone; "critic": gradients for the critic alone,
        ln 2 when it can tell nothing.
    """
    fixed = {name: parameter.detach() for name, parameter in critic.named_parameters()}
    judged: Tensor = functional_call(critic, fixed, (image, upscaled))
    real, made = critic(target, upscaled), critic(image.detach(), upscaled)
    return {
        "adversarial": F.softplus(-judged).mean(),
        "critic": (F.softplus(-real).mean() + F.softplus(made).mean()) / 2,
    }
