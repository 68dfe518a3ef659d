"""What CasSR adds to Stable Diffusion, saved and loaded without Stable Diffusion itself.

A folder (or hub repository) of adapters holds `cassr.json` and, below it, the folders that
diffusers' `save_pretrained` makes: `controlnet`, `attention`, `activation`, `prompt_embeddings`,
`scheduler`. `hub` stands for `revision`, `cache_dir`, `token` and `local_files_only` of
huggingface_hub.
"""

import json
from pathlib import Path
from typing import Any, Self

import diffusers
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from huggingface_hub import hf_hub_download
from torch import nn

from cassr.activation import CSCTuners
from cassr.attention import MultipleAttention
from cassr.base.files import replacing
from cassr.base.model_card import write_card
from cassr.prompts import PromptEmbeddings

INDEX = "cassr.json"
FORMAT = 1
CLASSES: dict[str, type[ModelMixin]] = {
    cls.__name__: cls for cls in (ControlNetModel, CSCTuners, MultipleAttention, PromptEmbeddings)
}
PARTS = ("controlnet", "attention", "activation", "prompt_embeddings")
KINDS = {"base": str, "base_revision": str, "modules": dict, "options": dict, "scheduler": str}
OPTIONS = ("activation_kind", "latent_target", "latent_sigma", "share_halves", "sampling")


class Adapted:
    """The part of the pipeline that saves and loads adapters."""

    config: Any

    def save_adapters(self, folder: str | Path) -> None:
        """Write the trained modules and the options; the index last, so that one is complete."""
        pipeline: Any = self
        folder, config = Path(folder), self.config
        modules = {name: part for name in PARTS if (part := getattr(pipeline, name)) is not None}
        for name, module in modules.items():
            module.save_pretrained(folder / name, safe_serialization=True)
        pipeline.scheduler.save_pretrained(folder / "scheduler")
        index = {
            "format": FORMAT,
            "base": config["base"],
            "base_revision": config["base_revision"],
            "modules": {name: type(module).__name__ for name, module in modules.items()},
            "scheduler": type(pipeline.scheduler).__name__,
            "options": {name: config[name] for name in OPTIONS},
        }
        with replacing(folder / INDEX) as part:
            part.write_text(json.dumps(index, indent=2, default=list) + "\n", encoding="utf-8")
        write_card(folder, config)

    def load_adapters(self, source: str | Path, **hub: Any) -> Self:
        """Replace trained modules and options by saved ones; see `from_adapters`."""
        pipeline: Any = self
        index = read_index(source, **hub)
        for name, module in read_modules(source, index, pipeline.unet.dtype, **hub).items():
            if module is not None or name != "prompt_embeddings":
                pipeline.register_modules(**{name: module and module.to(pipeline.device)})
        pipeline.register_modules(scheduler=read_scheduler(source, index, **hub))
        pipeline.register_to_config(**{name: index["options"][name] for name in OPTIONS})
        return self

    @classmethod
    def from_adapters(
        cls,
        source: str | Path,
        *,
        base: str | Path | None = None,
        torch_dtype: torch.dtype | None = None,
        **hub: Any,
    ) -> Self:
        """Stable Diffusion from its own place, CasSR's modules from a folder of adapters.

        Args:
            source: folder written by `save_adapters`, or a hub id.
            base: folder or hub id of Stable Diffusion; what the adapters name if None.
            torch_dtype: of all modules.
            hub: its `revision` is that of the adapters.

        Raises:
            OSError: no index there.
            ValueError: an index, a module or a scheduler that is not one of ours.
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
        made: Any = cls
        pipeline = made(
            **frozen,
            **read_modules(source, index, torch_dtype, **hub),
            scheduler=read_scheduler(source, index, **hub),
            base=str(base or index["base"]),
            base_revision=revision,
            **{name: index["options"][name] for name in OPTIONS},
        )
        return pipeline if torch_dtype is None else pipeline.to(dtype=torch_dtype)


def read_index(source: str | Path, **hub: Any) -> dict[str, Any]:
    """The index of a folder or hub repository of adapters; raises as `from_adapters`."""
    path = Path(source) / INDEX
    if not path.parent.is_dir():
        path = Path(hf_hub_download(str(source), INDEX, **hub))
    if not path.is_file():
        raise OSError(f"{path}: not found; expected a folder written by save_adapters")
    index = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        found = index.get("format") if isinstance(index, dict) else type(index).__name__
        raise ValueError(f"{path}: expected format {FORMAT}, found {found!r:.20}")
    lacking = [name for name, kind in KINDS.items() if not isinstance(index.get(name), kind)]
    if lacking := lacking or sorted({*OPTIONS} - {*index["options"]}):
        raise ValueError(f"{path}: expected also {', '.join(lacking)}; save it anew")
    return index


def read_scheduler(source: str | Path, index: dict[str, Any], **hub: Any) -> Any:
    """The scheduler that adapters were saved with; raises as `from_adapters`."""
    cls = getattr(diffusers, index["scheduler"], None)
    if not (isinstance(cls, type) and issubclass(cls, SchedulerMixin)):
        raise ValueError(f"{source}/{INDEX}: unknown scheduler {index['scheduler']!r}")
    return cls.from_pretrained(str(source), subfolder="scheduler", **hub)


def read_modules(
    source: str | Path, index: dict[str, Any], dtype: torch.dtype | None = None, **hub: Any
) -> dict[str, Any]:
    """The modules that an index lists, by name, None for others; raises as `from_adapters`."""
    made: dict[str, Any] = dict.fromkeys(PARTS)
    for name, class_name in index["modules"].items():
        if name not in PARTS or str(class_name) not in CLASSES:
            raise ValueError(f"{source}/{INDEX}: unknown module {name!r} of class {class_name!r}")
        made[name] = CLASSES[class_name].from_pretrained(
            str(source), subfolder=name, torch_dtype=dtype, use_safetensors=True, **hub
        )
    return made


def load_base(
    base: str | Path, *, torch_dtype: torch.dtype | None, text_encoder: bool = True, **hub: Any
) -> dict[str, Any]:
    """The frozen modules of a Stable Diffusion 1.x, a folder or hub id in diffusers' layout."""
    place, modules = str(base), {}
    for name, cls in (("unet", UNet2DConditionModel), ("vae", AutoencoderKL)):
        modules[name] = cls.from_pretrained(place, subfolder=name, torch_dtype=torch_dtype, **hub)
    if text_encoder:
        from transformers import CLIPTextModel, CLIPTokenizer

        modules["text_encoder"] = CLIPTextModel.from_pretrained(
            place, subfolder="text_encoder", dtype=torch_dtype or "auto", **hub
        )
        modules["tokenizer"] = CLIPTokenizer.from_pretrained(place, subfolder="tokenizer", **hub)
    return frozen(modules)


def frozen(modules: dict[str, Any]) -> dict[str, Any]:
    """The same modules, without gradients and in evaluation mode."""
    for module in modules.values():
        if isinstance(module, nn.Module):
            module.requires_grad_(False).eval()
    return modules
