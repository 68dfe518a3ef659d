"""The metrics that are networks, run for real: the libraries' classes with substituted weights."""

import contextlib
import io
import pickle
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pictures import photo
from substitutes import plant

from bench import metrics
from bench.base.errors import BenchError, ImageError, Unavailable, UnknownName, WeightsError
from bench.base.types import MetricSpec, Weight
from bench.metrics.catalogue import PYIQA_WEIGHTS
from bench.metrics.filters import exact

NETWORKS = [
    "lpips",
    "dists",
    "musiq",
    "clipiqa",
    "fid",
    "kid",
    "patch_fid",
    "patch_kid",
    "topiq_nr",
    pytest.param("hyperiqa", marks=pytest.mark.slow),
    pytest.param("maniqa", marks=pytest.mark.slow),
]


def tensor(height: int, width: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(photo(height, width, seed)).permute(2, 0, 1)[None].float() / 255


@pytest.fixture
def planted(
    clean_home: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> MetricSpec:
    """The metric's spec, with substituted weights in place and allowed."""
    spec = metrics.find(request.param)
    plant(spec, clean_home / "torch/hub")
    allowed = ",".join(weight.name for weight in spec.weights)
    monkeypatch.setenv("CASSR_BENCH_SUBSTITUTE_WEIGHTS", allowed)
    return spec


def pyiqa_called_directly(spec: MetricSpec, hub: Path) -> Any:
    """pyiqa as anybody calls it, with the same files at hand."""
    import pyiqa
    import timm
    from pyiqa.utils import download_util

    options = {"backbone": str(hub / "clip/RN50.pt")} if spec.name == "clipiqa" else {}
    create = timm.create_model
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
        patch.setattr(download_util, "DEFAULT_CACHE_DIR", str(hub / "pyiqa"))
        patch.setattr(timm, "create_model", lambda name, pretrained, **own: create(name, **own))
        return pyiqa.create_metric(spec.pyiqa_name, device=torch.device("cpu"), **options)


@pytest.mark.parametrize("planted", NETWORKS, indirect=True)
def test_equals_the_library_called_directly(planted: MetricSpec, clean_home: Path) -> None:
    if planted.kind == "set":
        check_features(planted, clean_home / "torch/hub/cleanfid")
        return
    metric: Any = metrics.load(planted)
    theirs = pyiqa_called_directly(planted, clean_home / "torch/hub")
    if planted.name == "maniqa":  # the same grid with fewer crops: 20 of them take minutes
        metric.net.test_sample = theirs.net.test_sample = 4
        batches: list[int] = []
        metric.net.vit.register_forward_pre_hook(lambda _, seen: batches.append(len(seen[0])))
    size = (112, 128) if planted.reference else (224, 256)
    hr = tensor(*size, 0)
    prepared = metric.prepare(hr) if planted.reference else None
    for seed in (1,) if planted.name == "maniqa" else (1, 2, 1):
        sr = tensor(*size, seed)
        value = metric.score(sr, hr, prepared)
        assert value == pytest.approx(float(theirs(sr, hr)), abs=planted.parity, rel=1e-6)
    if planted.name == "maniqa":
        assert batches == [4], "the crops of an image go through the network as one batch"


def test_what_the_process_computes_with_changes_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    """TF32 is on in NVIDIA's images and in training; to ask an idle GPU for its state starts it."""
    started: list[int] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state", started.append)
    torch.set_float32_matmul_precision("high")
    try:
        with exact():
            assert torch.get_float32_matmul_precision() == "highest"
            assert not torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert started == []
    assert torch.backends.cudnn.allow_tf32


@pytest.mark.skipif(
    not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="an older torch"
)
@pytest.mark.parametrize(
    ("set_on", "value"),
    [
        ("backends", "tf32"),
        ("backends.cuda.matmul", "tf32"),
        ("backends.cudnn", "tf32"),
        ("backends.cudnn.conv", "ieee"),
    ],
)
def test_nor_does_what_is_set_by_the_newer_way_of_torch(set_on: str, value: str) -> None:
    backends = torch.backends
    kinds: list[Any] = [backends.cuda.matmul, backends.mkldnn.matmul]
    kinds += [getattr(backends.cudnn, kind) for kind in ("conv", "rnn")]
    try:
        attrgetter(set_on)(torch).fp32_precision = value
        before = [kind.fp32_precision for kind in kinds]
        with exact():
            assert {kind.fp32_precision for kind in kinds} == {"ieee"}
            assert torch.get_float32_matmul_precision() == "highest"
            assert not backends.cudnn.allow_tf32
            assert backends.cudnn.deterministic
        assert [kind.fp32_precision for kind in kinds] == before
    finally:
        for kind in (backends, backends.cudnn, backends.mkldnn):
            kind.fp32_precision = "none"
        for kind, default in zip(kinds, ("none", "none", "tf32", "tf32"), strict=True):
            kind.fp32_precision = default
        mixed = torch.get_float32_matmul_precision(), backends.cudnn.allow_tf32
    assert mixed == ("highest", True)


def check_features(spec: MetricSpec, folder: Path) -> None:
    """Features as clean-fid computes them, with the network it loads from a folder."""
    import numpy as np
    from cleanfid.inception_torchscript import InceptionV3W
    from cleanfid.resize import build_resizer

    metric: Any = metrics.load(spec)
    side = spec.options.get("patch", 96)
    shape = (side + 40, side + 9)
    images = [tensor(*shape, seed) for seed in range(3)]
    features = np.concatenate([np.atleast_2d(metric.features(image)) for image in images])
    network = InceptionV3W(str(folder), download=False).eval()
    cut = slice(side) if "patch" in spec.options else slice(None)
    resized = [build_resizer("clean")(photo(*shape, seed)[cut, cut]) for seed in range(3)]
    batch = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2)
    with torch.no_grad():
        theirs = network(batch).double().numpy()
    assert features.shape == (3, 2048)
    assert features.dtype == np.float64
    np.testing.assert_allclose(features, theirs, rtol=1e-4, atol=1e-5)
    assert np.isfinite(metric.distance(features, features[:2]))
    prints = {
        name: metrics.of_features(metrics.fingerprint(metrics.find(name)))
        for name in ("fid", "kid", "patch_fid", "patch_kid")
    }
    assert prints["fid"] == prints["kid"] != prints["patch_fid"] == prints["patch_kid"]


@pytest.mark.parametrize("planted", ["lpips"], indirect=True)
def test_substituted_weights_mark_the_scores(
    planted: MetricSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [weight.name for weight in planted.weights]
    assert metrics.substituted(planted) == names
    print_ = metrics.fingerprint(planted)
    assert print_["substituted"] == names
    assert all(len(digest) == 64 for digest in print_["weights"].values())
    metrics.load(planted)
    monkeypatch.delenv("CASSR_BENCH_SUBSTITUTE_WEIGHTS")
    assert "not the expected file" in metrics.unavailable(planted, "cpu")
    with pytest.raises(WeightsError, match="not the expected file"):
        metrics.fingerprint(planted)


class Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (Path.touch, (Path("evil"),))  # type: ignore[return-value]


@pytest.mark.parametrize("planted", ["musiq"], indirect=True)
def test_a_substitute_is_data_not_code(
    planted: MetricSpec, clean_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = clean_home / "torch/hub/pyiqa" / planted.weights[0].name
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(BenchError, match="cannot build musiq"):
        metrics.load(planted)
    assert not (tmp_path / "evil").exists()


def test_pyiqa_cannot_download_on_its_own(
    clean_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PYIQA_WEIGHTS, "musiq-ava", ())
    with pytest.raises(WeightsError, match=r"published at https://huggingface.co/.*musiq_ava"):
        metrics.load(metrics.find("pyiqa:musiq-ava"))


def test_a_repository_of_a_hub_is_named_where_no_file_is(
    clean_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.metrics import pyiqa_loading

    def from_pretrained(pretrained_model_name_or_path: str) -> None:
        raise raised("We couldn't connect to the hub to load the files")

    name, raised = "me/Net", OSError
    monkeypatch.setattr(
        "bench.metrics.pyiqa_loading.create_metric", lambda *_, **__: from_pretrained(name)
    )
    spec = metrics.find("pyiqa:compare2score")
    reason = metrics.unavailable(spec, "cpu")
    assert reason is not None and "published at https://huggingface.co/me/Net;" in reason
    for name, raised in (("/home/me/net", OSError), ("me/Net", RuntimeError)):  # noqa: B007
        with pytest.raises(WeightsError, match=r"cannot build .*: We couldn't connect"):
            pyiqa_loading.build(spec, "cpu", {})


def test_a_file_of_a_hub_is_named_by_its_address(
    clean_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "https://huggingface.co/timm/net/resolve/main/model.safetensors"

    def offline(*_: object, **__: object) -> None:
        try:
            raise OSError(f"Cannot reach {url}: offline mode is enabled.")
        except OSError as error:
            raise ValueError("An error happened while trying to locate the file") from error

    monkeypatch.setattr("bench.metrics.pyiqa_loading.create_metric", offline)
    reason = metrics.unavailable(metrics.find("pyiqa:nima-spaq"), "cpu")
    assert reason == (
        f"a file is missing that is published at {url}; run: cassr-bench fetch pyiqa:nima-spaq"
    )
    listed = metrics.unavailable(metrics.find("pyiqa:lpips"), "cpu")
    assert "(https://download.pytorch.org/models/alexnet" in listed


def test_files_that_are_not_listed_are_fetched_found_and_fingerprinted(
    clean_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A metric whose files our tables do not name: pyiqa is watched while it loads them."""
    files = ["DISTS_weights-f5e65c96.pth", "vgg16-397923af.pth"]
    monkeypatch.delitem(PYIQA_WEIGHTS, "dists")
    spec = metrics.find("pyiqa:dists")
    assert spec.weights == ()
    with pytest.raises(Unavailable, match=r"vgg16-397923af\.pth; run: cassr-bench fetch"):
        metrics.load(spec)
    plant(metrics.find("dists"), tmp_path / "mirror/hub")
    monkeypatch.setenv("CASSR_BENCH_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("CASSR_BENCH_SUBSTITUTE_WEIGHTS", ",".join(files))
    fetched = metrics.fetch(spec)
    assert sorted(path.name for path in fetched) == files
    assert metrics.unavailable(spec, "cpu") == ""
    print_ = metrics.fingerprint(spec)
    assert sorted(print_["weights"]) == sorted(print_["substituted"]) == files
    sr, hr = tensor(96, 96, 0), tensor(96, 96, 1)
    metric: Any = metrics.load(spec)
    assert metric.score(sr, hr, metric.prepare(hr)) > 0


@pytest.mark.parametrize("planted", ["clip_similarity"], indirect=True)
def test_likeness_by_clip_is_1_for_equal_images(planted: MetricSpec) -> None:
    check_likeness(metrics.load(planted))


def test_likeness_and_distance_by_dinov2(clean_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With random weights of a small network of timm's same class."""
    import timm
    from safetensors.torch import save_file

    name = "vit_tiny_patch16_224"
    file = clean_home / f"torch/hub/timm/{name}.safetensors"
    file.parent.mkdir(parents=True)
    save_file(timm.create_model(name, pretrained=False).state_dict(), file)
    weight = Weight(name=file.name, folder="hub/timm")
    one, sets = (
        replace(metrics.find(n), weights=(weight,)) for n in ("dino_similarity", "dino_fd")
    )
    check_likeness(metrics.load(one))
    metric: Any = metrics.load(sets)
    rows = np.stack([metric.features(tensor(48, 64, seed)) for seed in range(4)])
    assert rows.shape == (4, 192) and rows.dtype == np.float64
    assert metric.distance(rows, rows) == pytest.approx(0, abs=1e-6)
    assert metric.distance(rows, rows + 1) == pytest.approx(192, rel=1e-6)


def check_likeness(metric: Any) -> None:
    hr, sr = tensor(64, 80, 0), tensor(64, 80, 1)
    prepared = metric.prepare(hr)
    assert metric.score(hr, hr, prepared) == pytest.approx(1, abs=1e-5)
    assert -1 <= metric.score(sr, hr, prepared) < 1


def test_consistency_with_the_lr_image_is_psnr_of_what_is_shrunk_again() -> None:
    hr, sr = tensor(64, 80, 0), tensor(64, 80, 1)
    small = [
        torch.nn.functional.interpolate(x, scale_factor=0.5, mode="bicubic", antialias=True)
        .mul(255).round().clamp(0, 255).double() for x in (sr, hr)
    ]  # fmt: skip
    error = float(((small[0] - small[1]) / 255).square().mean())
    metric: Any = metrics.load(metrics.find("lr_psnr(scale=2)"))
    score = metric.score(sr, hr, metric.prepare(hr))
    assert score == pytest.approx(-10 * np.log10(error + 1e-8), abs=1e-4)
    with pytest.raises(ImageError, match="needs sides of 65 pixels at least"):
        metrics.load(metrics.find("lr_psnr(scale=65)")).prepare(hr)
    with pytest.raises(UnknownName, match="expected a whole number from 1, found '0'"):
        metrics.find("lr_psnr(scale=0)")


def test_afine_refuses_sides_that_32_does_not_divide() -> None:
    from bench.metrics.perceptual import Afine

    metric = object.__new__(Afine)
    with pytest.raises(ImageError, match="sides that 32 divides, found 80x70 px"):
        metric._value(torch.zeros(1, 3, 70, 80), None)
