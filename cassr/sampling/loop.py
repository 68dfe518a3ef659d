"""Sampling: seeded noise with the LR latent in it, guided and tiled noise prediction, the VAE."""

import hashlib
import inspect
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cassr.sampling.tiling import Grid, HintCache, Windows, blend, crops

Scheduler = Any  # diffusers has no type that names what its schedulers share
Denoiser = Any  # one of `cassr.stages`, which say what its `embed` and `predict` do
Autoencoder = Any  # diffusers' AutoencoderKL, or the miniature's PatchVAE
NoisePredictor = Callable[[Tensor, Tensor], Tensor]
"""(latents (B, c, h, w) float32, t ()) -> prediction of the same shape, float32."""


def stage_generators(seeds: Sequence[int], stage: int) -> list[torch.Generator]:
    """One generator per image, on the CPU: its noise is the same on every device.

    Stage 2 draws the same noise whether stage 1 ran or its result was at hand. torch's CPU
    generator looks at 32 bits of a seed only, so seed and stage are hashed.
    """
    digests = [hashlib.sha256(f"{int(seed)}/{stage}".encode()).digest() for seed in seeds]
    return [torch.Generator().manual_seed(int.from_bytes(d[:4], "big")) for d in digests]


def set_timesteps(scheduler: Scheduler, steps: int, device: torch.device) -> Container[str]:
    """Let a scheduler sample in so many steps; gives what its `step` takes, by name.

    Raises ValueError: it has not Stable Diffusion's table of noise levels, needs more than a
    prediction for a step, or adds noise instead of taking it away.
    """
    takes = inspect.signature(scheduler.step).parameters
    needed = [name for name, each in takes.items() if each.default is each.empty]
    suits = len(needed) == 3 and getattr(scheduler, "alphas_cumprod", None) is not None
    if suits := suits and hasattr(scheduler, "add_noise"):
        scheduler.set_timesteps(max(steps, 2), device=device)  # one has no direction
        suits = bool(scheduler.timesteps[0] >= scheduler.timesteps[-1])
    if not suits:
        raise ValueError(
            f"scheduler {type(scheduler).__name__}: expected one that takes away Stable "
            "Diffusion's noise (DDIM, UniPC, DPM-Solver, Euler, ...)"
        )
    if steps < 2:
        scheduler.set_timesteps(steps, device=device)
    return takes


def initial_latents(scheduler: Scheduler, noise: Tensor, z_lr: Tensor | None) -> Tensor:
    """z_T = sqrt(ab_T) z_LR + sqrt(1 - ab_T) eps (section 4.1), or noise alone for None.

    Noise eps and z_LR, in the space that is sampled, are (B, c, h, w). The scheduler's own
    `add_noise` is used, so schedulers that work in sigmas get the same mixture in their scale. T is
    the first of its current time steps.
    """
    if z_lr is None:
        return noise * float(scheduler.init_noise_sigma)
    steps = scheduler.timesteps[:1].expand(noise.shape[0])
    return scheduler.add_noise(z_lr, noise, steps)


def guided_prediction(
    stage: Denoiser, latents: Tensor, t: Tensor, prompt: Tensor, hints: Any, guidance_scale: float
) -> Tensor:
    """Classifier-free guidance of latents (B, c, h, w): e_neg + scale * (e_pos - e_neg), float32.

    prompt: (B, T, D) without guidance, (2*B, T, D) with: negative half, then positive half.
    hints: from the stage's `embed`.
    """
    prediction = stage.predict(latents, t, prompt, hints).float()
    if prompt.shape[0] == latents.shape[0]:
        return prediction
    negative, positive = prediction.chunk(2)
    return negative + guidance_scale * (positive - negative)


def tiled_predictor(
    stage: Denoiser,
    conditions: Sequence[Tensor],
    prompt: Tensor,
    grid: Grid,
    guidance_scale: float,
    hint_limit: int,
    batch: int = 1,
) -> NoisePredictor:
    """A noise predictor that works tile by tile and blends the tiles in every step.

    Args:
        conditions: (B, 3, f*h, f*w) images, on any device; each tile's part goes to the prompt's.
        prompt: see `guided_prediction`.
        grid: tiles over the latents.
        hint_limit: bytes of embedded hints that are kept between steps.
        batch: tiles that go through the stage together.
    """
    factor = conditions[0].shape[-1] // grid.width

    def embed(windows: Windows) -> Any:
        return stage.embed(*(crops(windows, c, factor).to(prompt.device) for c in conditions))

    hints = HintCache(embed, hint_limit)

    def predict(latents: Tensor, t: Tensor) -> Tensor:
        halves = prompt.unflatten(0, (-1, len(latents)))

        def on_tiles(windows: Windows) -> Tensor:
            tiles, each = crops(windows, latents), halves.repeat(1, len(windows), 1, 1)
            of_all = (each.flatten(0, 1), hints(windows))
            return guided_prediction(stage, tiles, t, *of_all, guidance_scale)

        return blend(on_tiles, grid, batch=batch)

    return predict


@dataclass(frozen=True)
class LatentCodec:
    """The VAE in tiles; `tile` and `overlap` are pixels, multiples of its down-sampling factor.

    `batch` tiles go through it together.
    """

    vae: Autoencoder
    tile: int
    overlap: int
    batch: int = 1

    @classmethod
    def untiled(cls, vae: Autoencoder, images: Tensor) -> "LatentCodec":
        """For images (B, 3, H, W) that fit as they are."""
        return cls(vae, max(images.shape[2:]), 0)

    @property
    def factor(self) -> int:
        return vae_factor(self.vae)

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, f*h, f*w) in [0, 1] -> means of the posterior, scaled: (B, c, h, w)."""
        config = self.vae.config

        def on_tiles(windows: Windows) -> Tensor:
            device = execution_device(self.vae)
            tiles = crops(windows, images, self.factor).to(device, self.vae.dtype)
            made = self.vae.encode(tiles * 2 - 1)
            mean = (made.latents if hasattr(made, "latents") else made.latent_dist.mode()).float()
            return (mean - (config.get("shift_factor") or 0.0)) * config["scaling_factor"]

        return blend(on_tiles, self._grid(images.shape[2:], self.factor), batch=self.batch)

    def decode(self, latents: Tensor) -> Tensor:
        """Inverse of `encode`: (B, c, h, w) -> (B, 3, f*h, f*w) float32 in [0, 1], clamped."""

        def on_tiles(windows: Windows) -> Tensor:
            z = unscaled(self.vae, crops(windows, latents))
            z = z.to(execution_device(self.vae), self.vae.dtype)
            image = self.vae.decode(z, return_dict=False)[0]
            return image.float().add_(1).div_(2)

        grid = self._grid(latents.shape[2:], 1)
        return blend(on_tiles, grid, self.factor, self.batch).clamp_(0, 1)

    def _grid(self, size: Sequence[int], cell: int) -> Grid:
        height, width = (side // cell for side in size)
        return Grid(height, width, self.tile // self.factor, self.overlap // self.factor)


def unscaled(vae: Autoencoder, latents: Tensor) -> Tensor:
    """What the decoder takes, of latents (B, c, h, w) as they are sampled."""
    return latents / vae.config["scaling_factor"] + (vae.config.get("shift_factor") or 0.0)


def vae_factor(vae: Autoencoder) -> int:
    """Pixels per latent cell along one axis: 8 for SD-1.5."""
    if hasattr(vae, "factor"):
        return int(vae.factor)
    return 2 ** (len(vae.config["block_out_channels"]) - 1)


def execution_device(module: Any) -> torch.device:
    """Where a module computes: its own device, unless its weights come there part by part."""
    for part in module.modules() if isinstance(module, nn.Module) else ():
        hook: Any = getattr(part, "_hf_hook", None)
        if hook is not None and hook.execution_device is not None:
            return torch.device(hook.execution_device)
    return module.device


@dataclass(frozen=True)
class LatentSpace:
    """What is sampled: image latents, or what they differ by from those of a stage's last condition
    image, z_base: the LR image in stage 1, the reference image in stage 2.

    Attributes:
        residual: sample y = (z_HR - z_base) / sigma instead of z_HR.
        sigma: typical size of z_HR - z_base.
    """

    residual: bool = False
    sigma: float = 1.0

    def enter(self, z: Tensor, z_base: Tensor) -> Tensor:
        """z (z_HR in training, z_LR where sampling starts) in the sampled space: (B, c, h, w)."""
        return (z - z_base) / self.sigma if self.residual else z

    def leave(self, y: Tensor, z_base: Tensor) -> Tensor:
        """Inverse of `enter`: y, z_base (B, c, h, w) -> (B, c, h, w)."""
        return y * self.sigma + z_base if self.residual else y


def noised(scheduler: Scheduler, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """z_t = sqrt(ab_t) z + sqrt(1 - ab_t) eps, for training.

    A scheduler's own `add_noise` may know only the time steps that it is to sample at: UniPC looks
    up t among those and takes another noise level where it does not find it. Clean latents and
    noise: (B, c, h, w) in the sampled space; t: (B,) integers.
    """
    ab = _kept(scheduler, t, clean)
    return ab.sqrt() * clean + (1 - ab).sqrt() * noise


def _kept(scheduler: Scheduler, t: Tensor, like: Tensor) -> Tensor:
    """ab_t, the share of the signal's power that is left: (B, 1, 1, 1)."""
    table: Tensor = scheduler.alphas_cumprod.to(like.device)
    return table[t].view(-1, 1, 1, 1).to(like.dtype)


def training_target(scheduler: Scheduler, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """What the network is to predict: eps in Eq. 3, or v or the clean latents where the
    scheduler's config says so; clean, noise: (B, c, h, w) in the sampled space, t: (B,).
    """
    ab = _kept(scheduler, t, clean)
    match _prediction(scheduler):
        case "epsilon":
            return noise
        case "sample":
            return clean
        case _:
            return ab.sqrt() * noise - (1 - ab).sqrt() * clean


def predicted_clean(scheduler: Scheduler, z_t: Tensor, t: Tensor, prediction: Tensor) -> Tensor:
    """The clean latents that a prediction stands for; inverse of `training_target`."""
    ab = _kept(scheduler, t, z_t)
    match _prediction(scheduler):
        case "epsilon":
            return (z_t - (1 - ab).sqrt() * prediction) / ab.sqrt()
        case "sample":
            return prediction
        case _:
            return ab.sqrt() * z_t - (1 - ab).sqrt() * prediction


def _prediction(scheduler: Scheduler) -> str:
    kind: str = scheduler.config["prediction_type"]
    if kind not in ("epsilon", "sample", "v_prediction"):
        raise ValueError(f"scheduler config: prediction_type={kind!r} is not supported")
    return kind
