"""Each bound holds: whoever goes past it is told which one it is, and nobody else notices."""

from __future__ import annotations

import json
import mmap
import os
import resource
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from farpeek_api.serving.bounds import Bounds
from support.sample import Sample
from support.targets import start
from support.waiting import until
from support.websocket import UPGRADE, WebSocket, frame, handshake
from support.wire import Events, Served, parse, receive_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.targets import Target
    from support.wire import Reply

SMALL = 1000
"""Bytes that are within all bounds here."""

BY_SETTINGS = {
    "nowait_threads": 2,
    "bulk_threads": 1,
    "target_threads": 1,
    "target_waiting": 1,
    "max_targets": 4,
    "max_client_targets": 3,
    "deadline": 0.5,
    "max_request_bytes": 1 << 20,
    "max_inflight_bytes": 4 << 20,
    "max_client_inflight_bytes": 1 << 20,
    "max_regions": 10,
    "max_body_bytes": 2048,
    "max_head_bytes": 1024,
    "head_timeout": 0.4,
    "idle_timeout": 0.8,
    "max_client_streams": 2,
    "max_client_event_streams": 2,
    "max_subscriptions": 4,
    "max_stream_subscriptions": 2,
    "max_client_subscriptions": 3,
    "exited_ttl": 0.3,
}


@pytest.fixture(scope="module")
def narrow() -> Iterator[Served]:
    """Run a service with little of everything."""
    from support.folders import open_folder  # noqa: PLC0415 - of this fixture alone

    flags = [
        word
        for name, value in BY_SETTINGS.items()
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]
    with open_folder() as folder, Served(folder, *flags) as service:
        yield service


@pytest.fixture(scope="module")
def process() -> Iterator[Sample]:
    with Sample(3 << 20) as started:
        yield started


@pytest.fixture
def target(narrow: Served, process: Sample) -> Iterator[str]:
    registered = narrow.register(process.pid)
    yield registered
    narrow.request("DELETE", f"/v1/targets/{registered}?all=true")


@pytest.fixture
def hung() -> Iterator[Target]:
    """Start a target with pages that never come."""
    if os.geteuid() != 0:
        pytest.skip("userfaultfd needs root")
    with start("uffd", 40) as process:
        yield process


def readv(service: Served, target: str, **members: object) -> Reply:
    return service.request("POST", f"/v1/targets/{target}/readv", members)


def begin(service: Served, target: str, address: int) -> socket.socket:
    """Ask for a page, and wait for nothing."""
    sock = service.connect()
    body = json.dumps({"addresses": [address], "lengths": 8}).encode()
    head = (
        f"POST /v1/targets/{target}/readv HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    sock.sendall(head.encode() + body)
    return sock


def told(reply: Reply, status: int, slug: str, name: str = "") -> None:
    """Fail unless it is that problem, and names that setting."""
    assert (reply.status, reply.slug) == (status, slug), reply.json
    assert name in reply.json["detail"], reply.json


def test_every_bound_is_a_setting_and_is_shown(narrow: Served) -> None:
    shown = narrow.request("GET", "/v1/info").json["limits"]
    for name in Bounds.model_fields:
        of_time = name in {"deadline", "exited_ttl", "head_timeout", "idle_timeout"}
        value = shown[f"{name}_s" if of_time else name]
        assert isinstance(value, int | float), name
        assert value == BY_SETTINGS.get(name, value), name
    assert set(BY_SETTINGS) <= set(Bounds.model_fields)


def test_what_nothing_is_said_of_is_derived_and_shown(served: Served) -> None:
    shown = served.request("GET", "/v1/info").json["limits"]
    for part, whole in [
        ("max_client_targets", "max_targets"),
        ("max_client_connections", "max_connections"),
        ("max_client_subscriptions", "max_subscriptions"),
    ]:
        assert shown[part] == shown[whole] - shown[whole] // 4
    assert shown["max_client_inflight_bytes"] == shown["max_inflight_bytes"] // 2


def test_a_client_may_hold_so_many_targets_and_all_may_hold_some_more(folder: Path) -> None:
    flags = ["--listen", "http://127.0.0.1:0", "--max-targets", "4", "--max-client-targets", "3"]
    with Served(folder, *flags) as service, ExitStack() as stack:
        token = (service.path.parent / "token").read_text().strip()
        other = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

        def register(pid: int, headers: dict[str, str] | None = None) -> Reply:
            if headers is None:
                return service.request("POST", "/v1/targets", {"pid": pid})
            body = json.dumps({"pid": pid}).encode()
            return service.request_tcp("POST", "/v1/targets", headers, body=body)

        pids = [stack.enter_context(Sample(4096)).pid for _ in range(5)]
        ids = [register(pid).json["id"] for pid in pids[:3]]
        told(register(pids[3]), 429, "too-busy", "--max-client-targets")
        assert register(pids[0]).status == 200, "one that it holds already is none more"
        assert register(pids[3], other).status == 201
        told(register(pids[4], other), 429, "too-busy", "--max-targets")
        told(register(pids[3]), 429, "too-busy", "--max-client-targets")
        assert service.request("DELETE", f"/v1/targets/{ids[0]}").status == 204
        assert register(pids[3]).status == 200


def test_a_match_holds_no_more_targets_than_its_client_may(narrow: Served) -> None:
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(start("plain"))
        held: Any = narrow.request("POST", "/v1/matches", {"match": {"comm": "plain"}})
        assert held.status == 201, held
        listed = narrow.request("GET", "/v1/targets?state=running").json["targets"]
        assert len(listed) == BY_SETTINGS["max_client_targets"]
        assert narrow.request("DELETE", f"/v1/matches/{held.json['id']}").status == 204


def test_exited_targets_are_forgotten_after_their_time(narrow: Served) -> None:
    with Sample(4096) as process:
        target = narrow.register(process.pid)
    until(
        lambda: narrow.request("GET", f"/v1/targets/{target}").status == 404,
        "the target is forgotten",
    )


def test_a_request_is_as_large_as_requests_may_be(
    narrow: Served, target: str, process: Sample
) -> None:
    at = process.address
    told(readv(narrow, target, addresses=[at] * 11, lengths=1), 413, "too-large", "10")
    told(
        readv(narrow, target, addresses=[at], lengths=(1 << 20) + 1),
        413,
        "too-large",
        "--max-request-bytes",
    )
    assert readv(narrow, target, addresses=[at] * 10, lengths=8, encoding="none").status == 200
    told(readv(narrow, target, addresses=[at], lengths=8, x="x" * 2048), 413, "too-large", "2048")


def test_headers_are_as_large_as_headers_may_be(narrow: Served) -> None:
    assert narrow.request("GET", "/v1/info", headers={"X-Much": "x" * 800}).status == 200
    reply = narrow.request("GET", "/v1/info", headers={"X-Much": "x" * 1024})
    told(reply, 400, "malformed", "--max-head-bytes")


def test_a_head_has_its_time_however_often_a_byte_comes(narrow: Served) -> None:
    with narrow.connect() as sock:
        sock.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        sock.settimeout(0.02)
        received = b""
        while not received:
            sock.sendall(b"x")
            try:
                received = sock.recv(1)
            except TimeoutError:
                continue
        sock.settimeout(60)
        told(parse(received + receive_all(sock)), 408, "slow-request", "--head-timeout")


def test_a_silent_connection_has_its_time(narrow: Served) -> None:
    with narrow.connect() as sock:
        sock.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert receive_all(sock).startswith(b"HTTP/1.1 200 ")  # and then the end


def test_a_client_has_so_many_connections(folder: Path) -> None:
    with Served(folder, "--max-client-connections", "7") as service:
        with ExitStack() as stack:
            for _ in range(7):
                stack.enter_context(service.connect())
            told(service.request("GET", "/livez"), 429, "too-busy", "--max-client-connections")
        until(lambda: service.request("GET", "/livez").status == 200, "there is room again")


def test_all_have_so_many_connections_and_no_more_than_descriptors_allow(folder: Path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with Served(folder, "--max-connections", "4", "--max-client-connections", "4") as service:
        with ExitStack() as stack:
            for _ in range(4):
                stack.enter_context(service.connect())
            told(service.request("GET", "/livez"), 429, "too-busy", "--max-connections")
        until(lambda: service.request("GET", "/livez").status == 200, "there is room again")
    (folder / "log").unlink()
    with Served(folder, "--max-connections", str(1 << 20)) as service:
        assert service.request("GET", "/v1/info").json["limits"]["max_connections"] < hard


def test_a_client_has_so_many_streams(narrow: Served) -> None:
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(WebSocket(narrow.connect()))
        reply = narrow.request("GET", "/v1/stream", headers=UPGRADE)
        told(reply, 429, "too-busy", "--max-client-streams")
    until(lambda: _upgrades(narrow), "there is room again")


def _upgrades(service: Served) -> bool:
    with service.connect() as sock:
        sock.sendall(handshake())
        return sock.recv(12) == b"HTTP/1.1 101"


def test_a_client_follows_events_so_many_times(narrow: Served) -> None:
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(Events(narrow.path))
        told(narrow.request("GET", "/v1/events"), 429, "too-busy", "--max-client-event-streams")
    until(lambda: _follows(narrow), "there is room again")


def _follows(service: Served) -> bool:
    with Events(service.path) as opened:
        return opened.response.status == 200


def test_subscriptions_are_counted_by_stream_by_client_and_in_all(
    narrow: Served, target: str, process: Sample
) -> None:
    def subscribe(ws: WebSocket, number: int) -> str:
        wanted = {"target": target, "addresses": [process.address], "lengths": 8, "hz": 0.001}
        ws.send({"id": number, "subscribe": wanted})
        while "subscribed" not in (shown := ws.next()[0]):
            if "problem" in shown:
                return str(shown["problem"]["detail"])
        return ""

    with WebSocket(narrow.connect()) as one, WebSocket(narrow.connect()) as other:
        assert [subscribe(one, number) for number in (1, 2)] == ["", ""]
        assert "--max-stream-subscriptions" in subscribe(one, 3)
        assert subscribe(other, 1) == ""
        assert "--max-client-subscriptions" in subscribe(other, 2)


def test_all_subscriptions_have_an_end(folder: Path, process: Sample) -> None:
    flags = ["--max-subscriptions", "2", "--max-client-subscriptions", "8"]
    with Served(folder, *flags) as service, WebSocket(service.connect()) as ws:
        target = service.register(process.pid)
        wanted = {"target": target, "addresses": [process.address], "lengths": 8, "hz": 0.001}
        for number in range(3):
            ws.send({"id": number, "subscribe": wanted})
        while "problem" not in (shown := ws.next()[0]):
            pass
        assert shown["id"] == 2
        assert "--max-subscriptions" in shown["problem"]["detail"]


def test_a_client_holds_so_many_bytes(narrow: Served, target: str, process: Sample) -> None:
    body = {"addresses": [process.address], "lengths": 600_000}
    text = json.dumps(body).encode()
    path = f"/v1/targets/{target}/readv"
    sent = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(text)}\r\n\r\n"
    ).encode() + text
    with narrow.connect() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(sent)
        assert sock.recv(12) == b"HTTP/1.1 200"
        reply = narrow.request("POST", path, body)
        told(reply, 429, "too-busy", "--max-client-inflight-bytes")
        assert readv(narrow, target, addresses=[process.address], lengths=8).status == 200
    until(lambda: narrow.request("POST", path, body).status == 200, "the bytes are back")


def test_a_target_has_so_many_threads_and_so_many_may_wait_for_them(
    narrow: Served, hung: Target
) -> None:
    target = narrow.register(hung.pid)
    with ExitStack() as stack:
        asked = [
            stack.enter_context(begin(narrow, target, hung["missing"] + mmap.PAGESIZE * page))
            for page in range(3)
        ]
        until(lambda: _threads(narrow, "busy", "stuck") == 1, "one hangs, and no other")
        replies = sorted((parse(receive_all(sock)) for sock in asked), key=lambda each: each.status)
    told(replies[0], 429, "too-busy", "--target-waiting")
    assert {each.slug for each in replies[1:]} <= {"deadline", "target-stuck"}


def _threads(service: Served, *kinds: str) -> int:
    shown = service.request("GET", "/v1/info").json["threads"]
    return sum(shown[kind] for kind in kinds)


def test_threads_that_hang_are_replaced_so_many_times(folder: Path, hung: Target) -> None:
    flags = ["--access-threads", "1", "--max-stuck-threads", "1", "--deadline", "0.5"]
    with Served(folder, *flags) as service, Sample(4096) as process, ExitStack() as stack:
        target, other = service.register(hung.pid), service.register(process.pid)
        for page in range(2):
            stack.enter_context(begin(service, target, hung["missing"] + mmap.PAGESIZE * page))
        until(lambda: _threads(service, "stuck") == 2, "both hang, one of them replaced")
        read = {"addresses": [process.address], "lengths": 8}
        reply = service.request("POST", f"/v1/targets/{other}/readv", read)
        assert reply.status in {429, 503, 504}, reply.json
        nowait = service.request("POST", f"/v1/targets/{other}/readv", {**read, "mode": "nowait"})
        assert nowait.status == 200, "who never waits has threads of its own"


@pytest.mark.parametrize("way", ["frames", "messages"])
def test_one_bound_of_bodies_is_for_all_that_comes_in(narrow: Served, way: str) -> None:
    if way == "frames":
        body = b"x" * 4096
        reply = narrow.request("POST", "/v1/readv", body, {"Content-Type": "application/json"})
        told(reply, 413, "too-large", "--max-body-bytes")
    else:
        with WebSocket(narrow.connect()) as ws:
            ws.sock.sendall(frame(b" " * 4096))
            assert ws.close_reason()[0] == 1009
