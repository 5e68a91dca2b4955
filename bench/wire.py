"""HTTP with as little client as can be: it must not hide what it measures."""

from __future__ import annotations

import json
import socket
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

_PATIENCE_S = 30.0
_BUFFER = 4 << 20
_LENGTH = b"Content-Length: "
_FRAME = "Accept: application/vnd.farpeek.frame"

Address = Path | tuple[str, int]
"""The path of a unix socket, or host and port."""


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status}: {body.decode()}")
        self.status = status
        self.detail = str(json.loads(body).get("detail", "")) if body else ""


def request(method: str, path: str, body: object = None, *headers: str) -> bytes:
    """Build a request once, so that sending it is all that is left; ``body`` becomes JSON."""
    if body is None:
        return _request(method, path, b"", headers)
    content = json.dumps(body, separators=(",", ":")).encode()
    return _request(method, path, content, ("Content-Type: application/json", *headers))


def readv(target: str, addresses: Sequence[int], lengths: object, **members: object) -> bytes:
    """Build a read; ``lengths`` is one integer for all, or a column."""
    body = {"addresses": list(addresses), "lengths": lengths, **members}
    return request("POST", f"/v1/targets/{target}/readv", body)


def framed(target: str, addresses: Sequence[int], length: int) -> bytes:
    """Build a read that is answered by a frame."""
    body = {"addresses": list(addresses), "lengths": length}
    return request("POST", f"/v1/targets/{target}/readv", body, _FRAME)


def binary(target: str, addresses: Sequence[int], length: int) -> bytes:
    """Build a read in binary, pairs of address and length, that is answered by a frame."""
    pairs = array("Q", [word for each in addresses for word in (each, length)])
    kind = "Content-Type: application/vnd.farpeek.iov"
    return _request("POST", f"/v1/targets/{target}/readv", pairs.tobytes(), (kind, _FRAME))


def to_minimal(pid: int, addresses: Sequence[int], length: int) -> bytes:
    """Build the same read for the minimal server."""
    pairs = array("Q", [word for each in addresses for word in (each, length)])
    return _request("POST", f"/{pid}", pairs.tobytes(), ())


def ranged(target: str, address: int, length: int, *headers: str) -> bytes:
    """Build a bulk read."""
    span = f"Range: bytes={address}-{address + length - 1}"
    return request("GET", f"/v1/targets/{target}/memory", None, span, *headers)


def frame_content(frame: bytes) -> bytes:
    """Take the bytes out of a frame; its object must say that they are all."""
    end = 4 + int.from_bytes(frame[:4], "big")
    found = json.loads(frame[4:end])
    if not found.get("complete"):
        raise ValueError(f"an answer with holes: {found}")
    return frame[end:]


def open_socket(address: Address) -> socket.socket:
    """Connect."""
    if isinstance(address, Path):
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    else:
        opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    opened.settimeout(_PATIENCE_S)
    opened.connect(str(address) if isinstance(address, Path) else address)
    return opened


def _request(method: str, path: str, content: bytes, headers: Sequence[str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers]
    if content:
        lines.append(f"Content-Length: {len(content)}")
    return "\r\n".join([*lines, "\r\n"]).encode() + content


class Link:
    """A socket, and the buffer into which all is received that comes on it."""

    def __init__(self, address: Address, context: ssl.SSLContext | None = None) -> None:
        """``context`` is for TLS."""
        self._socket = open_socket(address)
        if context is not None:
            self._socket = context.wrap_socket(self._socket, server_hostname="127.0.0.1")
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._start = self._filled = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()


class Connection(Link):
    """One connection that is kept alive."""

    def ask(self, message: bytes) -> memoryview:
        """Send a request; the body of the answer, good until the next one."""
        self._socket.sendall(message)
        self._start = self._filled = 0
        return self._answer()

    def ask_all(self, messages: bytes, count: int) -> Iterator[memoryview]:
        """Send ``count`` requests at once, and give the bodies of their answers in order."""
        self._socket.sendall(messages)
        self._start = self._filled = 0
        for _ in range(count):
            yield self._answer()

    def drain(self, message: bytes, sink: Callable[[memoryview], object] = len) -> int:
        """Send a request; hand the body of the answer on, piece by piece; its length."""
        self._socket.sendall(message)
        self._start = self._filled = 0
        begin, end = self._head()
        sink(self._view[begin : self._filled])
        left = end - self._filled
        while left:
            received = self._socket.recv_into(self._view[: min(left, _BUFFER)])
            if not received:
                raise ConnectionResetError(f"the answer ended {left} bytes too early")
            sink(self._view[:received])
            left -= received
        return end - begin

    def json(self, message: bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Send a request; the object of the answer."""
        return json.loads(bytes(self.ask(message)))

    def register(self, pid: int) -> str:
        """Register a process; its target's id."""
        return str(self.json(request("POST", "/v1/targets", {"pid": pid}))["id"])

    def _answer(self) -> memoryview:
        begin, end = self._head()
        while self._filled < end:
            self._receive()
        self._start = end
        return self._view[begin:end]

    def _head(self) -> tuple[int, int]:
        """Receive the head of an answer; where its body begins and ends."""
        buffer, start = self._buffer, self._start
        while (end := buffer.find(b"\r\n\r\n", start, self._filled)) < 0:
            self._receive()
        at = buffer.find(_LENGTH, start, end) + len(_LENGTH)
        begin = end + 4
        end = begin + int(buffer[at : buffer.find(b"\r", at)])
        if not buffer.startswith(b"HTTP/1.1 2", start):
            while self._filled < end:
                self._receive()
            raise Refused(int(buffer[start + 9 : start + 12]), bytes(self._view[begin:end]))
        return begin, end

    def _receive(self) -> None:
        received = self._socket.recv_into(self._view[self._filled :])
        if not received:
            raise ConnectionResetError("the server ended the connection, or its answer is too long")
        self._filled += received
