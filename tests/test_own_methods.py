"""Methods that people bring: what works, and the one line that says why something does not."""

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Cli
from pictures import photo
from PIL import Image

from bench.base.errors import CardError, ImageError, Unavailable, WeightsError
from bench.base.progress import Progress
from bench.base.text import printable
from bench.methods.find import find as find_method
from bench.suites.fetch import fetch

LR = torch.rand((2, 3, 8, 10), generator=torch.Generator().manual_seed(0))
HEAD = (
    "from __future__ import annotations\nimport numpy as np, torch, dataclasses\n"
    "from torch import nn; from torch.nn.functional import interpolate\n"
)
NETWORK = """
class Net(nn.Module):
    def __init__(self, width, scale=4):
        super().__init__()
        self.scale, self.drop = scale, nn.Dropout(0.9)
        self.inner = nn.Conv2d(3, width, 1)
    def forward(self, x):
        assert not torch.is_grad_enabled()
        return self.drop(interpolate(x, scale_factor=self.scale))

class Plain:
    def upscale(self, lr, *, scale, seeds):
        return interpolate(lr, scale_factor=scale)

def built(factor=4):
    return Net(2, factor)

ready = Net(width=2)
number = 4
def seedless(lr, scale):
    return lr

@dataclasses.dataclass
class OnDevice(Plain):
    name: str
    device: str
    def __post_init__(self):
        assert self.device == "cpu" and self.name == "x"
"""


def upscaled(name: str) -> torch.Tensor:
    return find_method(name).load("cpu").upscale(LR, scale=4, seeds=[0, 1])  # type: ignore[union-attr]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.py"
    path.write_text(HEAD + NETWORK)
    return path


@pytest.mark.parametrize(
    "name",
    [
        *("Net(2)", "Net(width=2, scale=4)", "Plain", "Plain()", "ready", "built()"),
        *("OnDevice('x')", "built(factor=4)"),
    ],
)
def test_what_a_file_defines_is_made_into_a_method(file: Path, name: str) -> None:
    expected = torch.nn.functional.interpolate(LR, scale_factor=4)
    assert torch.equal(upscaled(f"mine.py:{name}"), expected)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("Net", Unavailable, r"Net cannot be made: missing a required argument.*\(mine\.py:5\)"),
        ("Net(2, depth=3)", Unavailable, r"unexpected keyword argument 'depth' \(mine\.py:5\)"),
        ("Net(2, scale=3)", ImageError, r"found 30x24 pixels, for scale 4 of 10x8 \(mine\.py:5\)"),
        ("number", Unavailable, r"expected a function, a network, .* found int \(mine\.py:22\)"),
        ("Other", Unavailable, r"mine\.py: expected 'Other', found 'Net' in line 5, "),
        ("seedless", Unavailable, r"expected upscale\(lr, \*, scale, seeds\), found \(lr, scale\)"),
        ("Net(open('x'))", CardError, "'mine.py:Net.* with plain values .* column 13: no plain"),
        ("Net('é', open)", CardError, "column 18: no plain"),
        ("Net(width=", CardError, r"column 12: '\(' was never closed"),
        ("Net(**{'width': 2})", CardError, "with plain values as arguments"),
        ("Net(2).to('cpu')", CardError, "with plain values as arguments"),
    ],
)
def test_what_does_not_fit_is_one_line(
    file: Path, name: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        upscaled(f"mine.py:{name}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["mine.py:Other", "mine.py:Other(2)", "mine.py:upscale"])
def test_a_name_that_a_file_has_not_is_told_before_any_work(file: Path, name: str) -> None:
    with pytest.raises(Unavailable, match=r"mine\.py: expected .*, found '.* in line \d"):
        find_method(name)
    file.write_text("from os.path import *\n" + file.read_text("utf-8"), encoding="utf-8")
    assert find_method(name).name == name, "what it imports may have it"


def test_a_method_behind_a_wrapper_is_what_the_wrapper_takes(file: Path) -> None:
    file.write_text(
        HEAD + "import functools\n"
        "def plain(x, factor): return interpolate(x, scale_factor=factor)\n"
        "@functools.wraps(plain)\n"
        "def upscale(lr, *, scale, seeds): return plain(lr, scale)\n",
        encoding="utf-8",
    )
    assert torch.equal(upscaled("mine.py"), torch.nn.functional.interpolate(LR, scale_factor=4))


def test_a_file_that_is_loaded_again_or_breaks_leaves_no_module(file: Path) -> None:
    for _ in range(2):
        upscaled("mine.py:Plain")
    kept = [n for n, m in sys.modules.items() if n.startswith("_own") and m.__file__ == str(file)]
    assert len(kept) == 1, "the networks of earlier ones would stay"
    file.with_name("other.py").write_bytes(file.read_bytes())
    upscaled("other.py:Plain")
    assert kept[0] in sys.modules, "it is still in use"
    del sys.modules[next(name for name in sys.modules if name.endswith("_other"))]
    file.write_text("1 / 0\nupscale = 1\n", encoding="utf-8")
    with pytest.raises(Unavailable):
        upscaled("mine.py")
    assert kept[0] not in sys.modules


def test_files_and_folders_of_ones_own_are_nothing_to_fetch(cli: Cli, file: Path) -> None:
    suite = file.with_name("suite.toml")
    suite.write_text(
        f"""name = "own"\ntitle = "Own"\nsummary = "Own."\nmethods = ['{file}:Plain']\n"""
        "datasets = ['folder:.', 'hf:owner/name']\nmetrics = ['psnr_y']\n"
    )
    assert fetch([str(suite)], Progress(quiet=True), dry_run=False) == []
    done = cli("doctor", suite)
    assert done.stdout.startswith("nothing broken; ready: all that is needed"), done.stderr
    planned = cli("run", suite, "--datasets", "realsr", "--dry-run")
    assert planned.stdout.endswith(f"cassr-bench fetch {suite}\n"), planned.stderr


def test_arguments_are_part_of_what_a_method_is(file: Path) -> None:
    two, three, bare = (find_method(f"mine.py{x}") for x in (":Net(2)", ":Net(3)", ""))
    assert two.fingerprint() != three.fingerprint() and two.card.name == "mine:Net(2)"
    assert bare.fingerprint()["options"] == {} and bare.card.name == "mine"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return (lr * 255).byte()", r"found torch.uint8; return x.float\(\) / 255 .*mine.py:4\)"),
        ("return lr[0].permute(1, 2, 0)", r"found shape \(8, 8, 3\); return x.permute.*mine.py:4"),
        ("return lr.numpy()", r"found a numpy array; return torch.from_numpy\(x\) \(mine.py:4\)"),
        ("return lr", r"found 8x8 pixels, for scale 4 of 8x8 \(mine.py:4\)"),
        ("return lr / 0 * 0", r"not finite .*mine.py:4"),
        ("return lr * 255", r"divide by 255 if white is 255 \(mine.py:4\)"),
        ("raise SystemExit(3)", r"SystemExit: 3 \(mine.py:5\)"),
        ("return undefined", r"NameError: .*undefined.* \(mine.py:5\)"),
    ],
)
def test_a_wrong_result_is_told_with_its_line(
    cli: Cli, tmp_path: Path, body: str, message: str
) -> None:
    folder = tmp_path / "cwd"
    Image.fromarray(photo(8, 8, 0)).save(folder / "a.png")
    code = f"{HEAD}def upscale(lr, *, scale, seeds):\n    {body}\n"
    (folder / "mine.py").write_text(code)
    done = cli("upscale", "--method", "mine.py", "--input", "a.png", "--output", "out")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert re.search(message, " ".join(done.stderr.split())), done.stderr


def test_prints_threads_and_global_randomness_do_no_harm(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "cwd"
    Image.fromarray(photo(8, 8, 0)).save(folder / "a.png")
    (folder / "mine.py").write_text(
        HEAD + "import random, threading, time\n"
        "def upscale(lr, *, scale, seeds):\n"
        "    print('{not json}')\n"
        "    random.seed(0); np.random.seed(0); torch.manual_seed(0); torch.set_num_threads(1)\n"
        "    threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "    return interpolate(lr, scale_factor=scale)\n"
    )
    done = cli("upscale", "--method", "mine.py", "--input", "a.png", "--output", "out", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("{") and "not json" not in done.stdout
    assert Image.open(folder / "out" / "a.png").size == (32, 32)


# -- ONNX ----------------------------------------------------------------------------------------


def onnx_file(path: Path, shape: list[object], kind: str = "FLOAT", scale: int = 4) -> Path:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    helper, kinds = onnx.helper, onnx.TensorProto
    channels_last = shape[3] == 3
    scales = [1, scale, scale, 1] if channels_last else [1, 1, scale, scale]
    graph = helper.make_graph(
        [helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="nearest")],
        "net",
        [helper.make_tensor_value_info("x", getattr(kinds, kind), shape)],
        [helper.make_tensor_value_info("y", getattr(kinds, kind), None)],
        [helper.make_tensor("scales", kinds.FLOAT, [4], [float(each) for each in scales])],
    )
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


@pytest.mark.parametrize(
    ("shape", "kind", "tolerance"),
    [
        (["n", 3, "h", "w"], "FLOAT", 0.0),
        (["n", "h", "w", 3], "FLOAT", 0.0),
        (["n", 3, "h", "w"], "UINT8", 0.5 / 255 + 1e-6),
        (["n", 3, "h", "w"], "FLOAT16", 1e-3),
    ],
)
def test_an_onnx_file_is_a_method(
    tmp_path: Path, shape: list[object], kind: str, tolerance: float
) -> None:
    sr = upscaled(str(onnx_file(tmp_path / "net.onnx", shape, kind)))
    assert sr.shape == (2, 3, 32, 40)
    assert float((sr[..., 2::4, 2::4] - LR).abs().max()) <= tolerance


def test_an_onnx_file_runs_on_the_gpu_that_is_named_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = onnx_file(tmp_path / "net.onnx", ["n", 3, "h", "w"])
    import onnxruntime

    asked: list[Any] = []
    session = onnxruntime.InferenceSession

    def noted(model: bytes, options: Any, providers: list[Any]) -> Any:
        asked.extend(providers)
        return session(model, options, ["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", noted)
    with pytest.raises(Unavailable, match="--device xpu: this onnxruntime has none"):
        find_method(str(file)).load("xpu")
    assert not asked, "it would print what it thinks of that"
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    for device, number in (("cuda", "0"), ("cuda:3", "3")):
        with pytest.raises(Unavailable, match=f"--device {device}: this onnxruntime has none"):
            find_method(str(file)).load(device)
        assert asked.pop() == ("CUDAExecutionProvider", {"device_id": number})
    with pytest.raises(Unavailable, match="--device mps: networks in ONNX run on cpu and cuda"):
        find_method(str(file)).load("mps")


@pytest.mark.parametrize("name", ["モデル\u3000x4", "Screenshot 1.00\u202fPM", "two\nlines"])
def test_a_file_of_any_name_is_a_method(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.onnx").write_bytes(b"")
    assert find_method(str(tmp_path / f"{name}.onnx")).card.title == printable(name)
    assert find_method(f"folder:{tmp_path}/{{dataset}}@{name}").card.name == name


def test_onnx_files_that_do_not_fit_are_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"found 20x16 pixels, for scale 4 of 10x8 \(.*two\.onnx"):
        upscaled(str(onnx_file(tmp_path / "two.onnx", ["n", 3, "h", "w"], scale=2)))
    with pytest.raises(Unavailable, match=r"Got invalid dimensions|INVALID_ARGUMENT"):
        method = find_method(str(onnx_file(tmp_path / "fixed.onnx", [1, 3, 64, 64])))
        from bench.processes.foreign import running

        with running("fixed.onnx"):
            method.load("cpu").upscale(LR, scale=4, seeds=[0, 1])  # type: ignore[union-attr]
    (tmp_path / "no.onnx").write_bytes(b"no network")
    with pytest.raises(Unavailable, match=r"method '.*no\.onnx': "):
        upscaled(str(tmp_path / "no.onnx"))


# -- diffusers -----------------------------------------------------------------------------------


def ldm(folder: Path) -> Path:
    from diffusers import DDIMScheduler, LDMSuperResolutionPipeline, UNet2DModel, VQModel

    torch.manual_seed(0)
    unet = UNet2DModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        sample_size=8,
        in_channels=6,
        out_channels=3,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        attention_head_dim=4,
    )
    vq = VQModel(
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=3,
        norm_num_groups=4,
        num_vq_embeddings=16,
    )
    LDMSuperResolutionPipeline(vqvae=vq, unet=unet, scheduler=DDIMScheduler()).save_pretrained(
        folder
    )
    return folder


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ldm(tmp_path_factory.mktemp("pipelines") / "tiny-ldm")


def test_a_folder_of_diffusers_is_a_method(pipeline: Path) -> None:
    entry = find_method(f"diffusers:{pipeline}")
    assert entry.card.name == "tiny-ldm" and len(entry.fingerprint()["modules"]) >= 5
    method, lr = entry.load("cpu"), torch.rand(2, 3, 32, 32)
    one = method.upscale(lr, scale=4, seeds=[3, 4])  # type: ignore[union-attr]
    alone = method.upscale(lr[1:], scale=4, seeds=[4])  # type: ignore[union-attr]
    assert one.shape == (2, 3, 128, 128) and torch.allclose(one[1:], alone, atol=1e-5)


def test_a_pipeline_in_a_file_is_a_method(pipeline: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from diffusers import LDMSuperResolutionPipeline\n"
        f"upscale = LDMSuperResolutionPipeline.from_pretrained({str(pipeline)!r})\n"
    )
    method, lr = find_method(str(tmp_path / "mine.py")).load("cpu"), torch.rand(1, 3, 32, 32)
    assert method.upscale(lr, scale=4, seeds=[3]).shape == (1, 3, 128, 128)  # type: ignore[union-attr]


def test_code_in_a_folder_of_diffusers_is_never_run(pipeline: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(pipeline, folder)
    (folder / "pipeline.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(Unavailable, match="holds code, which is not run"):
        find_method(f"diffusers:{folder}").load("cpu")
    assert not (tmp_path / "ran").exists()
    with pytest.raises(WeightsError, match=r"model_index\.json: expected a file that is a method"):
        find_method(f"diffusers:{tmp_path}")


def test_weights_on_a_card_that_are_a_device_are_refused(tmp_path: Path) -> None:
    card = tmp_path / "c.toml"
    card.write_text(
        'name = "m"\ntitle = "M"\nfactory = "baselines.resample:Resample"\nlicence = "x"\n'
        f'[[weights]]\nname = "w"\nurl = "{Path(os.devnull).as_uri()}"\n'
    )
    with pytest.raises(WeightsError, match="expected a file of weights, found none there"):
        find_method(str(card)).unavailable()
