"""Pages of others in a real browser: they make the service do nothing, and see nothing of it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from support.attacking import ATTACK, PAGE, page_elsewhere
from support.folders import open_folder
from support.targets import start
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page, Route

    from support.browsing import Launching
    from support.targets import Target

FETCHES = 2 * 11 + 2 * 10
WAYS = FETCHES + 7
"""Of fetch(), with and without credentials; of EventSource, WebSocket without a ticket and with one
that is right, a script, an image and two forms."""

NAME = "rebound.example"
NO_CHECKS = "--disable-features=BlockInsecurePrivateNetworkRequests,LocalNetworkAccessChecks"
"""Of newer browsers, whose own protection the service is not to need."""

Attacked = tuple[Served, "Target", str]


@pytest.fixture(scope="module", params=["no auth", "a token"])
def attacked(request: pytest.FixtureRequest) -> Iterator[Attacked]:
    """Run a service that may write, with a target."""
    flags = ["--listen", "http://127.0.0.1:0", "--allow-writes"]
    flags += ["--no-auth"] if request.param == "no auth" else []
    with open_folder() as folder, Served(folder, *flags) as served, start("plain") as target:
        yield served, target, served.register(target.pid)


@contextmanager
def nothing_happens(attacked: Attacked) -> Iterator[None]:
    """Fail if anything was registered, written or released meanwhile, or read by anybody."""
    served, target, registered = attacked

    def look() -> tuple[Any, ...]:
        targets = served.request("GET", "/v1/targets").json["targets"]
        body = {"addresses": [hex(target["marker"])], "lengths": 16}
        read = served.request("POST", f"/v1/targets/{registered}/readv", body).json
        metrics = served.request("GET", "/metrics").body.decode()
        done = [line for line in metrics.splitlines() if "farpeek_read_bytes_total{" in line]
        return [each["id"] for each in targets], read["data"], done

    look()
    *before, read_before = look()
    yield
    *after, read_after = look()
    assert after == before
    for old, new in zip(read_before, read_after, strict=True):
        more = float(new.rpartition(" ")[2]) - float(old.rpartition(" ")[2])
        assert more in (0, 16), "nobody has read but this"


def stolen_ticket(served: Served) -> str:
    """Make one by TCP, as the page of the service itself would."""
    token = served.path.with_name("token")
    headers = {"Authorization": f"Bearer {token.read_text().strip()}"} if token.exists() else {}
    return str(served.request_tcp("POST", "/v1/stream/tickets", headers).json["ticket"])


def attack(page: Page, base: str, attacked: Attacked) -> dict[str, tuple[str, int, str]]:
    """Have the page try everything; kind, status and text of what it sees, by the way."""
    _, target, registered = attacked
    wanted = {"base": base, "pid": target.pid, "id": registered, "address": hex(target["marker"])}
    seen = page.evaluate(ATTACK, {**wanted, "ticket": stolen_ticket(attacked[0])})
    assert len(seen) == WAYS, sorted(seen)
    return {way: (kind, status, text) for way, (kind, status, text) in seen.items()}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_page_of_another_origin_does_and_sees_nothing(
    browser: Browser, attacked: Attacked, host: str
) -> None:
    context = browser.new_context()
    try:
        with page_elsewhere() as port, nothing_happens(attacked):
            page = context.new_page()
            page.goto(f"http://{host}:{port}/")
            seen = attack(page, f"http://127.0.0.1:{attacked[0].port}", attacked)
    finally:
        context.close()
    for way, (kind, status, text) in seen.items():
        assert kind in ("error", "opaque", "frame", "silence"), (way, kind)
        assert (status, text) == (0, ""), way


def test_a_name_that_comes_to_mean_this_host_opens_nothing(
    launching: Launching, attacked: Attacked
) -> None:
    port = attacked[0].port
    base = f"http://{NAME}:{port}"
    browser = launching(f"--host-resolver-rules=MAP {NAME} 127.0.0.1", NO_CHECKS)
    try:
        page = browser.new_page()
        # At first the name is the attacker's, whose page this is; then it means this host.
        page.route(f"{base}/", _attackers_page)
        page.goto(f"{base}/")
        page.unroute(f"{base}/")
        with nothing_happens(attacked):
            seen = attack(page, base, attacked)
    finally:
        browser.close()
    fetched = {way: each for way, each in seen.items() if each[0] == "basic"}
    assert len(fetched) == FETCHES, "the browser takes them for the page's own"
    for way, (_, status, text) in fetched.items():
        assert status in (401, 403), (way, status, text)
        assert "urn:farpeek:problem:" in text, way
    assert not any(each[0] == "open" for each in seen.values())


def _attackers_page(route: Route) -> None:
    route.fulfill(status=200, content_type="text/html", body=PAGE)


def test_its_own_page_works_beside_all_that(browser: Browser, attacked: Attacked) -> None:
    served = attacked[0]
    token = served.path.parent / "token"
    headers = {"Authorization": f"Bearer {token.read_text().strip()}"} if token.exists() else {}
    context = browser.new_context(extra_http_headers=headers)
    try:
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{served.port}/docs")
        page.locator(".opblock").first.wait_for()
    finally:
        context.close()
