"""The web page in a real browser: searches, threads, hostile names, restarts, much memory."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from support import policies
from support.folders import open_folder
from support.looking import looking_at, token_of
from support.targets import Target, build, start
from support.waiting import until
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

    from support.looking import Looking

AXE = (
    Path(__file__).resolve().parents[2]
    / "build"
    / "npm"
    / "node_modules"
    / "axe-core"
    / "axe.min.js"
)
GIB = 1 << 30
MIB = 1 << 20

HOSTILE = "<img src=x onerror=document.title=1>\u202e\x1b[31m"


@pytest.fixture
def looking(browser: Browser, listening: Served) -> Iterator[Looking]:
    with looking_at(browser, listening.port, token_of(listening)) as looking:
        yield looking
    assert looking.wrong == []


def test_a_search_finds_and_a_click_leads_there(looking: Looking, listening: Served) -> None:
    with start("searched") as target:
        page = looking.page
        place = target["area"] + 4096 + 32
        assert target.command(f"put {4096 + 32} a needle in it") == "ok"
        assert target.command(f"put {8192} another needle") == "ok"
        looking.at(listening.register(target.pid), "search")
        page.get_by_label("Where to look").select_option("anonymous")
        page.get_by_label("Pattern").fill("needle")
        page.get_by_role("button", name="Search", exact=True).click()
        expect(page.get_by_role("status").filter(has_text="2 matches in all")).to_be_visible()
        page.get_by_label("What to look for").select_option("hex")
        page.get_by_label("Pattern").fill("6e ?? 65 64 6c 65 20")
        page.get_by_role("button", name="Narrow down").click()
        expect(page.get_by_role("status").filter(has_text="1 match in all")).to_be_visible()
        page.get_by_role("button", name=hex(place + 2)).click()
        looking.shows(place + 2, b"needle")


def test_a_wrong_pattern_says_what_is_wrong_with_it(looking: Looking, listening: Served) -> None:
    with start("plain") as target:
        page = looking.page
        looking.at(listening.register(target.pid), "search")
        page.get_by_label("What to look for").select_option("hex")
        page.get_by_label("Pattern").fill("4d 4")
        page.get_by_role("button", name="Search", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("two hex digits for each")


def test_threads_are_shown_with_where_they_wait(looking: Looking, listening: Served) -> None:
    with start("threads") as target:
        page = looking.page
        looking.at(listening.register(target.pid), "threads")
        for tid in (target.pid, target["thread"], target["sleeper"]):
            expect(page.get_by_role("button", name=f"Stack of thread {tid}")).to_be_visible()
        page.get_by_role("button", name=f"Stack of thread {target['sleeper']}").click()
        expect(page.get_by_role("heading", name=f"Stack of {target['sleeper']}")).to_be_visible()
        expect(page.get_by_role("region", name="Words of the stack")).to_be_visible()


def test_the_service_shows_its_figures_and_what_the_doctor_finds(looking: Looking) -> None:
    page = looking.page
    looking.open("/#service")
    figure = page.locator(".figure").filter(has_text="Requests a second")
    expect(figure.locator("canvas")).to_be_visible()
    page.get_by_role("button", name=re.compile("that are fine")).click()
    expect(page.get_by_text("process_vm_readv").first).to_be_visible()


def test_hostile_names_do_nothing_and_are_shown_harmless(
    looking: Looking, listening: Served
) -> None:
    with open_folder() as folder:
        program = Path(shutil.copy(build("changing"), folder / HOSTILE))
        with Target("changing", program=program) as target:
            page = looking.page
            assert target.command("rename <b>\u202e\x1b[1m") == "ok"
            looking.open("/")
            page.get_by_role("searchbox").fill(str(target.pid))
            row = page.get_by_role("row", name=str(target.pid)).first
            expect(row).to_contain_text(r"<b>\u202e\x1b[1m")
            expect(row).to_contain_text(r"<img src=x onerror=document.title=1>\u202e\x1b[31m")
            row.click()
            expect(page.get_by_role("row").filter(has_text=r"\u202e\x1b[31m").first).to_be_visible()
            page.get_by_role("link", name="Memory").click()
            looking.go_to(HOSTILE)
            looking.shows(_first(listening, target, HOSTILE), b"\x7fELF")
            assert page.locator("img, b").count() == 0
            assert page.title() != "1"
            assert "\u202e" not in page.locator("body").inner_text()


def _first(served: Served, target: Target, name: str) -> int:
    """Where the first mapping of a file begins."""
    maps = served.request("GET", f"/v1/targets/{served.register(target.pid)}/maps").json
    return next(int(each["start"], 16) for each in maps["mappings"] if each["path"].endswith(name))


def test_a_restart_of_the_service_is_survived(browser: Browser) -> None:
    with open_folder() as folder, start("plain", "--marker", 7) as target:
        token = folder / "token"
        token.write_text("a-token-that-stays-as-it-is-over-restarts\n")
        token.chmod(0o600)
        flags = ("--token-file", str(token), "--listen")
        with Served(folder, *flags, "http://127.0.0.1:0") as served:
            port = served.port
            registered = served.register(target.pid)
            context = looking_at(browser, port, token.read_text().strip())
            looking = context.__enter__()
            looking.at(registered, "memory", target["marker"])
            looking.shows(target["marker"], bytes([7]))
            assert served.stop() == 0
        try:
            status = looking.page.get_by_role("status").filter(has_text="does not answer")
            expect(status).to_be_visible()
            looking.shows(target["marker"], bytes([7]))
            with Served(folder, *flags, f"http://127.0.0.1:{port}") as again:
                expect(
                    looking.page.get_by_role("status").filter(has_text="Connected")
                ).to_be_visible()
                until(
                    lambda: registered in str(again.request("GET", "/v1/targets").json),
                    "it is registered anew",
                )
                looking.shows(target["marker"], bytes([7]))
                looking.go_to("[stack]")
                expect(looking.cell(target["marker"])).to_have_count(0)
                looking.go_to(hex(target["marker"]))
                looking.shows(target["marker"], bytes([7]))
                looking.page.reload()
                looking.shows(target["marker"], bytes([7]))
        finally:
            context.__exit__(None, None, None)


def test_another_program_is_looked_at_anew(looking: Looking, listening: Served) -> None:
    with open_folder() as folder:
        other = Path(shutil.copy(build("changing"), folder / "other"))
        with start("changing", 7) as target:
            looking.at(listening.register(target.pid), "memory", target["marker"])
            looking.shows(target["marker"], bytes([7]))
            target.send(f"become {other} 9")
            target.await_ready()
            expect(looking.page.get_by_text("program 2")).to_be_visible()
            looking.shows(target["marker"], bytes([9]))
            looking.go_to("other")
            looking.shows(_first(listening, target, "other"), b"\x7fELF")


def test_what_the_policy_forbids_is_said_with_its_rule(browser: Browser) -> None:
    token = "t" * 40
    text = policies.entry(
        "looker", token, ["inspect", "register", "events"], f"targets = {policies.EVERYTHING}"
    )
    with (
        open_folder() as folder,
        policies.Policed(folder, text) as served,
        start("plain") as target,
        looking_at(browser, served.port, token) as looking,
    ):
        page = looking.page
        looking.open("/")
        page.get_by_role("searchbox").fill(str(target.pid))
        page.get_by_role("row", name=str(target.pid)).first.click()
        page.get_by_role("button", name=hex(target["marker"])).click()
        said = page.get_by_role("alert").filter(has_text="The policy does not allow it")
        expect(said.first).to_be_visible()
        expect(said.first).to_contain_text("read")


def test_a_sparse_mapping_of_64_gib_scrolls_from_end_to_end(
    looking: Looking, browser: Browser, listening: Served
) -> None:
    with start("untouched", 64) as target:
        page = looking.page
        registered = listening.register(target.pid)
        sparse = target["sparse"]
        query = f"/v1/targets/{registered}/maps?address={sparse:#x}"
        (mapping,) = listening.request("GET", query).json["mappings"]
        begin, end = int(mapping["start"], 16), int(mapping["end"], 16)
        assert end - begin >= 64 * GIB
        last = sparse + 64 * GIB - 16
        assert target.command(f"touch {64 * GIB - 16}") == "ok"
        looking.at(registered, "memory", begin)
        expect(looking.cell(begin)).to_have_text("00")
        bar = page.get_by_role("scrollbar")
        box = bar.bounding_box()
        assert box is not None
        x = box["x"] + box["width"] / 2
        page.mouse.move(x, box["y"] + 2)
        page.mouse.down()
        for step in range(1, 81):
            page.mouse.move(x, box["y"] + box["height"] * step / 80 + 2)
        page.mouse.up()
        expect(looking.cell(end - 1)).to_be_visible()
        expect(bar).to_have_attribute("aria-valuenow", "100")
        looking.go_to(hex(last))
        looking.shows(last, bytes([0xAB]))
        assert _page_memory(browser) < 200 * MIB


def _page_memory(browser: Browser) -> int:
    """Give what the largest page has for itself alone, in bytes."""
    processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    found = [
        int(line.split()[1]) * 1024
        for each in processes
        if each["type"] == "renderer"
        for line in Path(f"/proc/{each['id']}/status").read_text().splitlines()
        if line.startswith("RssAnon:")
    ]
    return max(found)


@pytest.mark.skipif(not AXE.exists(), reason="there is no axe-core; `make page-tools` has it")
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_axe_finds_nothing_serious(
    browser: Browser, listening: Served, width: int, scheme: str
) -> None:
    axe = AXE.read_text()
    how = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    with (
        open_folder() as folder,
        start("pages", folder, 4) as target,
        looking_at(browser, listening.port, token_of(listening), **how) as looking,
    ):
        page = looking.page
        looking.open("/")
        expect(page.get_by_role("row").nth(2)).to_be_visible()
        assert looking.findings(axe) == []
        registered = listening.register(target.pid)
        looking.at(registered, "memory", target["hole"] - 16)
        expect(page.get_by_role("complementary").get_by_text("u64")).to_be_visible()
        assert looking.findings(axe) == []
        looking.at(registered, "map")
        expect(page.get_by_role("row").filter(has_text="[stack]")).to_be_visible()
        assert looking.findings(axe) == []
        looking.at(registered, "search")
        expect(page.get_by_text("Nothing was looked for yet")).to_be_visible()
        assert looking.findings(axe) == []
        looking.at(registered, "threads")
        expect(page.get_by_role("heading", name="Stack of")).to_be_visible()
        assert looking.findings(axe) == []
        looking.open("/#service")
        expect(page.get_by_text("What the doctor finds")).to_be_visible()
        assert looking.findings(axe) == []
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, "nothing has to be scrolled sideways"
