"""The table of what is compared; the measuring itself is nobody's test."""

import copy
import importlib
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT

from bench.methods.find import find
from cassr.patch_vae import PatchVAE


def test_a_ratio_that_fell_by_a_quarter_is_pointed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    table = importlib.import_module("table").table
    rows = [("score", "pyiqa", 10.0, 1.0), ("FID", "clean-fid", 10.0, 2.0), ("new", "x", 3.0, 1.0)]
    found = table(rows, {"score, pyiqa": 12.0, "FID, clean-fid": 7.0})
    assert found["ratio"].tolist() == [10, 5, 3]
    assert found["limit"].tolist()[:2] == [9, 5.25] and math.isnan(found["limit"][2])
    assert found["fell"].tolist() == [False, True, False]


def test_what_a_gpu_does_is_a_row_for_each_metric_and_method(
    clean_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    gpu = importlib.import_module("gpu")
    monkeypatch.setattr(gpu.metrics, "names", lambda: ["psnr_y", "lpips"])
    monkeypatch.setattr(gpu, "all_methods", lambda: {"bicubic": find("bicubic").card})
    gpu.main("cpu", side=64, seconds=0)
    shown = capsys.readouterr()
    number = r" +[\d.,]+"
    assert re.search(rf"psnr_y{number * 3}$", shown.out, re.M), shown.out
    assert re.search(rf"bicubic{number * 2} +-$", shown.out, re.M), shown.out
    assert "not here, see cassr-bench list: lpips\n" in shown.out
    assert all(len(line) <= 80 for line in shown.out.splitlines()) and not shown.err


def a_decoder_without_pattern() -> tuple[PatchVAE, list[torch.Tensor], list[torch.Tensor]]:
    """And two smooth images (1, 3, 128, 128) in [0, 1], with their latents before them."""
    pictures = [torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(i)) for i in (0, 1)]
    plain = [F.interpolate(x, scale_factor=16, mode="bicubic").clamp(0, 1) for x in pictures]
    vae = PatchVAE()
    vae.fit_components(torch.cat(plain) * 2 - 1)
    return vae, [vae.encode(x * 2 - 1).latent_dist.mode().detach() for x in plain], plain


def test_what_repeats_with_the_patches_is_measured_and_taken_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pattern that goes with colour is put into a decoder's linear layer."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    lattice = importlib.import_module("lattice")
    image = np.full((120, 120, 3), 100, np.uint8)
    image[::4, ::4] += 16
    assert lattice.lattice(image) == pytest.approx(16 * 2 * 15 / 256)
    noise = np.random.default_rng(0).integers(90, 110, (120, 120, 3))
    assert abs(lattice.lattice(noise)) < 0.1  # repeats by chance, more or less every 3, 4 and 5

    vae, latents, plain = a_decoder_without_pattern()
    before = vae.synthesis.weight.detach().clone()
    with torch.no_grad():
        vae.synthesis.weight[0] += 0.1 * before.unflatten(0, (3, -1)).mean(1)[0]
        vae.synthesis.bias[20] += 0.02
    wrong = (vae.synthesis.weight - before).abs().max()
    lattice.level(vae, latents, plain)
    assert (vae.synthesis.weight - before).abs().max() < 0.2 * wrong


def test_a_pattern_that_does_not_go_with_colour_is_taken_out_by_descent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The patterns are those of the non-linear layers; the pictures stay what they were."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    lattice = importlib.import_module("lattice")
    torch.manual_seed(0)
    vae, latents, plain = a_decoder_without_pattern()
    torch.nn.init.normal_(vae.decoder["body"][-1].weight, std=0.02)
    before = copy.deepcopy(vae)
    lattice.settle(vae, before, torch.cat(latents), torch.cat(plain), 60)

    def shown(decoder: PatchVAE) -> list[np.ndarray]:
        with torch.no_grad():
            made = [(decoder.decode(z).sample + 1) * 127.5 for z in latents]
        return [image[0].permute(1, 2, 0).numpy() for image in made]

    old, new = (np.mean([lattice.lattice(x) for x in shown(each)]) for each in (before, vae))
    assert old > 1 and new < 0.5 * old, (old, new)
    changed = {
        name
        for name, value in vae.state_dict().items()
        if (value != before.state_dict()[name]).any()
    }
    assert changed == {
        f"{layer}.{part}"
        for layer in ("synthesis", "decoder.body.6")
        for part in ("weight", "bias")
    }
