"""Small trainings for tests."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import small_runs
import torch
from pictures import photo
from PIL import Image
from safetensors.torch import load_file

from cassr.config import TrainingSettings
from cassr.photographs.read import in_folders
from cassr.pipeline import CasSRPipeline
from cassr.training import checkpoints
from cassr.training.samples.data import TrainingPairs
from cassr.training.samples.recipe import recipe_of
from cassr.training.start import Start, load_start
from cassr.training.state import TrainingOptions
from cassr.training.train import TrainingOutcome, train

SETTINGS = TrainingSettings(crop=32, batch_size=2, steps=6, degradations=("mild",), ema=0.9)


SMALL = ("--crop", "32", "--batch-size", "2", "--samples", "0", "--device", "cpu", "--warmup", "0")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("photographs")
    for index in range(4):
        Image.fromarray(photo(70, 90, index)).save(place / f"{index}.png")
    return place


@pytest.fixture
def folder(photographs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(photographs, tmp_path / "photographs"))


@pytest.fixture(scope="module")
def few_first_images() -> Iterator[None]:
    """Networks are scaled by as many crops as four photographs can tell apart."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("cassr.training.train.FIRST_IMAGES", small_runs.FIRST_IMAGES)
        yield


def batch_of(count: int = 4, side: int = 32) -> dict:
    hr = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))
    lr = torch.nn.functional.avg_pool2d(hr, 4)
    return {"hr": hr, "lr": lr, "reference": hr.flip(3), "seed": torch.arange(count) + 100}


def start_of(stage: str) -> CasSRPipeline:
    return load_start(Start("mini", random=True), stage)


def run_here(
    folder: Path, out: Path, settings: TrainingSettings = SETTINGS, stage: str = "guidance", **more
) -> TrainingOutcome:
    recipe = recipe_of(settings)
    pairs = TrainingPairs(in_folders([folder]), recipe, settings.samples or None)
    options = TrainingOptions(out, quiet=True, **more)
    return train(stage, start_of(stage), pairs, settings, options, cpu=True)


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoints.found(out / "checkpoints")[-1] / "weights.safetensors")


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def assert_close_but_for_rounding(
    a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], most: float = 0.1
) -> None:
    """Two trainings whose gradients differ by rounding, and by a pixel of a reference image that
    was rounded to the next of its 256 levels in other company.

    Adam's first steps are signs of gradients; where those are rounding alone, so are they. Such
    weights must be few, all others close.
    """
    apart = torch.cat([(a[name] - b[name]).abs().flatten() for name in a])
    assert (apart > 1e-5).float().mean() < most
    assert apart.max() < 0.05


def command(folder: Path, out: Path, *more: object) -> list[str]:
    words = ("train", "activation", "--preset", "mini", "--data", folder, "--out", out, *SMALL)
    return [str(word) for word in (*words, *more)]
