"""Scores of whole sets: from crops, from features that are missing, and which may be compared."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import photo
from PIL import Image
from substitutes import plant

from bench import metrics
from bench.base.errors import DataError
from bench.base.progress import Progress
from bench.metrics.frechet import (
    SetSize,
    covered,
    frechet_distance,
    incomparable,
    kernel_distance,
    stacked,
)
from bench.running.options import RunOptions
from bench.running.score_folders import score_folders

FID, KID = metrics.find("fid"), metrics.find("kid")


@pytest.mark.parametrize(
    ("here", "there", "reason"),
    [
        (100, 100, ""),
        (100, 93, "FID depends on n: 100 here, 93 there"),
        (100, None, "FID depends on n, which is not stated there (n = 100 here)"),
        (None, 93, "FID depends on n, which is not stated here (n = 93 there)"),
    ],
)
def test_fid_is_compared_at_equal_n_only(here: int, there: int, reason: str) -> None:
    assert incomparable(FID, here, there) == reason


def test_what_is_unbiased_is_compared_at_any_n() -> None:
    assert incomparable(KID, 100, 93) == ""
    assert incomparable(metrics.find("psnr_y"), 100, None) == ""
    assert incomparable(metrics.find("patch_fid"), 400, 372) != ""


def test_precision_and_recall_are_shares_within_the_neighbours_of_the_other_set() -> None:
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(60, 4))
    narrow = wide[:30] / 4
    assert covered(wide, wide) == 1 and covered(wide, wide + 100) == 0
    assert covered(narrow, wide) > covered(wide, narrow)
    inside = [
        any(np.linalg.norm(x - y) <= sorted(np.linalg.norm(wide - y, axis=1))[3] for y in wide)
        for x in narrow
    ]
    assert covered(narrow, wide) == np.mean(inside)
    with pytest.raises(DataError, match="need 4 images"):
        covered(wide, wide[:3])


def test_images_may_give_several_features() -> None:
    rng = np.random.default_rng(0)
    sr = [rng.normal(size=(k, 6)) for k in (2, 3)]
    (one, other), size = stacked([sr, [np.ones((4, 6)), np.ones(6)]])
    assert one.shape == other.shape == (5, 6)
    assert size == SetSize(images=2, rows=5)
    with pytest.raises(DataError, match="different numbers of features: 5 and 4"):
        stacked([sr, [np.ones((2, 6)), np.ones((2, 6))]])


def test_crops_fill_a_grid_from_the_top_left() -> None:
    from bench.metrics.inception import grid

    pixels = photo(70, 100)
    crops = grid(pixels, 32, 32)
    assert crops.shape == (6, 32, 32, 3)
    np.testing.assert_array_equal(crops[4], pixels[32:64, 32:64])
    assert len(grid(pixels, 32, 16)) == 3 * 5
    np.testing.assert_array_equal(grid(photo(32, 32), 32, 32)[0], photo(32, 32))


def test_features_that_are_a_little_different_move_fid_a_little() -> None:
    """The bound of docs/metrics.md: sqrt(FID) is a distance, so it moves by the features' RMS
    difference in each set at most."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(40, 128)), rng.normal(size=(40, 128)) + 0.5
    for amount in (1e-4, 1e-2, 1.0):
        moved = x + amount * rng.normal(size=x.shape)
        bound = np.sqrt(np.square(moved - x).sum() / (len(x) - 1))
        change = np.sqrt(frechet_distance(moved, y)) - np.sqrt(frechet_distance(x, y))
        assert abs(change) <= bound


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for side, name in enumerate(("sr", "hr")):
        (tmp_path / name).mkdir()
        for index in range(3):
            pixels = photo(256, 512 + index, 10 * side + index)
            Image.fromarray(pixels).save(tmp_path / name / f"{index}.png")
    return tmp_path / "sr", tmp_path / "hr"


@pytest.fixture
def scored(clean_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that scores folders with substituted Inception weights."""
    plant(FID, clean_home / "torch/hub")
    monkeypatch.setenv("CASSR_BENCH_SUBSTITUTE_WEIGHTS", FID.weights[0].name)

    def score(sr: Path, hr: Path, *names: str) -> dict[str, tuple[float | None, int, str]]:
        options = RunOptions(tmp_path / "store", workers=1)
        [found] = score_folders([sr], hr, names, options, Progress(quiet=True))
        return {spec.name: (value, n, reason) for spec, value, n, reason in found.means}

    return score


def test_fid_and_kid_of_crops_count_what_they_saw(
    scored: Any, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    found = scored(*folders, "patch_fid", "patch_kid", "fid")
    assert all(value is not None and n == 3 for value, n, _ in found.values())
    features = [np.load(path) for path in sorted((tmp_path / "store/features").glob("*/*.npy"))]
    assert sorted(f.shape for f in features) == [(2, 2048)] * 6 + [(2048,)] * 6
    records = {
        path.parent.name.rsplit("-", 1)[0]: json.loads(path.read_text())
        for path in (tmp_path / "store/scores").glob("*fid-*/*.jsonl")
    }
    assert (records["patch_fid"]["images"], records["patch_fid"]["rows"]) == (3, 6)
    assert (records["fid"]["images"], records["fid"]["rows"]) == (3, 3)
    assert scored(*folders, "patch_fid")["patch_fid"] == found["patch_fid"]
    few = scored(*folders, "precision", "patch_fid")  # the one costs the other nothing
    assert few["precision"][2] == "precision and recall need 4 images on each side, got 3"
    assert few["patch_fid"] == found["patch_fid"]


def test_a_set_with_an_image_that_has_no_features_says_why(
    scored: Any, folders: tuple[Path, Path]
) -> None:
    sr, hr = folders
    for folder in folders:
        Image.fromarray(photo(200, 300, 9)).save(folder / "small.png")
    found = scored(sr, hr, "patch_fid", "psnr_y")
    value, n, reason = found["patch_fid"]
    assert (value, n) == (None, 0)
    assert reason == (
        "features of 2 images are missing: 300x200 px is too small for patch_fid, "
        "which needs 256 px on the shorter side"
    )
    assert found["psnr_y"][1] == 4


def test_sets_with_different_numbers_of_crops_have_no_score(
    scored: Any, folders: tuple[Path, Path]
) -> None:
    sr, hr = folders
    Image.fromarray(photo(512, 512, 5)).save(hr / "0.png")
    value, _, reason = scored(sr, hr, "patch_fid")["patch_fid"]
    assert value is None
    assert reason == "the SR and the HR set have different numbers of features: 6 and 8"


def test_a_set_metric_says_whether_it_is_unbiased() -> None:
    """KID's mean over draws is the same at any n, FID's is not."""
    rng = np.random.default_rng(1)

    def mean(distance: Any, n: int) -> float:
        return float(np.mean([distance(*rng.normal(size=(2, n, 8))) for _ in range(400)]))

    assert KID.unbiased
    assert abs(mean(kernel_distance, 6) - mean(kernel_distance, 60)) < 0.15
    assert not FID.unbiased
    assert mean(frechet_distance, 6) > 3 * mean(frechet_distance, 60)
