"""What is minimised: a batch of pairs to {"loss": ..., parts...}, by modules that can be wrapped.

A batch holds hr (B, 3, H, W) and lr (B, 3, H/s, W/s), float32 in [0, 1], and seed (B,); z_hr, z_lr
(B, c, h, w) and reference (B, 3, H, W) where they were prepared.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cassr.config import NEGATIVE_PROMPT, TrainingSettings
from cassr.patch_vae import PatchVAE
from cassr.pipeline import CasSRPipeline
from cassr.sampling.images import upscale_bicubic
from cassr.sampling.loop import LatentCodec, noised, predicted_clean, training_target, unscaled
from cassr.stages import TunerActivation
from cassr.training.adversarial import PatchCritic, adversarial_loss
from cassr.training.losses import image_loss
from cassr.training.samples.data import scale_of
from cassr.training.samples.references import References, Stage1

OUTPUT_START = 0.1
Losses = dict[str, Tensor]
Batch = dict[str, Any]


class Objective(nn.Module):
    """Base of all objectives; of the pipeline's modules, `network` alone is a child.

    Attributes:
        references: makes the reference images of samples that come without.
        needs_images: whether `start` and `finish` look at the images they are given.
    """

    needs_images = False

    def __init__(
        self, pipeline: CasSRPipeline, settings: TrainingSettings, network: nn.Module
    ) -> None:
        super().__init__()
        self.network: Any = network
        self.pipeline, self.settings = pipeline, settings
        self.references: References = Stage1(pipeline)

    def trained(self) -> dict[str, nn.Parameter]:
        """What the optimizer changes, by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def start(self, images: Tensor) -> None:
        """Called before the first step with some images (B, 3, H, W) in [0, 1]."""

    def finish(self, images: Tensor) -> None:
        """Called after the last step with averaged weights in place; images as for `start`."""


class VaeObjective(Objective):
    """Reconstruction; Kullback-Leibler divergence where the posterior's spread is learnt."""

    KL_WEIGHT = 1e-6
    needs_images = True

    def __init__(self, pipeline: CasSRPipeline, settings: TrainingSettings) -> None:
        super().__init__(pipeline, settings, pipeline.vae.requires_grad_(True))

    @torch.no_grad()
    def start(self, images: Tensor) -> None:
        if isinstance(self.network, PatchVAE) and not self.network.is_refined:
            self.network.fit_components(images * 2 - 1)

    @torch.no_grad()
    def finish(self, images: Tensor) -> None:
        """Give the latents of images (B, 3, H, W) in [0, 1] unit size."""
        z = self.network.encode(images * 2 - 1).latent_dist.mode()
        self.network.register_to_config(scaling_factor=round(float(1 / z.std()), 4))

    def forward(self, batch: Batch) -> Losses:
        hr = batch["hr"]
        posterior = self.network.encode(hr * 2 - 1).latent_dist
        shape = posterior.mean.shape[1:]
        seeds = batch["seed"].tolist()
        noise = torch.stack([torch.randn(shape, generator=_generator(s)) for s in seeds])
        z = posterior.mean + posterior.std * noise.to(posterior.mean)
        image = (self.network.decode(z).sample + 1) / 2
        losses = image_loss(image, hr, self.settings.gradient_weight, 0.0)
        kl = posterior.kl().mean() / z[0].numel()
        mse = F.mse_loss(image.detach().clamp(0, 1), hr)
        losses["loss"] = losses["loss"] + self.KL_WEIGHT * kl
        return losses | {"kl": kl.detach(), "psnr": -10 * mse.log10()}


class Draws(NamedTuple):
    """Unit-normal noise (B, c, h, w), steps t (B,); on the CPU (B,) in [0, 1) to choose prompts."""

    noise: Tensor
    t: Tensor
    chance: Tensor


class Latents(NamedTuple):
    """Of HR, upscaled LR and a stage's last condition image (B, c, h, w); the image loss makes no
    use of the first."""

    hr: Tensor
    lr: Tensor
    base: Tensor


class StageObjective(Objective):
    """Eq. 3 on a network that predicts noise, or the image that one step of sampling makes.

    Args:
        network: one of `cassr.stages`, in the pipeline.
        conditions: the images it is given, "lr" (upscaled) or "reference"; a ControlNet with two is
            given the description, whatever prompt the U-Net is given.
        decoder: the part of the VAE that is trained too.
        untrained: the U-Net is trained from nothing together with the ControlNet.
    """

    def __init__(
        self,
        pipeline: CasSRPipeline,
        settings: TrainingSettings,
        network: nn.Module,
        conditions: Sequence[str],
        *,
        decoder: nn.Module | None = None,
        untrained: bool = False,
    ) -> None:
        super().__init__(pipeline, settings, network)
        self.conditions, self.untrained = conditions, untrained
        self.needs_images = settings.unit_hints
        if decoder is not None:
            self.decoder = decoder
        self.critic = None
        if settings.loss == "image" and settings.adversarial_weight:
            self.critic = PatchCritic(seed=settings.seed)

    @torch.no_grad()
    def start(self, images: Tensor) -> None:
        """With `unit_hints`, let untrained networks see their condition from the first step on.

        The layers that embed it are scaled on images (B, 3, H, W) in [0, 1]. A ControlNet starts
        silent, so as not to disturb a trained U-Net. Beside an untrained one it would stay unheard
        under the noise for thousands of steps, so its outputs start as any convolution there, and
        the U-Net's output starts small.
        """
        if not self.settings.unit_hints:
            return
        layers, outputs = _hint_layers(self.network)
        if any(bool(p.any()) for p in outputs.parameters()):
            return
        _scale_to_unit(layers, images)
        if self.untrained:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.settings.seed)
                for block in outputs:
                    block.reset_parameters()  # type: ignore[operator]
            last = self.pipeline.unet.conv_out
            last.weight.mul_(OUTPUT_START)
            last.bias.zero_()

    def forward(self, batch: Batch) -> Losses:
        upscaled = upscale_bicubic(batch["lr"], scale_of(batch))
        images = self.images(batch, upscaled)
        latents = self._latents(batch, images)
        draws = self._draw(batch["seed"], latents.hr)
        if self.settings.loss == "image":
            return self._image_loss(batch["hr"], latents, draws, images)
        return self._noise_loss(latents, draws, images)

    def images(self, batch: Batch, upscaled: Tensor) -> list[Tensor]:
        """What the network is given, from upscaled LR images; each (B, 3, H, W) in [0, 1]."""
        if "reference" in self.conditions and "reference" not in batch:
            made = self.references.make(batch["lr"], scale_of(batch), batch["seed"])
            batch = batch | {"reference": made}
        return [upscaled if name == "lr" else batch[name] for name in self.conditions]

    def _noise_loss(self, z: Latents, draws: Draws, images: Sequence[Tensor]) -> Losses:
        """Eq. 3: || eps - eps_theta(z_t, z_r, z_lr, t, c) ||^2."""
        space, scheduler = self.pipeline.latent_space, self.pipeline.scheduler
        prompt, degraded = self._prompts(draws.chance)
        clean = space.enter(torch.where(degraded.view(-1, 1, 1, 1), z.lr, z.hr), z.base)
        z_t = noised(scheduler, clean, draws.noise, draws.t)
        target = training_target(scheduler, clean, draws.noise, draws.t)
        loss = F.mse_loss(self.predict(z_t, draws.t, prompt, images).float(), target)
        return {"loss": loss}

    def _image_loss(
        self, hr: Tensor, latents: Latents, draws: Draws, images: Sequence[Tensor]
    ) -> Losses:
        """The first step of sampling, straight to an image."""
        space, scheduler = self.pipeline.latent_space, self.pipeline.scheduler
        t = torch.full_like(draws.t, self._first_step())
        z_t = noised(scheduler, space.enter(latents.lr, latents.base), draws.noise, t)
        prompt, degraded = self._prompts(draws.chance)
        prediction = self.predict(z_t, t, prompt, images)
        z = space.leave(predicted_clean(scheduler, z_t, t, prediction), latents.base)
        vae = self.pipeline.vae
        image = ((vae.decode(unscaled(vae, z)).sample + 1) / 2).float()
        settings, worse = self.settings, degraded.view(-1, 1, 1, 1)
        photograph = torch.where(worse, images[0], hr)
        target = torch.lerp(photograph, images[-1], settings.reference_share)
        weights = (settings.gradient_weight, settings.amplitude_weight, settings.grid_weight)
        period = hr.shape[3] // z.shape[3]
        losses = image_loss(image, target, *weights, period=period, photograph=photograph)
        if self.critic is None:
            return losses
        # What is to look degraded takes no part: there both sides are given the photograph.
        game = adversarial_loss(self.critic, torch.where(worse, hr, image), hr, images[0])
        weighted = settings.adversarial_weight * game["adversarial"] + game["critic"]
        losses["loss"] = losses["loss"] + weighted
        return losses | {name: value.detach() for name, value in game.items()}

    def predict(self, z_t: Tensor, t: Tensor, prompt: Tensor, images: Sequence[Tensor]) -> Tensor:
        """(B, c, h, w), (B,), (B, T, D) and one or two (B, 3, H, W) -> (B, c, h, w)."""
        if len(images) == 1:
            return self.network(z_t, t, prompt, images[0])
        # Dropped prompts teach the U-Net; the ControlNet sees the description in both halves.
        described = self.embed([self.settings.prompt] * len(z_t))
        return self.network(z_t, t, prompt, images[0], images[1], described)

    @torch.no_grad()
    def _latents(self, batch: Batch, images: Sequence[Tensor]) -> Latents:
        codec = LatentCodec.untiled(self.pipeline.vae, images[0])
        z_lr = batch["z_lr"] if "z_lr" in batch else codec.encode(images[0])
        z_base = z_lr
        if self.pipeline.latent_space.residual and "reference" in self.conditions:
            # As precisely as sampling does, and one by one, so that its company changes nothing.
            with torch.autocast(z_lr.device.type, enabled=False):
                z_base = torch.cat([codec.encode(image) for image in images[-1].split(1)])
        if "z_hr" in batch:
            return Latents(batch["z_hr"], z_lr, z_base)
        z_hr = z_lr if self.settings.loss == "image" else codec.encode(batch["hr"])
        return Latents(z_hr, z_lr, z_base)

    def _draw(self, seeds: Tensor, like: Tensor) -> Draws:
        steps = self.pipeline.scheduler.config["num_train_timesteps"]

        def one(seed: int) -> tuple[Tensor, int, float]:
            generator = _generator(seed)
            noise = torch.randn(like.shape[1:], generator=generator)
            place, first, chance = torch.rand(3, generator=generator).tolist()
            at_first = first < self.settings.first_step_share
            return noise, self._first_step() if at_first else int(place * steps), chance

        noises, times, chances = zip(*map(one, seeds.tolist()), strict=True)
        t = torch.tensor(times, device=like.device)
        return Draws(torch.stack(noises).to(like.device), t, torch.tensor(chances))

    def _prompts(self, chance: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (B, T, D) of the general description, of nothing for `prompt_dropout`, or of
        the negative prompt for `degraded_share`; which samples (B,) have the last, degraded.
        """
        settings = self.settings
        dropped = chance < settings.prompt_dropout
        degraded = ~dropped & (chance < settings.prompt_dropout + settings.degraded_share)
        texts = [
            "" if drop else NEGATIVE_PROMPT if bad else settings.prompt
            for drop, bad in zip(dropped.tolist(), degraded.tolist(), strict=True)
        ]
        return self.embed(texts), degraded.to(self.pipeline.unet.device)

    def embed(self, texts: Sequence[str]) -> Tensor:
        """(B, T, D) of as many texts."""
        table = torch.cat([self.pipeline.embed_prompt(text) for text in texts])
        return table.to(self.pipeline.unet.device)

    def _first_step(self) -> int:
        """T: the time step that sampling starts with."""
        scheduler = self.pipeline.scheduler
        fresh = type(scheduler).from_config(scheduler.config)
        fresh.set_timesteps(self.pipeline.sampling.num_inference_steps)
        return int(fresh.timesteps[0])


def _hint_layers(network: Any) -> tuple[list[Any], nn.ModuleList]:
    """The convolutions that embed a condition image, and those that start at zero behind them."""
    if isinstance(network, TunerActivation):
        encoder = network.tuners.encoder
        return list(encoder.pre), encoder.dense
    controlnet = network.controlnet
    embedding = controlnet.controlnet_cond_embedding
    outputs = nn.ModuleList([*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block])
    return [embedding.conv_in, *embedding.blocks, embedding.conv_out], outputs


def _scale_to_unit(layers: Sequence[nn.Conv2d], images: Tensor) -> None:
    """Give each layer outputs of unit size (Mishkin and Matas, All you need is a good init, 2016).

    Layers as they are usually initialised would make hints of a few thousandths of the noise.
    """
    x = images
    for layer in layers:
        std, mean = torch.std_mean(layer(x), dim=(0, 2, 3))
        assert layer.bias is not None
        layer.weight.div_(std.view(-1, 1, 1, 1))
        layer.bias.sub_(mean).div_(std)
        x = F.silu(layer(x))


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
