"""The HTML report: what is in the folder, and how the page behaves in a real browser."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import browser as chromium
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from bench.files.images import read_rgb
from bench.reports.html.pictures import THUMB_SIDE
from bench.reports.html.report import render
from bench.results.results import PictureSet, Results
from bench.results.view import View

from . import results_example as ex

IMAGES = 8
METHODS = ("near", "cubic", "net", "<img src=x onerror=alert(1)>")


def example(folder: Path, images: int = IMAGES) -> Results:
    """Two datasets, four methods (one has no scores of "real" in LPIPS), pictures on disk."""
    values: dict[tuple[str, str, str, str], float | str] = {}
    pictures = []
    rng = np.random.default_rng(0)
    for dataset in ("clean", "real"):
        for number in range(images):
            image = f"{number:02d}"
            for place, method in enumerate(METHODS):
                noise = float(rng.normal(0, 0.3))
                values[dataset, method, image, "psnr_y"] = 25 + place - number + noise
                values[dataset, method, image, "lpips"] = 0.3 + 0.01 * number + 0.001 * noise
                if (dataset, place) == ("real", 3):
                    values[dataset, method, image, "lpips"] = "no <b>weights</b>"
            found = ex.picture_set(folder / dataset / image, METHODS, image=image, size=24)
            pictures.append(dataclasses.replace(found, dataset=dataset))
        for place, method in enumerate(METHODS):
            values[dataset, method, "", "fid"] = 50.0 - place
    metrics = (ex.PSNR, ex.LPIPS, ex.FID)
    provenance = {"seed": 3, "methods": {"net": {"weights": ["a1b2"], "options": {"tile": 64}}}}
    return ex.results(values, metrics, pictures=tuple(pictures), provenance=provenance)


def data_of(folder: Path) -> dict[str, Any]:
    text = (folder / "data.js").read_text()
    return json.loads(text.removeprefix('"use strict";\nconst REPORT = ').removesuffix(";\n"))


def shown(folder: Path, data: dict[str, Any], item: int, source: int) -> tuple[Path, Path]:
    """Full picture and thumbnail as the page addresses them."""
    below, file, thumb = data["items"][item][4][source]
    return folder / "pictures" / below / file, folder / "thumbs" / below / thumb


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


# -- the folder -----------------------------------------------------------------------------------


def test_names_are_text_and_every_address_stays_in_the_folder(tmp_path: Path) -> None:
    render(ex.hostile(), tmp_path)
    folder = tmp_path / "html"
    page = Tags((folder / "index.html").read_text())
    scripts = [attributes for tag, attributes in page.found if tag == "script"]
    assert all(attributes.keys() == {"src"} for attributes in scripts)
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
    assert "<" not in (folder / "data.js").read_text()


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


# -- the page in a browser ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    yield from chromium.start()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    render(example(folder / "in"), folder)
    return folder / "html"


@pytest.fixture
def page(driver: Any, report: Path) -> Iterator[Any]:
    """The page, freshly opened from disk; afterwards nothing may have been logged."""
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    driver.set_window_size(1200, 900)
    chromium.requests(driver)
    driver.get((report / "index.html").as_uri())
    yield driver
    assert driver.get_log("browser") == []
    outside = [
        url
        for url in chromium.requests(driver)
        if not url.startswith((f"{report.as_uri()}/", "data:"))
    ]
    assert outside == []


def find(page: Any, selector: str) -> Any:
    return page.find_element("css selector", selector)


def texts(page: Any, selector: str) -> list[str]:
    return page.execute_script(
        "return [...document.querySelectorAll(arguments[0])]"
        ".filter(e => e.checkVisibility()).map(e => e.textContent.trim())",
        selector,
    )


def choose(page: Any, select: str, value: str) -> None:
    find(page, f"#{select} option[value='{value}']").click()


def press(page: Any, key: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    ActionChains(page).send_keys(getattr(Keys, key, key)).perform()


def drag(page: Any, element: Any, right: int, down: int = 0, start: int = 0) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    actions = ActionChains(page).move_to_element_with_offset(element, start, 0)
    actions.click_and_hold().move_by_offset(right, down).release().perform()


def open_viewer(page: Any) -> None:
    find(page, "#image-grid button").click()


def methods_of_board(page: Any) -> list[str]:
    return texts(page, "[data-board='0'] tbody th")


def test_columns_sort_best_first_then_reversed(page: Any) -> None:
    button = find(page, "[data-board='0'] th[data-metric='0'] button")
    assert methods_of_board(page) == list(METHODS)
    button.click()
    assert methods_of_board(page) == list(reversed(METHODS))
    head = find(page, "[data-board='0'] th[data-metric='0']")
    assert head.get_attribute("aria-sort") == "descending"
    assert "PSNR-Y ↑, descending" in find(page, "#board-status").text
    button.click()
    assert methods_of_board(page) == list(METHODS)
    find(page, "[data-board='0'] th[data-metric='2'] button").click()
    assert methods_of_board(page) == list(reversed(METHODS))
    assert head.get_attribute("aria-sort") is None


def test_missing_scores_stay_last_in_both_directions(page: Any) -> None:
    button = find(page, "[data-board='1'] th[data-metric='1'] button")
    for _ in range(2):
        button.click()
        assert texts(page, "[data-board='1'] tbody th")[-1] == METHODS[3]


def test_boards_and_columns_are_filtered(page: Any) -> None:
    assert len(texts(page, ".board h3")) == 2
    choose(page, "board-dataset", "1")
    assert texts(page, ".board h3") == ["real, n = 8"]
    find(page, "input[name=metric][value='1']").click()
    assert texts(page, ".board thead th") == ["Method", "PSNR-Y ↑", "FID ↓"]
    assert len(texts(page, ".board tbody td")) == 2 * len(METHODS)
    find(page, "input[name=metric][value='1']").click()
    assert "LPIPS ↓" in texts(page, ".board thead th")


def test_the_sign_of_what_is_not_told_apart_is_explained(tmp_path: Path) -> None:
    values = {
        ("d", method, f"i{i}", "psnr_y"): 20.0 + i + gap + 0.2 * ((i + turn) % 3)
        for turn, (method, gap) in enumerate({"best": 0.05, "twin": 0.0, "bad": -3.0}.items())
        for i in range(12)
    }
    page = render(ex.results(values, (ex.PSNR,)), tmp_path)[0].read_text()
    assert page.count('<abbr title="not told apart from the best">†</abbr>') == 1
    assert "† not told apart from the best" in page and "≈" not in page
    assert "Holm over 3 comparisons per dataset and metric" in page


def test_intervals_and_significance_are_shown(page: Any) -> None:
    assert all("±" in text for text in texts(page, "[data-board='0'] td[data-metric='0']"))
    assert not any("±" in text for text in texts(page, "td[data-metric='2']"))
    assert len(texts(page, "[data-board='0'] td[data-metric='1'] abbr")) == len(METHODS) - 1
    assert texts(page, "[data-board='0'] td[data-metric='0'] abbr") == []


def test_reasons_are_read_below_the_table(page: Any) -> None:
    assert any("no <b>weights</b>" in text for text in texts(page, ".notes li"))


def test_grid_shows_worst_and_best_first_and_finds_names(page: Any) -> None:
    worst = texts(page, "#image-grid .name")
    assert worst == [f"{number:02d}" for number in reversed(range(IMAGES))]
    choose(page, "image-order", "best")
    assert texts(page, "#image-grid .name") == worst[::-1]
    choose(page, "image-metric", "1")
    choose(page, "image-order", "worst")
    assert texts(page, "#image-grid .name") == worst
    find(page, "#image-filter").send_keys("03")
    assert texts(page, "#image-grid .name") == ["03"]
    assert find(page, "#image-status").text.startswith("1 image,")


def test_a_mean_leads_to_the_worst_images_behind_it(page: Any) -> None:
    find(page, "[data-board='1'] tr[data-method='2'] td[data-metric='1'] a").click()
    chosen = [find(page, f"#image-{what}").get_property("value")
              for what in ("dataset", "method", "metric", "order")]  # fmt: skip
    assert chosen == ["1", "2", "1", "worst"]
    assert texts(page, "#image-grid .name")[0] == "07"


def test_thumbnails_far_below_are_not_loaded_at_once(driver: Any, tmp_path: Path) -> None:
    values = {("clean", "m", f"{i:04d}", "psnr_y"): float(i) for i in range(600)}
    item = ex.picture_set(tmp_path / "in", ["m"], size=24)
    sets = tuple(dataclasses.replace(item, image=key[2]) for key in values)
    render(ex.results(values, [ex.PSNR], pictures=sets), tmp_path)
    driver.set_window_size(1200, 700)
    chromium.requests(driver)
    driver.get((tmp_path / "html" / "index.html").as_uri())
    loaded = [url for url in chromium.requests(driver) if "/thumbs/" in url]
    assert len(driver.find_elements("css selector", "#image-grid li")) == 600
    assert len(loaded) < 300


def split_of(page: Any) -> float:
    return page.execute_script(
        "const h = document.querySelector('.handle').getBoundingClientRect(),"
        " p = document.querySelector('.pane').getBoundingClientRect();"
        "return (h.left + h.width / 2 - p.left) / p.width"
    )


def test_divider_moves_by_dragging_by_its_slider_and_by_keys(page: Any) -> None:
    open_viewer(page)
    pane = find(page, ".pane")
    assert split_of(page) == pytest.approx(0.5, abs=0.01)
    drag(page, pane, pane.size["width"] // 4)
    assert split_of(page) == pytest.approx(0.75, abs=0.02)
    slider = find(page, "#divider")
    assert int(slider.get_property("value")) == pytest.approx(750, abs=20)
    page.execute_script("arguments[0].focus()", slider)
    press(page, "HOME")
    assert split_of(page) == pytest.approx(0, abs=0.01)
    press(page, "ARROW_RIGHT")
    assert slider.get_property("value") == "1"
    clip = page.execute_script("return document.querySelectorAll('.layer')[1].style.clipPath")
    assert clip == "inset(0px 0px 0px 0.1%)"


def sources_shown(page: Any) -> list[str]:
    return [image.get_attribute("src") for image in page.find_elements("css selector", ".pane img")]


def test_any_two_pictures_are_compared_with_their_scores_below(page: Any, report: Path) -> None:
    open_viewer(page)
    assert texts(page, "#captions strong") == ["LR", "near"]
    choose(page, "left", "1")
    choose(page, "right", "5")
    assert texts(page, "#captions strong") == ["HR", METHODS[3]]
    data = data_of(report)
    expected = [shown(report, data, IMAGES - 1, source)[0].as_uri() for source in (1, 5)]
    assert sources_shown(page) == expected
    assert texts(page, "#captions dd")[0] == f"{data['items'][IMAGES - 1][5][3][0]:.2f}"
    assert find(page, "#captions dd.best").text == texts(page, "#captions dd")[0]
    find(page, "#swap").click()
    assert sources_shown(page) == expected[::-1]


def test_all_pictures_zoom_and_move_together(page: Any) -> None:
    open_viewer(page)
    choose(page, "mode", "side")
    places = "return [...document.querySelectorAll('.pane img')].map(i => i.style.transform)"
    assert len(page.execute_script(places)) == len(METHODS) + 2
    before = page.execute_script(places)[0]
    find(page, "#zoom-in").click()
    zoomed = page.execute_script(places)
    assert len(set(zoomed)) == 1 and zoomed[0] != before
    drag(page, find(page, ".pane"), 30, 20)
    moved = page.execute_script(places)
    assert len(set(moved)) == 1 and moved[0] != zoomed[0]
    find(page, "#zoom-fit").click()
    assert page.execute_script(places)[0] == before
    assert len(texts(page, "#stage figcaption")) == len(METHODS) + 2


def test_zoom_keeps_the_point_under_the_pointer_and_100_percent_is_pixel_for_pixel(
    page: Any,
) -> None:
    open_viewer(page)
    find(page, "#zoom-one").click()
    assert find(page, "#zoom").text == "100 %"
    assert find(page, ".pane img").size == {"width": 96, "height": 96}
    corner = (
        "return [...document.querySelectorAll('.pane img')]"
        ".map(i => i.getBoundingClientRect().left)"
    )
    left = page.execute_script(corner)[1]
    page.execute_script(
        "document.querySelector('.pane').dispatchEvent(new WheelEvent('wheel',"
        " {deltaY: -1, clientX: arguments[0], clientY: 300, cancelable: true}))",
        left,
    )
    assert find(page, "#zoom").text == "125 %"
    assert page.execute_script(corner) == pytest.approx([left, left], abs=0.5)


def test_the_viewer_is_used_by_keyboard_alone(page: Any) -> None:
    page.execute_script("document.querySelector('#image-grid button').focus()")
    press(page, "ENTER")
    assert find(page, "#viewer-title").text == "07 · clean · 1 of 8"
    press(page, "PAGE_DOWN")
    assert find(page, "#viewer-title").text == "06 · clean · 2 of 8"
    press(page, "PAGE_UP")
    press(page, "PAGE_UP")
    assert find(page, "#viewer-title").text == "07 · clean · 1 of 8"
    page.execute_script("document.querySelector('.pane').focus()")
    before = find(page, "#zoom").text
    press(page, "+")
    assert find(page, "#zoom").text != before
    transform = "return document.querySelector('.pane img').style.transform"
    placed = page.execute_script(transform)
    press(page, "ARROW_RIGHT")
    assert page.execute_script(transform) != placed
    press(page, "0")
    assert find(page, "#zoom").text == before
    press(page, "ESCAPE")
    assert not find(page, "#viewer").is_displayed()
    focused = page.execute_script("return document.activeElement.textContent")
    assert focused.startswith("07")


def test_theme_is_chosen_and_remembered(page: Any) -> None:
    background = "return getComputedStyle(document.body).backgroundColor"
    assert page.execute_script(background) == "rgb(255, 255, 255)"
    find(page, "#theme").click()
    find(page, "#theme").click()
    assert find(page, "#theme").text == "Theme: dark"
    dark = page.execute_script(background)
    page.refresh()
    assert page.execute_script(background) == dark == "rgb(20, 23, 27)"
    find(page, "#theme").click()
    assert find(page, "#theme").text == "Theme: system"


def phone(page: Any) -> None:
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True},
    )
    page.refresh()


def test_nothing_is_wider_than_a_phone(page: Any) -> None:
    phone(page)
    widths = "return [document.documentElement.scrollWidth, innerWidth]"
    assert page.execute_script(widths) == [360, 360]
    open_viewer(page)
    dialog = "const d = document.getElementById('viewer'); return [d.scrollWidth, d.clientWidth]"
    for mode in ("slider", "side"):
        choose(page, "mode", mode)
        scroll, client = page.execute_script(dialog)
        assert scroll <= client


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("place", ["page", "slider", "side", "phone"])
def test_axe_finds_no_serious_fault(page: Any, theme: str, place: str) -> None:
    script = chromium.axe()
    if place == "phone":
        phone(page)
    page.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
    if place in ("slider", "side"):
        open_viewer(page)
        choose(page, "mode", place)
    page.execute_script(script)
    found = page.execute_async_script("axe.run({preload: false}).then(arguments[0])")
    faults = [
        (fault["id"], fault["impact"], [node["html"] for node in fault["nodes"]][:3])
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical", "moderate")
    ]
    assert faults == []


def test_hostile_names_run_nothing(driver: Any, tmp_path: Path) -> None:
    item = ex.picture_set(tmp_path / "in", ex.HOSTILE, image=ex.HOSTILE[1], size=24)
    item = dataclasses.replace(item, dataset=ex.HOSTILE[0])
    render(ex.hostile(pictures=(item,)), tmp_path)
    driver.get((tmp_path / "html" / "index.html").as_uri())
    assert ex.HOSTILE[1] in texts(driver, "#image-grid .name")
    find(driver, "#image-filter").send_keys("alert")
    open_viewer(driver)
    assert find(driver, "#viewer-title").text.startswith(ex.HOSTILE[1])
    for source in range(len(ex.HOSTILE) + 2):
        choose(driver, "right", str(source))
    assert driver.get_log("browser") == []
    assert (
        driver.execute_script("return document.querySelectorAll('script:not([src])').length") == 0
    )


def test_a_report_without_pictures_or_scores_opens(driver: Any, tmp_path: Path) -> None:
    results = ex.results({("d", "m", "", "fid"): 3.0}, [ex.FID])
    sets = (PictureSet("d", "a", 4, None, None),)
    render(dataclasses.replace(results, pictures=sets), tmp_path)
    driver.get((tmp_path / "html" / "index.html").as_uri())
    open_viewer(driver)
    assert "no picture" in find(driver, "#stage").text
    assert driver.get_log("browser") == []
