"""Pictures of the web page, of a real service: into PAGE_PICTURES, for the documentation."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from support.looking import Looking
from support.targets import Target, build

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from support.wire import Served


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_view_can_be_pictured(
    browser: Browser, listening: Served, tmp_path: Path, scheme: str
) -> None:
    folder = Path(os.environ.get("PAGE_PICTURES") or tmp_path)
    program = Path(os.environ.get("PAGE_PROGRAMS") or tmp_path) / "shop"
    for name in ("shop", "mailer", "worker"):
        shutil.copy(build("shop"), program.with_name(name))
    token = (listening.path.parent / "token").read_text().strip()
    context = browser.new_context(
        viewport={"width": 1280, "height": 800},
        color_scheme=scheme,  # type: ignore[arg-type]
        reduced_motion="reduce",
    )
    looking = Looking(context.new_page(), f"http://127.0.0.1:{listening.port}", token)
    page = looking.page

    def picture(name: str) -> None:
        if scheme == "dark" and name != "memory":
            return
        page.mouse.move(0, 0)
        path = folder / f"page-{name}{'-dark' if scheme == 'dark' else ''}.png"
        page.screenshot(path=path)
        assert path.stat().st_size > 10_000

    with (
        Target("shop", program=program.with_name("mailer")),
        Target("shop", program=program.with_name("worker")),
        Target("shop", program=program) as shop,
    ):
        registered = listening.register(shop.pid)
        looking.open("/")
        expect(page.get_by_role("row").filter(has_text="registered").first).to_be_visible()
        page.get_by_role("searchbox").fill(str(program.parent))
        picture("processes")
        looking.at(registered, "map")
        expect(page.get_by_role("row").filter(has_text="[stack]")).to_be_visible()
        picture("map")
        looking.at(registered, "memory")
        looking.go_to("*shop:orders")
        expect(page.get_by_role("complementary")).to_contain_text("[heap]")
        expect(looking.grid).to_contain_text("61206c616d70")
        expect(page.get_by_role("region", name="Where it leads")).to_be_visible()
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
        if "PAGE_PICTURES" in os.environ:
            # Plots of something: somebody else looks at memory meanwhile.
            other = Looking(context.new_page(), looking.origin, token)
            other.at(registered, "memory")
            other.page.get_by_label("Times a second").select_option("20")
            for address in range(8):
                other.go_to(f"[heap]+{address * 4096}")
                other.page.wait_for_timeout(1200)
            page.locator(".figures:not([data-points='1'], [data-points='2'])").wait_for()
        expect(page.get_by_text("What the doctor finds")).to_be_visible()
        picture("service")
    context.close()
