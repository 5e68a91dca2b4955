"""A page in a browser, and what it did that nobody sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

    Launching = Callable[..., Browser]


class Browsing:
    """A page of the service at ``origin``, with what it asked for and what it complained of."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.origin = origin
        self.asked: list[str] = []
        self.complaints: list[str] = []
        page.on("request", self._request)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", lambda request: self.complaints.append(request.url))

    def _request(self, request: Request) -> None:
        if not request.url.startswith(("data:", "blob:")):
            self.asked.append(request.url)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        # A file of a target that ends meanwhile is cut off, which the page sees by itself.
        if "CONTENT_LENGTH_MISMATCH" in message.text and "/file?" in message.location["url"]:
            return
        self.complaints.append(message.text)

    def open(self, path: str) -> None:
        """Go to a page of the service."""
        self.page.goto(self.origin + path)

    @property
    def asked_elsewhere(self) -> list[str]:
        """What was asked of others than the service."""
        return [url for url in self.asked if not url.startswith(self.origin + "/")]
