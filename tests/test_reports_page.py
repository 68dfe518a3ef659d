"""How the page of the HTML report behaves in a real browser."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import browser as chromium
import pytest
from html_example import IMAGES, METHODS, example, render
from page_example import choose, find, methods_of_board, open_viewer, press, texts, waits

from bench.reports.html import report as page_report
from bench.reports.tables.markdown import markdown
from bench.results.results import Item, PictureSet

from . import results_example as ex

pytest_plugins = ["page_example"]

MODES = ("slider", "flicker", "difference", "grid", "errors")


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


def tick(page: Any, name: str, value: str) -> None:
    """Click a choice of a menu, whether the menu is open or not."""
    page.execute_script(
        "document.querySelector(`input[name='${arguments[0]}'][value='${arguments[1]}']`).click()",
        name,
        value,
    )


def test_boards_rows_and_columns_are_chosen(page: Any) -> None:
    heads = ["Method", "PSNR-Y ↑", "LPIPS ↓", "FID ↓", "Mean rank", "Better / worse"]
    assert texts(page, "[data-board='0'] thead th") == heads
    tick(page, "datasets", "0")
    assert texts(page, ".board h3") == ["real, n = 8"]
    tick(page, "metrics", "1")
    tick(page, "metrics", "@rank")
    assert texts(page, ".board thead th") == ["Method", "PSNR-Y ↑", "FID ↓", "Better / worse"]
    tick(page, "methods", "0")
    assert methods_of_board(page) == [] and texts(page, "[data-board='1'] tbody th")[0] == "cubic"
    assert texts(page, "#count-metrics") == ["3 of 5"]
    page.back()
    assert texts(page, "[data-board='1'] tbody th")[0] == "near"
    assert "without-metrics=" in page.current_url and "without-methods" not in page.current_url


def test_marks_ranks_and_verdicts_are_those_of_the_methods_shown(page: Any) -> None:
    cell = "[data-board='0'] td[data-method='{}'][data-metric='0'] .{}"
    last = "[data-board='0'] tbody tr:last-child td"
    low, high = page.execute_script("return REPORT.meanRanks[0][3]")
    assert (
        len(texts(page, cell.format(3, "best"))) == len(texts(page, cell.format(2, "second"))) == 1
    )
    assert texts(page, last)[-2:] == [f"2.0{low:.1f}–{high:.1f}", "3 / 0of 6"]
    tick(page, "methods", "3")
    assert (
        len(texts(page, cell.format(2, "best"))) == len(texts(page, cell.format(1, "second"))) == 1
    )
    assert len(texts(page, last)) == 5
    assert texts(page, last)[-2].endswith(")"), "of a part of the methods only a range is known"


def test_methods_as_columns_keep_sorting(page: Any) -> None:
    choose(page, "board-layout", "across")
    assert texts(page, "[data-board='0'] thead th") == ["Method", *METHODS]
    assert texts(page, "[data-board='0'] tbody th")[:2] == ["PSNR-Y ↑", "LPIPS ↓"]
    find(page, "[data-board='0'] th[data-metric='0'] button").click()
    assert texts(page, "[data-board='0'] thead th") == ["Method", *reversed(METHODS)]
    assert page.execute_script("return document.activeElement.textContent") == "PSNR-Y ↑"
    page.refresh()
    assert texts(page, "[data-board='0'] thead th") == ["Method", *reversed(METHODS)]


def test_what_has_no_value_is_hidden_when_asked(driver: Any, tmp_path: Path) -> None:
    render(ex.example(), tmp_path)
    driver.get((tmp_path / "html" / "index.html").as_uri())
    assert "LPIPS ↓" in texts(driver, "[data-board='1'] thead th")
    find(driver, "#board-empty").click()
    assert "LPIPS ↓" not in texts(driver, "[data-board='1'] thead th")
    assert "LPIPS ↓" in texts(driver, "[data-board='0'] thead th")
    assert driver.get_log("browser") == []


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("markdown", r"| \<img src=x onerror=alert(1)\> | **"),
        ("latex", r"<img src=x onerror=alert(1)> & \textbf{"),
        ("csv", '"<img src=x onerror=alert(1)>","2'),
    ],
)
def test_the_table_is_copied_as_it_is_shown(page: Any, form: str, expected: str) -> None:
    tick(page, "datasets", "1")
    find(page, "#board-intervals").click()
    choose(page, "copy-as", form)
    find(page, "#copy-board").click()
    text = find(page, "#copied-text").get_property("value")
    assert expected in text and "±" not in text and "pm" not in text
    assert len([line for line in text.splitlines() if "near" in line]) == 1


def test_a_mean_tells_its_interval_and_whom_it_is_told_apart_from(page: Any) -> None:
    find(page, "[data-board='0'] td[data-method='3'][data-metric='0'] button.interval").click()
    told = find(page, "#cell-card").text
    assert "95 % interval" in told and "n = 8" in told and "rank 1" in told
    assert "better than: near" in told


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
    edges = page.execute_script(
        "return [...document.querySelectorAll(\"[data-board='0'] td[data-metric='1'] .mean\")]"
        ".map(mean => mean.getBoundingClientRect().right)"
    )
    assert max(edges) - min(edges) < 1, "digits stand below each other beside a sign or none"


def test_footnotes_side_by_side_are_told_apart(tmp_path: Path) -> None:
    values = {("d", m, i, "psnr_y"): 20.0 for m in "ab" for i in "xy"}
    values |= {("d", m, "y", "ssim"): 0.5 for m in "ab"} | {("d", "a", "x", "ssim"): "failed"}
    datasets = [Item("d", "D", note="a dataset's note")]
    results = ex.results(values, (ex.PSNR, ex.metric("ssim", "SSIM")), datasets=datasets)
    page = render(results, tmp_path)[0].read_text()
    (heading,) = re.findall(r'<h3 id="board-0">(.*?)</h3>', page, re.DOTALL)
    assert re.sub("<[^>]*>", "", heading).strip() == "D, n = 1–21, 2"
    assert "1</a>, <a" in heading
    assert "<sup>1,2</sup>" in markdown(results)


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
    assert find(page, "#image-status").text.startswith("1 image of 8,")


def test_a_mean_leads_to_the_worst_images_behind_it(page: Any) -> None:
    find(page, "[data-board='1'] td[data-method='2'][data-metric='1'] a").click()
    chosen = [find(page, f"#image-{what}").get_property("value")
              for what in ("dataset", "method", "metric", "order")]  # fmt: skip
    assert chosen == ["1", "2", "1", "worst"]
    assert texts(page, "#image-grid .name")[0] == "07"


def test_images_far_below_are_not_there_at_once(driver: Any, tmp_path: Path) -> None:
    values = {("clean", "m", f"{i:04d}", "psnr_y"): float(i) for i in range(600)}
    item = ex.picture_set(tmp_path / "in", ["m"], size=24)
    sets = tuple(dataclasses.replace(item, image=key[2]) for key in values)
    render(ex.results(values, [ex.PSNR], pictures=sets), tmp_path)
    driver.set_window_size(1200, 700)
    chromium.requests(driver)
    driver.get((tmp_path / "html" / "index.html").as_uri())
    waits(driver, lambda: texts(driver, "#image-status"))
    loaded = [url for url in chromium.requests(driver) if "/thumbs/" in url]
    assert 100 <= len(driver.find_elements("css selector", "#image-grid li")) < 400
    assert len(loaded) < 300
    names = "return document.querySelectorAll('#image-grid li .name').length"
    down = f"scrollTo(0, document.body.scrollHeight); {names}"
    waits(driver, lambda: driver.execute_script(down) == 600)


def test_a_page_without_its_data_says_so_until_they_are_there(driver: Any, tmp_path: Path) -> None:
    render(example(tmp_path / "in", images=1), tmp_path)
    data = tmp_path / "html" / "data"
    data.rename(tmp_path / "data")
    driver.get((tmp_path / "html" / "index.html").as_uri())
    waits(driver, lambda: texts(driver, "#image-status") == ["data/0.js is missing"])
    (tmp_path / "data").rename(data)
    find(driver, "#image-filter").send_keys("0")
    waits(driver, lambda: texts(driver, "#image-status")[0].startswith("1 image,"))
    driver.get_log("browser")  # the missing file, which the browser notes too


def table_rows(page: Any) -> list[list[str]]:
    return page.execute_script(
        "return [...document.querySelectorAll('#image-table tr')]"
        ".map(row => [...row.cells].map(cell => cell.textContent))"
    )


def test_images_as_a_table_with_a_range_of_scores(page: Any, report: Path) -> None:
    choose(page, "image-display", "table")
    waits(page, lambda: len(table_rows(page)) == IMAGES + 1)
    head, *rows = table_rows(page)
    assert head == ["Image", *METHODS] and rows[0][0] == "07"
    best = texts(page, "#image-table td.best")
    assert len(best) == IMAGES
    find(page, "#image-from").send_keys(rows[2][1])
    waits(page, lambda: len(table_rows(page)) < IMAGES)
    find(page, "#image-table tbody button").click()
    assert find(page, "#viewer").is_displayed()


def test_a_point_of_the_scatter_plot_opens_its_image(page: Any) -> None:
    choose(page, "image-display", "scatter")
    waits(page, lambda: len(page.find_elements("css selector", "svg circle")) == IMAGES)
    title = page.execute_script(
        "return document.querySelector('circle[data-place=\"2\"] title').textContent"
    )
    page.execute_script(
        "document.querySelector('circle[data-place=\"2\"]')"
        ".dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    )
    assert find(page, "#viewer-title").text.split(" ")[0] == title.split(":")[0] == "05"


def test_points_of_the_scatter_plot_are_reached_and_opened_by_keys(page: Any) -> None:
    choose(page, "image-display", "scatter")
    waits(page, lambda: len(page.find_elements("css selector", "svg circle")) == IMAGES)
    assert len(page.find_elements("css selector", "svg circle[tabindex='0']")) == 1
    page.execute_script("document.querySelector('svg circle[tabindex=\"0\"]').focus()")
    script = "return [...'xy'].map((c) => Number(document.activeElement.getAttribute('c' + c)))"
    circles = "[...document.querySelectorAll('svg circle')]"
    across, down = (
        sorted(
            page.execute_script(f"return {circles}.map((c) => Number(c.getAttribute('c{axis}')))")
        )
        for axis in "xy"
    )
    for _ in range(IMAGES):
        press(page, "ARROW_LEFT")
    assert page.execute_script(script)[0] == across[0], "and no further"
    for x in across[1:]:
        press(page, "ARROW_RIGHT")
        assert page.execute_script(script)[0] == x
    for key in ["ARROW_DOWN"] * IMAGES + ["ARROW_UP"]:
        press(page, key)
    assert page.execute_script(script)[1] == down[-2]
    name = page.execute_script("return document.activeElement.textContent").split(":")[0]
    assert name in find(page, "#image-scatter p").text
    press(page, "ENTER")
    assert find(page, "#viewer-title").text.split(" ")[0] == name


def test_the_other_reports_are_parts_of_the_page(driver: Any, tmp_path: Path) -> None:
    results = example(tmp_path / "in", images=6)
    scores = results.scores[results.scores["dataset"] == "real"]
    results = dataclasses.replace(
        results, datasets=results.datasets[1:], scores=scores, pictures=results.pictures[6:]
    )
    written = page_report.render(results, tmp_path)
    folder = tmp_path / "html"
    assert {file for file in tmp_path.glob("html/**/*") if file.is_file()} == set(written)
    assert (folder / "plots" / "real" / "ranks.pdf").is_file()
    driver.get((folder / "index.html").as_uri())
    assert "real · ranks · PDF" in texts(driver, "#plots figcaption")
    assert len(texts(driver, "#panels img")) == len(list(folder.glob("panels/*/*.png"))) > 0
    assert "95 % interval" in find(driver, "#statistics table").text
    assert "No published value fits these" in find(driver, "#published").text
    assert "no <b>weights</b>" in find(driver, "#statistics").text
    driver.execute_script(chromium.axe())
    found = driver.execute_async_script("axe.run({preload: false}).then(arguments[0])")
    assert [fault["id"] for fault in found["violations"]] == []
    assert driver.get_log("browser") == []


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


def in_window(page: Any, selector: str) -> bool:
    return page.execute_script(
        "const box = document.querySelector(arguments[0]).getBoundingClientRect();"
        "return box.left >= 0 && box.top >= 0 && box.width > 0"
        " && box.right <= innerWidth && box.bottom <= innerHeight",
        selector,
    )


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
    choose(page, "image-display", "scatter")
    assert page.execute_script(widths) == [360, 360]
    choose(page, "image-display", "thumbnails")
    open_viewer(page)
    dialog = "const d = document.getElementById('viewer'); return [d.scrollWidth, d.clientWidth]"
    for mode in MODES:
        choose(page, "mode", mode)
        scroll, client = page.execute_script(dialog)
        assert scroll <= client
        assert all(in_window(page, f"#{button}") for button in ("previous", "next", "close"))
        assert all(
            in_window(page, f"figure:nth-of-type({i + 1})")
            for i in range(len(texts(page, "figure")))
        )


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("place", ["page", "table", "scatter", *MODES, "keys", "card", "phone"])
def test_axe_finds_no_serious_fault(page: Any, theme: str, place: str) -> None:
    script = chromium.axe()
    if place == "phone":
        phone(page)
    page.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
    if place in MODES:
        open_viewer(page)
        choose(page, "mode", place)
    elif place in ("table", "scatter"):
        choose(page, "image-display", place)
        waits(page, lambda: texts(page, f"#image-{place} *"))
    elif place == "keys":
        press(page, "?")
    elif place == "card":
        find(page, "td button.interval").click()
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
