"""Connections are bounded, and strangers leave room for probes and for those who are known."""

from __future__ import annotations

import contextlib
import http.client
import resource
import socket
from typing import TYPE_CHECKING

import pytest

from farpeek.errors import TooBusy
from farpeek_api.serving.connections import Connections, affordable
from support.sample import Sample
from support.waiting import PATIENCE_S, until
from support.wire import Served, ask

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Someone:
    """A connection that is idle, or not."""

    def __init__(self, *, idle: bool = True) -> None:
        self.is_idle = idle
        self.dropped = False

    def drop(self) -> None:
        self.dropped = True


def test_a_stranger_makes_room_for_the_next_one() -> None:
    connections = Connections(8, {0})
    strangers = [Someone() for _ in range(5)]
    strangers[0].is_idle = False
    for each in strangers:
        connections.enter(each, 4242)
    assert [each.dropped for each in strangers] == [False, True, False, False, False]
    assert connections.shown() == {"open": 4, "unknown": 4, "most": 8}


def test_strangers_who_are_all_busy_keep_others_of_their_kind_out() -> None:
    connections = Connections(8, {0})
    for _ in range(4):
        connections.enter(Someone(idle=False), None)
    with pytest.raises(TooBusy, match="descriptor limit"):
        connections.enter(Someone(), None)
    connections.enter(Someone(), 0)


def test_one_client_does_not_get_all() -> None:
    connections = Connections(8, {0, 1})
    mine = [Someone() for _ in range(6)]
    for each in mine:
        connections.enter(each, 0)
    with pytest.raises(TooBusy, match="6 connections already"):
        connections.enter(Someone(), 0)
    connections.enter(Someone(), 1)
    connections.leave(mine[0])
    connections.enter(Someone(), 0)
    assert connections.open == 7


def test_who_shows_who_it_is_is_no_stranger_any_more() -> None:
    connections = Connections(8, {0})
    member = Someone()
    connections.enter(member, None)
    connections.know(member, "token 1")
    connections.know(member, "token 2")
    assert connections.shown()["unknown"] == 0
    connections.leave(member)
    connections.leave(member)
    assert connections.open == 0


def test_there_is_room_beside_the_most_targets() -> None:
    assert affordable(256, 128) == 64
    assert affordable(1 << 20, 16_384) == 4096


@pytest.fixture
def narrow(folder: Path) -> Iterator[Served]:
    """Run a service that may have 256 descriptors."""
    with Served(
        folder, "--listen", "http://127.0.0.1:0", under=["prlimit", "--nofile=256"]
    ) as service:
        yield service


def tcp(service: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), PATIENCE_S)


def test_idle_strangers_keep_neither_probes_nor_callers_out(narrow: Served) -> None:
    token = (narrow.path.parent / "token").read_text().strip()
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(tcp(narrow))
        for _ in range(5):
            assert narrow.request_tcp("GET", "/livez").status == 200
            headers = {"Authorization": f"Bearer {token}"}
            assert narrow.request_tcp("GET", "/v1/info", headers).status == 200
            assert narrow.request("GET", "/readyz").status == 200
        shown = narrow.request("GET", "/v1/info").json["connections"]
        assert shown["unknown"] <= shown["most"] // 2
        assert shown["open"] <= shown["most"]
    assert "Traceback" not in narrow.log


def test_a_client_with_too_many_connections_is_told(narrow: Served) -> None:
    with contextlib.ExitStack() as stack:
        most = narrow.request("GET", "/v1/info").json["connections"]["most"]
        for _ in range(most):
            stack.enter_context(narrow.connect())
        reply = narrow.request("GET", "/livez")
        assert (reply.status, reply.slug) == (429, "too-busy")
        assert reply.headers["retry-after"]
        assert "LimitNOFILE" in reply.json["detail"]
        assert narrow.request_tcp("GET", "/livez").status == 200
    until(lambda: narrow.request("GET", "/livez").status == 200, "there is room again")


@pytest.mark.parametrize("what", ["register", "hole"])
def test_no_descriptor_left_is_too_busy_and_neither_a_failure_nor_a_false_reason(
    narrow: Served, what: str
) -> None:
    with Sample() as process, narrow.connect() as open_already:
        target = narrow.register(process.pid)
        narrow.read(target, 0x1000, 8)
        open_already.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert open_already.recv(1 << 16).startswith(b"HTTP/1.1 200")
        soft, hard = resource.prlimit(narrow.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(narrow.process.pid, resource.RLIMIT_NOFILE, (5, hard))
        try:
            connection = http.client.HTTPConnection("localhost")
            connection.sock = open_already
            if what == "register":
                reply = ask(connection, "POST", "/v1/targets", {"pid": process.pid})
            else:
                hole = {"addresses": [0x1000], "lengths": 8}
                reply = ask(connection, "POST", f"/v1/targets/{target}/readv", hole)
        finally:
            resource.prlimit(narrow.process.pid, resource.RLIMIT_NOFILE, (soft, hard))
        assert (reply.status, reply.slug) == (429, "too-busy")
        assert "descriptor limit" in reply.json["detail"]
        assert "Traceback" not in narrow.log
