"""CasSRPipeline: both stages of CasSR as one diffusers pipeline.

pipeline = CasSRPipeline.from_pretrained(folder_or_hub_id)
sr = pipeline(image).images[0]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers.loaders import StableDiffusionLoraLoaderMixin
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils import BaseOutput, logging
from torch import Tensor, nn

from cassr.adapters import OPTIONS, PARTS, read_index, read_modules, read_scheduler, save_adapters
from cassr.attention import MultipleAttention
from cassr.base.model_card import CUSTOM_PIPELINE, CUSTOM_PIPELINE_CODE, write_card
from cassr.cascade import Batch, finish, run_stage
from cassr.config import ACTIVATIONS, SamplingOptions
from cassr.parts import load_base
from cassr.patch_vae import PatchVAE
from cassr.prompts import PromptEmbeddings, encode_prompt, encode_texts
from cassr.requests import (
    Generators,
    Prompts,
    StepEnd,
    embed_prompts,
    given_references,
    prompts_for,
    seeds_for,
    spans,
    step_end,
)
from cassr.sampling.images import (
    OUTPUT_TYPES,
    ImageLike,
    OutputType,
    from_tensors,
    processed_size,
    quantize,
    resize_bicubic,
    scaled_size,
    to_tensors,
)
from cassr.sampling.loop import Denoiser, LatentCodec, LatentSpace, OnStep, unchanged, vae_factor
from cassr.sampling.numbers import integer
from cassr.sampling.tiling import pad_to_multiple
from cassr.stages import ControlNetActivation, Guidance, TunerActivation
from cassr.unet import size_multiple

if TYPE_CHECKING:
    from cassr.prompts import Captioner


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


class CasSRPipeline(DiffusionPipeline, StableDiffusionLoraLoaderMixin):
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

    _exclude_from_cpu_offload = ["prompt_embeddings"]  # noqa: RUF012 - a table, not a network
    _optional_components = [*PARTS[1:], "text_encoder", "tokenizer"]  # noqa: RUF012

    def __init__(
        self,
        vae: AutoencoderKL | PatchVAE,
        unet: UNet2DConditionModel,
        controlnet: ControlNetModel,
        scheduler: SchedulerMixin,
        attention: MultipleAttention | None = None,
        activation: ModelMixin | None = None,
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
        self._offload_to: torch.device | None = None
        self._compile = False
        self._compiled: dict[tuple, Denoiser] = {}

    def register_modules(self, **modules: Any) -> None:
        super().register_modules(**modules)
        for module in modules.values():
            if isinstance(module, nn.Module):
                _align(module)

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
        return LatentSpace(self.config["latent_target"] == "residual", self.config["latent_sigma"])

    def guidance_stage(self, multiple_attention: bool = True) -> Guidance:
        """Stage 2 as one module, for training or for a forward pass of its own."""
        attention = self.attention if multiple_attention else None
        return Guidance(self.unet, self.controlnet, attention, self.config["share_halves"])

    def activation_stage(self) -> TunerActivation | ControlNetActivation:
        """Stage 1 as one module.

        Raises:
            ValueError: the model has no stage 1 of its own ("lr", "external").
        """
        kind = self.config["activation_kind"]
        if kind not in ("scedit", "controlnet") or self.activation is None:
            raise ValueError(f"activation_kind={kind!r} has no network: give reference= instead")
        if kind == "scedit":
            return TunerActivation(self.unet, self.activation)
        return ControlNetActivation(self.unet, self.activation, self.config["share_halves"])

    def optimize(self, *, compile: bool = False, channels_last: bool = True) -> CasSRPipeline:
        """Switch on what makes sampling faster at equal results (to float tolerance).

        Args:
            compile: torch.compile the noise predictions (worth it for many images of one size).
            channels_last: lay out convolution weights for it.
        """
        if channels_last:
            for module in (self.vae, self.unet, self.controlnet, self.activation):
                if module is not None:
                    module.to(memory_format=torch.channels_last)
        self._compile = compile
        return self

    def _ready(self, stage: Any) -> Denoiser:
        """The stage to sample with; compiled ones are kept for the next image."""
        if not self._compile:
            return stage
        scales = [value for name, value in vars(stage).items() if name.endswith("_scale")]
        key = (type(stage), self.config["share_halves"], *scales, *map(id, stage.children()))
        if key not in self._compiled:
            stage.predict = torch.compile(stage.predict)
            self._compiled[key] = stage
        return self._compiled[key]

    def save_pretrained(self, save_directory: Any, *arguments: Any, **options: Any) -> None:
        """As diffusers does, with a model card and the file that `custom_pipeline` takes."""
        super().save_pretrained(save_directory, *arguments, **options)
        write_card(Path(save_directory), self.config)
        (Path(save_directory) / CUSTOM_PIPELINE).write_text(CUSTOM_PIPELINE_CODE, encoding="utf-8")

    def save_adapters(self, folder: str | Path) -> None:
        """Save what CasSR adds to Stable Diffusion; see `cassr.adapters`."""
        save_adapters(folder, self.components, self.scheduler, self.config)
        write_card(Path(folder), self.config)

    def load_adapters(self, source: str | Path, **hub: Any) -> CasSRPipeline:
        """Replace trained modules and options by saved ones.

        Args:
            source: folder written by `save_adapters`, or a hub id.
            hub: `revision`, `cache_dir`, `token`, `local_files_only` of huggingface_hub.

        Raises:
            OSError, ValueError: see `cassr.adapters`.
        """
        index = read_index(source, **hub)
        modules = read_modules(source, index, self.unet.dtype, **hub)
        for name in PARTS:
            if name == "prompt_embeddings" and modules[name] is None:
                continue
            module = modules[name]
            self.register_modules(**{name: module.to(self.device) if module else None})
        self.register_modules(scheduler=read_scheduler(source, index, **hub))
        self.register_to_config(**{name: index["options"][name] for name in OPTIONS})
        return self

    @classmethod
    def from_adapters(
        cls,
        source: str | Path,
        *,
        base: str | Path | None = None,
        torch_dtype: torch.dtype | None = None,
        **hub: Any,
    ) -> CasSRPipeline:
        """Stable Diffusion from its own place, CasSR's modules from a folder of adapters.

        Args:
            source: folder written by `save_adapters`, or a hub id.
            base: folder or hub id of Stable Diffusion; what the adapters name if None.
            torch_dtype: of all modules.
            hub: `revision` (of the adapters), `cache_dir`, `token`, `local_files_only`.
        """
        index = read_index(source, **hub)
        revision = index["base_revision"] if base is None else ""
        place = {key: value for key, value in hub.items() if key != "revision"}
        frozen = load_base(
            base or index["base"],
            torch_dtype=torch_dtype,
            text_encoder="prompt_embeddings" not in index["modules"],
            **place | ({"revision": revision} if revision else {}),
        )
        pipeline = cls(
            **frozen,
            **read_modules(source, index, torch_dtype, **hub),
            scheduler=read_scheduler(source, index, **hub),
            base=str(base or index["base"]),
            base_revision=revision,
            **{name: index["options"][name] for name in OPTIONS},
        )
        return pipeline if torch_dtype is None else pipeline.to(dtype=torch_dtype)

    def carry_prompts(self, prompts: Sequence[str]) -> CasSRPipeline:
        """Embed prompts by the text encoder now and drop it; they are saved with the model."""
        table = encode_texts(self.tokenizer, self.text_encoder, prompts)
        carried = PromptEmbeddings.from_tensor(prompts, table.cpu()).to(self.device, table.dtype)
        self.register_modules(prompt_embeddings=carried, text_encoder=None, tokenizer=None)
        return self

    def embed_prompt(self, text: str) -> Tensor:
        """(1, T, D) embedding of a prompt.

        Raises:
            ValueError: the prompt is not carried and there is no text encoder.
        """
        with self._resident(self.text_encoder):
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
        output_type: OutputType = "pil",
        return_dict: bool = True,
        callback_on_step_end: StepEnd | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        **options: Any,
    ) -> Any:
        """Upscale images.

        Args:
            image: one LR image or several, of any sizes; see `cassr.sampling.images.to_tensors`.
            scale: factor (1 restores at the same size); sides are rounded to whole pixels.
            seed: one for all images, or one for each. An image's result depends on its own seed
                only, not on the images beside it.
            generator: of torch, one or one for each image, that seeds are drawn from instead.
            reference: reference images of scale x size, one for each input; stage 1 is skipped.
            caption: put before the general description: a text, one for each image, or a function
                from PIL image to text.
            prompt_embeds, negative_prompt_embeds: (1, T, D), the first also one for each image,
                instead of prompt and caption, and of the negative prompt.
            batch_size: images of equal size that go through the networks together. 1 keeps results
                bit-equal in whatever company an image is upscaled; more is equal to rounding.
            output_type: "pil", "np", "pt", see `cassr.sampling.images.from_tensors`, or "latent":
                latents of stage 2 as `images`, references as "pt".
            return_dict: False gives the tuple (images, references) in place of a
                `CasSRPipelineOutput`.
            callback_on_step_end, callback_on_step_end_tensor_inputs: see `StepEnd`; called after
                every step of both stages.
            options: any field of `cassr.config.SamplingOptions`.

        Returns:
            Images and references of exactly scale x the inputs' sizes.

        Raises:
            ValueError: an input, a reference or an option that cannot be used.
        """
        chosen = self._chosen(options, output_type)
        lr = to_tensors(image)
        given = given_references(reference, lr, scale)
        texts = prompts_for(lr, caption, chosen.prompt) if prompt_embeds is None else prompt_embeds
        prompts = embed_prompts(
            self.embed_prompt, texts, (chosen.negative_prompt, negative_prompt_embeds), len(lr)
        )
        on_step = step_end(self, callback_on_step_end, callback_on_step_end_tensor_inputs)
        images, used = [], []
        for span, batch in self._batches(
            lr, scale, seeds_for(seed, generator, len(lr)), prompts, batch_size, chosen
        ):
            ref = torch.cat(given[span]) if given else self._reference(batch, chosen, on_step)
            latents = self._guide(batch, ref, chosen, on_step)
            made = latents if output_type == "latent" else self._image(batch, latents, chosen)
            images += made.cpu().split(1)
            used += ref.cpu().split(1)
        references_type = "pt" if output_type == "latent" else output_type
        whole = CasSRPipelineOutput(
            images=from_tensors(images, output_type),
            references=from_tensors(used, references_type),
        )
        return whole if return_dict else (whole.images, whole.references)

    @torch.no_grad()
    def activate(
        self,
        image: ImageLike | Sequence[ImageLike],
        *,
        scale: float = 4,
        seed: int | Sequence[int] = 0,
        batch_size: int = 1,
        output_type: OutputType = "pil",
        **options: Any,
    ) -> Any:
        """Stage 1 alone: the reference images, to be kept and given to a later call.

        They are rounded to 8 bits, so that a later call gets what this one would have used.
        Arguments as in the call of the pipeline.
        """
        chosen = self._chosen(options, output_type)
        lr = to_tensors(image)
        texts, seeds = prompts_for(lr, None, chosen.prompt), seeds_for(seed, None, len(lr))
        prompts = embed_prompts(self.embed_prompt, texts, (chosen.negative_prompt, None), len(lr))
        made: list[Tensor] = []
        for _, batch in self._batches(lr, scale, seeds, prompts, batch_size, chosen):
            made += self._reference(batch, chosen, unchanged).cpu().split(1)
        return from_tensors(made, "pt" if output_type == "latent" else output_type)

    def _batches(
        self,
        lr: Sequence[Tensor],
        scale: float,
        seeds: Sequence[int],
        prompts: Prompts,
        batch_size: int,
        options: SamplingOptions,
    ) -> Iterator[tuple[slice, Batch]]:
        """Images of one size together, with which they are."""
        if integer(batch_size, "batch_size") < 1:
            raise ValueError(f"batch_size={batch_size!r}: expected at least 1")
        codec = LatentCodec(self.vae, options.vae_tile, options.vae_overlap)
        for span in spans([x.shape for x in lr], batch_size):
            size = scaled_size(lr[span.start], scale)
            processed = processed_size(size, options.process_size)
            upscaled = resize_bicubic(torch.cat(list(lr[span])), processed)
            padded = pad_to_multiple(upscaled, self.multiple)
            with self._resident(self.vae):
                z_lr = codec.encode(padded)
            yield span, Batch(upscaled, padded, z_lr, size, seeds[span], prompts.part(span))

    def _reference(self, batch: Batch, options: SamplingOptions, on_step: OnStep) -> Tensor:
        """The reference images of a batch: (B, 3, *batch.size) in [0, 1], multiples of 1/255."""
        kind = options.activation
        if kind == "trained":
            kind = self.config["activation_kind"]
        if kind == "lr":
            return quantize(resize_bicubic(batch.upscaled, batch.size).clone())
        if kind == "external":
            raise ValueError("activation 'external': give the reference images as reference=")
        stage = self.activation_stage()
        steps, scale = options.activation_steps, options.activation_guidance_scale
        with self._resident(stage):
            latents = run_stage(
                self, 1, self._ready(stage), batch, [batch.padded], steps, scale, options, on_step
            )
        return quantize(self._image(batch, latents, options))

    def _guide(
        self, batch: Batch, reference: Tensor, options: SamplingOptions, on_step: OnStep
    ) -> Tensor:
        """Stage 2: latents (B, c, h, w) from reference images (B, 3, *batch.size)."""
        stage = self.guidance_stage(options.multiple_attention)
        stage.lr_scale = options.lr_conditioning_scale
        stage.reference_scale = options.reference_conditioning_scale
        stage.attention_scale = options.attention_scale
        height, width = batch.upscaled.shape[2:]
        processed = pad_to_multiple(resize_bicubic(reference, (height, width)), self.multiple)
        conditions = [batch.padded, processed]
        steps, scale = options.num_inference_steps, options.guidance_scale
        with self._resident(stage):
            return run_stage(
                self, 2, self._ready(stage), batch, conditions, steps, scale, options, on_step
            )

    def _image(self, batch: Batch, latents: Tensor, options: SamplingOptions) -> Tensor:
        """(B, c, h, w) -> (B, 3, *batch.size) in [0, 1]."""
        with self._resident(self.vae):
            return resize_bicubic(finish(self, latents, batch.upscaled, options), batch.size)

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
        if self.sampling.num_inference_steps == 1 < options.num_inference_steps:
            logger.warning(
                "num_inference_steps=%d: this model was made for one step; more are untrained",
                options.num_inference_steps,
            )
        return options

    def enable_model_cpu_offload(
        self, gpu_id: int | None = None, device: torch.device | str | None = None
    ) -> None:
        """Keep the networks on the CPU, and each on the device only while it is needed.

        diffusers moves a model when its `forward` is called; here models are called in parts, so
        they are moved around the work of a stage.
        """
        chosen = torch.device(device or "cuda")
        self._offload_to = chosen if gpu_id is None else torch.device(chosen.type, gpu_id)
        self.to("cpu")

    def enable_vae_slicing(self) -> None:
        """Decode the images of a batch one after the other."""
        self.vae.enable_slicing()

    def disable_vae_slicing(self) -> None:
        self.vae.disable_slicing()

    @contextmanager
    def _resident(self, module: nn.Module | None) -> Iterator[None]:
        """A module on the device that it is kept away from, for the time being."""
        if module is None or self._offload_to is None:
            yield
            return
        module.to(self._offload_to)
        try:
            yield
        finally:
            module.to("cpu")


def _align(module: nn.Module) -> None:
    """Move weights to where torch would have allocated them.

    Weights that are mapped from a file lie at any address, for which CPU kernels round differently:
    a saved and loaded model would not give the same bits as the model that was saved.
    """
    for parameter in module.parameters():
        if parameter.device.type == "cpu" and parameter.data_ptr() % 64:
            parameter.data = parameter.data.clone()
