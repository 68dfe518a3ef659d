"""Test sets of archives: hostile ones, the crops of the real sets, synthetic ones."""

import re
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Cli
from pictures import photo
from PIL import Image
from toy_sets import Files, card, left_over, nothing, pairs, png, scene, tarred, zipped

from bench.base.cards import read_card
from bench.base.errors import CardError, DataError, ImageError
from bench.base.remote_file import Archive
from bench.data import find as data
from bench.data.card import CentreCrop, DatasetCard
from bench.data.find import adopt
from bench.data.from_card import build, centre_crop
from bench.data.manifest import read_manifest, write_manifest
from bench.files import images
from bench.remote import archives, weights

# -- archives ------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_pairs_from_an_archive(place: Callable, tmp_path: Path, pack: Callable) -> None:
    files = {**pairs(), "set/readme.txt": b"hello", "set/test_LR/.DS_Store": b"x"}
    place(pack(tmp_path / "a", files), "toy.zip")
    manifest = build(card(images=3), tmp_path / "root", nothing)
    assert [pair.id for pair in manifest.pairs] == ["im0", "im1", "im2"]
    first = manifest.pairs[0]
    assert first.lr and first.hr
    assert Image.open(first.lr).size == (32, 32) and Image.open(first.hr).size == (128, 128)
    again = build(card(images=3), tmp_path / "root", nothing)
    assert again == manifest
    other = build(card(images=3), tmp_path / "other root", nothing)
    assert other.sha256 == manifest.sha256


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_set_is_made_again_of_another_archive(
    clean_home: Path, tmp_path: Path, is_folder: bool
) -> None:
    home = weights.home(Archive(name="toy.zip"))

    def given(name: str, files: Files) -> None:
        weights.forget(Archive(name="toy.zip"))
        made = zipped(tmp_path / name, files)
        if is_folder:
            zipfile.ZipFile(made).extractall(tmp_path / f"{name}-folder")
            made = tmp_path / f"{name}-folder"
        weights.link_or_copy(made, home)

    given("v1", pairs())
    first = build(card(), tmp_path, nothing)
    given("v2", pairs(side=36))
    second = build(card(), tmp_path, nothing)
    assert second.sha256 != first.sha256
    (file,) = tmp_path.glob("toy-*/manifest.json")
    described = read_manifest(file) or {}
    assert described.pop("source")
    write_manifest(file, described)  # as they were written before
    given("v3", pairs())
    assert build(card(), tmp_path, nothing) == second
    home.unlink()
    assert build(card(), tmp_path, nothing) == second


def hostile(name: str, path: Path) -> Path:
    image = png(scene(8, 8)[0])
    inside = "set/test_LR/a.png"
    if name == "parent":
        return zipped(path, {"set/test_LR/../../../evil.png": image})
    if name == "absolute":
        return zipped(path, {"/tmp/test_LR/evil.png": image})
    if name == "windows":
        return zipped(path, {"..\\..\\test_LR\\evil.png": image})
    if name == "drive":
        return zipped(path, {"C:/test_LR/evil.png": image})
    if name == "zip link":
        info = zipfile.ZipInfo(inside)
        info.external_attr = 0o120777 << 16
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(info, "/etc/passwd")
        return path
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("../evil.png" if name == "tar parent" else inside)
        kinds = {
            "tar link": tarfile.SYMTYPE,
            "hard link": tarfile.LNKTYPE,
            "pipe": tarfile.FIFOTYPE,
        }
        info.type = kinds.get(name, tarfile.REGTYPE)
        info.linkname = "/etc/passwd"
        if name == "huge":
            info.size = archives.MAX_MEMBER_BYTES + 1
            archive.fileobj.write(info.tobuf())  # type: ignore[union-attr]
        else:
            archive.addfile(info)
    return path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("parent", "leaves the archive"),
        ("absolute", "leaves the archive"),
        ("windows", "leaves the archive"),
        ("drive", "leaves the archive"),
        ("tar parent", "leaves the archive"),
        ("zip link", "is a link or no regular file"),
        ("tar link", "is a link or no regular file"),
        ("hard link", "is a link or no regular file"),
        ("pipe", "is a link or no regular file"),
        ("huge", "is one too many"),
    ],
)
def test_hostile_archives_are_refused_and_leave_nothing(
    place: Callable, tmp_path: Path, name: str, message: str
) -> None:
    placed = place(hostile(name, tmp_path / "a"), "toy.zip")
    with pytest.raises(DataError, match=message) as caught:
        build(card(), tmp_path / "root", nothing)
    assert str(placed) in str(caught.value) and "refused, its member" in str(caught.value)
    assert left_over(tmp_path / "root") == []
    assert not (tmp_path / "evil.png").exists()


@pytest.mark.parametrize("content", [b"", b"<!doctype html><html>", b"PK\x03\x04 not really"])
def test_what_is_no_archive_is_refused(place: Callable, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    place(tmp_path / "a", "toy.zip")
    with pytest.raises(DataError, match=r"expected a zip or tar archive|is empty|is a web page"):
        build(card(), tmp_path / "root", nothing)


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_truncated_archive_is_refused(place: Callable, tmp_path: Path, pack: Callable) -> None:
    whole = pack(tmp_path / "a", pairs()).read_bytes()
    (tmp_path / "a").write_bytes(whole[: len(whole) * 6 // 10])
    place(tmp_path / "a", "toy.zip")
    with pytest.raises(DataError, match=r"is damaged|expected a zip or tar"):
        build(card(), tmp_path / "root", nothing)
    assert left_over(tmp_path / "root") == []


def test_another_number_of_images_is_refused(place: Callable, tmp_path: Path) -> None:
    place(zipped(tmp_path / "a", pairs(2)), "toy.zip")
    with pytest.raises(DataError, match="expected 100 images of Toy, found 2"):
        build(card(images=100), tmp_path / "root", nothing)


def test_two_images_of_one_id_are_refused(place: Callable, tmp_path: Path) -> None:
    files = {**pairs(1, folder="a"), **pairs(1, folder="b")}
    place(zipped(tmp_path / "a", files), "toy.zip")
    with pytest.raises(DataError, match="two LR images of id 'im0'"):
        build(card(), tmp_path / "root", nothing)


def test_bad_images_are_named_and_the_rest_is_used(place: Callable, tmp_path: Path) -> None:
    files = pairs(4)
    files["set/test_LR/im1.png"] = b"no picture"
    del files["set/test_HR/im2.png"]
    files["set/test_HR/im3.png"] = png(scene(32, 32, 9)[1])
    place(zipped(tmp_path / "a", files), "toy.zip")
    manifest = build(card(images=4), tmp_path / "root", nothing)
    assert [pair.id for pair in manifest.pairs] == ["im0"]
    assert {name: reason[:20] for name, reason in manifest.refused} == {
        "im1": "cannot be decoded (n",
        "im2": "has no HR image in t",
        "im3": "is 128x128, expected",
    }


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("**/test_LR/*", "a/b/test_LR/x.png", True),
        ("**/test_LR/*", "test_LR/x.png", True),
        ("**/test_LR/*", "a/test_LR/deep/x.png", False),
        ("**/test_LR/*", "a/not_test_LR/x.png", False),
        ("**", "a/b/c.png", True),
        ("set/*.png", "set/x.png", True),
        ("set/*.png", "set/x.jpg", False),
        ("RealSR(V3)/*/Test/?/*", "RealSR(V3)/Canon/Test/4/a.png", True),
    ],
)
def test_patterns(pattern: str, path: str, fits: bool) -> None:
    assert archives.matches(path, pattern) is fits


BICUBIC = {
    "degradation": {"function": "bench.data:downscale", "options": {"filter": "bicubic"}},
}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"photos": "packaged"}, "either 'photos' or 'archive'"),
        ({"lr": None}, "either 'lr' or a 'degradation'"),
        ({"crop": {"lr": 128, "hr": 512}}, "Extra inputs"),
        ({"archive": {"name": "../x.zip"}}, "plain file name"),
        ({"lr": None, **BICUBIC, "crop": {"lr": 8}}, "'crop' is of published pairs"),
        ({"archive": None, "photos": "packaged", **BICUBIC}, "not of 'photos'"),
        ({"lr": {"files": "*", "stem": "(.+)", "id": r"\2"}}, "expected an 'id' of groups"),
        ({"lr": {"files": "*", "id": r"\g<name>"}}, "expected an 'id' of groups"),
    ],
)
def test_impossible_cards_are_refused(fields: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        card(**fields)
    assert "toy" in str(caught.value) or message
    path = tmp_path / "bad.toml"
    path.write_text('name = "bad"\n')
    with pytest.raises(CardError, match=r"bad\.toml: field"):
        read_card(path, DatasetCard)


@pytest.mark.parametrize("options", [{"filter": "cubic"}, {"kernel": "bicubic"}])
def test_options_that_a_degradation_refuses_are_the_cards_fault(
    options: dict, tmp_path: Path
) -> None:
    degradation = {"function": "bench.data:downscale", "options": options}
    made = card(archive=None, lr=None, hr=None, photos="packaged", degradation=degradation)
    with pytest.raises(CardError, match="downscale' with its options: "):
        build(made, tmp_path)


def test_another_number_of_photographs_is_refused(tmp_path: Path) -> None:
    made = card(archive=None, lr=None, hr=None, photos="packaged", images=9, **BICUBIC)
    with pytest.raises(DataError, match="packaged: expected 9 images of Toy, found 10"):
        build(made, tmp_path)


# -- the crops of the real test sets -------------------------------------------------------------


@pytest.mark.parametrize("size", [(200, 300), (201, 303), (128, 131)])
def test_centre_crops_are_the_middle_and_stay_aligned(size: tuple[int, int]) -> None:
    lr, hr = scene(*size)
    small, big = centre_crop(lr, hr, CentreCrop(lr=128), 4)
    top, left = (size[0] - 128) // 2, (size[1] - 128) // 2
    assert big is not None
    assert np.array_equal(small, lr[top : top + 128, left : left + 128])
    assert np.array_equal(big, hr[4 * top : 4 * top + 512, 4 * left : 4 * left + 512])
    assert np.array_equal(images.resize(np.ascontiguousarray(big), 128, 128, "box"), small)


def test_an_image_smaller_than_the_crop_is_refused() -> None:
    with pytest.raises(ImageError, match="does not lie inside"):
        centre_crop(*scene(100, 300), CentreCrop(lr=128), 4)


OFFICIAL = {
    "realsr-official": ["Canon_001_LR4", "Nikon_050_LR4"],
    "drealsr-official": ["DSC_0988_x1", "sony_12_x1"],
}


def official_archive(name: str) -> Files:
    files: Files = {}
    for index, image_id in enumerate(OFFICIAL[name]):
        lr, hr = scene(150, 141, index)
        if name == "realsr-official":
            camera, stem = image_id.split("_")[0], image_id.removesuffix("_LR4")
            base = f"RealSR(V3)/{camera}/Test/4/{stem}"
            files |= {f"{base}_LR4.png": png(lr), f"{base}_HR.png": png(hr)}
            files[f"RealSR(V3)/{camera}/Test/2/{stem}_LR2.png"] = png(lr)
            files[f"RealSR(V3)/{camera}/Train/4/{stem}_LR4.png"] = png(lr)
        else:
            stem = image_id.removesuffix("_x1")
            files[f"Test_x4/test_LR/{stem}_x1.png"] = png(lr)
            files[f"Test_x4/test_HR/{stem}_x4.png"] = png(hr)
    return files


@pytest.mark.parametrize("name", OFFICIAL)
def test_official_archives_give_the_crops_under_the_published_names(
    place: Callable, tmp_path: Path, name: str
) -> None:
    full = data.dataset_cards()[name]
    assert full.archive is not None
    place(zipped(tmp_path / "a", official_archive(name)), full.archive.name)
    small = full.model_copy(update={"images": 2})
    manifest = build(small, tmp_path / "root", nothing)
    assert [pair.id for pair in manifest.pairs] == OFFICIAL[name]
    lr, hr = scene(150, 141, 0)
    pair = manifest.pairs[0]
    assert pair.lr and pair.hr
    assert np.array_equal(images.read_rgb(pair.lr), lr[11:139, 6:134])
    assert np.array_equal(images.read_rgb(pair.hr), hr[44:556, 24:536])
    whole = data.dataset_cards()[name.replace("official", "full")].model_copy(update={"images": 2})
    pair = build(whole, tmp_path / "root", nothing).pairs[0]
    assert pair.id == OFFICIAL[name][0] and pair.lr and pair.hr
    assert np.array_equal(images.read_rgb(pair.lr), lr)
    assert np.array_equal(images.read_rgb(pair.hr), hr)


UNPACKED = {
    "reallq250": {"RealLQ250/lq/{}.png": False, "RealLQ250/npz/{}.npz": False},
    "realphoto60": {"RealPhoto60/LQ/{}.png": False},
    "ntire2025-val": {
        "DIV2K_valid_LR_bicubic/X4/{}x4.png": False,
        "DIV2K_valid_HR/{}.png": True,
    },
}


@pytest.mark.parametrize("name", UNPACKED)
def test_sets_are_found_in_folders_as_they_are_published(
    clean_home: Path, tmp_path: Path, name: str
) -> None:
    card = data.dataset_cards()[name].model_copy(update={"images": 2})
    for image_id in ("0801", "0802"):
        for file, is_hr in UNPACKED[name].items():
            path = tmp_path / "given" / file.format(image_id)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(scene(40, 48, int(image_id))[is_hr]))
    adopt([name], tmp_path / "given")
    pairs = build(card, tmp_path / "root", nothing).pairs
    assert [pair.id for pair in pairs] == ["0801", "0802"]
    assert all(bool(pair.hr) == (name == "ntire2025-val") for pair in pairs)


def test_the_published_crops_are_read_from_the_hub_archive(
    place: Callable, golden: Path, tmp_path: Path
) -> None:
    files = {
        f"StableSR_testsets/{inside}/test_{side.upper()}/{path.name}": path.read_bytes()
        for folder, inside in (("realsr", "RealSRVal_crop128"), ("drealsr", "DrealSRVal_crop128"))
        for side in ("lr", "hr")
        for path in sorted((golden / folder / side).iterdir())[:4]
    }
    place(zipped(tmp_path / "a", files), "StableSR_testsets.zip")
    for name in ("realsr", "drealsr"):
        card = data.dataset_cards()[name]
        assert card.archive is not None
        # Ours is a small archive of the same layout: not the published file, whose hash is known.
        ours = replace(card.archive, sha256="", size=0)
        small = card.model_copy(update={"images": 4, "archive": ours})
        manifest = build(small, tmp_path / "root", nothing)
        assert len(manifest.pairs) == 4 and not manifest.refused
        for pair in manifest.pairs:
            for side, path in (("lr", pair.lr), ("hr", pair.hr)):
                assert path is not None
                published = images.read_rgb(golden / name / side / f"{pair.id}.png")
                assert np.array_equal(images.read_rgb(path), published)


def test_all_sets_of_the_hub_archive_pin_the_same_file() -> None:
    cards = [data.dataset_cards()[name] for name in ("realsr", "drealsr", "div2k-val-3000")]
    pinned = {(c.archive.url, c.archive.sha256, c.archive.size) for c in cards if c.archive}
    ((url, sha256, size),) = pinned
    assert re.search(r"/resolve/[0-9a-f]{40}/", url)
    assert re.fullmatch("[0-9a-f]{64}", sha256 or "") and size


# -- synthetic sets ------------------------------------------------------------------------------


def div2k(seed: int = 0) -> DatasetCard:
    full = data.dataset_cards()["div2k-val"]
    assert full.degradation is not None
    degradation = full.degradation.model_copy(update={"seed": seed})
    assert full.archive is not None
    ours = replace(full.archive, sha256="", size=0)  # a small one of the same layout
    return full.model_copy(update={"images": 2, "degradation": degradation, "archive": ours})


def test_div2k_val_is_degraded_whole_and_seeded_by_name(place: Callable, tmp_path: Path) -> None:
    files = {f"DIV2K_valid_HR/080{i}.png": png(photo(70, 99, i)) for i in (1, 2)}
    place(zipped(tmp_path / "a", files), "DIV2K_valid_HR.zip")
    manifest = build(div2k(), tmp_path / "one", nothing)
    assert [pair.id for pair in manifest.pairs] == ["0801", "0802"]
    pair = manifest.pairs[0]
    assert pair.lr and pair.hr
    assert np.array_equal(images.read_rgb(pair.hr), photo(70, 99, 1)[:68, :96])
    assert images.read_rgb(pair.lr).shape == (17, 24, 3)
    from bench.base.hashing import derive_seed
    from cassr.degradation import degrade

    expected = degrade(photo(70, 99, 1)[:68, :96], seed=derive_seed(0, "0801"))
    assert np.array_equal(images.read_rgb(pair.lr), expected)
    other = build(div2k(seed=1), tmp_path / "one", nothing)
    assert other.sha256 != manifest.sha256

    # The other image alone comes out the same: nothing depends on its company.
    place(
        zipped(tmp_path / "b", {k: v for k, v in files.items() if "0802" in k}),
        "DIV2K_valid_HR.zip",
    )
    alone = build(div2k().model_copy(update={"images": 1}), tmp_path / "two", nothing)
    assert alone.pairs[0].lr_sha256 == manifest.pairs[1].lr_sha256


def test_the_documented_lines_make_the_images_of_a_test_set(tmp_path: Path) -> None:
    manifest = build(data.dataset_cards()["quick-realistic"], tmp_path, nothing)
    pair = next(pair for pair in manifest.pairs if pair.id == "chelsea")
    assert pair.lr and pair.hr
    page = (ROOT / "docs" / "degradation.md").read_text()
    (lines,) = re.findall(r"```python\n(from bench\.base\.hashing.*?)```", page, re.S)
    names = {"hr": images.read_rgb(pair.hr)}
    exec(lines, names)
    assert np.array_equal(names["lr"], images.read_rgb(pair.lr))


def test_sets_without_ground_truth(place: Callable, cli: Cli, tmp_path: Path) -> None:
    files = {f"anything/{i}.jpg": png(photo(40, 40, i)) for i in range(3)}
    place(zipped(tmp_path / "a", files), "RealLR200")
    small = data.dataset_cards()["reallr200"].model_copy(update={"images": 3})
    manifest = build(small, tmp_path / "root", nothing)
    assert [(pair.id, pair.hr) for pair in manifest.pairs] == [(str(i), None) for i in range(3)]
    folder = tmp_path / "plain"
    folder.mkdir()
    Image.fromarray(photo(40, 40)).save(folder / "x.png")
    given = data.find(f"folder:{folder}").manifest(tmp_path / "root", nothing)
    assert [(pair.id, pair.hr) for pair in given.pairs] == [("x", None)]
