"""Real-ESRGAN's networks in ncnn's format: a graph as text (.param) and its weights (.bin).

The graph must be, layer by layer, the one of RRDBNet or SRVGGNetCompact; then the weights, which
lie in the order of the layers, are those networks' under their own names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

MAGIC = 7767517
HALF = 0x01306B47
"""Flag before the weights of a convolution: half precision; 0 is single."""
SUFFIX = ".bin"

Parameters = Mapping[int, tuple[float, ...]]
"""ncnn's number of a layer's parameter -> its value, or the values of an array."""


@dataclass(frozen=True)
class Layer:
    """A layer, told by what it does to the outputs of which earlier layers.

    Attributes:
        sources: numbers of the layers whose outputs it takes; splits are looked through.
        name: of its weights in the network's own code; "" where it has none, and in a graph.
    """

    kind: str
    sources: tuple[int, ...] = ()
    parameters: Parameters = field(default_factory=dict)
    name: str = field(default="", compare=False, repr=False)


def state_dict(weights: Path) -> dict[str, Tensor]:
    """The tensors of a .bin file, float32; the .param of the same name must lie beside it.

    Raises:
        ValueError: no .param, another network than these two, another precision than half or
            single, too few or too many bytes.
    """
    graph = read_graph(weights.with_suffix(".param"))
    layers = _architecture(graph).layers
    _require_same(weights, graph, layers)
    reader = _Reader(weights)
    tensors: dict[str, Tensor] = {}
    for layer in layers:
        if layer.name:
            tensors.update(_tensors(layer, reader))
    reader.require_end()
    return tensors


# -- the graph -----------------------------------------------------------------------------------


def read_graph(path: Path) -> list[Layer]:
    """The layers of a .param file, without its splits.

    Raises:
        ValueError: it is missing or no text in ncnn's format.
    """
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
    return int(key), tuple(map(float, value.split(",")))


# -- the architectures ---------------------------------------------------------------------------


class _Architecture:
    """A network as ncnn's converter writes it."""

    def __init__(self) -> None:
        self.layers = [Layer("Input")]

    def add(
        self, kind: str, sources: tuple[int, ...], told: Parameters | None = None, name: str = ""
    ) -> int:
        """Add a layer; give its number."""
        self.layers.append(Layer(kind, sources, told or {}, name))
        return len(self.layers) - 1

    def convolution(self, name: str, source: int, inside: int, out: int, leaky: bool) -> int:
        shape = {0: (out,), 1: (3,), 4: (1,), 5: (1,), 6: (9 * inside * out,)}
        slope = {9: (2,), -23310: (1, 0.2)} if leaky else {}
        return self.add("Convolution", (source,), {**shape, **slope}, name)


def _architecture(graph: Sequence[Layer]) -> _Architecture:
    """The network that the graph should be, by its kinds of layers and their widths."""
    kinds = [layer.kind for layer in graph]
    widths = [int(x.parameters.get(0, (0,))[0]) for x in graph if x.kind == "Convolution"]
    if "PReLU" in kinds:
        scales = [int(x.parameters.get(0, (0,))[0]) for x in graph if x.kind == "PixelShuffle"]
        return _compact(len(widths) - 2, widths[0] if widths else 0, scales[0] if scales else 0)
    return _rrdb((len(widths) - 6) // 15, *(widths[:2] if len(widths) > 1 else (0, 0)))


def _compact(convolutions: int, width: int, scale: int) -> _Architecture:
    net = _Architecture()
    x = 0
    for place in range(convolutions + 1):
        x = net.convolution(f"body.{2 * place}", x, width if place else 3, width, leaky=False)
        x = net.add("PReLU", (x,), {0: (width,)}, f"body.{2 * place + 1}")
    x = net.convolution(f"body.{2 * convolutions + 2}", x, width, 3 * scale * scale, leaky=False)
    x = net.add("PixelShuffle", (x,), {0: (scale,)})
    net.add("BinaryOp", (x, _enlarged(net, 0, scale)))
    return net


def _rrdb(blocks: int, width: int, growth: int) -> _Architecture:
    net = _Architecture()
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


def _dense(net: _Architecture, name: str, x: int, width: int, growth: int) -> int:
    features = [x]
    for place in range(4):
        seen = net.add("Concat", tuple(features)) if place else x
        inside = width + place * growth
        features.append(net.convolution(f"{name}.conv{place + 1}", seen, inside, growth, True))
    joined = net.add("Concat", tuple(features))
    out = net.convolution(f"{name}.conv5", joined, width + 4 * growth, width, leaky=False)
    return _scaled_sum(net, out, x)


def _scaled_sum(net: _Architecture, branch: int, trunk: int) -> int:
    return net.add("Eltwise", (branch, trunk), {0: (1,), -23301: (2, 0.2, 1)})


def _enlarged(net: _Architecture, x: int, scale: int) -> int:
    """By repeating pixels."""
    return net.add("Interp", (x,), {0: (1,), 1: (scale,), 2: (scale,)})


def _require_same(weights: Path, found: Sequence[Layer], wanted: Sequence[Layer]) -> None:
    pairs = enumerate(zip(found, wanted, strict=False))
    other = next((f"layer {n} is {a}, expected {b}" for n, (a, b) in pairs if a != b), "")
    if not other and len(found) != len(wanted):
        other = f"has {len(found)} layers, expected {len(wanted)}"
    if other:
        graph = weights.with_suffix(".param")
        raise ValueError(f"{graph}: is neither RRDBNet nor SRVGGNetCompact: {other}")


# -- the weights ---------------------------------------------------------------------------------


class _Reader:
    """The numbers of a .bin file, one after the other."""

    def __init__(self, path: Path) -> None:
        self.path, self.data, self.place = path, path.read_bytes(), 0

    def take(self, count: int, kind: str) -> np.ndarray:
        size = count * np.dtype(kind).itemsize
        if self.place + size > len(self.data):
            raise ValueError(f"{self.path}: is cut short, it ends after {len(self.data)} bytes")
        numbers = np.frombuffer(self.data, kind, count, self.place)
        self.place += -(-size // 4) * 4
        return numbers.astype(np.float32)

    def flagged(self, count: int) -> np.ndarray:
        """Weights in the precision that the flag before them says."""
        flag = int.from_bytes(self.data[self.place : self.place + 4], "little")
        self.place += 4
        if flag not in (0, HALF):
            raise ValueError(
                f"{self.path}: expected weights in half or single precision, found flag {flag:#x}"
            )
        return self.take(count, "<f2" if flag else "<f4")

    def require_end(self) -> None:
        left = len(self.data) - self.place
        if left:
            raise ValueError(f"{self.path}: {left} bytes are left after the last layer")


def _tensors(layer: Layer, reader: _Reader) -> Iterator[tuple[str, Tensor]]:
    out = int(layer.parameters[0][0])
    if layer.kind == "PReLU":
        yield f"{layer.name}.weight", torch.from_numpy(reader.take(out, "<f4"))
        return
    kernels = reader.flagged(int(layer.parameters[6][0])).reshape(out, -1, 3, 3)
    yield f"{layer.name}.weight", torch.from_numpy(kernels)
    yield f"{layer.name}.bias", torch.from_numpy(reader.take(out, "<f4"))
