"""The web page as `farpeek ui` opens it: for one tab, through a listener, over restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from support.folders import open_folder
from support.looking import Looking
from support.targets import start
from support.ui import Ui
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Route


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as made:
        yield made


def looking_at(browser: Browser, ui: Ui) -> Looking:
    """Open a tab of its own; nothing is known to it."""
    return Looking(browser.new_context().new_page(), f"http://{ui.host}", None)


def test_the_address_opens_one_page_which_is_known_from_then_on(
    browser: Browser, folder: Path
) -> None:
    with (
        Served(folder) as service,
        start("plain", "--marker", 7) as target,
        Ui(f"unix:{service.path}", target.pid) as ui,
    ):
        looking = looking_at(browser, ui)
        page = looking.page
        page.goto(ui.address)
        heading = page.get_by_role("heading", name=f"plain {target.pid}")
        expect(heading).to_be_visible()
        assert ui.fragment["secret"] not in page.url
        page.go_back()
        assert ui.fragment["secret"] not in page.url
        looking.at(ui.fragment["target"], "memory", target["marker"])
        looking.shows(target["marker"], bytes([7]))
        page.reload()
        looking.shows(target["marker"], bytes([7]))
        assert looking.wrong == []
        assert looking.asked_elsewhere == []
        assert not [url for url in looking.asked if ui.fragment["secret"] in url.partition("#")[0]]

        other = looking_at(browser, ui).page
        other.goto(ui.address)
        expect(other.get_by_text("run `farpeek ui` again").first).to_be_visible()
        expect(other.get_by_role("heading", name=f"plain {target.pid}")).to_have_count(0)
        for each in (page, other):
            each.context.close()


def test_it_is_live_and_goes_on_when_the_service_is_back(browser: Browser, folder: Path) -> None:
    with (
        Served(folder) as first,
        start("counters") as target,
        Ui(f"unix:{first.path}", target.pid) as ui,
    ):
        counters = target["counters"]
        looking = looking_at(browser, ui)
        page = looking.page
        page.goto(ui.address)
        expect(page.get_by_role("heading", name=f"counters {target.pid}")).to_be_visible()
        looking.at(ui.fragment["target"], "memory", counters)
        looking.shows(counters, bytes(8))
        target.command("set 0 255")
        looking.shows(counters, b"\xff")
        first.stop()
        expect(page.get_by_text("The service does not answer").first).to_be_visible()
        looking.shows(counters, b"\xff")
        # It asks for bytes before the service knows the target again, on a machine that is slow.
        held: list[Route] = []
        page.route("**/v1/targets", lambda route: held.append(route))  # noqa: PLW0108 - it looks at how many parameters there are
        with Served(folder):
            expect(page.get_by_text("Connected", exact=True)).to_be_visible()
            page.wait_for_timeout(3000)
            for route in held:
                route.continue_()
            page.unroute("**/v1/targets")
            target.command("set 0 254")
            looking.shows(counters, b"\xfe")
        page.context.close()
