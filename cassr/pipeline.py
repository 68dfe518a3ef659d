"""CasSRPipeline: both stages of CasSR as one diffusers pipeline.

pipeline = CasSRPipeline.from_pretrained(folder_or_hub_id)
sr = pipeline(image).images[0]
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from diffusers.loaders import StableDiffusionLoraLoaderMixin
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.pipeline_utils import DiffusionPipeline, StableDiffusionMixin
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils import BaseOutput, logging
from torch import Tensor, nn

from cassr.activation import CSCTuners
from cassr.adapters import PARTS, Adapted
from cassr.attention import MultipleAttention
from cassr.base.model_card import CUSTOM_PIPELINE, CUSTOM_PIPELINE_CODE, write_card
from cassr.cascade import Cascade
from cassr.config import ACTIVATIONS, LatentTarget, SamplingOptions
from cassr.patch_vae import PatchVAE
from cassr.placement import Placement
from cassr.prompts import Captioner, PromptEmbeddings, encode_prompt, encode_texts
from cassr.requests import Generators, StepEnd, given_references, prompts_for, seeds_for, step_end
from cassr.sampling.images import OUTPUT_TYPES, ImageLike, OutputType, from_tensors, to_tensors
from cassr.sampling.loop import LatentSpace, vae_factor
from cassr.sampling.numbers import at_least_one
from cassr.stages import ControlNetActivation, Guidance, TunerActivation
from cassr.unet import size_multiple

logger = logging.get_logger(__name__)


@dataclass
class CasSRPipelineOutput(BaseOutput):
    """Result of a call.

    Attributes:
        images: super-resolved images, in the order of the inputs.
        references: the reference images of stage 1, of the same kind and size.
    """

    images: Any
    references: Any


class CasSRPipeline(
    Placement, Adapted, DiffusionPipeline, StableDiffusionMixin, StableDiffusionLoraLoaderMixin
):
    """Cascaded diffusion for real-world super-resolution.

    Args:
        vae, unet: of Stable Diffusion 1.x, frozen.
        controlnet: the condition encoder of stage 2.
        scheduler: any diffusion scheduler of diffusers.
        attention: multiple attention; None is the plain ControlNet.
        activation: `CSCTuners` for "scedit", a ControlNet for "controlnet", else None.
        prompt_embeddings: embeddings of fixed prompts; with them no text encoder is needed.
        text_encoder, tokenizer: CLIP's, for other prompts.
        activation_kind: where the reference image comes from: "scedit", "controlnet", "lr" (the
            upscaled LR image) or "external" (given by the caller).
        latent_target, latent_sigma: what is sampled, see `cassr.config.Preset`.
        share_halves: see `cassr.stages.Guidance`.
        base, base_revision: where the frozen modules came from.
        sampling: values of `SamplingOptions` that differ from its defaults.
    """

    num_timesteps = 0
    """Steps of the stage that is being sampled, for callbacks."""
    _interrupt = False  # set by a callback that wants no further step of this call
    _callback_tensor_inputs = ["latents"]  # noqa: RUF012 - as diffusers' pipelines name it
    _exclude_from_cpu_offload = ["prompt_embeddings"]  # noqa: RUF012 - a table, not a network
    _optional_components = [*PARTS[1:], "text_encoder", "tokenizer"]  # noqa: RUF012

    def __init__(
        self,
        vae: AutoencoderKL | PatchVAE,
        unet: UNet2DConditionModel,
        controlnet: ControlNetModel,
        scheduler: SchedulerMixin,
        attention: MultipleAttention | None = None,
        activation: CSCTuners | ControlNetModel | None = None,
        prompt_embeddings: PromptEmbeddings | None = None,
        text_encoder: nn.Module | None = None,
        tokenizer: object | None = None,
        activation_kind: str = "scedit",
        latent_target: str = "image",
        latent_sigma: float = 1.0,
        share_halves: bool = True,
        base: str = "",
        base_revision: str = "",
        sampling: dict | None = None,
    ) -> None:
        super().__init__()
        if activation_kind not in ACTIVATIONS:
            raise ValueError(f"activation_kind={activation_kind!r}: expected one of {ACTIVATIONS}")
        self.register_modules(
            vae=vae,
            unet=unet,
            controlnet=controlnet,
            scheduler=scheduler,
            attention=attention,
            activation=activation,
            prompt_embeddings=prompt_embeddings,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
        )
        self.register_to_config(
            activation_kind=activation_kind,
            latent_target=latent_target,
            latent_sigma=latent_sigma,
            share_halves=share_halves,
            base=base,
            base_revision=base_revision,
            sampling=SamplingOptions().changed(sampling or {}).as_dict(),
        )

    @property
    def sampling(self) -> SamplingOptions:
        """The options that a call uses where it is given no others."""
        return SamplingOptions(**self.config["sampling"])

    @property
    def multiple(self) -> int:
        """Sides in pixels that are a multiple of this pass all networks without rounding."""
        return vae_factor(self.vae) * size_multiple(self.unet.config)

    @property
    def latent_space(self) -> LatentSpace:
        target, sigma = self.config["latent_target"], self.config["latent_sigma"]
        if target not in get_args(LatentTarget):
            expected = ", ".join(get_args(LatentTarget))
            raise ValueError(
                f"latent_target={target!r}: expected one of {expected}; a model of an earlier "
                "version is to be trained again"
            )
        return LatentSpace(target == "stage_residual", sigma)

    def guidance_stage(self, multiple_attention: bool = True) -> Guidance:
        """Stage 2 as one module, for training or for a forward pass of its own."""
        attention = self.attention if multiple_attention else None
        return Guidance(self.unet, self.controlnet, attention, self.config["share_halves"])

    def activation_stage(self) -> TunerActivation | ControlNetActivation:
        """Stage 1 as one module; ValueError: the model has none of its own ("lr", "external")."""
        kind = self.config["activation_kind"]
        if kind not in ("scedit", "controlnet") or self.activation is None:
            raise ValueError(f"activation_kind={kind!r} has no network: give reference= instead")
        if kind == "scedit":
            return TunerActivation(self.unet, self.activation)
        return ControlNetActivation(self.unet, self.activation, self.config["share_halves"])

    def save_pretrained(self, save_directory: Any, *arguments: Any, **options: Any) -> None:
        """As diffusers does, with a model card and the file that `custom_pipeline` takes."""
        super().save_pretrained(save_directory, *arguments, **options)
        write_card(Path(save_directory), self.config)
        (Path(save_directory) / CUSTOM_PIPELINE).write_text(CUSTOM_PIPELINE_CODE, encoding="utf-8")

    def carry_prompts(self, prompts: Sequence[str]) -> "CasSRPipeline":
        """Embed prompts by the text encoder now and drop it; they are saved with the model."""
        table = encode_texts(self.tokenizer, self.text_encoder, prompts)
        carried = PromptEmbeddings.from_tensor(prompts, table.cpu()).to(self.device, table.dtype)
        self.register_modules(prompt_embeddings=carried, text_encoder=None, tokenizer=None)
        return self

    def embed_prompt(self, text: str) -> Tensor:
        """(1, T, D) of a prompt; ValueError: not carried, and there is no text encoder."""
        with self.resident(self.text_encoder):
            return encode_prompt(text, self.prompt_embeddings, self.tokenizer, self.text_encoder)

    @torch.no_grad()
    def __call__(
        self,
        image: ImageLike | Sequence[ImageLike],
        *,
        scale: float = 4,
        seed: int | Sequence[int] = 0,
        generator: Generators | None = None,
        reference: ImageLike | Sequence[ImageLike] | None = None,
        caption: str | Sequence[str] | Captioner | None = None,
        prompt_embeds: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None,
        batch_size: int = 1,
        tile_batch_size: int = 1,
        output_type: OutputType = "pil",
        return_dict: bool = True,
        callback_on_step_end: StepEnd | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        **options: Any,
    ) -> Any:
        """Upscale images; docs/cassr.md says more of the arguments.

        Args:
            image: one LR image or several, of any sizes; see `cassr.sampling.images.to_tensors`.
            scale: factor (1 restores at the same size); sides are rounded to whole pixels.
            seed, generator: integers, or what they are drawn from; one, or one for each image.
            reference: reference images of scale x size, one for each input; stage 1 is skipped.
            caption, prompt_embeds, negative_prompt_embeds: see `cassr.requests.prompts_for`.
            batch_size: images of equal size that go through the networks together. 1 keeps results
                bit-equal in whatever company an image is upscaled; more is equal to rounding.
            tile_batch_size: the same for tiles of an image, of denoiser and VAE.
            output_type: see `cassr.sampling.images.from_tensors`; with "latent", stage 2's latents
                as `images`, references as "pt".
            callback_on_step_end: see `StepEnd`; called after every step of both stages.
            options: any field of `cassr.config.SamplingOptions`; prompts also one for each image.

        Returns:
            `CasSRPipelineOutput`, or a tuple: images and references of exactly scale x the inputs.

        Raises ValueError: an input, a reference or an option that cannot be used.
        """
        on_step = step_end(self, callback_on_step_end, callback_on_step_end_tensor_inputs)
        tile_batch = at_least_one(tile_batch_size, "tile_batch_size")
        texts = (options.pop("prompt", None), options.pop("negative_prompt", None), caption)
        call = Cascade(self, self._chosen(options, output_type), tile_batch, on_step)
        lr = to_tensors(image)
        given = given_references(reference, lr, scale)
        embeds = (prompt_embeds, negative_prompt_embeds)
        prompts = prompts_for(lr, self.embed_prompt, call.options, *texts, *embeds)
        seeds, images, used = seeds_for(seed, len(lr), generator), [], []
        for span, batch in call.batches(lr, scale, seeds, prompts, batch_size):
            references = torch.cat(given[span]) if given else call.reference(batch)
            latents = call.guide(batch, references)
            made = latents if output_type == "latent" else call.image(batch, latents)
            images += made.cpu().split(1)
            used += references.cpu().split(1)
        whole = CasSRPipelineOutput(*(from_tensors(each, output_type) for each in (images, used)))
        return whole if return_dict else (whole.images, whole.references)

    @torch.no_grad()
    def activate(
        self,
        image: ImageLike | Sequence[ImageLike],
        *,
        scale: float = 4,
        seed: int | Sequence[int] = 0,
        batch_size: int = 1,
        tile_batch_size: int = 1,
        output_type: OutputType = "pil",
        **options: Any,
    ) -> Any:
        """Stage 1 alone: the reference images, to be kept and given to a later call.

        They are rounded to 8 bits, so that a later call gets what this one would have used.
        Arguments as in the call of the pipeline.
        """
        tile_batch, lr = at_least_one(tile_batch_size, "tile_batch_size"), to_tensors(image)
        call = Cascade(self, self._chosen(options, output_type), tile_batch)
        seeds, prompts = seeds_for(seed, len(lr)), prompts_for(lr, self.embed_prompt, call.options)
        made: list[Tensor] = []
        for _, batch in call.batches(lr, scale, seeds, prompts, batch_size):
            made += call.reference(batch).cpu().split(1)
        return from_tensors(made, output_type)

    def _chosen(self, changes: Mapping[str, Any], output_type: str) -> SamplingOptions:
        """The options of a call; refuses what cannot be used."""
        options = self.sampling.changed(changes)
        if output_type not in OUTPUT_TYPES:
            found = f"output_type={output_type!r}"
            raise ValueError(f"{found}: expected one of {', '.join(OUTPUT_TYPES)}")
        factor = vae_factor(self.vae)
        steps = {"tile": self.multiple, "tile_overlap": factor}
        steps |= {"vae_tile": factor, "vae_overlap": factor}
        for name, step in steps.items():
            if (value := getattr(options, name)) % step:
                raise ValueError(f"{name}={value}: expected a multiple of {step}")
        for name in ("activation_steps", "num_inference_steps"):
            if getattr(self.sampling, name) == 1 < (asked := getattr(options, name)):
                told = "%s=%d: this model was made for one step; more are untrained"
                logger.warning(told, name, asked)
        return options
