"""Single-pass networks through spandrel, which tells the architecture from the weights."""

import pickle
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from baselines import ncnn_weights
from baselines.padding import Pad, Tiles
from bench.base.errors import Unavailable
from bench.base.text import printable

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor

Precision = Literal["float32", "float16"]
_TRAINERS = "params params-ema ema ema_model state_dict model_state_dict"
WRAPPERS = set(f"{_TRAINERS} module model net net_g netG g generator network _orig_mod".split())
"""Names that trainers put before those of a network; "_ema" may follow each."""
NEAREST = 3


class SpandrelNetwork:
    """A super-resolution network from one file of weights.

    Args:
        weights: a .safetensors file, a .pth that holds tensors only (code in it is refused), or
            one of Real-ESRGAN's networks in ncnn's format.
        pad: fields of `Pad`, as the official script pads; without it the image is only padded
            where the architecture demands it.
        tiles: fields of `Tiles`; without it images are always seen whole.
        precision: "float16" where the network allows it; needs a GPU.
        batch: images in one forward pass. More than one is faster on a GPU and may change the
            last bits.
        device: "cpu", "cuda", "cuda:1" or "mps".

    Raises:
        ValueError: the file holds code or no super-resolution network that spandrel knows, or
            an option that the network does not allow.
    """

    def __init__(
        self,
        weights: Path,
        pad: Mapping[str, Any] | None = None,
        tiles: Mapping[str, Any] | None = None,
        precision: Precision = "float32",
        batch: int = 1,
        device: str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.pad = Pad(**pad) if pad else None
        self.tiles = Tiles(**tiles) if tiles else None
        self.batch = batch
        descriptor = load(weights).to(self.device).eval()
        self.dtype = _dtype(precision, descriptor, self.device, weights)
        self.model = descriptor.to(self.dtype)

    @torch.inference_mode()
    def upscale(self, lr: Tensor, *, scale: int, seeds: Sequence[int]) -> Tensor:
        """(B, 3, H, W) float32 in [0, 1] -> (B, 3, scale*H, scale*W) float32."""
        if scale != self.model.scale:
            able = self.model.scale
            raise Unavailable(f"the network upscales x{able}, not x{scale}; give --scale {able}")
        x = lr.to(self.device, self.dtype)
        return torch.cat([self._run(part).float().cpu() for part in x.split(self.batch)])

    def _run(self, x: Tensor) -> Tensor:
        if self.tiles and self.tiles.needed(*x.shape[2:]):
            return self.tiles(x, self.model.scale, self._forward)
        return self._forward(x)

    def _forward(self, x: Tensor) -> Tensor:
        if self.pad is None:
            return self.model(x)
        height, width = (side * self.model.scale for side in x.shape[2:])
        return self.model.model(self.pad(x))[..., :height, :width]


def _dtype(
    precision: str, descriptor: "ImageModelDescriptor", device: torch.device, weights: Path
) -> torch.dtype:
    if precision == "float32":
        return torch.float32
    if precision != "float16":
        raise ValueError(f"precision: expected float32 or float16, found {precision!r}")
    name = descriptor.architecture.name
    if not descriptor.supports_half:
        raise ValueError(f"{weights.name}: {name} gives wrong pixels in float16; use float32")
    if device.type == "cpu":
        raise ValueError("precision float16 needs a GPU; use float32 on a CPU")
    return torch.float16


def load(weights: Path) -> "ImageModelDescriptor":
    """The network of one file, on the CPU, in float32; ValueError for code in it, damage, or no RGB
    network that spandrel knows."""
    from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError

    _register_extra()
    is_ncnn = weights.suffix.lower() == ncnn_weights.SUFFIX and not zipfile.is_zipfile(weights)
    tensors = ncnn_weights.state_dict(weights) if is_ncnn else state_dict(weights)
    tried = list(_networks(tensors))
    for network in tried:
        with suppress(UnsupportedModelError):
            descriptor = ModelLoader(device="cpu").load_from_state_dict(network)
            break
    else:
        raise ValueError(f"{weights}: no architecture that spandrel knows fits it{_nearest(tried)}")
    if not isinstance(descriptor, ImageModelDescriptor) or descriptor.input_channels != 3:
        raise ValueError(f"{weights}: holds a network, but not one from RGB image to RGB image")
    return descriptor


def _networks(tensors: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """The tensors as they are, then those below each name that trainers put before a network's."""
    yield dict(tensors)
    firsts = {name.partition(".")[0] for name in tensors if "." in name}
    for first in sorted(firsts, key=lambda name: ("ema" not in name, name)):
        if first.removesuffix("_ema") in WRAPPERS or len(firsts) == 1:
            start = f"{first}."
            yield from _networks(
                {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
            )


def _nearest(tried: Sequence[Mapping[str, Tensor]]) -> str:
    """The architectures that share most keys with one of these, and what its first keys are."""
    from spandrel import MAIN_REGISTRY

    shares = []
    for known in MAIN_REGISTRY:
        keys = set(_keys(getattr(known.architecture, "_detect", None)))
        network = max(tried, key=lambda each: len(keys & each.keys()))
        if shared := len(keys & network.keys()):
            told = f"{known.architecture.name} ({shared} of {len(keys)} keys)"
            shares.append((shared / len(keys), told, network))
    shares.sort(key=itemgetter(0), reverse=True)
    told = ", ".join(name for _, name, _ in shares[:NEAREST])
    first = ", ".join(list(shares[0][2] if shares else tried[-1])[:NEAREST])
    return f"; nearest: {printable(told or 'none')}; its first keys: {printable(first)}"


def _keys(condition: Any) -> Iterator[str]:
    """The keys by which spandrel tells an architecture, where it does so by keys."""
    for key in getattr(condition, "_keys", ()):
        yield from [key] if isinstance(key, str) else _keys(key)


def state_dict(weights: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file or a pickle without code; of nested ones by dotted names;
    ValueError for another suffix, code in the file, or a damaged file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if weights.suffix.lower() not in (".safetensors", ".pth", ".pt", ".ckpt", ".bin"):
        raise ValueError(f"{weights}: expected a .safetensors, .pth, .pt, .ckpt or .bin file")
    if reason := _damage(weights):
        raise ValueError(f"{weights}: {reason}")
    try:
        if weights.suffix.lower() == ".safetensors":
            return load_file(weights)
        with torch.serialization.safe_globals(_number_types()):
            found = torch.load(weights, map_location="cpu", weights_only=True)
        tensors = dict(_flat(found, ""))
    except pickle.UnpicklingError as error:
        raise ValueError(f"{weights}: {_refusal(error)}") from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise ValueError(f"{weights}: is damaged or no file of weights") from error
    if not tensors:
        raise ValueError(f"{weights}: expected tensors by name, found {_kind(found)}")
    if odd := [name for name, value in tensors.items() if not _is_plain(value)]:
        raise ValueError(
            f"{weights}: '{printable(odd[0])}' is no plain tensor of numbers (complex, sparse, "
            "quantized or without values), as networks for images have"
        )
    return tensors


def _is_plain(value: Tensor) -> bool:
    odd = value.is_complex() or value.is_quantized or value.is_meta
    return not odd and value.layout is torch.strided


def _number_types() -> list[Any]:
    """What numbers of NumPy beside the tensors are made of: no code runs, and no object is one."""
    scalar = np.float64(0).__reduce__()[0]
    modules = ("numpy.core.multiarray", "numpy._core.multiarray")
    kinds = [type(np.dtype(letter)) for letter in "?bBhHiIlLqQefd"]
    return [*((scalar, f"{module}.scalar") for module in modules), np.dtype, *kinds]


def _flat(found: object, before: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(found, Tensor) and before:
        yield before, found
    elif isinstance(found, dict):
        for name, value in found.items():
            if isinstance(name, str):
                yield from _flat(value, f"{before}.{name}" if before else name)


def _kind(found: object) -> str:
    names = {type(name).__name__ for name in found} if isinstance(found, dict) else set()
    return f"names of type {', '.join(sorted(names))}" if names else f"a {type(found).__name__}"


def _damage(weights: Path) -> str:
    """What is wrong with a zip, as torch writes them: without compression, and with checksums that
    torch itself does not read; "" for any other file."""
    if not zipfile.is_zipfile(weights):
        return ""
    try:
        with zipfile.ZipFile(weights) as file:
            if sum(member.file_size for member in file.infolist()) > 2 * weights.stat().st_size:
                return "refused, it unpacks to more than twice its size"
            damaged = file.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        return f"is damaged ({error})"
    return f"is damaged ({damaged} has another checksum)" if damaged else ""


def _refusal(error: Exception) -> str:
    """What torch refused, without its page of advice on how to load it all the same."""
    code = re.search(r"GLOBAL ([\w.]+)", str(error))
    if code:
        return f"refused, it holds code ({code[1]}); ask its author for a .safetensors file"
    return "is no file of tensors (damaged, a web page, or a pickle of another kind)"


def _register_extra() -> None:
    """Architectures whose code is not free for commercial use, where they are installed."""
    try:
        import spandrel_extra_arches
    except ImportError:
        return
    spandrel_extra_arches.install(ignore_duplicates=True)
