"""Photographs with colour profiles keep their colours, or are converted, or it is said."""

import io
from pathlib import Path

import numpy as np
import pytest
from pictures import ADOBE, DOT_GAIN, photo
from PIL import Image, ImageCms

from bench.base.progress import Progress
from bench.files import colour
from bench.files.images import read_rgb
from bench.running.options import RunOptions
from bench.running.score_folders import score_folders
from bench.running.upscale_files import upscale_files

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _seen(image: Image.Image) -> np.ndarray:
    """What a viewer that knows profiles shows."""
    profile = io.BytesIO(image.info.get("icc_profile") or SRGB)
    made = ImageCms.profileToProfile(
        image, ImageCms.ImageCmsProfile(profile), ImageCms.createProfile("sRGB"), 1, "RGB"
    )
    return np.asarray(made).astype(int)


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    picture = Image.fromarray(photo(32, 32))
    picture.save(folder / "adobe.png", icc_profile=ADOBE)
    picture.save(folder / "srgb.jpg", icc_profile=SRGB)
    picture.save(folder / "broken.png", icc_profile=b"no profile at all")
    picture.convert("L").save(folder / "grey.tif", icc_profile=DOT_GAIN)
    picture.save(folder / "plain.png")
    return folder


def _upscaled(inputs: Path, to_srgb: bool = False) -> dict[str, Image.Image]:
    out = inputs.parent / "out"
    options = RunOptions(inputs.parent / "store", workers=1, scale=2)
    done = upscale_files("nearest", {out: [inputs]}, options, Progress(True), to_srgb=to_srgb)
    assert not done.failures
    return {file.stem: Image.open(file) for file in out.glob("*.png")}


def test_upscaled_photographs_look_as_their_inputs(inputs: Path, clean_home: Path) -> None:
    for to_srgb in (False, True):  # into the same folder: they are made anew
        made = _upscaled(inputs, to_srgb)
        for file in inputs.iterdir():
            given, found = Image.open(file), made[file.stem]
            if file.stem != "broken":
                apart = np.abs(_seen(found)[::2, ::2] - _seen(given))
                assert apart.max() <= 2, (file.name, to_srgb, apart.max())
        kept = {name for name, image in made.items() if image.info.get("icc_profile")}
        assert kept == (set() if to_srgb else {"adobe"})
    stored = read_rgb(inputs / "adobe.png").astype(int)
    assert np.abs(_seen(Image.open(inputs / "adobe.png")) - stored).max() > 10


def test_profiles_are_told_from_srgb_by_what_they_do(inputs: Path) -> None:
    found = {file.stem: colour.profile_of(file) for file in inputs.iterdir()}
    assert {name for name, profile in found.items() if profile} == {"adobe", "grey"}
    assert colour.name_of(found["adobe"]) == "Adobe RGB (1998)"
    junk = bytes(16) + b"RGB XYZ " + bytes(400)
    Image.fromarray(photo(32, 32)).save(inputs / "junk.png", icc_profile=junk)
    assert colour.profile_of(inputs / "junk.png") == b""
    (inputs / "none.png").write_text("no image")
    assert colour.profile_of(inputs / "none.png") == b""


def test_scores_across_profiles_say_so_once_per_folder(
    inputs: Path, clean_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = inputs.parent / "plain"
    plain.mkdir()
    for file in inputs.iterdir():
        Image.fromarray(read_rgb(file)).save(plain / f"{file.stem}.png")
    options = RunOptions(inputs.parent / "store", workers=1)
    score_folders([plain, inputs], inputs, ["psnr_y"], options, Progress())
    said = [line for line in capsys.readouterr().err.splitlines() if "profile" in line]
    assert len(said) == 1 and said[0].startswith(f"{plain}: 2 of 5 images have another colour")
    assert "adobe.png sRGB, HR Adobe RGB (1998)" in said[0]
