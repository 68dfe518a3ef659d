"""Every metric against its reference: pyiqa called directly, clean-fid, logged scores."""

import csv
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pictures import photo
from PIL import Image

from bench import metrics
from bench.base.errors import DataError, ImageError
from bench.metrics.filters import YIQ, Pixels
from bench.metrics.frechet import frechet_distance, kernel_distance

OPTIONS: dict[str, dict[str, Any]] = {
    "psnr_y": {"test_y_channel": True, "color_space": "ycbcr"},
    "ssim_y": {"test_y_channel": True, "color_space": "ycbcr"},
    "psnr": {"test_y_channel": False},
    "ssim": {"test_y_channel": False},
}
CLASSIC = [
    *("psnr_y", "ssim_y", "psnr", "ssim", "ms_ssim", "niqe", "fsim", "gmsd", "nlpd", "vif", "piqe")
]
LOGGED = {"psnr_y": ("PSNR", 1e-4), "ssim_y": ("SSIM", 1e-4), "niqe": ("NIQE", 0.02)}


@pytest.fixture(autouse=True)
def parameters(clean_home: Path, request: pytest.FixtureRequest) -> None:
    if "niqe" in request.node.name:
        folder = clean_home / "torch/hub/pyiqa"
        folder.mkdir(parents=True)
        real = request.getfixturevalue("real_weights")
        shutil.copy(real / "niqe_modelparameters.mat", folder)


def fused_luma(unit: np.ndarray) -> np.ndarray:
    """Full-range Y, (..., H, W) float32, of RGB (..., H, W, 3) float32: three products summed from
    red to blue, each step exact and then rounded once."""
    y = np.zeros(unit.shape[:-1], np.float32)
    for channel, weight in enumerate(np.float32(YIQ)):
        y = (unit[..., channel].astype(float) * float(weight) + y).astype(np.float32)
    return y


@pytest.fixture(autouse=True)
def one_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give pyiqa the Y that it has on most machines.

    Many Y lie half way between two grey levels, and torch's product of matrices rounds its steps
    apart on some processors: there pyiqa's NIQE differs by .02 from what the same release says
    elsewhere, and from the published log.
    """

    from pyiqa.utils import color_util

    theirs = color_util.rgb2yiq

    def rgb2yiq(x: torch.Tensor) -> torch.Tensor:
        yiq = theirs(x)
        y = torch.from_numpy(fused_luma(x.permute(0, 2, 3, 1).numpy()))
        torch.testing.assert_close(yiq[:, 0], y, rtol=1e-6, atol=1e-7)
        yiq[:, 0] = y
        return yiq

    monkeypatch.setattr(color_util, "rgb2yiq", rgb2yiq)


def test_luma_does_not_depend_on_the_processor() -> None:
    rgb = photo(257, 301, 4)
    expected = np.rint(fused_luma(rgb.astype(np.float32) / np.float32(255)) * np.float32(255))
    assert np.array_equal(Pixels(rgb).yiq_y, expected)


def tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255


@cache
def read(path: Path) -> torch.Tensor:
    return tensor(np.asarray(Image.open(path).convert("RGB")))


def pyiqa_metric(name: str, real_weights: Path | None = None) -> Any:
    import pyiqa

    options = dict(OPTIONS.get(name, {}))
    if name == "niqe" and real_weights:
        options["pretrained_model_path"] = str(real_weights / "niqe_modelparameters.mat")
    own = metrics.find(name).pyiqa_name
    return pyiqa.create_metric(own, device=torch.device("cpu"), **options)


def ours(metric: Any, sr: torch.Tensor, hr: torch.Tensor) -> float:
    return metric.score(sr, hr, metric.prepare(hr))


def pairs(golden: Path) -> list[tuple[str, str, torch.Tensor, torch.Tensor]]:
    found = []
    for dataset in ("realsr", "drealsr"):
        for path in sorted((golden / dataset / "hr").iterdir()):
            sr = golden / dataset / "osediff" / path.name
            found.append((dataset, path.name, read(sr), read(path)))
    return found


@pytest.mark.parametrize("name", list(LOGGED))
def test_golden_images_against_pyiqa_and_the_log(
    golden: Path, real_weights: Path, name: str
) -> None:
    with (golden / "osediff_scores.csv").open() as file:
        rows = {
            (r["dataset"], r["image"], r["metric"]): float(r["value"]) for r in csv.DictReader(file)
        }
    title, logged_tolerance = LOGGED[name]
    metric = metrics.load(metrics.find(name))
    theirs = pyiqa_metric(name, real_weights)
    for index, (dataset, image, sr, hr) in enumerate(pairs(golden)):
        value = ours(metric, sr, hr)
        assert value == pytest.approx(rows[dataset, image, title], abs=logged_tolerance), image
        if index % 6 == 0:
            assert value == pytest.approx(float(theirs(sr, hr)), abs=metrics.find(name).parity), (
                image
            )


SHAPES = [(192, 288), (201, 333)]


@pytest.mark.parametrize("name", CLASSIC)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_pyiqa_called_directly(name: str, shape: tuple[int, int], request: Any) -> None:
    real = request.getfixturevalue("real_weights") if name == "niqe" else None
    hr, sr = tensor(photo(*shape, 1)), tensor(photo(*shape, 2))
    value = ours(metrics.load(metrics.find(name)), sr, hr)
    assert value == pytest.approx(
        float(pyiqa_metric(name, real)(sr, hr)), abs=metrics.find(name).parity
    )


SIZES = [(16, 21), (64, 64), (255, 257), (600, 413)]


@pytest.mark.parametrize("name", ["fsim", "gmsd"])
@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_similarity_at_any_size(name: str, shape: tuple[int, int]) -> None:
    """Odd sides, sides that are shrunk, a black image: pyiqa's conventions at every border."""
    metric, theirs = metrics.load(metrics.find(name)), pyiqa_metric(name)
    hr, sr = tensor(photo(*shape, 1)), tensor(photo(*shape, 2))
    for x, y in ((sr, hr), (sr, torch.zeros_like(hr)), (torch.zeros_like(sr), hr)):
        assert ours(metric, x, y) == pytest.approx(
            float(theirs(x, y)), abs=metrics.find(name).parity
        )


def test_niqe_where_areas_are_flat(real_weights: Path) -> None:
    """White and black areas: there the sign of rounding errors decides, and must be pyiqa's."""
    pixels = photo(288, 384, 3)
    pixels[:96] = 255
    pixels[96:150, :120] = 0
    pixels[200:, 250:] = (17, 93, 201)
    image = tensor(pixels)
    value = ours(metrics.load(metrics.find("niqe")), image, image)
    theirs = float(pyiqa_metric("niqe", real_weights)(image))
    assert value == pytest.approx(theirs, abs=metrics.find("niqe").parity)


def test_niqe_of_nothing_but_white_is_refused() -> None:
    metric = metrics.load(metrics.find("niqe"))
    with pytest.raises(ImageError, match="no 96x96 block of the image has any texture"):
        metric.score(torch.ones(1, 3, 128, 128), None, None)


def test_identical_images() -> None:
    image = tensor(photo(176, 200))
    best = {"psnr_y": 80.0, "ssim_y": 1.0, "ms_ssim": 1.0, "gmsd": 0.0, "fsim": 1.0}
    for name, value in best.items():
        metric = metrics.load(metrics.find(name))
        assert ours(metric, image, image) == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("name", CLASSIC)
def test_a_score_does_not_hang_on_what_was_scored_before(name: str) -> None:
    images = [tensor(photo(192, 200, seed)) for seed in range(3)]
    hr, metric = images[0], metrics.load(metrics.find(name))
    prepared = metric.prepare(hr)
    forward = [metric.score(sr, hr, prepared) for sr in images]
    torch.manual_seed(7)
    np.random.seed(7)
    fresh = metrics.load(metrics.find(name))
    backward = [fresh.score(sr, hr, fresh.prepare(hr)) for sr in reversed(images)]
    assert forward == backward[::-1]


# -- distances of sets ---------------------------------------------------------------------------


def sets(n1: int, n2: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n1 + n2 + d)
    mix = rng.normal(size=(d, d)) / np.sqrt(d)
    return rng.normal(size=(n1, d)) @ mix, rng.normal(size=(n2, d)) * 1.2 @ mix + 0.1


def clean_fid_distance(x: np.ndarray, y: np.ndarray) -> float:
    """clean-fid's formula with SciPy's matrix square root, whose `disp` option is going away."""
    import cleanfid.fid as cleanfid
    from scipy import linalg

    def sqrtm(matrix: np.ndarray, disp: bool = True) -> Any:
        return linalg_sqrtm(matrix) if disp else (linalg_sqrtm(matrix), 0.0)

    linalg_sqrtm = linalg.sqrtm
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cleanfid.linalg, "sqrtm", sqrtm)
        moments = [(s.mean(0), np.cov(s, rowvar=False)) for s in (x, y)]
        return float(cleanfid.frechet_distance(*moments[0], *moments[1]))


@pytest.mark.parametrize(
    ("n1", "n2", "d"), [(400, 300, 48), (400, 20, 48), (5000, 4000, 64), (65, 65, 64)]
)
def test_frechet_distance_equals_clean_fid(n1: int, n2: int, d: int) -> None:
    x, y = sets(n1, n2, d)
    assert frechet_distance(x, y) == pytest.approx(
        clean_fid_distance(x, y), rel=metrics.find("fid").parity
    )


def test_frechet_distance_with_fewer_images_than_dimensions() -> None:
    """Exact value from the eigenvalues of S1 S2, which has rank below n."""
    x, y = sets(30, 40, 200)
    s1, s2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    values, vectors = np.linalg.eigh(s1)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    trace = np.sqrt(np.linalg.eigvalsh(root @ s2 @ root).clip(0))[-29:].sum()
    shift = x.mean(0) - y.mean(0)
    expected = shift @ shift + np.trace(s1) + np.trace(s2) - 2 * trace
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(x, y) == pytest.approx(clean_fid_distance(x, y), rel=1e-6)


def test_frechet_distance_of_equal_sets_is_zero() -> None:
    x, _ = sets(50, 50, 64)
    assert frechet_distance(x, x[::-1]) == pytest.approx(0, abs=1e-9)


def test_kernel_distance_equals_clean_fid_on_whole_sets() -> None:
    from cleanfid.fid import kernel_distance as clean_fid_kid

    x, y = sets(90, 90, 64)
    expected = clean_fid_kid(x, y, num_subsets=1, max_subset_size=90)
    assert kernel_distance(x, y) == pytest.approx(expected, rel=metrics.find("kid").parity)


def test_kernel_distance_is_unbiased() -> None:
    rng = np.random.default_rng(0)
    draws = [kernel_distance(*rng.normal(size=(2, 12, 8))) for _ in range(800)]
    assert abs(np.mean(draws)) < 3 * np.std(draws) / np.sqrt(len(draws))


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_sets_that_have_no_distance(distance: Any) -> None:
    with pytest.raises(DataError, match="2 images on each side, got 1, 5"):
        distance(np.ones((1, 4)), np.ones((5, 4)))
    with pytest.raises(DataError, match="one d"):
        distance(np.ones((5, 3)), np.ones((5, 4)))
