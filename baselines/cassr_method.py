"""CasSR as a method; variants that share stage 1 compute its reference image once."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from baselines.cassr_files import find_model, model_files
from bench.base.hashing import json_sha256
from bench.files import images
from bench.methods.find import find
from bench.remote import weights

if TYPE_CHECKING:
    from cassr.pipeline import CasSRPipeline

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
STAGE_1_VERSION = 2
"""Goes up with the cards' version when our own code gives other reference images."""
STAGE_1_OPTIONS = (
    *("activation", "activation_steps", "activation_guidance_scale", "prompt", "negative_prompt"),
    *("color_correction", "start", "process_size"),
    *("tile", "tile_overlap", "vae_tile", "vae_overlap"),
)


class CasSR:
    """A trained CasSR.

    Args:
        model: a folder (saved pipeline or adapters), a hub id "owner/name", or the name of a folder
            below CASSR_MODELS (default: `models` in the harness's cache).
        revision: branch, tag or commit of a hub id.
        sampling: fields of `cassr.config.SamplingOptions` that differ from the model's own.
        caption: "" for none, or the hub id or folder of a BLIP captioner (Table 3).
        reference_method: name of another method whose output is the reference image (then
            `sampling.activation` is "external").
        dtype: "float32", "float16" or "bfloat16".
        compile: torch.compile the noise predictions.
        device: "cpu", "cuda", "cuda:1" or "mps".

    Raises:
        Unavailable: there is no such model.
        ValueError: an unknown option, dtype or value.
    """

    def __init__(
        self,
        model: str,
        revision: str = "main",
        sampling: Mapping[str, Any] | None = None,
        caption: str = "",
        reference_method: str = "",
        dtype: str = "float32",
        compile: bool = False,
        device: str = "cpu",
    ) -> None:
        from cassr.prompts import BlipCaptioner

        if dtype not in DTYPES:
            raise ValueError(f"dtype={dtype!r}: expected one of {', '.join(DTYPES)}")
        folder = find_model(model, revision)
        self.files, self.dtype = model_files(folder), dtype
        self.pipeline = _load(folder, DTYPES[dtype]).to(device)
        self.pipeline.optimize(compile=compile)
        self.options = dict(sampling or {})
        self.pipeline.sampling.changed(self.options)
        self.captioner = BlipCaptioner(caption, device=device) if caption else None
        self.reference_method: Any = (
            find(reference_method).load(device) if reference_method else None
        )

    def upscale(self, lr: Tensor, *, scale: int, seeds: Sequence[int]) -> Tensor:
        """(B, 3, H, W) float32 in [0, 1] -> (B, 3, scale*H, scale*W) float32 in [0, 1]."""
        references = [
            self._reference(image[None], scale, seed) for image, seed in zip(lr, seeds, strict=True)
        ]
        return self.pipeline(
            lr,
            scale=scale,
            seed=list(seeds),
            reference=torch.cat(references),
            caption=self.captioner,
            output_type="pt",
            **self.options,
        ).images.float()

    def _reference(self, lr: Tensor, scale: int, seed: int) -> Tensor:
        """(1, 3, scale*H, scale*W) in [0, 1], multiples of 1/255."""
        if self.reference_method is not None:
            made = self.reference_method.upscale(lr, scale=scale, seeds=[seed])
            return images.to_tensor(images.to_uint8(made))
        path = self._cached_reference(lr, scale, seed)
        if not path.is_file():
            made = self.pipeline.activate(
                lr, scale=scale, seed=seed, output_type="pt", **self.options
            )
            images.write_png(path, images.to_uint8(made))
        return images.to_tensor(images.read_rgb(path))

    def _cached_reference(self, lr: Tensor, scale: int, seed: int) -> Path:
        options = self.pipeline.sampling.changed(self.options).as_dict()
        key = json_sha256(
            {
                "version": STAGE_1_VERSION,
                "lr": hashlib.sha256(lr.contiguous().numpy().tobytes()).hexdigest(),
                "size": list(lr.shape),
                "scale": scale,
                "seed": seed,
                "files": self.files,
                "options": {name: options[name] for name in STAGE_1_OPTIONS},
                "dtype": self.dtype,
                "device": self.pipeline.device.type,
            }
        )
        return weights.cache_dir() / "references" / key[:2] / f"{key}.png"


def _load(folder: Path, dtype: torch.dtype) -> "CasSRPipeline":
    from diffusers.utils.logging import disable_progress_bar

    from cassr.pipeline import CasSRPipeline

    disable_progress_bar()
    if (folder / "model_index.json").is_file():
        pipeline = CasSRPipeline.from_pretrained(folder, torch_dtype=dtype)
    else:
        pipeline = CasSRPipeline.from_adapters(folder, torch_dtype=dtype)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
