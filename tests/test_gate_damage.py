"""Damage to images fails the gate, also where a score gets better."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import plant_quick_sets
from PIL import Image
from scipy import ndimage

from bench.base.progress import Progress
from bench.data import find as data
from bench.data.from_card import build
from bench.exchange.measured import (
    Measured,
)
from bench.gate.judge import default_policy, judge, keep_scores
from bench.gate.measure import measure_folder
from bench.gate.reference import (
    Reference,
    Tolerance,
)
from bench.running.options import RunOptions

# -- damage to real photographs ------------------------------------------------------------------

CROPS, SIDE = 10, 96


Damage = Callable[[np.ndarray], np.ndarray]


def rounded(x: np.ndarray) -> np.ndarray:
    return np.floor(x + 0.5).clip(0, 255).astype(np.uint8)


DAMAGES: dict[str, Damage] = {
    "colour": lambda x: rounded(x + 2),
    "darker": lambda x: rounded(x - 2),
    "blue": lambda x: rounded(x + np.array([0, 0, 2])),
    "truncated": lambda x: x.astype(np.uint8),
    "half a pixel": lambda x: rounded(ndimage.shift(x, (0.5, 0.5, 0), order=3, mode="nearest")),
    "blurred": lambda x: rounded(ndimage.gaussian_filter(x, (0.6, 0.6, 0))),
}


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """100 crops of photographs: HR (uint8), and bicubic SR before rounding (float in [0, 255])."""
    card = data.dataset_cards()["quick-bicubic"]
    found = {}
    store = tmp_path_factory.mktemp("photos") / "store"
    plant_quick_sets(store)
    for pair in build(card, store / "datasets").pairs:
        assert pair.hr and pair.lr
        hr, lr = np.asarray(Image.open(pair.hr)), np.asarray(Image.open(pair.lr), np.float32)
        size = hr.shape[1::-1]
        planes = [Image.fromarray(plane).resize(size, 3) for plane in np.moveaxis(lr, -1, 0)]
        sr = np.stack([np.asarray(plane) for plane in planes], -1).clip(0, 255)
        rng = np.random.default_rng(1)
        for index in range(CROPS):
            y, x = rng.integers(0, hr.shape[0] - SIDE), rng.integers(0, hr.shape[1] - SIDE)
            box = np.s_[y : y + SIDE, x : x + SIDE]
            found[f"{pair.id}-{index}"] = hr[box], sr[box]
    return found


@pytest.fixture(scope="module")
def measure(crops, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    """Score the crops after some damage, without the first few."""
    root = tmp_path_factory.mktemp("crops")
    (root / "hr").mkdir()
    for name, (hr, _) in crops.items():
        Image.fromarray(hr).save(root / "hr" / f"{name}.png")

    def run(damage: Damage, without: int = 0) -> Measured:
        sr = root / f"sr{len(list(root.iterdir()))}"
        sr.mkdir()
        for name in list(crops)[without:]:
            Image.fromarray(damage(crops[name][1])).save(sr / f"{name}.png")
        options = RunOptions(store=root / "store", workers=1)
        names = ["psnr_y", "ssim_y", "gmsd"]
        return measure_folder(sr, root / "hr", names, options, Progress(True)).measured

    return run


@pytest.fixture(scope="module")
def undamaged(measure) -> Measured:  # type: ignore[no-untyped-def]
    return measure(rounded)


def reference_of(measured: Measured, kind: str) -> Reference:
    policy = default_policy(Tolerance.model_validate({"kind": kind}), measured)
    return Reference(measured=keep_scores(measured), **policy.model_dump())


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_to_photographs_fails(name: str, measure, undamaged: Measured) -> None:  # type: ignore[no-untyped-def]
    found = measure(DAMAGES[name])
    for kind in ("same", "statistical"):
        verdict = judge(reference_of(undamaged, kind), found, {})
        failed = {row.metric: row.reason for row in verdict.failed}
        assert verdict.exit_code == 1 and "psnr_y" in failed, (kind, verdict)
    assert re.search(r"worse by .* over 100 images \(paired test, Holm", failed["psnr_y"])


def test_unchanged_photographs_pass_and_missing_ones_fail(measure, undamaged: Measured) -> None:  # type: ignore[no-untyped-def]
    reference = reference_of(undamaged, "statistical")
    assert judge(reference, measure(rounded), {}).exit_code == 0
    found = measure(rounded, without=3)
    verdict = judge(reference, found, {})
    assert verdict.exit_code == 1
    assert all("3 of 100 images have no score, 0 allowed" in row.reason for row in verdict.rows)
    loose = reference.model_copy(update={"allowed_missing": 3})
    assert judge(loose, found, {}).exit_code == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", DAMAGES)
def test_damage_to_published_images_fails_though_some_of_it_scores_better(
    name: str, golden: Path, tmp_path: Path
) -> None:
    """Outputs of a diffusion method, which blur brings nearer to the HR images."""
    folder = golden / "realsr"
    options = RunOptions(store=tmp_path / "store", workers=1, limit=8)
    found = []
    for damage in (rounded, DAMAGES[name]):
        sr = tmp_path / f"sr{len(found)}"
        sr.mkdir()
        for file in sorted((folder / "osediff").iterdir())[:8]:
            exact = np.asarray(Image.open(file), np.float64)
            exact += np.random.default_rng(0).uniform(-0.5, 0.5, exact.shape)
            Image.fromarray(damage(exact.clip(0, 255))).save(sr / file.name)
        metrics = ["psnr_y", "ssim_y"]
        found.append(measure_folder(sr, folder / "hr", metrics, options, Progress(True)).measured)
    verdict = judge(reference_of(found[0], "same"), found[1], {})
    assert {row.metric for row in verdict.failed} == {"psnr_y", "ssim_y"}
    assert ("mean better by" in verdict.rows[0].reason) == (
        name in ("blurred", "half a pixel", "blue")
    )
