"""What CasSR adds to Stable Diffusion, saved and loaded without Stable Diffusion itself.

A folder (or hub repository) of adapters holds `cassr.json` and, below it, the folders that
diffusers' `save_pretrained` makes: `controlnet`, `attention`, `activation`, `prompt_embeddings`,
`scheduler`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.modeling_utils import ModelMixin
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from huggingface_hub import hf_hub_download

from cassr.activation import CSCTuners
from cassr.attention import MultipleAttention
from cassr.base.files import replacing
from cassr.prompts import PromptEmbeddings

INDEX = "cassr.json"
FORMAT = 1
CLASSES: dict[str, type[ModelMixin]] = {
    cls.__name__: cls for cls in (ControlNetModel, CSCTuners, MultipleAttention, PromptEmbeddings)
}
PARTS = ("controlnet", "attention", "activation", "prompt_embeddings")
OPTIONS = ("activation_kind", "latent_target", "latent_sigma", "share_halves", "sampling")


def save_adapters(
    folder: str | Path,
    components: Mapping[str, Any],
    scheduler: SchedulerMixin,
    config: Mapping[str, Any],
) -> None:
    """Write the trained modules and the options of a pipeline.

    Args:
        folder: made if needed; the index is written last, so a folder with one is complete.
        components, scheduler, config: of the pipeline.
    """
    folder = Path(folder)
    modules = {name: components[name] for name in PARTS if components[name] is not None}
    for name, module in modules.items():
        module.save_pretrained(folder / name, safe_serialization=True)
    scheduler.save_pretrained(folder / "scheduler")
    index = {
        "format": FORMAT,
        "base": config["base"],
        "base_revision": config["base_revision"],
        "modules": {name: type(module).__name__ for name, module in modules.items()},
        "scheduler": type(scheduler).__name__,
        "options": {name: config[name] for name in OPTIONS},
    }
    with replacing(folder / INDEX) as part:
        part.write_text(json.dumps(index, indent=2, default=list) + "\n", encoding="utf-8")


def read_index(source: str | Path, **hub: Any) -> dict[str, Any]:
    """The index of a folder or hub repository of adapters.

    Args:
        source: folder or hub id.
        hub: `revision`, `cache_dir`, `token`, `local_files_only` of huggingface_hub.

    Raises:
        OSError: no index there.
        ValueError: the index is of another format.
    """
    path = Path(source) / INDEX
    if not path.parent.is_dir():
        path = Path(hf_hub_download(str(source), INDEX, **hub))
    if not path.is_file():
        raise OSError(f"{path}: not found; expected a folder written by save_adapters")
    index = json.loads(path.read_text(encoding="utf-8"))
    if index.get("format") != FORMAT:
        raise ValueError(f"{path}: expected format {FORMAT}, found {index.get('format')!r}")
    return index


def read_scheduler(source: str | Path, index: dict[str, Any], **hub: Any) -> Any:
    """The scheduler that adapters were saved with.

    Raises:
        ValueError: its class is not one of diffusers' schedulers.
    """
    cls = getattr(diffusers, index["scheduler"], None)
    if not (isinstance(cls, type) and issubclass(cls, SchedulerMixin)):
        raise ValueError(f"{source}/{INDEX}: unknown scheduler {index['scheduler']!r}")
    return cls.from_pretrained(str(source), subfolder="scheduler", **hub)


def read_modules(
    source: str | Path, index: dict[str, Any], dtype: torch.dtype | None = None, **hub: Any
) -> dict[str, Any]:
    """The modules that an index lists, by their names; None for those it does not list.

    Raises:
        ValueError: a module's name or class is not one of ours.
    """
    listed = index["modules"]
    for name, class_name in listed.items():
        if name not in PARTS or class_name not in CLASSES:
            raise ValueError(f"{source}/{INDEX}: unknown module {name!r} of class {class_name!r}")
    return {
        name: CLASSES[listed[name]].from_pretrained(
            str(source), subfolder=name, torch_dtype=dtype, use_safetensors=True, **hub
        )
        if name in listed
        else None
        for name in PARTS
    }
