"""HTTP over a unix socket with as little client as can be: it must not hide what it measures."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

_PATIENCE_S = 30.0
_BUFFER = 4 << 20
_LENGTH = b"Content-Length: "


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status}: {body.decode()}")
        self.status = status
        self.detail = str(json.loads(body).get("detail", "")) if body else ""


def request(method: str, path: str, body: object = None) -> bytes:
    """Build a request once, so that sending it is all that is left."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
    if body is None:
        return f"{head}\r\n".encode()
    content = json.dumps(body, separators=(",", ":"))
    head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
    return f"{head}\r\n{content}".encode()


def readv(target: str, addresses: Sequence[int], lengths: object, **members: object) -> bytes:
    """Build a read; ``lengths`` is one integer for all, or a column."""
    body = {"addresses": list(addresses), "lengths": lengths, **members}
    return request("POST", f"/v1/targets/{target}/readv", body)


class Connection:
    """One connection that is kept alive."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(_PATIENCE_S)
        self._socket.connect(str(path))
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

    def json(self, message: bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Send a request; the object of the answer."""
        return json.loads(bytes(self.ask(message)))

    def register(self, pid: int) -> str:
        """Register a process; its target's id."""
        return str(self.json(request("POST", "/v1/targets", {"pid": pid}))["id"])

    def _answer(self) -> memoryview:
        buffer, start = self._buffer, self._start
        while (end := buffer.find(b"\r\n\r\n", start, self._filled)) < 0:
            self._receive()
        at = buffer.find(_LENGTH, start, end) + len(_LENGTH)
        begin = end + 4
        end = begin + int(buffer[at : buffer.find(b"\r", at)])
        while self._filled < end:
            self._receive()
        self._start = end
        if not buffer.startswith(b"HTTP/1.1 2", start):
            raise Refused(int(buffer[start + 9 : start + 12]), bytes(self._view[begin:end]))
        return self._view[begin:end]

    def _receive(self) -> None:
        received = self._socket.recv_into(self._view[self._filled :])
        if not received:
            raise ConnectionResetError("the server ended the connection, or its answer is too long")
        self._filled += received
