"""The web page in a real browser: links that lead nowhere, and what the service has no room for."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from support.folders import open_folder
from support.looking import looking_at, token_of
from support.sample import Sample
from support.targets import start
from support.waiting import PATIENCE_S
from support.websocket import WebSocket, handshake
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

    from support.looking import Looking

MIB = 1 << 20


@pytest.fixture
def looking(browser: Browser, listening: Served) -> Iterator[Looking]:
    with looking_at(browser, listening.port, token_of(listening)) as looking:
        yield looking
    assert looking.wrong == []


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("#target=../..", "“target=../..”"),
        ("#target=1%202", "“target=1 2”"),
        ("#nonsense", "“nonsense”"),
    ],
)
def test_a_link_that_names_no_target_says_what_is_wrong_with_it(
    looking: Looking, link: str, said: str
) -> None:
    looking.open(f"/{link}")
    alert = looking.page.get_by_role("alert")
    expect(alert).to_contain_text("This link is broken")
    expect(alert).to_contain_text(said)
    expect(looking.page.get_by_role("heading", name="Choose a process")).to_be_visible()


def test_what_of_a_link_makes_no_sense_is_told_and_the_rest_is_shown(
    looking: Looking, listening: Served
) -> None:
    with start("plain", "--marker", 7) as target:
        page = looking.page
        where = f"at=nowhere&at={target['marker']:#x}"
        looking.open(f"/#target={listening.register(target.pid)}&view=memory&{where}")
        expect(page.get_by_role("alert")).to_contain_text("“at=nowhere”")
        looking.shows(target["marker"], bytes([7]))


@pytest.mark.parametrize(
    ("target", "why"), [("9-9", "of another host"), ("no-id", "an id is a text like")]
)
def test_a_link_to_a_target_that_is_not_there_says_so(
    looking: Looking, target: str, why: str
) -> None:
    page = looking.page
    looking.open(f"/#target={target}&view=memory&at=0x1000")
    expect(page.get_by_text(f"no process that is here: {target}")).to_be_visible()
    expect(page.get_by_text(why)).to_be_visible()
    page.get_by_role("link", name="Choose a process").click()
    expect(page.get_by_role("heading", name="Choose a process")).to_be_visible()


def test_a_stream_that_is_refused_is_said_and_comes_when_there_is_room(browser: Browser) -> None:
    flags = ("--listen", "http://127.0.0.1:0", "--max-client-streams", "1")
    with open_folder() as folder, start("counters") as target, Served(folder, *flags) as served:
        token = token_of(served)
        counters = target["counters"]
        # The same client as the page: the only stream that it may have is open already.
        asked = handshake(Host=f"127.0.0.1:{served.port}", Authorization=f"Bearer {token}")
        other = WebSocket(socket.create_connection(("127.0.0.1", served.port), PATIENCE_S), asked)
        with looking_at(browser, served.port, token) as looking:
            page = looking.page
            target.command("set 0 7")
            looking.at(served.register(target.pid), "memory", counters)
            with other:
                alert = page.get_by_role("alert")
                expect(alert).to_contain_text("The service is busy")
                expect(alert).to_contain_text("is not live yet")
                expect(alert).to_contain_text("--max-client-streams")
                expect(alert).to_contain_text("It will be tried again")
                looking.shows(counters, bytes([7]))
                looking.go_to("[stack]")
                expect(looking.cell(counters)).to_have_count(0)
                expect(alert).to_contain_text("is not live yet")
                looking.go_to(f"{counters:#x}")
                looking.shows(counters, bytes([7]))
            expect(alert).to_have_count(0)
            target.command("set 0 9")
            looking.shows(counters, bytes([9]))
            assert looking.wrong == []


def test_a_subscription_too_many_is_said_and_comes_when_there_is_room(browser: Browser) -> None:
    flags = ("--listen", "http://127.0.0.1:0", "--max-client-subscriptions", "1")
    with open_folder() as folder, start("counters") as target, Served(folder, *flags) as served:
        token = token_of(served)
        registered, counters = served.register(target.pid), target["counters"]
        with looking_at(browser, served.port, token) as looking:
            page = looking.page
            looking.at(registered, "memory", counters)
            looking.shows(counters, bytes([0]))
            page.get_by_role("button", name="Open beside it").click()
            expect(page.get_by_role("grid")).to_have_count(2)
            alert = page.get_by_role("alert")
            expect(alert).to_contain_text("--max-client-subscriptions")
            expect(alert).to_have_count(1)
            live = page.locator(".pane").filter(has_not=page.get_by_role("alert"))
            live.get_by_role("button", name="Live", exact=True).click()
            expect(alert).to_have_count(0)
            assert looking.wrong == []


@pytest.mark.parametrize("width", [1280, 1000])
def test_the_table_of_threads_is_not_cut(browser: Browser, listening: Served, width: int) -> None:
    how = {"viewport": {"width": width, "height": 800}}
    with (
        Sample() as target,
        looking_at(browser, listening.port, token_of(listening), **how) as looking,
    ):
        looking.at(listening.register(target.pid), "threads")
        threads = looking.page.get_by_role("region", name="Threads", exact=True)
        expect(threads).to_contain_text("libc.so.6:")
        assert threads.evaluate("each => each.scrollWidth - each.clientWidth") <= 0


def test_the_list_shows_how_much_of_a_process_is_in_memory(looking: Looking) -> None:
    with Sample(64 * MIB) as process:
        looking.open("/")
        looking.page.get_by_role("searchbox").fill(str(process.pid))
        row = looking.page.get_by_role("row", name=str(process.pid)).first
        shown = row.get_by_role("cell").nth(4).inner_text()
        assert shown.endswith("M")
        assert 64 <= float(shown[:-1]) < 128
