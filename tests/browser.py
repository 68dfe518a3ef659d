"""A headless Chromium for the tests of the HTML report, and what it logged."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
ROOT = Path(__file__).parents[1]


def start() -> Iterator[Any]:
    """A selenium driver; skips where selenium or the browser is missing."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium (extra 'dev')")
    binary = next(filter(None, map(shutil.which, BROWSERS)), None)
    service = shutil.which("chromedriver")
    if binary is None or service is None:
        pytest.skip("no chromium and chromedriver on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in OPTIONS:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(
        options=options, service=webdriver.ChromeService(executable_path=service)
    )
    yield driver
    driver.quit()


def requests(driver: Any) -> list[str]:
    """Addresses asked for since the last call."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    sent = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return [params["request"]["url"] for params in sent]


def axe() -> str:
    """The script of axe-core (`npm install axe-core`); skips where it is not at hand."""
    given = os.environ.get("AXE_CORE", "")
    places = [Path(given), ROOT / "node_modules" / "axe-core"] if given else [
        ROOT / "node_modules" / "axe-core"
    ]  # fmt: skip
    for place in places:
        if (place / "axe.min.js").is_file():
            return (place / "axe.min.js").read_text()
    pytest.skip("no axe-core: run `npm install axe-core`, or set AXE_CORE to its folder")
