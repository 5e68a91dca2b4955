"""A real `farpeek serve`, spoken to over real sockets, down to single bytes."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
from typing import TYPE_CHECKING, Any

from support import watching
from support.ending import Ending
from support.serving import Reply, Service, UnixConnection, ask
from support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from support.sample import Sample

__all__ = [
    "Events",
    "Reply",
    "Served",
    "UnixConnection",
    "ask",
    "big_read",
    "parse",
    "readv_request",
    "receive_all",
]


class Served(Service):
    """A service that is spoken to over TCP as well, and in bytes."""

    @property
    def port(self) -> int:
        """The TCP port it listens on."""
        found = re.search(r"listening on http://\S+:(\d+)", self.log)
        assert found is not None, self.log
        return int(found[1])

    def connect(self) -> socket.socket:
        """Open a connection to its unix socket, for bytes."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(PATIENCE_S)
        sock.connect(str(self.path))
        return sock

    def request_tcp(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        host: str = "127.0.0.1",
        body: bytes | None = None,
    ) -> Reply:
        """Put one request to its TCP listener."""
        connection = http.client.HTTPConnection(host, self.port, timeout=PATIENCE_S)
        return ask(connection, method, path, body, headers)

    def exchange(self, *parts: bytes) -> bytes:
        """Send bytes as they are; all that comes back until the service closes."""
        with self.connect() as sock:
            for part in parts:
                sock.sendall(part)
            return receive_all(sock)


def receive_all(sock: socket.socket) -> bytes:
    """Receive until the other side closes."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(1 << 16):
            received += piece
    return received


def parse(received: bytes) -> Reply:
    """Take an answer that came as bytes apart."""
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    pairs = (line.partition(": ") for line in lines)
    headers = {name.lower(): value for name, _, value in pairs}
    return Reply(int(status.split()[1]), headers, body)


class Events(Ending):
    """An open stream of events."""

    def __init__(
        self,
        path: Path,
        query: str = "",
        last_id: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._connection = UnixConnection(path)
        headers = {**(headers or {}), **({} if last_id is None else {"Last-Event-ID": last_id})}
        self._connection.request("GET", f"/v1/events{query}", headers=headers)
        self.response = self._connection.getresponse()

    def end(self) -> None:
        self.response.close()
        self._connection.close()

    def next_block(self) -> list[str]:
        """Return the lines up to the next empty one; nothing at the end."""
        lines: list[str] = []
        while line := self.response.readline().decode().rstrip("\n"):
            lines.append(line)
        return lines

    def next(self) -> tuple[int, str, Any]:
        """Return number, kind and data of the next event, passing over comments."""
        while (block := self.next_block()) and block[0].startswith(":"):
            pass
        fields = dict(line.split(": ", 1) for line in block)
        data = json.loads(fields["data"])
        watching.saw_object("LostEvents" if fields["event"] == "lost" else "TargetEvent", data)
        return int(fields["id"]), fields["event"], data


def readv_request(target: str, body: object) -> bytes:
    """Write a request for a readv, as it goes over a connection."""
    payload = json.dumps(body)
    return (
        f"POST /v1/targets/{target}/readv HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n{payload}"
    ).encode()


def big_read(target: str, sample: Sample) -> bytes:
    """Write a request for 8 MiB, whose answer is more than a connection holds."""
    return readv_request(target, {"addresses": [sample.address], "lengths": 8 << 20})
