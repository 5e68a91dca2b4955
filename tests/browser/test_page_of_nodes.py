"""The page of a gateway in a real browser: nodes, and behind each of them all as on one host."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from support.broker import Broker
from support.fleet import ALICE, POLICY, AgentProcess
from support.folders import open_folder
from support.gateway import GatewayProcess
from support.looking import Looking
from support.policies import Policed
from support.targets import start
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser


@pytest.fixture
def agent() -> Iterator[tuple[AgentProcess, GatewayProcess]]:
    with (
        open_folder() as made,
        Broker(made) as broker,
        Policed(made, POLICY) as service,
        AgentProcess(broker, service.path, made, "n1", "--label", "zone=a") as node,
        GatewayProcess(broker, made) as gateway,
    ):
        node.await_ready()
        yield node, gateway


def test_a_node_is_chosen_and_then_all_is_as_on_one_host(
    browser: Browser, agent: tuple[AgentProcess, GatewayProcess]
) -> None:
    node, gateway = agent
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    origin = f"http://127.0.0.1:{gateway.port}"
    looking = Looking(context.new_page(), origin, None)
    page = looking.page
    frames: list[bytes | str] = []
    page.on(
        "websocket",
        lambda opened: opened.on("framereceived", lambda frame: frames.append(frame)),  # noqa: PLW0108 - Playwright hangs a mark on it
    )
    looking.open("/")
    page.get_by_label("Token", exact=True).fill("wrong")
    page.get_by_role("button", name="Use this token").click()
    expect(page.get_by_role("alert")).to_contain_text("token")
    page.get_by_label("Token", exact=True).fill(ALICE)
    page.get_by_role("button", name="Use this token").click()
    expect(page.get_by_role("row", name="n1").filter(has_text="zone=a")).to_be_visible()
    page.get_by_role("searchbox").fill("zone=b")
    expect(page.get_by_text("No node fits")).to_be_visible()
    page.get_by_role("searchbox").fill("zone=a")
    page.get_by_role("link", name="n1").click()
    expect(page).to_have_url(re.compile(r"/v1/nodes/n1/"))
    with start("plain", "--marker", 7) as target:
        page.get_by_role("searchbox").fill(str(target.pid))
        page.get_by_role("row", name=str(target.pid)).first.click()
        expect(page.get_by_role("heading", name=f"plain {target.pid}")).to_be_visible()
        page.get_by_role("searchbox").fill(hex(target["marker"]))
        page.get_by_role("button", name=hex(target["marker"])).click()
        looking.shows(target["marker"], bytes([7, 0, 0, 0, 0, 0, 0, 0]))
        expect(page.get_by_role("status").filter(has_text="Connected")).to_be_visible()
        # Playwright tells of events while something is asked of it.
        until(lambda: page.title() and frames, "the live view comes by the stream of the node")
    assert ALICE not in page.url
    assert all(ALICE not in url for url in looking.asked)
    page.get_by_role("link", name="Nodes").click()
    expect(page.get_by_role("heading", name="Choose a node")).to_be_visible()
    page.get_by_role("link", name="n1").click()
    expect(page.get_by_role("heading", name="Choose a process")).to_be_visible()
    assert looking.wrong == []
    assert looking.asked_elsewhere == []
    node.end()
    expect(page.get_by_role("status").filter(has_text="does not answer")).to_be_visible()
    context.close()
