"""The viewer of the HTML report in a real browser: any two pictures, compared."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from html_example import IMAGES, METHODS, data_of, shown
from page_example import choose, find, methods_of_board, open_viewer, press, texts, waits
from PIL import Image

from bench.files.images import read_rgb

pytest_plugins = ["page_example"]


def drag(page: Any, element: Any, right: int, down: int = 0, start: int = 0) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    actions = ActionChains(page).move_to_element_with_offset(element, start, 0)
    actions.click_and_hold().move_by_offset(right, down).release().perform()


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
    press(page, "END")
    waits(page, lambda: "at=1.000" in page.current_url)


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
    assert texts(page, "#captions .score")[0] == f"{data['items'][IMAGES - 1][5][3][0]:.2f}"
    assert find(page, "#captions .score.best").text == texts(page, "#captions .score")[0]
    find(page, "#swap").click()
    assert sources_shown(page) == expected[::-1]


def test_all_pictures_zoom_and_move_together(page: Any) -> None:
    open_viewer(page)
    choose(page, "mode", "grid")
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


def pixels(page: Any, pane: int = 0) -> np.ndarray:
    """The (H, W, 3) pixels of a pane as the browser shows them, at a picture's own size."""
    import base64
    import io

    page.execute_script("document.activeElement.blur()")
    box = page.execute_script(
        "const b = document.querySelectorAll('.pane img')[arguments[0]].getBoundingClientRect();"
        "return [Math.round(b.x) + scrollX, Math.round(b.y) + scrollY, b.width, b.height]",
        pane,
    )
    clip = {**dict(zip(("x", "y", "width", "height"), box, strict=True)), "scale": 1}
    shot = page.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "clip": clip})
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")).astype(
        int
    )


def test_the_difference_is_that_of_the_pixels_times_the_factor(page: Any, report: Path) -> None:
    open_viewer(page)
    choose(page, "left", "1")
    choose(page, "right", "3")
    find(page, "#zoom-fit").click()
    press(page, "d")
    choose(page, "factor", "2")
    find(page, "#zoom-one").click()
    data = data_of(report)
    a, b = (read_rgb(shown(report, data, IMAGES - 1, s)[0]).astype(int) for s in (1, 3))
    expected = np.clip(2 * np.abs(a - b), 0, 255)
    assert np.abs(pixels(page) - expected).max() <= 2


def test_flicker_shows_one_picture_after_the_other(page: Any, report: Path) -> None:
    open_viewer(page)
    choose(page, "left", "1")
    choose(page, "right", "2")
    find(page, "#zoom-fit").click()
    press(page, "f")
    find(page, "#zoom-one").click()
    data = data_of(report)
    for source in (1, 2, 1):
        wanted = read_rgb(shown(report, data, IMAGES - 1, source)[0]).astype(int)
        assert np.abs(pixels(page) - wanted).max() <= 2
        press(page, "f")


def test_errors_stand_beside_one_another_and_the_shown_are_chosen(page: Any) -> None:
    open_viewer(page)
    press(page, "e")
    assert texts(page, "#stage figcaption strong") == ["LR", *METHODS]
    assert len(sources_shown(page)) == 2 * (len(METHODS) + 1)
    page.execute_script("document.querySelector('#shown-list input').click()")
    assert texts(page, "#stage figcaption strong") == list(METHODS)
    press(page, "n")
    assert texts(page, "#stage figcaption strong") == list(METHODS)
    page.refresh()
    waits(page, lambda: texts(page, "#stage figcaption strong") == list(METHODS))


def test_zoom_is_kept_from_image_to_image_and_in_the_address(page: Any) -> None:
    open_viewer(page)
    find(page, "#zoom-one").click()
    find(page, "#zoom-in").click()
    press(page, "n")
    assert find(page, "#zoom").text == "150 %"
    waits(page, lambda: "zoom=1.5" in page.current_url and "image=06" in page.current_url)
    transform = "return document.querySelector('.pane img').style.transform"
    placed = page.execute_script(transform)
    page.get(page.current_url.replace("image=06", "image=05"))
    page.refresh()
    waits(page, lambda: find(page, "#viewer").is_displayed())
    assert find(page, "#viewer-title").text.startswith("05 ")
    waits(page, lambda: page.execute_script(transform) == placed)


def test_back_and_forward_walk_through_what_was_looked_at(page: Any) -> None:
    choose(page, "image-dataset", "1")
    waits(page, lambda: find(page, "#image-status").text)
    open_viewer(page)
    press(page, "n")
    press(page, "g")
    page.back()
    waits(page, lambda: find(page, "#mode").get_property("value") == "slider")
    page.back()
    waits(page, lambda: find(page, "#viewer-title").text.startswith("07 · real"))
    page.back()
    waits(page, lambda: not find(page, "#viewer").is_displayed())
    page.back()
    waits(page, lambda: find(page, "#image-dataset").get_property("value") == "0")
    page.forward()
    page.forward()
    waits(page, lambda: find(page, "#viewer-title").text.startswith("07 · real"))


def test_a_link_opens_the_very_comparison(page: Any) -> None:
    address = page.current_url + (
        "#dataset=real&image=03&view=difference&left=HR&right=net&factor=16&zoom=2&x=20&y=30"
        "&sort=psnr_y"
    )
    page.get("about:blank")
    page.get(address)
    waits(page, lambda: find(page, "#viewer").is_displayed())
    assert find(page, "#viewer-title").text.startswith("03 · real")
    chosen = {name: find(page, f"#{name}").get_property("value") for name in ("mode", "factor")}
    assert chosen == {"mode": "difference", "factor": "16"}
    assert find(page, "#zoom").text == "200 %"
    centre = page.execute_script(
        "return Viewer.stage.centre.map((c, i) => c * Viewer.stage.size[i])"
    )
    assert centre == pytest.approx([20, 30])
    press(page, "ESCAPE")
    assert methods_of_board(page) == list(reversed(METHODS))
    waits(page, lambda: "image=" not in page.current_url and "sort=psnr_y" in page.current_url)


def test_an_address_that_means_nothing_shows_the_page(page: Any, report: Path) -> None:
    page.get("about:blank")
    page.get(
        (report / "index.html").as_uri()
        + "#dataset=none&image=%00&view=x&sort=%FF&factor=9e9&x=a&without-methods=%25FF"
        + "&as=x&order=x"
    )
    assert methods_of_board(page) == list(METHODS)
    waits(page, lambda: texts(page, "#image-grid .name"))
    assert not find(page, "#viewer").is_displayed()
    page.get("about:blank")
    page.get((report / "index.html").as_uri() + "#image=03&view=difference&factor=9e9")
    waits(page, lambda: find(page, "#viewer").is_displayed())
    assert find(page, "#factor").get_property("value") == "8"


def test_the_lens_follows_the_pointer_in_every_pane(page: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    open_viewer(page)
    press(page, "g")
    press(page, "l")
    ActionChains(page).move_to_element(find(page, ".pane")).perform()
    assert len(texts(page, ".lens")) == len(METHODS) + 2
    press(page, "l")
    assert texts(page, ".lens") == []


def test_the_key_map_names_what_the_keys_do(page: Any) -> None:
    press(page, "?")
    assert find(page, "#keys").is_displayed()
    assert {"n", "PageDown", "f", "?"} <= set(texts(page, "#keys kbd"))
    press(page, "ESCAPE")
    assert not find(page, "#keys").is_displayed()


def test_keys_leave_what_is_typed_alone(page: Any) -> None:
    find(page, "#image-filter").send_keys("?")
    assert not find(page, "#keys").is_displayed()
    assert find(page, "#image-filter").get_property("value") == "?"
