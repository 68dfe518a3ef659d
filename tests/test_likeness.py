"""What is wrong with images as a whole: found where it is, never where it is not."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import Cli
from pictures import photo
from PIL import Image
from torch import Tensor

import bench
from bench.data.from_card import packaged_photo, photo_collections
from bench.data.likeness import LOOK, RANGE, SHIFTED, STEP, Look, warning
from bench.files import images

LOOKS = Look(LOOK, "cpu")
Change = Callable[[Tensor], Tensor]


def rounded(x: Tensor) -> Tensor:
    return (x.clamp(0, 1) * 255).round() / 255


def moved(x: Tensor, pixels: float) -> Tensor:
    """To the right and below, by any part of a pixel."""
    step = 2 * pixels / x.shape[3], 2 * pixels / x.shape[2]
    theta = torch.tensor([[[1.0, 0, -step[0]], [0, 1, -step[1]]]])
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bicubic", padding_mode="border", align_corners=False)


WRONG: dict[str, tuple[Change, str]] = {
    "bgr": (lambda x: x.flip(1), "red and blue exchanged"),
    "ones": (lambda x: x.round() / 255, "almost black"),
    "twice": (lambda x: x * 255, "almost white"),
    "overflow": (lambda x: (x * 255 * 255 % 256).floor() / 255, "another picture"),
    "gamma": (lambda x: x ** (1 / 2.2), "second gamma"),
    "linear": (lambda x: x**2.2, "second gamma"),
    "flip": (lambda x: x.flip(3), "mirrored left to right"),
    "upside down": (lambda x: x.flip(2), "upside down"),
    "turned": (lambda x: x.flip((2, 3)), "turned by 180°"),
    "half a pixel": (lambda x: moved(x, 0.5), "look shifted by about (+0."),
    "half a pixel back": (lambda x: moved(x, -0.5), "look shifted by about (-0."),
    "half an LR pixel": (lambda x: moved(x, 2.0), "shifted by about (+"),
    "9 pixels": (lambda x: x.roll((-9, 9), (2, 3)), "shifted by about (+"),
}


def looked(pairs: dict[str, tuple[Tensor, Tensor]]) -> str:
    found = []
    for name, (sr, other) in pairs.items():
        found.append((name, LOOKS.score(rounded(sr), other, LOOKS.prepare(other))))
    return warning(found)


@pytest.mark.parametrize("reference", [1, 4])
@pytest.mark.parametrize("side", [512, pytest.param(2048, marks=pytest.mark.slow)])
def test_noise_is_called_noise_and_a_noisy_photograph_is_not(side: int, reference: int) -> None:
    hr = images.to_tensor(packaged_photo(photo_collections()["packaged"].images[0]))
    hr = F.interpolate(hr[..., :512, :512], size=side, mode="bicubic").clamp(0, 1)
    noise = torch.rand(hr.shape, generator=torch.Generator().manual_seed(0))
    other = rounded(F.avg_pool2d(hr, reference))
    told = "1 of 3 images show another picture: noise ('noise')"
    given = {"noise": noise, "noisy": hr + 0.3 * (noise - 0.5), "grain": 0.7 * hr + 0.3 * noise}
    assert looked({name: (image, other) for name, image in given.items()}) == told
    assert "noise" not in looked({"other": (noise.flip(3), noise), "flat": (0 * hr + 0.5, other)})


@pytest.fixture(scope="module")
def photographs() -> dict[str, Tensor]:
    chosen = photo_collections()["packaged"].images[:4]
    return {p.id: images.to_tensor(packaged_photo(p))[..., :400, :400] for p in chosen}


@pytest.mark.parametrize("reference", ["hr", "lr"])
@pytest.mark.parametrize("fault", WRONG)
def test_each_fault_is_named_against_hr_and_lr(
    fault: str, reference: str, photographs: dict[str, Tensor]
) -> None:
    change, message = WRONG[fault]
    pairs = {}
    for name, hr in photographs.items():
        other = hr if reference == "hr" else rounded(F.avg_pool2d(hr, 4))
        pairs[name] = (change(F.avg_pool2d(hr, 3, 1, 1)), other)
    told = looked(pairs)
    assert message in told and f"of {len(pairs)} images" in told and "\n" not in told


@pytest.mark.parametrize(
    ("pixels", "kind", "expected"),
    [
        (
            (0.375, 0.5, 0.5, 0.75),
            0,
            "4 of 4 images look shifted by about (+0.5, +0.5)",
        ),
        ((1.5, 2, 2, 2.5), 0, "4 of 4 images are shifted by about (+2.0, +2.0)"),
        ((4, -9), SHIFTED, "2 of 2 images are shifted by up to (-9.0, -9.0)"),
        ((0.5, -0.5, 0.5, -0.5), 0, ""),
    ],
)
def test_a_common_shift_is_told_by_its_median_and_others_by_the_largest(
    pixels: tuple[float, ...], kind: int, expected: str
) -> None:
    sides = [int(RANGE // 2 + STEP * shift) for shift in pixels]
    looks = [(kind * RANGE + side) * RANGE + side for side in sides]
    told = warning([(str(i), value) for i, value in enumerate(looks)])
    assert told == (f"{expected} pixels ('{len(pixels) - 1}')" if expected else "")


@pytest.mark.parametrize("pixels", [64, -64, -100])
def test_a_far_shift_against_the_lr_image_is_that_far(
    pixels: int, photographs: dict[str, Tensor]
) -> None:
    hr = F.interpolate(next(iter(photographs.values())), size=1024, mode="bicubic").clamp(0, 1)
    lr = rounded(F.avg_pool2d(hr, 4))
    told = looked({"far": (hr.roll(4 * pixels, 3), lr)})
    found = re.search(r"are shifted by up to \((.+), [+-]\d\.\d\)", told)
    assert found, told
    assert float(found[1]) == pytest.approx(4 * pixels, abs=4)


@pytest.mark.parametrize(
    "upscaled",
    [
        lambda lr: F.interpolate(lr, scale_factor=4, mode="nearest"),
        lambda lr: F.interpolate(lr, scale_factor=4, mode="bicubic"),
        lambda lr: F.interpolate(lr, scale_factor=4, mode="bilinear", align_corners=True),
        lambda lr: F.interpolate(lr, scale_factor=4, mode="bicubic") * 0.9 + 0.08,
    ],
)
def test_what_methods_do_is_no_fault(upscaled: Change, photographs: dict[str, Tensor]) -> None:
    lrs = {name: rounded(F.avg_pool2d(hr, 4)) for name, hr in photographs.items()}
    assert not looked({name: (upscaled(lrs[name]), hr) for name, hr in photographs.items()})
    assert not looked({name: (upscaled(lr), lr) for name, lr in lrs.items()})


def test_flat_grey_and_tiny_images_are_not_judged() -> None:
    flat, grey = torch.full((1, 3, 64, 64), 0.5), photo(64, 64, 1).mean(2, keepdims=True) / 255
    tiny, grey_ = torch.rand(1, 3, 16, 16), torch.from_numpy(grey).float().permute(2, 0, 1)[None]
    grey_ = grey_.expand(1, 3, 64, 64)
    pairs = {"flat": (flat, flat + 0.1), "grey": (grey_.flip(1), grey_), "tiny": (1 - tiny, tiny)}
    assert not looked(pairs)
    black = torch.zeros(1, 3, 64, 64)
    assert not looked({"night": (black, black), "snow": (black + 1, black + 1)})


@pytest.mark.parametrize("name", ["realsr", "drealsr"])
def test_no_false_alarm_on_published_outputs(name: str, golden: Path) -> None:
    pairs, crops = {}, {}
    for path in sorted((golden / name / "hr").iterdir()):
        hr, lr, sr = (
            images.to_tensor(images.read_rgb(golden / name / part / path.name))
            for part in ("hr", "lr", "osediff")
        )
        pairs[path.stem], crops[path.stem] = (sr, hr), (hr, lr)
    assert not looked(pairs) and not looked(crops)
    told = looked({image: (moved(sr, -0.5), hr) for image, (sr, hr) in pairs.items()})
    assert re.search(r"images (look|are) shifted by .* \(-\d\.\d, -\d\.\d\) pixels", told), told
    assert "images look shifted by about (" in looked(
        {
            i: (moved(F.interpolate(lr, scale_factor=4, mode="bicubic"), 0.5), hr)
            for i, (hr, lr) in crops.items()
        }
    )
    named = list(pairs)
    pairs[named[3]] = (pairs[named[4]][0], pairs[named[3]][1])
    assert looked(pairs) == f"1 of {len(pairs)} images show another picture ('{named[3]}')"


# -- where it is said ----------------------------------------------------------------------------


@pytest.fixture
def exchanged(cli: Cli, tmp_path: Path) -> Path:
    """`cwd/set` with `lr` and `hr`, and `cwd/sr` with two images right and one BGR."""
    root = tmp_path / "cwd"
    for index, photo_ in enumerate(photo_collections()["packaged"].images[:3]):
        hr = packaged_photo(photo_)[:128, :128]
        lr = images.resize(hr, 32, 32, "box")
        for part, pixels in (
            ("set/hr", hr),
            ("set/lr", lr),
            ("sr", hr[..., ::-1] if index == 1 else hr),
        ):
            (root / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.ascontiguousarray(pixels)).save(root / part / f"{index}.png")
    return root


def test_score_and_gate_say_it_each_time_without_work(exchanged: Path, cli: Cli) -> None:
    known = "1 of 3 images have red and blue exchanged ('1.png')"
    ask = ("score", "--sr", "sr", "--hr", "set/hr", "--metrics", "psnr_y")
    first, again = cli(*ask), cli(*ask)
    assert first.returncode == again.returncode == 0, first.stderr
    assert known in first.stderr and known in again.stderr
    assert "scores: 0" not in again.stderr and "scores:" not in again.stderr
    assert known in " ".join(json.loads(cli(*ask, "--json").stdout)["notes"])
    asked = ("gate", "--sr", "sr", "--hr", "set/hr", "--metrics", "psnr_y")
    assert known in cli(*asked, "--reference", "ref.toml", "--update").stderr


def test_run_says_it_and_notes_it_under_the_table(exchanged: Path, cli: Cli) -> None:
    ask = ("--methods", "folder:sr@Mine", "--datasets", "folder:set", "--metrics", "psnr_y")
    done = cli("run", "quick", *ask, "--out", "out")
    assert done.returncode == 0, done.stderr
    assert "folder:sr@Mine: 1 of 3 images have red and blue exchanged ('1')" in done.stderr
    assert "red and blue exchanged" in (exchanged / "out" / "table.md").read_text()


def test_without_hr_the_lr_image_is_looked_at(exchanged: Path, cli: Cli) -> None:
    ask = ("--methods", "folder:sr@Mine", "--datasets", "folder:set/lr", "--metrics", "niqe")
    assert "red and blue exchanged ('1')" in cli("run", "quick", *ask, "--out", "out").stderr


def test_an_image_gets_no_look_in_its_scores(exchanged: Path, tmp_path: Path) -> None:
    frame = bench.score(
        exchanged / "sr", exchanged / "set" / "hr", metrics="psnr_y", store=tmp_path / "store"
    )
    assert set(frame["metric"]) == {"psnr_y"}
