"""The web page in a browser, as somebody uses it."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from playwright.sync_api import expect

from support.browsing import Browsing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Locator, Page

    from support.wire import Served

PATIENCE_MS: Final = 30_000
"""For machines that are busy with something else."""

expect.set_options(timeout=PATIENCE_MS)

_ANSWERS: Final = re.compile(
    r"Failed to load resource: the server responded with a status of 4\d\d"
    r"|WebSocket connection .* failed: WebSocket is closed before the connection is established"
)
"""The browser's own lines for refusals, which are shown by the page, and for a page that goes."""


class Looking(Browsing):
    """The web page, whose token was given already if ``token`` is one."""

    def __init__(self, page: Page, origin: str, token: str | None) -> None:
        super().__init__(page, origin)
        page.set_default_timeout(PATIENCE_MS)
        if token is not None:
            # Where the page itself keeps it, so that not each test has to type it.
            page.add_init_script(f"sessionStorage.setItem('farpeek.token', '{token}')")

    def at(self, target: str, view: str, *addresses: int) -> None:
        """Open a view of a target."""
        places = "".join(f"&at={address:#x}" for address in addresses)
        self.page.goto(f"{self.origin}/#target={target}&view={view}{places}")

    @property
    def wrong(self) -> list[str]:
        """What the browser complained of, but for refusals that are shown, and reads that ended."""
        return [
            each
            for each in self.complaints
            if not _ANSWERS.match(each) and not each.startswith(self.origin)
        ]

    def cell(self, address: int) -> Locator:
        """Give the byte at an address."""
        return self.page.locator(f"[role=grid] [role=gridcell][data-address='{address:#x}']")

    def shows(self, address: int, expected: bytes) -> None:
        """Wait until the bytes from an address on are these."""
        for place, byte in enumerate(expected):
            expect(self.cell(address + place)).to_have_text(f"{byte:02x}")

    @property
    def grid(self) -> Locator:
        return self.page.get_by_role("grid")

    def go_to(self, expression: str) -> None:
        """Type an address expression."""
        self.page.get_by_label("Go to an address").fill(expression)
        self.page.get_by_role("button", name="Go to", exact=True).click()

    def findings(self, axe: str) -> list[Any]:
        """Give what axe-core finds that is serious."""
        self.page.evaluate(axe + "\n;0")
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        serious = [
            each for each in found["violations"] if each["impact"] in ("serious", "critical")
        ]
        return [
            (
                each["id"],
                [node["html"][:200] for node in each["nodes"][:3]],
                each["nodes"][0]["any"][:1],
            )
            for each in serious
        ]


@contextmanager
def looking_at(browser: Browser, port: int, token: str, **how: object) -> Iterator[Looking]:
    """Open the page of a service."""
    how = {"viewport": {"width": 1280, "height": 800}, **how}
    context = browser.new_context(**how)  # type: ignore[arg-type]
    looking = Looking(context.new_page(), f"http://127.0.0.1:{port}", token)
    try:
        yield looking
    finally:
        context.close()


def token_of(served: Served) -> str:
    return (served.path.parent / "token").read_text().strip()
