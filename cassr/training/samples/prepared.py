"""Training samples computed once. What they depend on is in the names of the folders::

    cache/pairs-<recipe, photographs>/00000.safetensors        hr, lr; and 00000.skipped.json
    cache/latents-<the same, VAE>/00000.safetensors            z_hr, z_lr
    cache/references-<the same, stage 1>/00000.safetensors     reference

A file is there whole or not at all; all hold equally many samples, so a run over more pairs goes on
from those of a run over fewer.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cassr.base.errors import TrainingError, first_line
from cassr.base.files import replacing
from cassr.base.hashes import module_digest
from cassr.base.told import Told, together
from cassr.degradation import degradation_version
from cassr.photographs.read import digest
from cassr.pipeline import CasSRPipeline
from cassr.sampling.images import upscale_bicubic
from cassr.sampling.loop import LatentCodec
from cassr.training.samples.data import TrainingPairs, collate, scale_of
from cassr.training.samples.recipe import Recipe, Sample
from cassr.training.samples.references import References

CHUNK_BYTES = 2**26
BATCH = 8

DECODER = ("decoder.", "post_quant_conv.", "synthesis.")
"""The part of a VAE that latents do not depend on."""

SKIPPED = ".skipped.json"
"""Beside a file of pairs: the photographs that could not be used for it."""


LayerProgress = Callable[[str, int, int], None]
"""Told of (layer, chunks done, chunks in all)."""
Skip = Callable[[str, str], None]
"""Told once of each photograph that cannot be used: (name, reason)."""


def untold(*told: object) -> None:
    """The `LayerProgress` and `Skip` of those who need not know."""


@dataclass(frozen=True)
class Hands:
    """Who prepares, and who is told.

    Attributes:
        process, processes: this one takes every n-th file.
        workers: processes of its own that decode, crop and degrade; 0 for none.
        exchange: all processes' lists of errors in one, once every one has come so far.
    """

    process: int = 0
    processes: int = 1
    workers: int = 0
    exchange: Callable[[list[str]], list[str]] = list
    report: LayerProgress = untold
    skip: Skip = untold

    def missing(self, folder: Path, total: int) -> list[int]:
        """Numbers of the files that this process is to make."""
        numbers = range(total)[self.process :: self.processes]
        return [n for n in numbers if not (folder / _chunk_name(n)).is_file()]


ALONE = Hands()


def chunk_size(recipe: Recipe) -> int:
    """Samples in a file: many, since a photograph is decoded anew for every file."""
    return max(16, CHUNK_BYTES // (3 * recipe.crop**2))


class PreparedSamples(Dataset):
    """Samples read from chunks; the same as those of `TrainingPairs` of the same size.

    `folders` are those of the layers that a sample is put together from, that of the pairs first;
    `skipped` is the reason by photograph that could not be used.
    """

    def __init__(self, folders: list[Path], recipe: Recipe, size: int) -> None:
        self.folders, self.recipe, self.size = folders, recipe, size
        self.chunk = min(chunk_size(recipe), size)
        self.skipped: dict[str, str] = {}
        for file in sorted(folders[0].glob(f"*{SKIPPED}")):
            self.skipped |= json.loads(file.read_text(encoding="utf-8"))
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
    references: References | None = None,
    hands: Hands = ALONE,
) -> PreparedSamples:
    """Compute what is not there yet, in a folder.

    Args:
        pairs: of a limited size.
        pipeline: with it, latents are prepared too.
        references: what makes reference images of LR images.
        hands: which part of it this process does.

    Raises TrainingError: pairs without a size.
    """
    if pairs.size is None:
        raise TrainingError("samples=0: preparing needs a limited number of different pairs")
    chunk = min(chunk_size(pairs.recipe), pairs.size)
    key = {
        "recipe": repr(pairs.recipe),
        "degradation": degradation_version(exact=False),
        "photographs": digest(pairs.photographs),
        "chunk": chunk,
    }
    chunks = -(-pairs.size // chunk)
    folders = [cache / f"pairs-{_digest(key)}"]
    with together(hands.exchange):
        _write_pairs(pairs, folders[0], chunk, chunks, hands)
    plain = PreparedSamples(folders[:1], pairs.recipe, chunks * chunk)
    with together(hands.exchange):
        if pipeline is not None:
            scaling = pipeline.vae.config["scaling_factor"]
            here = key | {"vae": module_digest(pipeline.vae, but=DECODER), "scaling": scaling}
            folders.append(cache / f"latents-{_digest(here)}")
            _write_layer(folders[-1], plain, partial(_latents, pipeline), hands)
        if references is not None:
            folders.append(cache / f"references-{_digest(key | dict(references.identity()))}")
            _write_layer(folders[-1], plain, partial(_references, references), hands)
    return PreparedSamples(folders, pairs.recipe, pairs.size)


def _write_pairs(pairs: TrainingPairs, folder: Path, size: int, total: int, hands: Hands) -> None:
    numbers = hands.missing(folder, total)
    known: set[str] = set()
    endless = TrainingPairs(pairs.photographs, pairs.recipe)
    chunks = Told(partial(_write_chunk, endless, folder, size))
    made = DataLoader(chunks, batch_size=None, sampler=numbers, num_workers=hands.workers)
    for number, found in zip(numbers, made, strict=True):
        if isinstance(found, TrainingError):
            raise found
        for name, reason in found.items():
            if name not in known:
                hands.skip(name, reason)
        known |= found.keys()
        hands.report("pairs", number + 1, total)


def _write_chunk(pairs: TrainingPairs, folder: Path, size: int, number: int) -> dict[str, str]:
    """A file of pairs, written in a worker; the reasons by photograph that could not be used."""
    numbers = range(number * size, (number + 1) * size)
    # Photograph by photograph, so that each is decoded once.
    made = {i: pairs[i] for i in sorted(numbers, key=pairs.photograph)}
    skipped = {name: reason for sample in made.values() for name, reason in sample["skipped"]}
    path = folder / _chunk_name(number)
    if skipped:
        with _written(path.with_suffix(SKIPPED)) as part:
            text = json.dumps(skipped, ensure_ascii=False, indent=1)
            part.write_text(text, encoding="utf-8")
    _save({name: torch.stack([made[i][name] for i in numbers]) for name in ("hr", "lr")}, path)
    return skipped


def _write_layer(
    folder: Path,
    samples: PreparedSamples,
    compute: Callable[[Sample], Mapping[str, Tensor]],
    hands: Hands,
) -> None:
    total = -(-samples.size // samples.chunk)
    for number in hands.missing(folder, total):
        numbers = range(number * samples.chunk, (number + 1) * samples.chunk)
        parts = [
            compute(collate([samples[i] for i in numbers[at : at + BATCH]]))
            for at in range(0, len(numbers), BATCH)
        ]
        stacked = {name: torch.cat([p[name] for p in parts]) for name in parts[0]}
        _save(stacked, folder / _chunk_name(number))
        hands.report(folder.name.split("-")[0], number + 1, total)


@torch.no_grad()
def _latents(pipeline: CasSRPipeline, batch: Sample) -> dict[str, Tensor]:
    codec = LatentCodec.untiled(pipeline.vae, batch["hr"])
    images = {"z_hr": batch["hr"], "z_lr": upscale_bicubic(batch["lr"], scale_of(batch))}
    return {name: codec.encode(x.to(pipeline.vae.device)).cpu() for name, x in images.items()}


def _references(references: References, batch: Sample) -> dict[str, Tensor]:
    made = references.make(batch["lr"], scale_of(batch), batch["seed"])
    return {"reference": (made.cpu() * 255).round().to(torch.uint8)}


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    with _written(path) as part:
        save_file({name: t.contiguous() for name, t in tensors.items()}, part)


@contextmanager
def _written(path: Path) -> Iterator[Path]:
    """As `replacing`; a TrainingError, which all processes are told of, where there is no room."""
    try:
        with replacing(path) as part:
            yield part
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            f"{path}: cannot be written ({first_line(error)}); make room, what was prepared is kept"
        ) from error


def _chunk_name(chunk: int) -> str:
    return f"{chunk:05d}.safetensors"


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
