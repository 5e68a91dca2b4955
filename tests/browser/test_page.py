"""The web page in a real browser, on real processes: what is there, and what is not."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from support.folders import open_folder
from support.looking import Looking
from support.pattern import pattern
from support.targets import start
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

    from support.targets import Target
    from support.wire import Served


@pytest.fixture
def looking(browser: Browser, listening: Served) -> Iterator[Looking]:
    """Give the page to somebody who has given the token."""
    token = (listening.path.parent / "token").read_text().strip()
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    looking = Looking(context.new_page(), f"http://127.0.0.1:{listening.port}", token)
    yield looking
    context.close()
    assert looking.wrong == []
    assert looking.asked_elsewhere == []


@pytest.fixture
def pages() -> Iterator[Target]:
    with open_folder() as folder, start("pages", folder, 4) as target:
        yield target


def test_it_asks_for_a_token_and_says_that_one_is_wrong(
    browser: Browser, listening: Served
) -> None:
    token = (listening.path.parent / "token").read_text().strip()
    context = browser.new_context()
    looking = Looking(context.new_page(), f"http://127.0.0.1:{listening.port}", None)
    page = looking.page
    looking.open("/")
    expect(page.get_by_role("heading", name="Look into the memory")).to_be_visible()
    for given in ("wrong", token):
        page.get_by_label("Token", exact=True).fill(given)
        page.get_by_role("button", name="Use this token").click()
        if given == "wrong":
            expect(page.get_by_role("alert")).to_contain_text("token")
    expect(page.get_by_role("heading", name="Choose a process")).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="processes")).to_be_visible()
    assert token not in page.url
    assert all(token not in url for url in looking.asked)
    assert looking.wrong == []
    context.close()


def test_a_process_is_registered_by_a_click_and_its_map_leads_to_its_bytes(
    looking: Looking,
) -> None:
    with start("plain", "--marker", 7) as target:
        page = looking.page
        looking.open("/")
        page.get_by_role("searchbox").fill(str(target.pid))
        page.get_by_role("row", name=str(target.pid)).first.click()
        expect(page.get_by_role("heading", name=f"plain {target.pid}")).to_be_visible()
        expect(page.get_by_role("row").filter(has_text="[stack]")).to_be_visible()
        page.get_by_role("searchbox").fill(hex(target["marker"]))
        page.get_by_role("button", name=hex(target["marker"])).click()
        looking.shows(target["marker"], bytes([7, 0, 0, 0, 0, 0, 0, 0]))


def test_the_bytes_are_those_that_are_there_and_a_hole_is_drawn_as_one(
    looking: Looking, listening: Served, pages: Target
) -> None:
    hole = pages["hole"]
    looking.at(listening.register(pages.pid), "memory", hole - 64)
    looking.shows(hole - 64, pattern(hole - 64, 64))
    row = looking.grid.get_by_role("row").filter(has_text=f"{hole:x}")
    expect(row).to_contain_text("nothing is mapped here")
    looking.shows(hole + mmap.PAGESIZE, pattern(hole + mmap.PAGESIZE, 16))


@pytest.mark.parametrize(
    ("kind", "said"),
    [("prot_none", "closed to reads"), ("beyond_file", "past the end of its file")],
)
def test_a_gap_says_why(
    looking: Looking, listening: Served, pages: Target, kind: str, said: str
) -> None:
    looking.at(listening.register(pages.pid), "memory", pages[kind])
    expect(looking.grid.get_by_role("row").filter(has_text=said).first).to_be_visible()


def test_expressions_lead_where_they_say_and_history_leads_back(
    looking: Looking, listening: Served
) -> None:
    with start("pointers") as target:
        page = looking.page
        looking.at(listening.register(target.pid), "memory", target["chains"])
        heading = page.get_by_role("complementary").get_by_role("heading", level=2)
        looking.go_to(f"*{target['chains']:#x}+2")
        expect(heading).to_have_text(hex(target["text"] + 2))
        looking.shows(target["text"], b"a text")
        looking.go_to("pointers:shown")
        expect(heading).to_have_text(hex(target["shown"]))
        page.get_by_role("button", name="Back to where it was before").click()
        expect(heading).to_have_text(hex(target["text"] + 2))
        looking.go_to("pointers:shoun")
        expect(page.get_by_role("alert")).to_contain_text("did you mean shown?")


def test_the_inspector_follows_pointers(looking: Looking, listening: Served) -> None:
    with start("pointers") as target:
        looking.at(listening.register(target.pid), "memory", target["chains"])
        aside = looking.page.get_by_role("complementary")
        expect(aside).to_contain_text(str(target["text"]))
        expect(aside).to_contain_text("a text that is long enough")
        expect(aside).to_contain_text("loop")
        expect(aside).to_contain_text("pointers:chains")
        aside.get_by_role("button", name=hex(target["text"])).first.click()
        expect(aside.get_by_role("heading", level=2)).to_have_text(hex(target["text"]))
        looking.shows(target["text"], b"a text")


def test_keys_move_the_cursor_and_choose_bytes(looking: Looking, listening: Served) -> None:
    with start("pointers") as target:
        text = target["text"]
        looking.at(listening.register(target.pid), "memory", text)
        looking.shows(text, b"a text")
        heading = looking.page.get_by_role("complementary").get_by_role("heading", level=2)
        looking.grid.focus()
        looking.page.keyboard.press("ArrowRight")
        looking.page.keyboard.press("ArrowDown")
        expect(heading).to_have_text(hex(text + 17))
        looking.page.keyboard.press("ArrowUp")
        looking.page.keyboard.press("Shift+ArrowRight")
        looking.page.get_by_text("Copy", exact=True).click()
        expect(looking.page.get_by_text(f"2 bytes from {text + 1:#x}")).to_be_visible()
        looking.page.get_by_role("button", name="as hex").click()
        expect(looking.page.get_by_label("What was copied")).to_have_value("20 74")


def test_changes_are_marked_as_they_happen_and_a_frozen_view_stays(
    looking: Looking, listening: Served
) -> None:
    with start("counters") as target:
        counters = target["counters"]
        looking.at(listening.register(target.pid), "memory", counters)
        looking.shows(counters, bytes(8))
        page = looking.page
        # The first frame is what later ones are held against.
        until(lambda: _ticks(listening) > 0, "the view is live")
        marked = looking.cell(counters)
        page.evaluate(
            """address => {
              window.marked = new Promise(resolve => new MutationObserver(() => {
                const cell = document.querySelector(`[role=gridcell][data-address="${address}"]`);
                if (cell.classList.contains("changed")) resolve(cell.textContent);
              }).observe(document.body, {subtree: true, childList: true, attributes: true}));
            }""",
            hex(counters),
        )
        target.command("set 0 255")
        assert page.evaluate("window.marked") == "ff"
        page.get_by_role("button", name="Live", exact=True).click()
        expect(page.get_by_role("button", name="Frozen")).to_be_visible()
        until(lambda: _subscriptions(listening) == 0, "nothing is subscribed to")
        expect(marked).to_have_text("ff")


def test_a_hidden_page_asks_for_nothing(looking: Looking, listening: Served) -> None:
    with start("counters") as target:
        looking.at(listening.register(target.pid), "memory", target["counters"])
        until(lambda: _subscriptions(listening) == 1, "the view is live")
        looking.page.evaluate(
            """() => {
              Object.defineProperty(document, "hidden", {value: true, configurable: true});
              document.dispatchEvent(new Event("visibilitychange"));
            }"""
        )
        until(lambda: _subscriptions(listening) == 0, "nothing is subscribed to")


def test_the_end_of_a_target_is_said_and_its_bytes_stay(
    looking: Looking, listening: Served
) -> None:
    with start("plain", "--marker", 7) as target:
        looking.at(listening.register(target.pid), "memory", target["marker"])
        looking.shows(target["marker"], bytes([7]))
        target.kill()
        target.reap()
        expect(looking.page.get_by_role("alert")).to_contain_text(f"plain ({target.pid})")
        expect(looking.page.get_by_role("alert")).to_contain_text("SIGKILL")
        looking.shows(target["marker"], bytes([7]))
        looking.open("/")
        row = looking.page.get_by_role("row", name=str(target.pid)).first
        expect(row).to_contain_text("was ended by SIGKILL")


def _metric(listening: Served, name: str) -> float:
    metrics = listening.request("GET", "/metrics").body.decode()
    return sum(
        float(line.rpartition(" ")[2]) for line in metrics.splitlines() if line.startswith(name)
    )


def _ticks(listening: Served) -> float:
    return _metric(listening, "farpeek_ticks_total")


def _subscriptions(listening: Served) -> float:
    return _metric(listening, "farpeek_stream_subscriptions")
