"""Pictures of the web page, of a real service: into PAGE_PICTURES, for the documentation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from support.looking import Looking
from support.targets import start
from support.waiting import until

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from support.wire import Served


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_view_can_be_pictured(
    browser: Browser, listening: Served, tmp_path: Path, scheme: str
) -> None:
    folder = Path(os.environ.get("PAGE_PICTURES") or tmp_path)
    token = (listening.path.parent / "token").read_text().strip()
    context = browser.new_context(
        viewport={"width": 1280, "height": 800},
        color_scheme=scheme,  # type: ignore[arg-type]
        reduced_motion="reduce",
    )
    looking = Looking(context.new_page(), f"http://127.0.0.1:{listening.port}", token)
    page = looking.page

    def picture(name: str) -> None:
        page.mouse.move(0, 0)
        path = folder / f"page-{name}{'-dark' if scheme == 'dark' else ''}.png"
        page.screenshot(path=path)
        assert path.stat().st_size > 10_000

    with start("shop") as shop:
        registered = listening.register(shop.pid)
        looking.open("/")
        expect(page.get_by_role("row").filter(has_text="registered").first).to_be_visible()
        picture("processes")
        looking.at(registered, "map")
        expect(page.get_by_role("row").filter(has_text="[stack]")).to_be_visible()
        picture("map")
        looking.at(registered, "memory")
        looking.go_to("*shop:orders")
        expect(page.get_by_role("complementary")).to_contain_text("[heap]")
        expect(looking.grid).to_contain_text("61 20 6c 61 6d 70".replace(" ", ""))
        picture("memory")
        looking.at(registered, "search")
        page.get_by_label("Pattern").fill("two chairs")
        page.get_by_role("button", name="Search", exact=True).click()
        expect(page.get_by_role("status").filter(has_text="in all")).to_be_visible()
        picture("search")
        looking.at(registered, "threads")
        expect(page.get_by_role("heading", name="Stack of")).to_be_visible()
        picture("threads")
        looking.open("/#service")
        expect(page.locator("canvas").first).to_be_visible()
        expect(page.get_by_text("What the doctor finds")).to_be_visible()
        picture("service")
    context.close()
    until(lambda: len(list(folder.glob("page-*.png"))) >= 6, "there is a picture of each view")
