"""Chromium for tests: skipped with a message where there is none."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The pictures of the docs are renewed only where that is asked for: each has a clock in it, so no two are alike.
IMAGES = Path(__file__).resolve().parent.parent.parent / "docs" / "images"
RENEW = "WTS_RENEW_IMAGES"

_MISSING = "needs {}: install {} (Debian and Ubuntu: apt install chromium chromium-driver; pip install selenium)"


def _found(variable: str, *names: str) -> str | None:
    return os.environ.get(variable) or next((path for name in names if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium with an empty profile, driven by Selenium."""
    try:
        from selenium import webdriver
    except ImportError:
        pytest.skip(_MISSING.format("Selenium", "it"))
    chromium = _found("CHROMIUM", "chromium", "chromium-browser", "google-chrome")
    driver = _found("CHROMEDRIVER", "chromedriver", "chromium.chromedriver")
    if chromium is None or driver is None:
        pytest.skip(_MISSING.format("Chromium and its driver", "them"))
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(prefix="wts-chromium-", ignore_cleanup_errors=True) as profile:
        for argument in (
            "headless",
            "no-sandbox",
            "disable-gpu",
            "disable-quic",
            "disable-dev-shm-usage",
            "no-first-run",
            "disable-background-networking",
            "disable-component-update",
            "disable-sync",
            "no-proxy-server",
            "force-color-profile=srgb",
            "window-size=1280,1010",
            "lang=en-US",
            f"user-data-dir={profile}",
        ):
            options.add_argument(f"--{argument}")
        running = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=driver))
        try:
            running.set_page_load_timeout(60)
            yield running
        finally:
            running.quit()


@pytest.fixture
def until(browser: Any) -> Any:
    """Wait until something is true of the page, and return what it was."""
    from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
    from selenium.webdriver.support.ui import WebDriverWait

    def wait(condition: Any, seconds: float = 20, what: str = "") -> Any:
        # The page changes while it is looked at: an element that went away is looked up again.
        ignored = [StaleElementReferenceException, WebDriverException]
        return WebDriverWait(browser, seconds, 0.2, ignored_exceptions=ignored).until(
            lambda _: condition(), what or "It did not happen."
        )

    return wait


@pytest.fixture
def picture(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Take a screenshot that the docs show."""

    def take(name: str) -> Path:
        folder = IMAGES if os.environ.get(RENEW) else tmp_path_factory.mktemp("images")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.png"
        assert browser.save_screenshot(str(path))
        assert path.stat().st_size < 200 * 1024, f"{path.name} is too large for the docs"
        return path

    return take
