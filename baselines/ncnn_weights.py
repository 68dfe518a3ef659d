"""Real-ESRGAN's networks in ncnn's format: a graph as text (.param) and its weights (.bin).

The graph must be, layer by layer, the one of RRDBNet or SRVGGNetCompact; then the weights, which
lie in the order of the layers, are those networks' under their own names.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor

MAGIC = 7767517
HALF = 0x01306B47
"""Flag before the weights of a convolution: half precision; 0 is single."""
SUFFIX = ".bin"

Parameters = Mapping[int, tuple[float, ...]]
"""ncnn's number of a layer's parameter -> its value, or the values of an array."""


class Layer(NamedTuple):
    """A layer, told by what it does to the outputs of which earlier layers, by their numbers;
    splits are looked through."""

    kind: str
    sources: tuple[int, ...] = ()
    parameters: Parameters = MappingProxyType({})


def state_dict(weights: Path) -> dict[str, Tensor]:
    """The tensors of a .bin file, float32; the .param of the same name must lie beside it;
    ValueError where no .param, another network than these two, another precision than half or
    single, too few or too many bytes."""
    path = weights.with_suffix(".param")
    graph = read_graph(path)
    network = _network(graph)
    _require_same(path, graph, network.layers)
    with weights.open("rb") as file:
        tensors = dict(chain.from_iterable(_tensors(file, *each) for each in network.named))
        if left := len(file.read()):
            raise ValueError(f"{weights}: {left} bytes are left after the last layer")
    return tensors


def read_graph(path: Path) -> list[Layer]:
    """The layers of a .param file, without its splits; ValueError where it is missing or no text in
    ncnn's format."""
    try:
        lines = path.read_text("ascii").splitlines()
        if int(lines[0]) != MAGIC:
            raise ValueError(f"begins with {lines[0]}")
        return _parsed(lines[2:])
    except FileNotFoundError:
        raise ValueError(f"{path}: expected the graph beside its weights, found none") from None
    except (ValueError, KeyError, IndexError) as error:
        raise ValueError(f"{path}: expected a graph in ncnn's text format ({error})") from error


def _parsed(lines: Sequence[str]) -> list[Layer]:
    layers: list[Layer] = []
    made_by: dict[str, int] = {}
    for line in lines:
        kind, _, inputs, outputs, *rest = line.split()
        taken, given = int(inputs), int(outputs)
        sources = tuple(made_by[blob] for blob in rest[:taken])
        blobs = rest[taken : taken + given]
        if kind == "Split":
            made_by.update(dict.fromkeys(blobs, sources[0]))
            continue
        made_by.update(dict.fromkeys(blobs, len(layers)))
        layers.append(Layer(kind, sources, dict(map(_parameter, rest[taken + given :]))))
    return layers


def _parameter(text: str) -> tuple[int, tuple[float, ...]]:
    key, _, value = text.partition("=")
    numbers = tuple(map(float, value.split(",")))
    if not np.isfinite(numbers).all():
        raise ValueError(f"found {text}")
    return int(key), numbers


class _Network:
    """A network as ncnn's converter writes it; those of its layers that have weights by name."""

    def __init__(self) -> None:
        self.layers = [Layer("Input")]
        self.named: list[tuple[str, Layer]] = []

    def add(
        self, kind: str, sources: tuple[int, ...], told: Parameters | None = None, name: str = ""
    ) -> int:
        """Add a layer; give its number."""
        self.layers.append(Layer(kind, sources, told or {}))
        if name:
            self.named.append((name, self.layers[-1]))
        return len(self.layers) - 1

    def convolution(self, name: str, source: int, inside: int, out: int, leaky: bool) -> int:
        shape = {0: (out,), 1: (3,), 4: (1,), 5: (1,), 6: (9 * inside * out,)}
        slope = {9: (2,), -23310: (1, 0.2)} if leaky else {}
        return self.add("Convolution", (source,), {**shape, **slope}, name)


def _network(graph: Sequence[Layer]) -> _Network:
    """What the graph should be, by its kinds of layers and their widths."""
    first = {layer.kind: int(layer.parameters.get(0, (0,))[0]) for layer in reversed(graph)}
    widths = [int(x.parameters.get(0, (0,))[0]) for x in graph if x.kind == "Convolution"] or [0]
    if "PReLU" in first:
        return _compact(len(widths) - 2, widths[0], first.get("PixelShuffle", 0))
    return _rrdb((len(widths) - 6) // 15, widths[0], widths[min(1, len(widths) - 1)])


def _compact(convolutions: int, width: int, scale: int) -> _Network:
    net = _Network()
    x = 0
    for place in range(convolutions + 1):
        x = net.convolution(f"body.{2 * place}", x, width if place else 3, width, leaky=False)
        x = net.add("PReLU", (x,), {0: (width,)}, f"body.{2 * place + 1}")
    x = net.convolution(f"body.{2 * convolutions + 2}", x, width, 3 * scale * scale, leaky=False)
    x = net.add("PixelShuffle", (x,), {0: (scale,)})
    net.add("BinaryOp", (x, _enlarged(net, 0, scale)))
    return net


def _rrdb(blocks: int, width: int, growth: int) -> _Network:
    net = _Network()
    x = first = net.convolution("conv_first", 0, 3, width, leaky=False)
    for block in range(blocks):
        before = x
        for dense in (1, 2, 3):
            x = _dense(net, f"body.{block}.rdb{dense}", x, width, growth)
        x = _scaled_sum(net, x, before)
    x = net.add("BinaryOp", (first, net.convolution("conv_body", x, width, width, leaky=False)))
    for name in ("conv_up1", "conv_up2"):
        x = net.convolution(name, _enlarged(net, x, 2), width, width, leaky=True)
    x = net.convolution("conv_hr", x, width, width, leaky=True)
    net.convolution("conv_last", x, width, 3, leaky=False)
    return net


def _dense(net: _Network, name: str, x: int, width: int, growth: int) -> int:
    features = [x]
    for place in range(4):
        seen = net.add("Concat", tuple(features)) if place else x
        inside = width + place * growth
        features.append(net.convolution(f"{name}.conv{place + 1}", seen, inside, growth, True))
    joined = net.add("Concat", tuple(features))
    out = net.convolution(f"{name}.conv5", joined, width + 4 * growth, width, leaky=False)
    return _scaled_sum(net, out, x)


def _scaled_sum(net: _Network, branch: int, trunk: int) -> int:
    return net.add("Eltwise", (branch, trunk), {0: (1,), -23301: (2, 0.2, 1)})


def _enlarged(net: _Network, x: int, scale: int) -> int:
    """By repeating pixels."""
    return net.add("Interp", (x,), {0: (1,), 1: (scale,), 2: (scale,)})


def _require_same(path: Path, found: Sequence[Layer], wanted: Sequence[Layer]) -> None:
    pairs = enumerate(zip(found, wanted, strict=False))
    other = next((f"layer {n} is {a}, expected {b}" for n, (a, b) in pairs if a != b), "")
    if not other and len(found) != len(wanted):
        other = f"has {len(found)} layers, expected {len(wanted)}"
    if other:
        raise ValueError(f"{path}: is neither RRDBNet nor SRVGGNetCompact: {other}")


def _tensors(file: BinaryIO, name: str, layer: Layer) -> Iterator[tuple[str, Tensor]]:
    out = int(layer.parameters[0][0])
    if layer.kind == "PReLU":
        yield f"{name}.weight", _numbers(file, out, "<f4")
        return
    flag = int.from_bytes(file.read(4), "little")
    if flag not in (0, HALF):
        raise ValueError(
            f"{file.name}: expected weights in half or single precision, found flag {flag:#x}"
        )
    kernels = _numbers(file, int(layer.parameters[6][0]), "<f2" if flag else "<f4")
    yield f"{name}.weight", kernels.reshape(out, -1, 3, 3)
    yield f"{name}.bias", _numbers(file, out, "<f4")


def _numbers(file: BinaryIO, count: int, kind: str) -> Tensor:
    """float32; in the file they are filled up to four bytes."""
    size = count * np.dtype(kind).itemsize
    data = file.read(-(-size // 4) * 4)
    if len(data) < size:
        raise ValueError(f"{file.name}: is cut short, it ends after {file.tell()} bytes")
    return torch.from_numpy(np.frombuffer(data, kind, count).astype(np.float32))
