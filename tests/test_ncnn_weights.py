"""Networks in ncnn's format: the same tensors as published elsewhere, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from baselines.ncnn_weights import HALF, state_dict
from baselines.spandrel_models import SpandrelNetwork
from bench.methods.find import find as find_method
from bench.remote import weights as known_weights

GRAPH = """7767517
8 9
Input            in       0 1 data
Split            split    1 2 data d0 d1
Convolution      Conv_0   1 1 d1 a 0=4 1=3 4=1 5=1 6=108
PReLU            PRelu_1  1 1 a b 0=4
Convolution      Conv_2   1 1 b c 0=48 1=3 4=1 5=1 6=1728
PixelShuffle     Shuffle  1 1 c d 0=4
Interp           Resize   1 1 d0 e 0=1 1=4.000000e+00 2=4.000000e+00
BinaryOp         Add      2 1 d e output
"""
NUMBERS = np.random.default_rng(0).uniform(-0.1, 0.1, 4000).astype(np.float16)


def layers(flag: int, kind: str) -> bytes:
    """The weights of GRAPH; the kernels in one precision, the rest in single."""
    single = NUMBERS.astype("<f4")
    head = flag.to_bytes(4, "little")
    first = head + NUMBERS[:108].astype(kind).tobytes() + single[:4].tobytes()
    slopes = single[4:8].tobytes()
    last = head + NUMBERS[200:1928].astype(kind).tobytes() + single[8:56].tobytes()
    return first + slopes + last


@pytest.fixture
def network(tmp_path: Path) -> Callable[..., Path]:
    def write(graph: str = GRAPH, weights: bytes = layers(HALF, "<f2")) -> Path:
        (tmp_path / "net.param").write_text(graph)
        (tmp_path / "net.bin").write_bytes(weights)
        return tmp_path / "net.bin"

    return write


@pytest.mark.parametrize(("flag", "kind"), [(HALF, "<f2"), (0, "<f4")])
def test_both_precisions_are_read_and_run(
    network: Callable[..., Path], flag: int, kind: str
) -> None:
    path = network(weights=layers(flag, kind))
    tensors = state_dict(path)
    assert list(tensors) == [
        *("body.0.weight", "body.0.bias", "body.1.weight", "body.2.weight", "body.2.bias")
    ]
    assert torch.equal(tensors["body.0.weight"].flatten(), torch.tensor(NUMBERS[:108]).float())
    assert torch.equal(tensors["body.2.bias"], torch.tensor(NUMBERS[8:56]).float())
    lr = torch.rand(1, 3, 8, 9, generator=torch.Generator().manual_seed(0))
    assert SpandrelNetwork(path).upscale(lr, scale=4, seeds=[0]).shape == (1, 3, 32, 36)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("0=4 1=3 4=1 5=1 6=108", "0=4 1=3 4=0 5=1 6=108"), r"layer 1 is .*\{0: \(4.0,\), 1:"),
        (("BinaryOp         Add      2 1 d e", "BinaryOp         Add      2 1 e d"), "layer 6"),
        (("BinaryOp         Add      2 1 d e", "Eltwise          Add      2 1 d e"), "layer 6"),
        (("PReLU", "ReLU"), "neither RRDBNet nor SRVGGNetCompact"),
        (("7767517", "7767518"), "expected a graph in ncnn's text format"),
        (("2 1 d e output", "2 1 d nowhere output"), "expected a graph in ncnn's text format"),
        (("d0 d1", "d0"), "expected a graph in ncnn's text format"),
        (("0=4 1=3", "0=nan 1=3"), r"expected a graph in ncnn's text format \(found 0=nan\)"),
        (("0=4 1=3", "0=1e400 1=3"), r"expected a graph in ncnn's text format \(found 0=1e400\)"),
        (("BinaryOp         Add      2 1 d e output\n", ""), "has 6 layers, expected 7"),
    ],
)
def test_another_graph_is_refused(
    network: Callable[..., Path], change: tuple[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        state_dict(network(GRAPH.replace(*change)))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (layers(HALF, "<f2")[:-1], "is cut short"),
        (b"", "is cut short|flag"),
        (layers(HALF, "<f2") + b"0000", "4 bytes are left after the last layer"),
        (layers(0x000D4B38, "<f2"), "half or single precision, found flag 0xd4b38"),
    ],
)
def test_other_weights_are_refused(
    network: Callable[..., Path], weights: bytes, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        state_dict(network(weights=weights))


def test_a_missing_graph_is_named(network: Callable[..., Path]) -> None:
    path = network()
    path.with_suffix(".param").unlink()
    with pytest.raises(ValueError, match=r"net\.param: expected the graph beside its weights"):
        state_dict(path)


@pytest.mark.parametrize(
    ("method", "twin"),
    [
        ("realesrgan-x4plus", "RealESRGAN_x4plus.fp16.safetensors"),
        ("realesr-animevideov3", "realesr-animevideov3-x4.fp16.safetensors"),
    ],
)
def test_the_published_networks_are_the_published_ones(
    method: str, twin: str, real_weights: Path
) -> None:
    other = find_method(method).card.weights[0].others[0]
    if known_weights.find(other) is None:
        pytest.skip(f"{other.name} is not here; `cassr-bench fetch {method}` gets it")
    ours = state_dict(known_weights.locate(other))
    theirs = load_file(real_weights / twin)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor.half(), theirs[name]), name
        kernels = tensor.ndim == 4
        assert not kernels or torch.equal(tensor, theirs[name].float()), name
