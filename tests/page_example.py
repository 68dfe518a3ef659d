"""The HTML report in a browser, and how tests touch it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser as chromium
import pytest
from html_example import example, render


@pytest.fixture(scope="session")
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
    driver.get("about:blank")
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


def open_viewer(page: Any) -> None:
    find(page, "#image-grid button").click()


def methods_of_board(page: Any) -> list[str]:
    return texts(page, "[data-board='0'] tbody th")


def waits(driver: Any, condition: Any) -> None:
    """Until the condition holds, which the browser may take a moment for."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(driver, 10, 0.05).until(lambda _: condition())
