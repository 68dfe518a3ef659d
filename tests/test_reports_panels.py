"""Panels: sizes, the crops' pixels, the choice of region and of pictures, bad input."""

import dataclasses
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.base.errors import DataError
from bench.files.images import read_rgb
from bench.reports.figures import panels
from bench.reports.figures.panels import BOX, EMPTY, MARGIN, TILE, panel, render
from bench.reports.figures.regions import Region, choose_pictures, choose_region, parse_region
from bench.results.results import PictureSet, Results
from bench.results.view import ShownRegion, View

from . import results_example as ex

SCALE = 4


def tiles_of(image: Image.Image, side: int, count: int) -> list[np.ndarray]:
    """The tiles of a panel, found from its right edge: `count` of them in one or two rows."""
    rows = 1 if count <= 5 else 2
    columns = -(-count // rows)
    pixels = np.asarray(image)
    left = image.width - columns * (side + MARGIN)
    step = (image.height - MARGIN) // rows
    return [
        pixels[MARGIN + i // columns * step :, left + i % columns * (side + MARGIN) :][:side, :side]
        for i in range(count)
    ]


def enlarged(crop: np.ndarray, side: int) -> np.ndarray:
    zoom = side // crop.shape[0]
    return crop.repeat(zoom, axis=0).repeat(zoom, axis=1)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9, 12])
def test_every_tile_holds_the_pixels_of_its_file(tmp_path: Path, count: int) -> None:
    methods = [f"method {i} with a name of several words" for i in range(count)]
    pictures = ex.picture_set(tmp_path, methods)
    image = panel(pictures, {name: name for name in methods})
    assert image is not None
    sr = [read_rgb(pictures.sr[name]) for name in methods]
    region = choose_region(sr, SCALE)
    large = region.scaled(SCALE)
    side = large.side * round(TILE / large.side)
    lr, hr = (read_rgb(path) for path in (pictures.lr, pictures.hr) if path)
    expected = [region.cut(lr), *map(large.cut, sr), large.cut(hr)]
    for tile, crop in zip(tiles_of(image, side, count + 2), expected, strict=True):
        np.testing.assert_array_equal(tile, enlarged(crop, side))


def test_names_are_drawn_below_their_tiles_and_between_nothing(tmp_path: Path) -> None:
    methods = ["a" * 90, "b b" * 40, "c"]
    image = panel(ex.picture_set(tmp_path, methods), {name: name for name in methods})
    assert image is not None
    side = 240
    pixels = np.asarray(image).astype(int)
    left = image.width - 5 * (side + MARGIN)
    strip = pixels[MARGIN + side :, left:].min(axis=(0, 2))
    for tile in range(5):
        name = strip[tile * (side + MARGIN) : (tile + 1) * (side + MARGIN)]
        assert name[:side].min() < 100
        assert (name[side:] == 255).all()


def test_the_region_is_where_the_pictures_differ() -> None:
    rng = np.random.default_rng(0)
    one = rng.integers(0, 200, (256, 320, 3), dtype=np.uint8)
    other = one.copy()
    other[120:184, 200:264] += 50
    region = choose_region([one, one.copy(), other], SCALE)
    assert region == Region(left=50, top=30, side=16)
    box = region.scaled(SCALE)
    assert box.cut(other).shape == (64, 64, 3)
    assert (box.cut(other) != box.cut(one)).all()


def test_equal_pictures_and_single_pictures_have_a_region_too() -> None:
    one = np.zeros((64, 96, 3), np.uint8)
    assert choose_region([one, one], SCALE) == Region(0, 0, 12)
    assert choose_region([one], SCALE) == Region(6, 2, 12)
    tiny = np.zeros((8, 400, 3), np.uint8)
    assert choose_region([tiny, tiny], SCALE).side == 2


def test_the_box_lies_around_the_region(tmp_path: Path) -> None:
    methods = ["x", "y"]
    pictures = ex.picture_set(tmp_path, methods)
    for path in (pictures.lr, *pictures.sr.values()):
        size = 48 if path == pictures.lr else 192
        ex.write_picture(Path(str(path)), np.full((size, size, 3), 128, np.uint8))
    changed = np.full((192, 192, 3), 128, np.uint8)
    changed[96:144, 48:96] = 255
    ex.write_picture(pictures.sr["y"], changed)
    image = panel(pictures, {name: name for name in methods})
    assert image is not None
    zoom = 240 / 48
    red = (np.asarray(image)[:, : MARGIN + 240] == BOX).all(axis=2)
    rows, columns = np.nonzero(red)
    corners = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert corners == [MARGIN + zoom * place for place in (12, 24, 24, 36)]


@pytest.mark.parametrize("broken", ["absent", "damaged", "other size"])
def test_a_method_without_a_fitting_picture_has_an_empty_tile(tmp_path: Path, broken: str) -> None:
    methods = ["good", "fine", "bad"]
    pictures = ex.picture_set(tmp_path, methods)
    if broken == "absent":
        sr = {name: path for name, path in pictures.sr.items() if name != "bad"}
        pictures = dataclasses.replace(pictures, sr=sr)
    elif broken == "damaged":
        pictures.sr["bad"].write_bytes(b"\x89PNG not at all")
    else:
        ex.write_picture(pictures.sr["bad"], np.zeros((60, 60, 3), np.uint8))
    image = panel(pictures, {name: name for name in methods})
    assert image is not None
    tiles = tiles_of(image, 240, 5)
    assert (tiles[3] == EMPTY).all()
    assert not (tiles[2] == EMPTY).all()


def test_without_lr_or_hr_the_panel_shows_what_there_is(tmp_path: Path) -> None:
    pictures = ex.picture_set(tmp_path, ["one", "two"])
    for lr, hr, tiles in [(None, pictures.hr, 3), (pictures.lr, None, 3), (None, None, 2)]:
        image = panel(dataclasses.replace(pictures, lr=lr, hr=hr), {"one": "One", "two": "Two"})
        assert image is not None
        assert image.width == 2 * MARGIN + 240 + tiles * (240 + MARGIN)


def test_no_readable_picture_gives_no_panel() -> None:
    nothing = PictureSet("d", "a", 4, None, None, {"m": Path("/nonexistent/a.png")})
    assert panel(nothing, {"m": "M"}) is None


def with_pictures(results: Results, folder: Path, names: list[str]) -> Results:
    dataset = results.datasets[0].name
    methods = [method.name for method in results.methods]
    sets = [
        dataclasses.replace(ex.picture_set(folder / str(i), methods, image=name), dataset=dataset)
        for i, name in enumerate(names)
    ]
    return dataclasses.replace(results, pictures=tuple(sets))


def test_the_first_picture_and_those_that_differ_most_are_chosen() -> None:
    values = {
        ("d", method, image, "psnr_y"): 20.0 + place * apart
        for image, apart in [("a", 0.0), ("b", 1.0), ("c", 5.0), ("d", 2.0), ("e", 3.0)]
        for place, method in enumerate(("x", "y"))
    }
    sets = tuple(PictureSet("d", image, 4, None, None) for image in "abcde")
    results = ex.results(values, [ex.PSNR], pictures=sets)
    assert [p.image for p in choose_pictures(results, "d", 4)] == ["a", "c", "e", "d"]
    unscored = dataclasses.replace(results, scores=results.scores.head(0))
    assert [p.image for p in choose_pictures(unscored, "d", 3)] == ["a", "b", "c"]


def test_hostile_names_stay_in_the_folder_and_are_all_written(tmp_path: Path) -> None:
    images = list(ex.HOSTILE[:4])
    results = with_pictures(ex.hostile(), tmp_path / "in", images)
    written = render(results, tmp_path / "out")
    assert len(set(written)) == 8
    for path in written:
        assert path.resolve().is_relative_to((tmp_path / "out" / "panels").resolve())
        assert path.suffix == ".pdf" or Image.open(path).size[0] > 1000
    assert {p for p in (tmp_path / "out").rglob("*") if p.is_file()} == set(written)


def test_panels_are_equal_byte_for_byte(tmp_path: Path) -> None:
    results = with_pictures(ex.example(), tmp_path / "in", ["a", "b"])
    first, again = (
        [path.read_bytes() for path in render(results, tmp_path / name)] for name in ("x", "y")
    )
    assert len(first) == 4
    assert first == again


def test_a_chosen_region_is_shown_at_its_place(tmp_path: Path) -> None:
    results = with_pictures(ex.example(), tmp_path / "in", ["a", "b"])
    region = ShownRegion("clean", "b", 41, 83, 40)
    written = render(results, tmp_path / "out", View(regions=(region,)))
    assert [path.name for path in written] == ["b-41-83-40.png", "b-41-83-40.pdf"]
    expected = read_rgb(results.pictures[1].sr["net"])[84:124, 40:80]
    tiles = tiles_of(Image.open(written[0]), 240, 5)
    np.testing.assert_array_equal(tiles[3], enlarged(expected, 240))
    outside = View(regions=(ShownRegion("clean", "a", 999, 0, 5000),))
    assert len(render(results, tmp_path / "outside", outside)) == 2


def test_the_box_is_seen_on_red(tmp_path: Path) -> None:
    red = np.full((96, 96, 3), (224, 0, 0), np.uint8)
    image = panels.compose("red", red, Region(20, 20, 30), [panels.Tile("LR", red[:30, :30])])
    whole = np.asarray(image)[8:232, 8:232]
    assert (whole == 255).all(axis=2).any(), "a rim of white around a red box"


def test_scores_stand_under_the_crops_where_they_are_asked_for(tmp_path: Path) -> None:
    results = with_pictures(ex.example(), tmp_path / "in", ["a"])
    told = panels._scores(results, [ex.PSNR, ex.LPIPS], results.pictures[0])
    assert told["net"] == "27.12 / 0.3000" and told[""] == "PSNR-Y ↑ / LPIPS ↓"
    plain, scored = (
        Image.open(render(results, tmp_path / str(len(names)), View(under_crops=names))[0])
        for names in ((), ("psnr_y", "lpips"))
    )
    assert scored.height > plain.height and scored.width == plain.width


def test_regions_are_read_from_text_and_wrong_ones_refused() -> None:
    images = {"set": ["a:b", "c"], "folder:x": ["c"]}
    assert parse_region("set:a:b:1,2,30", images) == ShownRegion("set", "a:b", 1, 2, 30)
    assert parse_region("folder:x:c:0,0,8", images) == ShownRegion("folder:x", "c", 0, 0, 8)
    for text, word in [
        ("set:c:1,2", "X,Y,SIDE"),
        ("set:c:1,2,0", "X,Y,SIDE"),
        (f"set:c:1,2,{'9' * 5000}", "X,Y,SIDE"),
        ("other:c:1,2,3", "a dataset of set, folder:x"),
        ("set:cc:1,2,3", "did you mean 'c'"),
    ]:
        with pytest.raises(DataError, match=word):
            parse_region(text, images)


def test_a_panel_as_pdf_holds_the_same_pixels(tmp_path: Path) -> None:
    if not shutil.which("pdfimages"):
        pytest.skip("pdfimages (poppler) is not installed")
    results = with_pictures(ex.example(), tmp_path / "in", ["a"])
    png, pdf = render(results, tmp_path / "out")
    subprocess.run(["pdfimages", "-png", str(pdf), str(tmp_path / "x")], check=True)
    found = np.asarray(Image.open(tmp_path / "x-000.png").convert("RGB"))
    np.testing.assert_array_equal(found, np.asarray(Image.open(png)))
