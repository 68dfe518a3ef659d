"""In-process networks: padded and tiled as the official scripts do, and files that are refused."""

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from baselines.padding import Pad, Tiles, mirrored
from baselines.spandrel_models import SpandrelNetwork, load
from bench.base.errors import Unavailable
from bench.methods.find import find as find_method
from bench.methods.find import method_cards

LARGE = (513, 300)
SIZES = [(37, 45), (64, 64), (128, 128), (171, 100), LARGE]


def _swinir() -> nn.Module:
    from spandrel.architectures.SwinIR import SwinIR

    return SwinIR(
        upscale=4,
        img_size=64,
        window_size=8,
        depths=[2],
        embed_dim=12,
        num_heads=[2],
        mlp_ratio=2,
        upsampler="nearest+conv",
        resi_connection="1conv",
    )


def _hat() -> nn.Module:
    from spandrel.architectures.HAT import HAT

    return HAT(
        img_size=64,
        upscale=4,
        window_size=16,
        depths=[2],
        embed_dim=12,
        num_heads=[2],
        compress_ratio=3,
        squeeze_factor=6,
        mlp_ratio=2,
        upsampler="pixelshuffle",
    )


def _rrdb() -> nn.Module:
    from spandrel.architectures.ESRGAN import ESRGAN

    return ESRGAN(num_filters=8, num_blocks=1, scale=4)


def _compact() -> nn.Module:
    from spandrel.architectures.Compact import Compact as SRVGGNetCompact

    return SRVGGNetCompact(num_feat=8, num_conv=2, upscale=4)


def _femasr() -> nn.Module:
    extra = pytest.importorskip("spandrel_extra_arches.architectures.FeMaSR")
    return extra.FeMaSR(codebook_params=[[32, 16, 32]], LQ_stage=True, scale_factor=4)


def saved(build: Callable[[], nn.Module], folder: Path) -> Path:
    torch.manual_seed(0)
    path = folder / "weights.safetensors"
    save_file({k: v.contiguous() for k, v in build().state_dict().items()}, path)
    return path


def picture(height: int, width: int) -> Tensor:
    return torch.rand((1, 3, height, width), generator=torch.Generator().manual_seed(height))


def flip_pad(x: Tensor, multiple: int) -> Tensor:
    """As SwinIR's and FeMaSR's scripts: a flipped copy is appended, then cut."""
    height, width = x.shape[2:]
    rows = (height // multiple + 1) * multiple
    columns = (width // multiple + 1) * multiple
    x = torch.cat([x, x.flip(2)], 2)[:, :, :rows]
    return torch.cat([x, x.flip(3)], 3)[:, :, :, :columns]


def reflect_pad(x: Tensor, multiple: int) -> Tensor:
    """As HAT's: up to the next multiple."""
    height, width = x.shape[2:]
    return F.pad(x, (0, -width % multiple, 0, -height % multiple), "reflect")


def unpadded(x: Tensor, multiple: int) -> Tensor:
    return x


OFFICIAL: dict[str, tuple[Callable[[], nn.Module], Callable[[Tensor, int], Tensor], int]] = {
    "swinir-real-m": (_swinir, flip_pad, 8),
    "femasr": (_femasr, flip_pad, 16),
    "hat": (_hat, reflect_pad, 16),
    "bsrgan": (_rrdb, unpadded, 1),
    "realesr-general-x4v3": (_compact, unpadded, 1),
}


def _cases() -> list[Any]:
    cases = [(name, size) for name in OFFICIAL for size in SIZES]
    light = "realesr-general-x4v3"
    heavy = [case for case in cases if case[0] == "femasr" and case[1][0] > 40]
    heavy += [(name, LARGE) for name in OFFICIAL if name != light]
    return [
        pytest.param(*case, id=f"{case[0]}-{case[1][0]}x{case[1][1]}", marks=marks)
        for case in cases
        for marks in [[pytest.mark.slow] if case in heavy else []]
    ]


@pytest.mark.parametrize(("name", "size"), _cases())
def test_equals_the_network_on_the_officially_padded_input(
    name: str, size: tuple[int, int], tmp_path: Path
) -> None:
    build, pad, multiple = OFFICIAL[name]
    weights, x = saved(build, tmp_path), picture(*size)
    method = SpandrelNetwork(weights=weights, **method_cards()[name].options)
    sr = method.upscale(x, scale=4, seeds=[0])
    network, padded = load(weights).eval().model, pad(x, multiple)
    with torch.inference_mode():
        # HAT's official test cuts whatever is wider or higher than 512 into tiles.
        tiled = name == "hat" and max(size) > 512
        whole = official_tiles(padded, 512, 32, network) if tiled else network(padded)
    expected = whole[..., : 4 * size[0], : 4 * size[1]]
    assert sr.shape == (1, 3, 4 * size[0], 4 * size[1])
    assert torch.equal(sr.clamp(0, 1), expected.clamp(0, 1))
    assert expected.std() > 0


def official_tiles(
    x: Tensor, size: int, pad: int, run: Callable[[Tensor], Tensor], scale: int = 4
) -> Tensor:
    """The tile loop that HAT's and FeMaSR's scripts share."""
    height, width = x.shape[2:]
    output = x.new_zeros(1, 3, height * scale, width * scale)
    for y in range(-(-height // size)):
        for column in range(-(-width // size)):
            y0, x0 = y * size, column * size
            y1, x1 = min(y0 + size, height), min(x0 + size, width)
            top, left = max(y0 - pad, 0), max(x0 - pad, 0)
            tile = run(x[:, :, top : min(y1 + pad, height), left : min(x1 + pad, width)])
            inner = tile[:, :, (y0 - top) * scale :, (x0 - left) * scale :]
            output[:, :, y0 * scale : y1 * scale, x0 * scale : x1 * scale] = inner[
                :, :, : (y1 - y0) * scale, : (x1 - x0) * scale
            ]
    return output


def test_hat_tiles_equal_the_official_ones_which_pad_first(tmp_path: Path) -> None:
    weights, x = saved(_hat, tmp_path), picture(75, 101)
    tiles = {"size": 32, "overlap": 16}
    method = SpandrelNetwork(weights=weights, pad={"mode": "reflect", "multiple": 16}, tiles=tiles)
    network = load(weights).eval().model
    with torch.inference_mode():
        whole = official_tiles(reflect_pad(x, 16), 32, 16, network)
    assert torch.equal(method.upscale(x, scale=4, seeds=[0]), whole[..., :300, :404])


def test_femasr_tiles_equal_the_official_ones_which_pad_each_tile(tmp_path: Path) -> None:
    weights, x = saved(_femasr, tmp_path), picture(15, 37)
    pad = {"mode": "flip", "multiple": 16, "always": True}
    tiles = {"size": 24, "overlap": 3}
    method = SpandrelNetwork(weights=weights, pad=pad, tiles=tiles)
    network = load(weights).eval().model

    def run(tile: Tensor) -> Tensor:
        height, width = tile.shape[2:]
        return network(flip_pad(tile, 16))[..., : height * 4, : width * 4]

    with torch.inference_mode():
        expected = official_tiles(x, 24, 3, run)
    assert torch.equal(method.upscale(x, scale=4, seeds=[0]), expected)


def test_tiles_with_enough_overlap_change_nothing(tmp_path: Path) -> None:
    """A convolutional network sees only its receptive field, so tiles must be invisible."""
    weights, x = saved(_compact, tmp_path), picture(90, 70)
    whole = SpandrelNetwork(weights=weights).upscale(x, scale=4, seeds=[0])
    tiled = SpandrelNetwork(weights=weights, tiles={"size": 24, "overlap": 8})
    assert torch.allclose(tiled.upscale(x, scale=4, seeds=[0]), whole, atol=1e-5)


@pytest.mark.parametrize(
    ("tiles", "size", "needed"),
    [
        (Tiles(240, 16, above=359_999), (599, 600), False),
        (Tiles(240, 16, above=359_999), (600, 600), True),
        (Tiles(512, 32), (512, 512), False),
        (Tiles(512, 32), (513, 100), True),
    ],
)
def test_tiles_begin_where_the_official_scripts_begin(
    tiles: Tiles, size: tuple[int, int], needed: bool
) -> None:
    assert tiles.needed(*size) is needed


@pytest.mark.parametrize("mode", ["flip", "reflect"])
@pytest.mark.parametrize("side", [1, 2, 5, 16, 17])
def test_images_smaller_than_the_padding_are_mirrored_again(mode: Any, side: int) -> None:
    x = picture(side, side)
    padded = Pad(mode, 16, always=True)(x)
    assert padded.shape[2] % 16 == 0 and padded.shape[2] > side
    assert torch.equal(padded[..., :side, :side], x)
    assert set(padded.unique().tolist()) <= set(x.unique().tolist())


def test_mirrored_by_hand() -> None:
    assert mirrored(3, 8, repeat_edge=True).tolist() == [0, 1, 2, 2, 1, 0, 0, 1]
    assert mirrored(3, 8, repeat_edge=False).tolist() == [0, 1, 2, 1, 0, 1, 2, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pad": {"mode": "mirror", "multiple": 8}}, "expected mode flip or reflect"),
        ({"tiles": {"size": 0, "overlap": 8}}, "expected size >= 1"),
        ({"precision": "bfloat16"}, "expected float32 or float16"),
        ({"precision": "float16"}, "needs a GPU"),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        SpandrelNetwork(weights=saved(_compact, tmp_path), **options)


def test_half_precision_is_refused_where_the_network_does_not_allow_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="HAT gives wrong pixels in float16"):
        SpandrelNetwork(weights=saved(_hat, tmp_path), precision="float16")


def test_a_batch_equals_its_images(tmp_path: Path) -> None:
    weights = saved(_compact, tmp_path)
    x = torch.cat([picture(32, 40), picture(32, 40).flip(3)])
    both = SpandrelNetwork(weights=weights, batch=2).upscale(x, scale=4, seeds=[0, 1])
    one = SpandrelNetwork(weights=weights).upscale(x, scale=4, seeds=[0, 1])
    assert torch.allclose(both, one, atol=1e-6)


# -- files that must not be loaded ---------------------------------------------------------------


class _Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("this-must-not-appear",)


def _hostile(name: str, path: Path) -> None:
    if name == "code":
        torch.save({"weight": _Code()}, path)
    elif name == "bare code":
        path.write_bytes(pickle.dumps({"weight": _Code()}, protocol=2))
    elif name == "module":
        torch.save(nn.Linear(2, 2), path)
    elif name == "web page":
        path.write_text("<!doctype html><html><body>Sign in</body></html>", encoding="utf-8")
    elif name == "empty":
        path.write_bytes(b"")
    elif name == "list":
        torch.save([1, 2], path)
    elif name == "other tensors":
        torch.save({"x": torch.zeros(3)}, path)
    elif name == "truncated":
        torch.save({"x": torch.zeros(30000)}, path)
        path.write_bytes(path.read_bytes()[:60000])
    elif name == "flipped bit":
        torch.save({"x": torch.zeros(30000)}, path)
        whole = bytearray(path.read_bytes())
        whole[60000] ^= 1
        path.write_bytes(whole)
    elif name == "bomb":
        torch.save({"x": torch.zeros(30000)}, path)
        with zipfile.ZipFile(path) as plain:
            members = {member: plain.read(member) for member in plain.namelist()}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for member, content in members.items():
                packed.writestr(member, content)
    elif name == "complex":
        torch.save({"x": torch.zeros(3, dtype=torch.complex64)}, path)
    elif name == "sparse":
        torch.save({"x": torch.zeros(3, 3).to_sparse()}, path)
    elif name == "without values":
        torch.save({"x": torch.zeros(3, device="meta")}, path)
    elif name == "endless":
        inner: dict[str, object] = {}
        inner["x"] = inner
        torch.save(inner, path)
    elif name == "numbers as names":
        torch.save({1: torch.zeros(3)}, path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("code", r"refused, it holds code \(\w+.mkdir\)"),
        ("bare code", r"refused, it holds code \(\w+.mkdir\)"),
        ("module", r"refused, it holds code \(torch.nn.modules.linear.Linear\)"),
        ("web page", "is no file of tensors"),
        ("empty", "is damaged or no file of weights"),
        ("list", "expected tensors by name, found a list"),
        ("other tensors", "no architecture that spandrel knows fits it"),
        ("truncated", "is damaged or no file of weights"),
        ("flipped bit", "is damaged .*has another checksum"),
        ("bomb", "refused, it unpacks to more than twice its size"),
        ("complex", "'x' is no plain tensor of numbers"),
        ("sparse", "'x' is no plain tensor of numbers"),
        ("without values", "'x' is no plain tensor of numbers"),
        ("endless", "is damaged or no file of weights"),
        ("numbers as names", "expected tensors by name, found names of type int"),
    ],
)
def test_hostile_weights_are_refused_and_named(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "net.pth"
    _hostile(name, path)
    with pytest.raises(ValueError, match=message) as caught:
        SpandrelNetwork(weights=path)
    assert "net.pth" in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "this-must-not-appear").exists()


def test_a_truncated_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = saved(_compact, tmp_path)
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(ValueError, match="is damaged or no file of weights"):
        SpandrelNetwork(weights=path)


# -- checkpoints of trainers ---------------------------------------------------------------------

Wrap = Callable[[dict[str, Tensor]], dict[str, Any]]
TRAINERS: dict[str, Wrap] = {
    "basicsr": lambda t: {"params": {k: v * 0 for k, v in t.items()}, "params_ema": t},
    "mmagic": lambda t: {
        "state_dict": {f"generator.{k}": v * 0 for k, v in t.items()}
        | {f"generator_ema.{k}": v for k, v in t.items()}
    },
    "lightning": lambda t: {
        "epoch": 3,
        "state_dict": {**{f"model.{k}": v for k, v in t.items()}, "loss.weight": torch.ones(2)},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}}],
    },
    "module twice": lambda t: {f"module.module.{k}": v for k, v in t.items()},
    "numbers of numpy": lambda t: {
        "state_dict": t,
        **{"psnr": np.float64(27.5), "step": np.int64(7), "best": np.bool_(True)},
    },
    "compiled": lambda t: {"model": {f"_orig_mod.{k}": v for k, v in t.items()}},
    "own name": lambda t: {f"upscaler.{k}": v for k, v in t.items()},
    "half": lambda t: {k: v.half() for k, v in t.items()},
    "bfloat16": lambda t: {k: v.bfloat16() for k, v in t.items()},
}


@pytest.mark.parametrize("build", [_rrdb, _compact, _swinir])
@pytest.mark.parametrize("trainer", TRAINERS)
def test_checkpoints_of_trainers_are_the_network(
    trainer: str, build: Callable[[], nn.Module], tmp_path: Path
) -> None:
    tensors = load(saved(build, tmp_path)).model.state_dict()
    torch.save(TRAINERS[trainer](tensors), tmp_path / "net.pth")
    found = load(tmp_path / "net.pth").model.state_dict()
    tolerance = {"half": 1e-3, "bfloat16": 1e-2}.get(trainer, 0.0)
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.allclose(found[name].float(), tensor.float(), atol=tolerance), name


def test_prefixes_in_safetensors_are_looked_through(tmp_path: Path) -> None:
    tensors = _compact().state_dict()
    other = {f"params.{name}": tensor * 0 for name, tensor in tensors.items()}
    save_file(
        {**{f"params_ema.{k}": v for k, v in tensors.items()}, **other}, tmp_path / "a.safetensors"
    )
    found = load(tmp_path / "a.safetensors").model.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_another_scale_is_named(tmp_path: Path) -> None:
    from spandrel.architectures.Compact import Compact

    path = saved(lambda: Compact(num_feat=8, num_conv=2, upscale=2), tmp_path)
    with pytest.raises(Unavailable, match="upscales x2, not x4; give --scale 2"):
        SpandrelNetwork(weights=path).upscale(picture(8, 8), scale=4, seeds=[0])


def test_an_unknown_network_is_told_by_its_neighbours_and_keys(tmp_path: Path) -> None:
    tensors = {k: v for k, v in _rrdb().state_dict().items() if not k.startswith("model.1.")}
    torch.save({"params": tensors}, tmp_path / "net.pth")
    with pytest.raises(
        ValueError, match=r"nearest: .*ESRGAN \(\d of \d+ keys\).*first keys: model\.0"
    ):
        load(tmp_path / "net.pth")


@pytest.mark.parametrize("kind", [np.array([_Code()], dtype=object), np.datetime64(1, "s")])
def test_other_numpy_values_are_refused(kind: Any, tmp_path: Path) -> None:
    torch.save({"params": _compact().state_dict(), "x": kind}, tmp_path / "net.pth")
    with pytest.raises(ValueError, match=r"refused, it holds code|is no file of tensors"):
        load(tmp_path / "net.pth")


# -- real networks -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "architecture"),
    [
        ("RealESRGAN_x4plus.fp16.safetensors", "ESRGAN"),
        ("realesr-animevideov3-x4.fp16.safetensors", "RealESRGAN Compact"),
        ("CRAFT_x4_ntire2024.pth", "CRAFT"),
    ],
)
def test_real_weights_load_and_keep_the_picture(
    real_weights: Path, golden: Path, file: str, architecture: str
) -> None:
    from bench.files import images

    method = find_method(f"spandrel:{real_weights / file}").load("cpu")
    assert method.model.architecture.name == architecture  # type: ignore[attr-defined]
    lr = images.to_tensor(images.read_rgb(next((golden / "realsr" / "lr").iterdir())))
    lr = lr[..., :48, :40]
    sr = method.upscale(lr, scale=4, seeds=[0])
    assert sr.shape == (1, 3, 192, 160)
    seen = torch.stack([F.avg_pool2d(sr, 4).flatten(), lr.flatten()])
    assert torch.corrcoef(seen)[0, 1] > 0.9
