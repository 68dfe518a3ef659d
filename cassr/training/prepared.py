"""Training samples computed once: pairs, latents, reference images.

A run over a limited number of pairs (`samples`) needs to decode, crop, degrade and encode each of
them only once. What depends on what is in the names of the folders::

    cache/pairs-<recipe, photographs>/00000.safetensors        hr, lr; and skipped.json
    cache/latents-<the same, VAE>/00000.safetensors            z_hr, z_lr
    cache/references-<the same, stage 1>/00000.safetensors     reference

A file is there whole or not at all, so a killed preparation goes on where it was; all files hold
equally many samples, so a run over more pairs goes on from those of a run over fewer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import Dataset

from cassr.base.errors import TrainingError
from cassr.base.files import replacing
from cassr.degradation import degradation_version
from cassr.photographs.read import digest
from cassr.pipeline import CasSRPipeline
from cassr.sampling.images import upscale_bicubic
from cassr.training.data import Recipe, Sample, TrainingPairs, collate
from cassr.training.objectives import codec_of, make_references, scale_of

CHUNK_BYTES = 2**26
BATCH = 8

DECODER = ("decoder.", "post_quant_conv.", "synthesis.")
"""The part of a VAE that latents do not depend on."""

SKIPPED = "skipped.json"

LayerProgress = Callable[[str, int, int], None]
"""Told of (layer, chunks done, chunks in all)."""


def chunk_size(recipe: Recipe) -> int:
    """Samples in a file: many, since a photograph is decoded anew for every file."""
    return max(16, CHUNK_BYTES // (3 * recipe.crop**2))


class PreparedSamples(Dataset):
    """Samples read from chunks; the same as those of `TrainingPairs` of the same size.

    Args:
        folders: of the layers that a sample is put together from, that of the pairs first.
        recipe, size: of the pairs.

    Attributes:
        skipped: reason by photograph that could not be used.
    """

    def __init__(self, folders: list[Path], recipe: Recipe, size: int) -> None:
        self.folders, self.recipe, self.size = folders, recipe, size
        self.chunk = min(chunk_size(recipe), size)
        self.skipped = skipped_in(folders[0])
        self._open: dict[Path, Any] = {}

    def __getitem__(self, index: int) -> Sample:
        number = index % self.size
        sample: Sample = {"skipped": [], "index": index}
        for folder in self.folders:
            file = self._file(folder / _chunk_name(number // self.chunk))
            names = list(file.keys())
            sample |= {name: file.get_slice(name)[number % self.chunk] for name in names}
        return sample | {"seed": self.recipe.seed_of(index, "noise")}

    def _file(self, path: Path) -> Any:
        if path not in self._open:
            self._open[path] = safe_open(path, framework="pt")
        return self._open[path]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}}


def prepare(
    pairs: TrainingPairs,
    cache: Path,
    *,
    pipeline: CasSRPipeline | None = None,
    references: bool = False,
    report: LayerProgress = lambda layer, done, total: None,
    skip: Callable[[str, str], None] = lambda name, reason: None,
) -> PreparedSamples:
    """Compute what is not there yet.

    Args:
        pairs: of a limited size.
        cache: folder.
        pipeline: with it, latents are prepared too.
        references: and the reference images of its stage 1.
        report: told how far it is.
        skip: told once of each photograph that cannot be used.

    Raises:
        TrainingError: pairs without a size.
    """
    if pairs.size is None:
        raise TrainingError("samples=0: preparing needs a limited number of different pairs")
    chunk = min(chunk_size(pairs.recipe), pairs.size)
    key = {
        "recipe": repr(pairs.recipe),
        "degradation": degradation_version(),
        "photographs": digest(pairs.photographs),
        "chunk": chunk,
    }
    whole = -(-pairs.size // chunk) * chunk
    folders = [cache / f"pairs-{_digest(key)}"]
    _write_pairs(pairs, folders[0], report, skip)
    plain = PreparedSamples(folders[:1], pairs.recipe, whole)
    if pipeline is not None:
        scaling = pipeline.vae.config["scaling_factor"]
        here = key | {"vae": module_digest(pipeline.vae, but=DECODER), "scaling": scaling}
        folders.append(cache / f"latents-{_digest(here)}")
        _write_layer(folders[-1], plain, partial(_latents, pipeline), report)
    if pipeline is not None and references:
        folders.append(cache / f"references-{_digest(key | stage_1_identity(pipeline))}")
        _write_layer(folders[-1], plain, partial(_references, pipeline), report)
    return PreparedSamples(folders, pairs.recipe, pairs.size)


def stage_1_identity(pipeline: CasSRPipeline) -> dict[str, Any]:
    """All that reference images depend on, beside the pairs."""
    modules = {"vae": pipeline.vae, "unet": pipeline.unet, "activation": pipeline.activation}
    kind = pipeline.config["activation_kind"]
    if kind == "lr":
        return {"kind": kind}
    digests = {name: module_digest(m) for name, m in modules.items() if m is not None}
    sampling, scheduler = pipeline.sampling, pipeline.scheduler
    prompts = [pipeline.embed_prompt(t) for t in (sampling.prompt, sampling.negative_prompt)]
    return {
        "kind": kind,
        "sampling": sampling.as_dict(),
        "scheduler": [type(scheduler).__name__, repr(sorted(scheduler.config.items()))],
        "latents": [pipeline.config["latent_target"], pipeline.config["latent_sigma"]],
        "scaling": pipeline.vae.config["scaling_factor"],
        "prompts": _tensor_digest(torch.cat(prompts)),
    } | digests


def module_digest(module: nn.Module, but: tuple[str, ...] = ()) -> str:
    """Hash of a module's weights, without those whose names begin as in `but`."""
    made = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        if name.startswith(but or ("\0",)):
            continue
        made.update(name.encode())
        made.update(_bytes(value))
    return made.hexdigest()


def _tensor_digest(value: Tensor) -> str:
    return hashlib.sha256(_bytes(value)).hexdigest()


def _bytes(value: Tensor) -> bytes:
    return value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()


def _write_pairs(
    pairs: TrainingPairs, folder: Path, report: LayerProgress, skip: Callable[[str, str], None]
) -> None:
    """Photograph by photograph within a chunk, so that each is decoded once."""
    assert pairs.size is not None
    endless = TrainingPairs(pairs.photographs, pairs.recipe)
    size = min(chunk_size(pairs.recipe), pairs.size)
    for start, path, total in _missing(folder, pairs.size, size):
        numbers = range(start, start + size)
        made = {i: endless[i] for i in sorted(numbers, key=endless.photograph)}
        known = skipped_in(folder)
        found = {name: reason for sample in made.values() for name, reason in sample["skipped"]}
        new = {name: reason for name, reason in found.items() if name not in known}
        for name, reason in new.items():
            skip(name, reason)
        if new:
            _save_skipped(folder, known | new)
        stacked = {name: torch.stack([made[i][name] for i in numbers]) for name in ("hr", "lr")}
        _save(stacked, path)
        report("pairs", start // size + 1, total)


def skipped_in(folder: Path) -> dict[str, str]:
    """Reason by photograph that could not be used for the pairs in a folder."""
    file = folder / SKIPPED
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def _save_skipped(folder: Path, skipped: Mapping[str, str]) -> None:
    with replacing(folder / SKIPPED) as part:
        part.write_text(json.dumps(skipped, ensure_ascii=False, indent=1), encoding="utf-8")


def _write_layer(
    folder: Path,
    samples: PreparedSamples,
    compute: Callable[[Sample], Mapping[str, Tensor]],
    report: LayerProgress,
) -> None:
    for start, path, total in _missing(folder, samples.size, samples.chunk):
        numbers = list(range(start, start + samples.chunk))
        parts = [
            compute(collate([samples[i] for i in numbers[at : at + BATCH]]))
            for at in range(0, len(numbers), BATCH)
        ]
        _save({name: torch.cat([p[name] for p in parts]) for name in parts[0]}, path)
        report(folder.name.split("-")[0], start // samples.chunk + 1, total)


def _missing(folder: Path, size: int, chunk: int) -> Iterator[tuple[int, Path, int]]:
    """(first sample, file, number of files) of every file that is not there."""
    total = -(-size // chunk)
    for number in range(total):
        if not (path := folder / _chunk_name(number)).is_file():
            yield number * chunk, path, total


def _latents(pipeline: CasSRPipeline, batch: Sample) -> dict[str, Tensor]:
    codec = codec_of(pipeline, batch["hr"])
    device = pipeline.vae.device
    with torch.no_grad():
        return {
            "z_hr": codec.encode(batch["hr"].to(device)).cpu(),
            "z_lr": codec.encode(upscale_bicubic(batch["lr"], scale_of(batch)).to(device)).cpu(),
        }


def _references(pipeline: CasSRPipeline, batch: Sample) -> dict[str, Tensor]:
    made = make_references(pipeline, batch["lr"], scale_of(batch), batch["seed"])
    return {"reference": (made.cpu() * 255).round().to(torch.uint8)}


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    with replacing(path) as part:
        save_file({name: t.contiguous() for name, t in tensors.items()}, part)


def _chunk_name(chunk: int) -> str:
    return f"{chunk:05d}.safetensors"


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
