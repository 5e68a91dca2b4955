"""The listener of `farpeek ui`: a way for the page that it serves, and for nobody else."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from support.ui import Ui
from support.websocket import handshake
from support.wire import Served, parse, receive_all

STRANGER = 4242

_AS_STRANGER = """
import os, socket, sys
os.setgroups([])
os.setresgid(*[int(sys.argv[1])] * 3)
os.setresuid(*[int(sys.argv[1])] * 3)
with socket.socket() as sock:
    sock.connect(("127.0.0.1", int(sys.argv[2])))
    try:
        sock.sendall(sys.stdin.buffer.read())
        print(len(sock.recv(1 << 16)))
    except ConnectionError:
        print(0)
"""


def test_the_page_is_there_for_its_user_before_it_has_shown_anything(ui: Ui) -> None:
    for path, kind in (("/", "text/html"), ("/ui/app.js", "text/javascript")):
        reply = ui.request("GET", path)
        assert reply.status == 200
        assert reply.headers["content-type"].startswith(kind)
        assert "require-trusted-types-for" in reply.headers["content-security-policy"]


def test_a_secret_is_good_once_and_for_a_token(served: Served) -> None:
    with Ui(f"unix:{served.path}") as ui:
        secret = ui.fragment["secret"]
        wrong = ui.exchange("x" * len(secret))
        assert (wrong.status, wrong.slug) == (401, "unauthenticated")
        token = ui.exchange(secret).json["token"]
        assert token != secret
        again = ui.exchange(secret)
        assert (again.status, again.slug) == (401, "unauthenticated")
        assert "run `farpeek ui` again" in again.json["detail"]
        known = {"Authorization": f"Bearer {token}"}
        assert ui.request("GET", "/v1/info", headers=known).status == 200
        assert ui.request("GET", "/v1/info", headers=known).status == 200, "the token stays good"
        for shown in (wrong, again):
            assert secret.encode() not in shown.body
            assert token.encode() not in shown.body


@pytest.mark.parametrize(
    "body", [b"", b"x", b"[]", b'{"secret": 1}', b'{"token": "x"}', b"[" * 4000, b" " * 5000]
)
def test_what_is_no_secret_is_told_what_would_be_one(ui: Ui, body: bytes) -> None:
    reply = ui.request("POST", "/ui-session", body)
    assert (reply.status, reply.slug) == (400, "malformed")


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Bearer", "Basic eDp5", "TOKEN"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        *[("GET", "/v1/info"), ("GET", "/livez"), ("POST", "/"), ("GET", "/ui/../v1/info")],
        *[("GET", "/ui/.."), ("GET", "//"), ("GET", "/v1/stream"), ("GET", "/ui-session")],
        *[("GET", "/ui/%2e%2e/v1/info"), ("POST", "/v1/stream/tickets")],
    ],
)
def test_without_the_token_nothing_gets_to_the_service(
    ui: Ui, method: str, path: str, authorization: str | None
) -> None:
    """The service would take it: the listener is the service's own user, or root."""
    if authorization is not None:
        authorization = authorization.replace("TOKEN", ui.fragment["secret"])
    headers = {} if authorization is None else {"Authorization": authorization}
    reply = ui.request(method, path, headers=headers)
    assert (reply.status, reply.slug) == (401, "unauthenticated")
    assert reply.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "headers",
    [
        *[{"Host": "evil.example"}, {"Host": "127.0.0.1.evil.example"}, {"Host": "192.0.2.1"}],
        *[{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"}],
        *[{"Origin": "https://HOST"}, {"Host": "localhost", "Origin": "http://HOST"}],
    ],
)
@pytest.mark.parametrize("path", ["/", "/ui/app.js", "/v1/info", "/ui-session"])
def test_pages_of_others_and_names_of_others_get_nothing(
    ui: Ui, path: str, headers: dict[str, str]
) -> None:
    sent = {name: each.replace("HOST", ui.host) for name, each in headers.items()}
    method = "POST" if path == "/ui-session" else "GET"
    body = {"secret": ui.fragment["secret"]} if method == "POST" else None
    reply = ui.request(method, path, body, {**ui.known, **sent})
    assert (reply.status, reply.slug) == (403, "forbidden")
    assert not [each for each in reply.headers if each.startswith("access-control")]


def test_its_own_page_gets_through_by_any_port(ui: Ui) -> None:
    """Through ssh -L it may have another one."""
    for host in (ui.host, f"localhost:{ui.port}", "localhost:1234"):
        headers = {"Host": host, "Origin": f"http://{host}"}
        assert ui.request("GET", "/v1/info", headers={**ui.known, **headers}).status == 200


@pytest.mark.skipif(os.geteuid() != 0, reason="acts as another user")
def test_another_user_of_this_host_is_sent_away(ui: Ui) -> None:
    ours = f"Host: {ui.host}\r\nConnection: close\r\n"
    token = f"Authorization: Bearer {ui.token}\r\n"
    for request in (f"GET / HTTP/1.1\r\n{ours}", f"GET /v1/info HTTP/1.1\r\n{ours}{token}"):
        done = subprocess.run(
            [sys.executable, "-c", _AS_STRANGER, str(STRANGER), str(ui.port)],
            input=f"{request}\r\n".encode(),
            capture_output=True,
            check=True,
            cwd="/",
        )
        assert done.stdout.strip() == b"0"


def test_requests_behind_one_that_is_let_in_are_judged_each(ui: Ui) -> None:
    ours = f"Host: {ui.host}\r\n"
    with ui.connect() as sock:
        known = f"Authorization: Bearer {ui.token}\r\n"
        sock.sendall(
            f"GET /ui/app.js HTTP/1.1\r\n{ours}\r\n"
            f"GET /v1/info HTTP/1.1\r\n{ours}{known}\r\n"
            f"GET /v1/targets HTTP/1.1\r\n{ours}Connection: close\r\n\r\n".encode()
        )
        received = receive_all(sock)
    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"200", b"200", b"401"]
    assert b'"targets":[' not in received


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v1/info HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\n\r\n",
        b"GET /v1/info HTTP/1.1\r\nHost: HOST\r\nAuthorization: a\r\nAuthorization: b\r\nEND",
        b"GET http://evil.example/v1/info HTTP/1.1\r\nHost: HOST\r\nEND",
        b"GET /v1/info HTTP/1.1\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: %b\r\n\r\n" % (b"x" * 40_000),
        b"POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
)
def test_what_can_be_read_in_two_ways_is_not_read(ui: Ui, head: bytes) -> None:
    with ui.connect() as sock:
        end = b"Connection: close\r\n\r\n"
        sock.sendall(head.replace(b"HOST", ui.host.encode()).replace(b"END", end))
        reply = parse(receive_all(sock))
    assert (reply.status, reply.slug) == (400, "malformed")


def test_a_stream_needs_a_ticket_that_the_service_knows(ui: Ui) -> None:
    """On a unix socket, the service would take one without."""
    used = ui.with_ticket()
    ui.websocket(**used).end()
    for headers in (
        {},
        used,
        {"Sec_WebSocket_Protocol": "farpeek.v1"},
        {"Sec_WebSocket_Protocol": "farpeek.v1, farpeek.ticket."},
        {"Sec_WebSocket_Protocol": f"farpeek.v1, farpeek.ticket.{'x' * 43}"},
        {**ui.with_ticket(), "Origin": "http://evil.example"},
    ):
        with ui.connect() as sock:
            sock.sendall(handshake(Host=ui.host, **headers))
            assert parse(sock.recv(1 << 16)).status in (401, 403)
