"""A real browser, without a window, and a service that it can reach."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import sync_playwright

from support.browsing import Browsing
from support.folders import open_folder
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

    from support.browsing import Launching

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage"]
"""Tests are root's, whom its sandbox does not take; containers have little /dev/shm."""


# Playwright's loop runs in this thread until it is stopped, and nobody else's can meanwhile: of a
# session's scope, it ended all tests behind it that have a loop of their own.
@pytest.fixture(scope="module")
def launching() -> Iterator[Launching]:
    """Give what launches a browser, with flags of its own."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium; `make chromium` brings it where there is apt-get")
    with sync_playwright() as playwright:

        def launch(*flags: str) -> Browser:
            return playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags])

        yield launch


@pytest.fixture(scope="module")
def browser(launching: Launching) -> Iterator[Browser]:
    browser = launching()
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def listening() -> Iterator[Served]:
    """Run a service that listens on TCP, with a token."""
    with open_folder() as folder, Served(folder, "--listen", "http://127.0.0.1:0") as served:
        yield served


@pytest.fixture
def browsing(browser: Browser, listening: Served) -> Iterator[Browsing]:
    token = (listening.path.parent / "token").read_text().strip()
    headers: dict[str, Any] = {"Authorization": f"Bearer {token}"}
    context = browser.new_context(extra_http_headers=headers, reduced_motion="reduce")
    yield Browsing(context.new_page(), f"http://127.0.0.1:{listening.port}")
    context.close()
