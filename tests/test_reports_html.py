"""The folder of the HTML report."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from html_example import METHODS, data_of, example, render, shown
from PIL import Image, PngImagePlugin

from bench.files.images import read_rgb
from bench.reports.html.pictures import THUMB_SIDE
from bench.results.view import View

from . import results_example as ex


class Tags(HTMLParser):
    """Every start tag with its attributes, and all text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_photographs_are_counted_as_in_the_tables(tmp_path: Path) -> None:
    told = {"datasets": {"d": {"images": 3, "groups": {"a1": "a", "a2": "a"}}}}
    values = {("d", "m", image, "psnr_y"): 30.0 for image in ("a1", "a2", "b")}
    render(ex.results(values, (ex.PSNR,), provenance=told), tmp_path)
    page = (tmp_path / "html" / "index.html").read_text()
    assert "n = 3 (2 photographs)" in page and "<dt>photographs</dt><dd>2</dd>" in page


def test_names_are_text_and_every_address_stays_in_the_folder(tmp_path: Path) -> None:
    render(ex.hostile(), tmp_path)
    folder = tmp_path / "html"
    page = Tags((folder / "index.html").read_text())
    scripts = [attributes for tag, attributes in page.found if tag == "script"]
    assert all(attributes.keys() <= {"src", "defer"} for attributes in scripts)
    assert "b" not in {tag for tag, _ in page.found}
    ids = {attributes.get("id") for _, attributes in page.found}
    for _, attributes in page.found:
        for name in ("src", "href"):
            target = attributes.get(name)
            if target is None or target == "data:,":
                continue
            assert target[1:] in ids if target.startswith("#") else (folder / target).is_file()
    for name in ex.HOSTILE:
        assert name.replace("\n", "\\n").replace("\x1b", "\\x1b") in page.text
    assert not any("<" in file.read_text() for file in [folder / "data.js", *folder.glob("data/*")])


def test_data_holds_every_score_and_reason(tmp_path: Path) -> None:
    results = example(tmp_path / "in")
    render(results, tmp_path)
    data = data_of(tmp_path / "html")
    assert data["methods"] == list(METHODS)
    assert [metric["title"] for metric in data["metrics"]] == ["PSNR-Y", "LPIPS"]
    table = results.scores.set_index(["dataset", "method", "image", "metric"])
    for dataset, image, _, size, _, scores in data["items"]:
        assert size == [96, 96]
        for method, found in zip(METHODS, scores, strict=True):
            for metric, value in zip(("psnr_y", "lpips"), found, strict=True):
                row = table.loc[("clean", "real")[dataset], method, image, metric]
                assert value == (row["reason"] or row["value"])


def test_infinite_scores_and_images_without_pictures_are_shown_too(tmp_path: Path) -> None:
    values = {("d", "m", "a", "psnr_y"): float("inf"), ("d", "m", "b", "psnr_y"): 30.0}
    results = ex.results(values, [ex.PSNR])
    render(results, tmp_path)
    items = data_of(tmp_path / "html")["items"]
    assert [(item[1], item[4], item[5]) for item in items] == [
        ("a", [None, None, None], [["inf"]]),
        ("b", [None, None, None], [[30.0]]),
    ]


def test_full_pictures_have_the_pixels_of_their_files_and_thumbnails_are_small(
    tmp_path: Path,
) -> None:
    results = example(tmp_path / "in", images=2)
    written = render(results, tmp_path)
    folder = tmp_path / "html"
    data = data_of(folder)
    for number, item in enumerate(results.pictures):
        sources = [item.lr, item.hr, *(item.sr[name] for name in METHODS)]
        for source, path in enumerate(sources):
            assert path is not None
            full, thumb = shown(folder, data, number, source)
            np.testing.assert_array_equal(read_rgb(full), read_rgb(path))
            assert max(Image.open(thumb).size) <= THUMB_SIDE
            assert {full, thumb} <= set(written)


def test_a_file_that_a_browser_would_show_in_other_colours_is_rewritten(tmp_path: Path) -> None:
    item = ex.picture_set(tmp_path / "in", ["gamma", "grey16", "bmp", "plain"], size=24)
    pixels = read_rgb(item.sr["gamma"])
    gamma = PngImagePlugin.PngInfo()
    gamma.add(b"gAMA", (100000).to_bytes(4, "big"))
    Image.fromarray(pixels).save(item.sr["gamma"], pnginfo=gamma)
    Image.fromarray(np.zeros((96, 96), np.uint16)).save(item.sr["grey16"])
    Image.fromarray(pixels).save(item.sr["bmp"], format="BMP")
    values = {("clean", name, "a", "psnr_y"): 20.0 for name in item.sr}
    render(ex.results(values, [ex.PSNR], pictures=(item,)), tmp_path)
    data = data_of(tmp_path / "html")
    for source in (2, 4):
        full, _ = shown(tmp_path / "html", data, 0, source)
        assert b"gAMA" not in full.read_bytes() and full.suffix == ".png"
        np.testing.assert_array_equal(read_rgb(full), pixels)
    assert "16 bits" in data["items"][0][4][3]
    plain, _ = shown(tmp_path / "html", data, 0, 5)
    assert plain.read_bytes() == item.sr["plain"].read_bytes()


def test_pictures_are_never_links(tmp_path: Path) -> None:
    for name in ("store", "own"):
        item = ex.picture_set(tmp_path / name, ["m"], size=24)
        if name == "store":
            (tmp_path / name / "store.json").write_text("{}")
        values = {("clean", "m", "a", "psnr_y"): 20.0}
        render(ex.results(values, [ex.PSNR], pictures=(item,)), tmp_path / f"out-{name}")
        folder = tmp_path / f"out-{name}" / "html"
        full, _ = shown(folder, data_of(folder), 0, 2)
        assert full.read_bytes() == item.sr["m"].read_bytes()
        assert not full.is_symlink() and full.stat().st_nlink == 1


def test_without_originals_there_are_thumbnails_alone(tmp_path: Path) -> None:
    render(example(tmp_path / "in", images=1), tmp_path, View(originals=False))
    assert not (tmp_path / "html" / "pictures").exists()
    assert shown(tmp_path / "html", data_of(tmp_path / "html"), 0, 2)[1].is_file()


def test_equal_results_give_equal_folders(tmp_path: Path) -> None:
    results = example(tmp_path / "in", images=2)
    folders = []
    for name in ("x", "y", "y"):
        written = render(results, tmp_path / name)
        root = tmp_path / name
        assert {path for path in root.rglob("*") if path.is_file()} == set(written)
        folders.append({path.relative_to(root): path.read_bytes() for path in written})
    assert folders[0] == folders[1] == folders[2]


def test_damaged_and_missing_pictures_have_their_reason(tmp_path: Path) -> None:
    item = ex.picture_set(tmp_path / "in", ["a", "b"], size=24)
    item.sr["a"].write_bytes(b"\x89PNG\r\n\x1a\n not at all")
    item.sr["b"].unlink()
    values = {("clean", name, "a", "psnr_y"): 20.0 for name in "ab"}
    render(ex.results(values, [ex.PSNR], pictures=(item,)), tmp_path)
    sources = data_of(tmp_path / "html")["items"][0][4]
    assert sources[2] == "not an image" and sources[3] == "No such file or directory"
