"""Laws of the door: whatever a request says, and what the service gets to see of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farpeek_api.cli.ui.door import Door, Refused, Way
from farpeek_api.cli.ui.service import Service
from farpeek_api.client.address import Place

if TYPE_CHECKING:
    from collections.abc import Iterable

DOOR = Door()
TOKEN = DOOR.exchange(b'{"secret": "%b"}' % DOOR.secret.encode())
SERVICE = Service(Place("unix:/x", "http://farpeek", Path("/x"), "the-services-own"))

METHODS = st.sampled_from([b"GET", b"HEAD", b"POST", b"DELETE", b"OPTIONS", b"CONNECT"])
PARTS = st.sampled_from(
    [
        *["/", "ui", "v1", "stream", "info", "ui-session", "app.js", ".", "..", "%2e", "%2F", "\\"],
        *["?", "#", ";", "//", "http:", "evil.example", "tickets", "@", "a"],
    ]
)
TARGETS = st.lists(PARTS, min_size=1, max_size=6).map(lambda parts: "".join(parts).encode())
HOSTS = st.sampled_from(
    ["127.0.0.1:7", "localhost", "[::1]:7", "evil.example", "127.0.0.1.evil.example", "", "::1"]
)
VALUES = {
    "host": HOSTS,
    "origin": st.one_of(HOSTS.map("http://{}".format), st.just("null")),
    "authorization": st.sampled_from(
        [f"Bearer {TOKEN}", f"bearer  {TOKEN}", f"Bearer {TOKEN}x", "Bearer ", f"Basic {TOKEN}"]
    ),
    "sec-websocket-protocol": st.lists(
        st.sampled_from(
            ["farpeek.v1", "farpeek.ticket.abc", "farpeek.ticket.", "farpeek.ticket.a b", "x", ""]
        )
    ).map(", ".join),
    "upgrade": st.sampled_from(["websocket", "WebSocket", "h2c"]),
    "connection": st.sampled_from(["upgrade", "keep-alive, x-hop"]),
    "cookie": st.just("a=b"),
    "x-request-id": st.just("one"),
}
HEADERS = st.lists(
    st.sampled_from(sorted(VALUES)).flatmap(lambda name: st.tuples(st.just(name), VALUES[name])),
    max_size=8,
)


def request_of(
    method: bytes, target: bytes, headers: Iterable[tuple[str, str]]
) -> h11.Request | None:
    """Make a request; None for what h11 refuses by itself."""
    try:
        return h11.Request(method=method, target=target, headers=list(headers))
    except h11.LocalProtocolError:
        return None


def values(request: h11.Request, name: str) -> list[str]:
    return [value.decode() for each, value in request.headers if each == name.encode()]


@given(METHODS, TARGETS, HEADERS)
def test_nobody_gets_further_than_by_what_was_shown(
    method: bytes, target: bytes, headers: list[tuple[str, str]]
) -> None:
    request = request_of(method, target, headers)
    if request is None:
        return
    try:
        way = DOOR.admit(request)
    except Refused:
        return
    (host,) = values(request, "host")
    assert re.fullmatch(r"(127\.0\.0\.1|localhost|\[::1\])(:7)?", host)
    assert values(request, "origin") in ([], [f"http://{host}"])
    path = target.partition(b"?")[0]
    if way is Way.KNOWN:
        (authorization,) = values(request, "authorization")
        assert authorization.split() in (["Bearer", TOKEN], ["bearer", TOKEN])
    elif way is Way.TICKETED:
        assert (method, path) == (b"GET", b"/v1/stream")
        assert values(request, "authorization") == []
        assert "farpeek.ticket.abc" in ",".join(values(request, "sec-websocket-protocol"))
    elif way is Way.LOADING:
        assert method in (b"GET", b"HEAD")
        assert path in (b"/", b"/ui/app.js", b"/ui/a", b"/ui/ui", b"/ui/v1", b"/ui/info") or (
            re.fullmatch(rb"/ui/[a-z0-9_-][a-z0-9._-]*", path)
        )
    else:
        assert (method, path) == (b"POST", b"/ui-session")
    check_head(request, way)


def check_head(request: h11.Request, way: Way) -> None:
    """See that the service gets what was judged here, and is told who asks by the listener."""
    sent = SERVICE.head(request, way)
    assert (sent.method, sent.target) == (request.method, request.target)
    assert values(sent, "host") == ["farpeek"]
    assert len(values(sent, "connection")) == 1
    for name in ("origin", "cookie"):
        assert values(sent, name) == []
    own = ["Bearer the-services-own"] if way is Way.KNOWN else []
    assert values(sent, "authorization") == own
    ticket = ["farpeek.v1, farpeek.ticket.abc"] if way is Way.TICKETED else []
    assert values(sent, "sec-websocket-protocol") == ticket
    assert values(sent, "x-request-id") == values(request, "x-request-id")
    is_stream = request.target == b"/v1/stream" and any(
        each.lower() == "websocket" for each in values(request, "upgrade")
    )
    assert values(sent, "upgrade") == (["websocket"] if is_stream else [])


@given(st.one_of(st.binary(max_size=64), st.text(max_size=20).map(str.encode)))
def test_no_other_body_opens_it(body: bytes) -> None:
    fresh = Door()
    for each in (body, b'{"secret": "\\ud800"}'):
        with pytest.raises(Refused):
            fresh.exchange(each)
    assert fresh.exchange(b'{"secret": "%b", "more": 1}' % fresh.secret.encode())


def test_each_listener_has_a_secret_and_a_token_of_its_own() -> None:
    doors = [Door() for _ in range(4)]
    secrets = [door.secret for door in doors]
    tokens = [door.exchange(b'{"secret": "%b"}' % door.secret.encode()) for door in doors]
    assert len({*secrets, *tokens}) == 8
    with pytest.raises(Refused):
        doors[0].exchange(b'{"secret": "%b"}' % doors[1].secret.encode())
