"""Test sets: pairs that do not match, manifests that are compared and verified."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Cli
from pictures import photo
from PIL import Image
from toy_sets import card, nothing, pairs, scene, zipped

from bench.base.errors import DataError
from bench.base.progress import Progress, silent
from bench.data import find as data
from bench.data import verify
from bench.data.alignment import misalignment
from bench.data.from_card import build
from bench.data.pairing import scan_folder
from bench.files import images

# -- pairs that do not match ---------------------------------------------------------------------


def test_real_pairs_are_accepted_and_wrong_ones_refused(golden: Path) -> None:
    shifted = zoomed = others = 0
    found = [
        (images.read_rgb(path), images.read_rgb(golden / name / "hr" / path.name))
        for name in ("realsr", "drealsr")
        for path in sorted((golden / name / "lr").iterdir())[::2]
    ]
    for index, (lr, hr) in enumerate(found):
        assert misalignment(lr, hr, 4) == ""
        shifted += "shifted" in misalignment(lr[:96, :96], hr[16 : 16 + 384, 8 : 8 + 384], 4)
        middle = np.ascontiguousarray(hr[64:448, 64:448])
        zoomed += bool(misalignment(lr, images.resize(middle, 512, 512, "bicubic"), 4))
        others += bool(misalignment(lr, found[(index + 1) % len(found)][1], 4))
    assert min(shifted, zoomed, others) >= 0.9 * len(found), (shifted, zoomed, others)


@pytest.mark.parametrize("preset", ["mild", "full"])
def test_degraded_pairs_are_accepted(golden: Path, preset: str) -> None:
    from cassr.degradation import degrade

    for seed, path in enumerate(sorted((golden / "realsr" / "hr").iterdir())[:8]):
        hr = images.read_rgb(path)
        assert misalignment(degrade(hr, seed=seed, preset=preset), hr, 4) == ""


def test_flat_and_tiny_pairs_are_not_judged() -> None:
    flat = np.full((64, 64, 3), 90, np.uint8)
    assert misalignment(flat, np.full((256, 256, 3), 91, np.uint8), 4) == ""
    assert misalignment(*scene(9, 9), 4) == ""


@pytest.mark.parametrize(("lr", "hr"), [("LR", "HR"), ("Lr", "Hr"), ("lr", "HR")])
def test_the_sides_of_a_folder_may_be_capitals(tmp_path: Path, lr: str, hr: str) -> None:
    for side, pixels in zip((lr, hr), scene(32, 32, 0), strict=True):
        images.write_png(tmp_path / "set" / side / "a.png", pixels)
    (pair,) = scan_folder(tmp_path / "set", 4, tmp_path / "root").pairs
    assert pair.hr is not None and (pair.lr.parent.name, pair.hr.parent.name) == (lr, hr)


def test_images_beside_hr_alone_are_not_taken_for_lr(tmp_path: Path) -> None:
    images.write_png(tmp_path / "a.png", photo(8, 8))
    assert len(scan_folder(tmp_path, 4, tmp_path / "root").pairs) == 1
    images.write_png(tmp_path / "hr" / "a.png", photo(32, 32))
    with pytest.raises(DataError, match="expected a folder with subfolders 'lr' and 'hr'"):
        scan_folder(tmp_path, 4, tmp_path / "root")


def test_a_folder_names_its_wrong_pairs(tmp_path: Path) -> None:
    for side in ("lr", "hr"):
        (tmp_path / side).mkdir()
    for index in range(3):
        lr, hr = scene(64, 64, index)
        hr = np.roll(hr, 24, axis=1) if index == 1 else hr
        hr = scene(64, 64, 99)[1] if index == 2 else hr
        Image.fromarray(lr).save(tmp_path / "lr" / f"{index}.png")
        Image.fromarray(hr).save(tmp_path / "hr" / f"{index}.png")
    manifest = data.find(f"folder:{tmp_path}").manifest(tmp_path / "root", nothing)
    assert [pair.id for pair in manifest.pairs] == ["0"]
    reasons = {Path(name).stem: reason for name, reason in manifest.refused}
    assert reasons["1"] == "is shifted by (+24, +0) pixels against its LR"
    assert reasons["2"] == "shows another picture than its LR"


# -- manifests of two people ---------------------------------------------------------------------


def test_what_a_link_leads_to_is_looked_at_again(tmp_path: Path) -> None:
    folder = tmp_path / "links"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.png").symlink_to(tmp_path / f"{name}.png")
    hashes = []
    for seed in range(2):
        Image.fromarray(photo(24 + seed, 32, seed)).save(tmp_path / "a.png")
        hashes.append(scan_folder(folder, 4, tmp_path / "root").sha256)
        assert scan_folder(folder, 4, tmp_path / "root").sha256 == hashes[-1]
    assert hashes[0] != hashes[1]


def test_manifests_are_compared(cli: Cli, golden: Path, tmp_path: Path) -> None:
    for side in ("lr", "hr"):
        (tmp_path / "theirs" / side).mkdir(parents=True)
        for path in sorted((golden / "realsr" / side).iterdir())[:4]:
            shutil.copy(path, tmp_path / "theirs" / side)
    shutil.copytree(tmp_path / "theirs", tmp_path / "mine")
    given = f"folder:{tmp_path / 'theirs'}"
    theirs = cli("datasets", "verify", given, "--out", tmp_path / "t.json")
    assert theirs.returncode == 0 and "4 images, manifest" in theirs.stdout
    told = (tmp_path / "t.json").read_text()
    assert str(tmp_path) not in told.replace(json.dumps(given), "")
    # Other encoders and names of folders change nothing.
    first, second = sorted((tmp_path / "mine" / "lr").iterdir())[:2]
    Image.open(first).save(first, compress_level=1)
    arguments = ("datasets", "verify", f"folder:{tmp_path / 'mine'}", "--against")
    same = cli(*arguments, tmp_path / "t.json")
    assert same.returncode == 0, same.stderr
    pixels = np.asarray(Image.open(second)).copy()
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(second)
    (tmp_path / "mine" / "lr" / first.name).unlink()
    other = cli(*arguments, tmp_path / "t.json")
    assert other.returncode == 1
    assert f"differs: {first.stem}: only there" in other.stderr
    assert f"differs: {second.stem}: another LR image" in other.stderr
    assert other.stderr.count("differs:") == 2
    changed = json.loads((tmp_path / "t.json").read_text())
    changed["pairs"][0]["lr"]["pixels_sha256"] = "0" * 64
    (tmp_path / "t.json").write_text(json.dumps(changed))
    edited = cli(*arguments, tmp_path / "t.json")
    assert edited.returncode == 2 and "its hash is not that of its images" in edited.stderr
    (tmp_path / "deep.json").write_text("[" * 100_000)
    assert "is no manifest" in cli(*arguments, tmp_path / "deep.json").stderr
    broken = cli(*arguments, golden / "README.md")
    assert broken.returncode == 2 and "is no manifest" in broken.stderr


def test_verification_hashes_afresh(place: Callable, tmp_path: Path) -> None:
    place(zipped(tmp_path / "a", pairs()), "toy.zip")
    manifest = build(card(), tmp_path / "root", nothing)
    found = verify.portable(manifest)
    assert found["sha256"] == manifest.sha256
    assert "path" not in json.dumps(found["pairs"])


def test_a_line_is_said_once_however_often_a_plan_is_made(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = Progress()
    for text in ("2 of 3 pairs were cut", "2 of 3 pairs were cut", "another"):
        progress.say(text)
    assert capsys.readouterr().err == "2 of 3 pairs were cut\nanother\n"


def test_modcrop_cuts_pairs_that_are_off_by_less_than_a_scale(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    sizes = {"more": (130, 131), "less": (126, 125), "right": (128, 128), "far": (140, 128)}
    hr = np.asarray(Image.fromarray(photo(160, 160, 1)))
    for name, (height, width) in sizes.items():
        for side in ("lr", "hr"):
            (folder / side).mkdir(parents=True, exist_ok=True)
        lr = hr[:128, :128].reshape(32, 4, 32, 4, 3).mean((1, 3)).round().astype(np.uint8)
        Image.fromarray(lr).save(folder / "lr" / f"{name}.png")
        Image.fromarray(hr[:height, :width]).save(folder / "hr" / f"{name}.png")
    plain = data.find(f"folder:{folder}").manifest(tmp_path / "root", silent)
    told = {Path(file).stem: why for file, why in plain.refused}
    assert set(told) == {"more", "less", "far"} and "--modcrop" not in told["far"]
    assert (
        told["more"]
        == "is 131x130, expected x4 of its LR: 128x128; --modcrop cuts both to what fits"
    )
    cut = data.find(f"folder:{folder}", modcrop=True).manifest(tmp_path / "root", silent)
    assert [Path(file).stem for file, _ in cut.refused] == ["far"]
    read = {pair.id: images.read_rgb(pair.hr) for pair in cut.pairs if pair.hr}
    sizes_found = {name: pixels.shape[:2] for name, pixels in read.items()}
    assert sizes_found == {"more": (128, 128), "less": (124, 124), "right": (128, 128)}
    assert all(np.array_equal(found, hr[: len(found), : len(found[0])]) for found in read.values())
    told_of = "2 of 3 pairs were cut to x4 (the first, 'less': LR 31x31 with HR 124x124)"
    assert cut.recipe["note"] == told_of
    assert data.find(f"folder:{folder}", modcrop=True).manifest(tmp_path / "root", silent) == cut
    right = next(pair for pair in cut.pairs if pair.id == "right")
    assert right.hr == (folder / "hr" / "right.png").resolve()
