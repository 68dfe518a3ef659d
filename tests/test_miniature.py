"""The shipped miniature: what it weighs, what it says of itself, and that it really works."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, Cli
from safetensors.torch import load_file
from torch import Tensor

from baselines.cassr_files import CARRIED
from bench import metrics
from bench.files import images
from bench.methods.find import find, method_cards
from cassr.build import build_pipeline
from cassr.pipeline import CasSRPipeline
from cassr.training.release import release

from . import results_example as ex

MODEL = CARRIED / "cassr-mini"
LARGEST_MIB = 15
FIDELITY = ("ms_ssim", "gmsd", "fsim", "nlpd")
SETS = ("realsr", "drealsr")


def test_it_is_small_half_precision_and_safetensors() -> None:
    weights = list(MODEL.rglob("*.safetensors"))
    assert sum(file.stat().st_size for file in weights) < LARGEST_MIB * 2**20
    assert not [file for file in MODEL.rglob("*") if file.suffix in (".bin", ".pt", ".pth")]
    for file in weights:
        tensors = load_file(file).values()
        assert {tensor.dtype for tensor in tensors} == {torch.float16}, file
        assert all(tensor.isfinite().all() for tensor in tensors), file


def test_it_says_what_it_is() -> None:
    card = (MODEL / "README.md").read_text(encoding="utf-8")
    note = method_cards()["cassr-mini"].note
    for expected in ("CC-BY-SA-4.0", "nox -s train_mini", "Limits", note):
        assert expected in card
    assert method_cards()["mini"].note == note


def test_its_parameters_are_counted() -> None:
    pipeline = CasSRPipeline.from_pretrained(MODEL)
    modules = [module for module in pipeline.components.values() if hasattr(module, "parameters")]
    count = sum(p.numel() for module in modules for p in module.parameters())
    assert count == method_cards()["cassr-mini"].parameters


def test_a_release_is_half_precision_and_keeps_the_card(tmp_path: Path) -> None:
    build_pipeline("mini").save_pretrained(tmp_path / "trained")
    (tmp_path / "shipped" / "vae").mkdir(parents=True)
    for name in ("README.md", "vae/old.safetensors"):
        (tmp_path / "shipped" / name).write_text("before")
    size = release(tmp_path / "trained", tmp_path / "shipped")
    assert (tmp_path / "shipped" / "README.md").read_text() == "before"
    weights = list((tmp_path / "shipped").rglob("*.safetensors"))
    assert size == sum(file.stat().st_size for file in weights)
    assert {t.dtype for file in weights for t in load_file(file).values()} == {torch.float16}
    configs = list((tmp_path / "shipped").rglob("*.json"))
    assert len(configs) > 5
    assert not [file for file in configs if str(tmp_path) in file.read_text()]
    assert CasSRPipeline.from_pretrained(tmp_path / "shipped").config["activation_kind"] == "scedit"


def test_a_release_without_folders_says_what_it_wants(cli: Cli) -> None:
    done = cli(script=ROOT / "cassr" / "training" / "release.py")
    usage = "usage: python -m cassr.training.release MODEL TARGET\n"
    assert (done.returncode, done.stderr) == (1, usage)


def test_it_upscales_a_flat_image_without_a_pattern() -> None:
    method = find("cassr-mini").load("cpu")
    lr = torch.tensor([0.2, 0.5, 0.7]).view(1, 3, 1, 1).expand(1, 3, 32, 40).contiguous()
    sr = method.upscale(lr, scale=4, seeds=[0])
    assert tuple(sr.shape) == (1, 3, 128, 160)
    assert (sr.mean((2, 3)) - lr.mean((2, 3))).abs().max() < 2 / 255  # no colour shift
    assert sr.std((2, 3)).max() < 3 / 255


def crops(folder: Path) -> Iterator[tuple[Tensor, Tensor]]:
    """LR and HR of each pair, (1, 3, h, w) in [0, 1]."""
    for path in sorted((folder / "hr").iterdir()):
        lr, hr = images.read_rgb(folder / "lr" / path.name), images.read_rgb(path)
        yield images.to_tensor(lr), images.to_tensor(hr)


def eight_bit(x: Tensor) -> Tensor:
    return images.to_tensor(images.to_uint8(x))


@pytest.fixture(scope="module")
def scores(golden: Path, real_weights: Path) -> dict[str, dict[str, np.ndarray]]:
    """Metric -> what made it -> a score for each real crop, larger is better."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CASSR_BENCH_MIRROR", str(real_weights))
        specs = [metrics.find(name) for name in ("psnr_y", *FIDELITY, "niqe")]
        loaded = [(spec, metrics.load(spec)) for spec in specs]
    pipeline = CasSRPipeline.from_pretrained(MODEL)
    pipeline.set_progress_bar_config(disable=True)
    bicubic = find("bicubic").load("cpu")
    found: dict[str, dict[str, list[float]]] = {spec.name: {} for spec in specs}
    for lr, hr in (pair for name in SETS for pair in crops(golden / name)):
        made = pipeline(lr, scale=4, seed=0, output_type="pt")
        sources = {
            "bicubic": bicubic.upscale(lr, scale=4, seeds=[0]),
            "stage 1": made.references,
            "stage 2": made.images,
        }
        for spec, metric in loaded:
            state = metric.prepare(hr) if spec.reference else None
            for source, image in sources.items():
                value = metric.score(eight_bit(image), hr if spec.reference else None, state)
                sign = 1 if spec.better == "higher" else -1
                found[spec.name].setdefault(source, []).append(sign * value)
    return {name: {k: np.array(v) for k, v in rows.items()} for name, rows in found.items()}


def better(scores: dict[str, np.ndarray], one: str, other: str) -> bool:
    """By a paired test, two-sided at 5 %."""
    found = ex.compare(scores[one], scores[other])
    return found.difference > 0 and found.p < 0.05


@pytest.mark.slow
def test_it_is_more_faithful_than_bicubic_on_real_crops(
    scores: dict[str, dict[str, np.ndarray]],
) -> None:
    assert sum(better(scores[name], "stage 2", "bicubic") for name in FIDELITY) >= 2
    loss = scores["psnr_y"]["bicubic"].mean() - scores["psnr_y"]["stage 2"].mean()
    assert loss <= 1


@pytest.mark.slow
def test_it_looks_more_natural_than_bicubic_on_real_crops(
    scores: dict[str, dict[str, np.ndarray]],
) -> None:
    assert better(scores["niqe"], "stage 2", "bicubic")


@pytest.mark.slow
def test_stage_2_is_more_faithful_than_its_reference(
    scores: dict[str, dict[str, np.ndarray]],
) -> None:
    judged = ("psnr_y", *FIDELITY)
    assert better(scores["psnr_y"], "stage 2", "stage 1")
    assert not [name for name in judged if better(scores[name], "stage 1", "stage 2")]


@pytest.mark.slow
def test_stage_2_is_more_faithful_than_real_esrgan_and_sharper_than_alone(
    golden: Path, real_weights: Path
) -> None:
    """On every third crop of RealSR, 7 of 20."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CASSR_BENCH_MIRROR", str(real_weights))
        psnr, niqe = (metrics.load(metrics.find(name)) for name in ("psnr_y", "niqe"))
    names = ("realesrgan-x4plus", "cassr-mini", "cassr-mini-realesrgan")
    methods = {name: find(name).load("cpu") for name in names}
    fidelity: dict[str, list[float]] = {name: [] for name in names}
    nature: dict[str, list[float]] = {name: [] for name in names}
    for lr, hr in list(crops(golden / "realsr"))[::3]:
        state = psnr.prepare(hr)
        for name, method in methods.items():
            made = eight_bit(method.upscale(lr, scale=4, seeds=[0]))
            fidelity[name].append(psnr.score(made, hr, state))
            nature[name].append(niqe.score(made, None, None))
    reference, guided = (np.array(fidelity[name]) for name in (names[0], names[2]))
    assert (guided > reference).all() and guided.mean() > reference.mean() + 0.5
    assert np.mean(nature["cassr-mini-realesrgan"]) < np.mean(nature["cassr-mini"])
