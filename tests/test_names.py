"""Outputs under names that people give them meet their HR images, or say why not."""

import json
from pathlib import Path
from unicodedata import normalize

import pytest
from conftest import Cli
from pictures import photo
from PIL import Image

import bench
from bench.base.errors import BenchError
from bench.files.names import matched, without_partner


def _match(files: str, wanted: str, pattern: str = "") -> dict[str, str]:
    found = matched({name: Path(f"{name}.png") for name in files.split()}, wanted.split(), pattern)
    return {name: path.stem for name, path in found.files.items()}


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ("baby_x4 bird_x4 head_x4", "baby bird head"),
        ("babyx4 birdx4", "baby bird head"),
        ("0801x4_out 0802x4_out 0803x4_out", "0801 0803"),
        ("x4-1 x4-10 x4-100", "1 10 100"),
        ("Canon_001_LR4 Canon_002_LR4", "Canon_001_HR Canon_002_HR"),
        ("Lincoln_BSRGAN", "Lincoln Lin"),
    ],
)
def test_one_affix_that_all_share_is_found(files: str, wanted: str) -> None:
    found = _match(files, wanted)
    assert len(found) == min(len(files.split()), len(wanted.split()))
    for name, stem in found.items():
        assert name.removesuffix("_HR") in stem


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ("baby_x4 bird_x2", "baby bird"),  # not shared
        ("baby_x4 bird_x4 else_x4", "baby bird head"),  # one is of none
        ("img10", "img1 img2"),  # another number
        ("img123", "23"),
        ("123img", "12"),
        ("a_x_b a_y_c", "x"),  # the other file has only half of it
        ("1_1", "1"),  # two affixes
        ("cat", "dog"),
        ("a_x4 b_x4", "a_HR b"),  # an ending that not all have is part of the name
    ],
)
def test_an_affix_in_doubt_is_not_taken(files: str, wanted: str) -> None:
    assert _match(files, wanted) == {}


def test_exact_names_come_first_and_a_pattern_is_taken_at_its_word() -> None:
    assert _match("a a_x4 b_x4", "a b") == {"a": "a"}
    assert _match("a a_x4 b_x4", "a b", "{stem}_x4.png") == {"a": "a_x4", "b": "b_x4"}
    assert _match("a_x4", "a", "{stem}_x2") == {}
    with pytest.raises(BenchError, match=r"'_x4': expected how files are named, with \{stem\}"):
        _match("a", "a", "_x4")


def test_marks_that_differ_are_part_of_their_names() -> None:
    assert _match("a b", "a_HR b_GT") == {}
    assert _match("a b", "a_HR b_HR") == {"a_HR": "a", "b_HR": "b"}


def test_what_an_affix_stands_for_is_told_and_names_as_they_are_are_not() -> None:
    files = {f"{stem}_x4": Path(f"{stem}_x4.png") for stem in ("a", "b")}
    told = "files are named '{stem}_x4': a_x4.png is taken for 'a', and so on"
    assert matched(files, ["a", "b"]).note == told
    assert matched(files, list(files)).note == ""


def test_a_name_that_differs_by_case_alone_is_pointed_out() -> None:
    names = ("bird.png", "c.png", "Bird.png")
    told = [without_partner(Path(name), {"bird": "Bird"}, Path("hr")) for name in names]
    bare = "has no partner in hr"
    assert told == [f"{bare}; 'Bird' there differs in upper and lower case", bare, bare]


def test_accents_in_either_form_are_one_name() -> None:
    files, wanted = (normalize(form, "café château") for form in ("NFD", "NFC"))
    assert files != wanted
    assert set(_match(files, wanted)) == set(wanted.split())


def _fill(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        Image.fromarray(photo(64, 64, i)).save(folder / f"{name}.png")
    return folder


def test_score_and_gate_say_how_names_were_read(cli: Cli, tmp_path: Path) -> None:
    hr = _fill(tmp_path / "hr", "Lincoln", "baby")
    sr = _fill(tmp_path / "sr", "Lincoln_BSRGAN", "baby_BSRGAN")
    arguments = ("--sr", sr, "--hr", hr, "--metrics", "psnr_y")
    done = cli("score", *arguments)
    assert done.returncode == 0 and "(n = 2)" in done.stdout, done.stderr
    assert "files are named '{stem}_BSRGAN': Lincoln_BSRGAN.png is taken for" in done.stderr
    gate = ("gate", *arguments, "--reference", tmp_path / "g.json")
    assert cli(*gate, "--update").returncode == 0
    held = json.loads((tmp_path / "g.json").read_text())
    assert set(held["measured"]["scores"][0]["images"]) == {"Lincoln", "baby"}

    _fill(sr, "Lincoln")  # an exact name: the affix is no longer guessed
    (hr / "baby.png").rename(hr / "BABY.png")
    named = cli("score", *arguments, "--sr-name", "{stem}_BSRGAN", "--json")
    assert json.loads(named.stdout)["means"][0]["n"] == 1
    assert "Lincoln.png: has no partner" in named.stderr

    (sr / "baby_BSRGAN.png").rename(sr / "baby.png")
    told = bench.score(sr, hr, metrics="psnr_y").set_index("image")
    assert told.value["Lincoln.png"] > 0
    assert "'BABY' there differs in upper and lower case" in told.reason["baby.png"]


def test_folders_of_finished_images_and_pairs_may_have_an_affix(cli: Cli, tmp_path: Path) -> None:
    data = tmp_path / "set"
    for folder, size in (("hr", (128, 128)), ("lr", (32, 32))):
        (data / folder).mkdir(parents=True)
        for i, name in enumerate(("0801", "0802")):
            image = Image.fromarray(photo(128, 128, i)).resize(size, Image.Resampling.BOX)
            image.save(data / folder / f"{name}{'x4' if folder == 'lr' else ''}.png")
    out = _fill(tmp_path / "out", "0801_a", "0802_a", "0801_b", "0802_b")
    for file in out.iterdir():
        Image.fromarray(photo(128, 128)).save(file)
    methods = f"folder:{out}/{{stem}}_b@Mine"
    words = ("run", "quick", "--datasets", f"folder:{data}", "--metrics", "psnr_y", "--json")
    done = cli(*words, "--reports", "html", "--methods", methods, "--out", tmp_path / "report")
    assert done.returncode == 0, done.stderr
    assert [row["n"] for row in json.loads(done.stdout)["summary"]] == [2]
    assert "{stem}_b" in (tmp_path / "report" / "html" / "index.html").read_text()
