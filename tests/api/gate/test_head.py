"""Whatever a stranger's head says, it is answered in HTTP/1.x, cheaply, and without a traceback."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.websocket import handshake
from support.wire import parse

if TYPE_CHECKING:
    from support.wire import Served

HOST = b"Host: localhost\r\nConnection: close\r\n"


def get(path: bytes, headers: bytes, version: bytes = b"1.1") -> bytes:
    return b"GET %b HTTP/%b\r\n%b%b\r\n" % (path, version, HOST, headers)


@pytest.mark.parametrize("path", [b"/livez", b"/v1/info"])
@pytest.mark.parametrize(
    "headers",
    [
        b"Expect: \xe0\r\n",
        b"Expect: 100-continue\r\nExpect: 100-continue\r\n",
        b"Origin: http://localhost\r\nOrigin: http://evil.example\r\n",
        b"Authorization: Bearer \xff\r\n",
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 8\r\n",
        b"Sec-WebSocket-Key: \xe0\r\n",
        b"Sec-WebSocket-Protocol: farpeek.v1\r\nSec-WebSocket-Protocol: farpeek.ticket.x\r\n",
        b"Upgrade: \xe0\r\n",
        b"Content-Type: \xe0\r\n",
    ],
)
def test_a_header_that_decides_is_there_once_and_in_ascii(
    served: Served, path: bytes, headers: bytes
) -> None:
    before = served.log
    reply = parse(served.exchange(get(path, headers)))
    assert (reply.status, reply.slug) == (400, "malformed")
    assert served.log == before


def test_a_handshake_with_two_keys_is_malformed(served: Served) -> None:
    before = served.log
    twice = handshake().replace(b"Sec-WebSocket-Key", b"sec-websocket-key: a\r\nSec-WebSocket-Key")
    with served.connect() as sock:
        sock.sendall(twice)
        assert sock.recv(1 << 16).startswith(b"HTTP/1.1 400 ")
    assert served.log == before


@pytest.mark.parametrize("version", [b"2.0", b"0.9", b"1.2"])
def test_no_answer_carries_a_version_that_is_not_spoken(served: Served, version: bytes) -> None:
    received = served.exchange(get(b"/v1/info", b"", version))
    assert received.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert parse(received).slug == "malformed"


def test_a_megabyte_of_accept_costs_nothing_and_leaves_nothing(served: Served) -> None:
    before = cpu_s(served)
    for turn in range(10):
        ranges = (b"a/%d," % turn * 2000)[:8000]
        reply = parse(served.exchange(get(b"/v1/info", b"Accept: %b\r\n" % ranges * 100)))
        assert (reply.status, reply.slug) == (400, "malformed")
    # Looked at, they took 1.5 s each.
    assert cpu_s(served) - before < 1.0


def test_an_accept_that_is_too_long_is_not_looked_at(served: Served) -> None:
    reply = served.request("GET", "/v1/info", headers={"Accept": "a/b, " * 1000 + "*/*"})
    assert (reply.status, reply.slug) == (406, "not-acceptable")
    assert "1024" in reply.json["detail"]


def cpu_s(service: Served) -> float:
    fields = Path(f"/proc/{service.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
