"""A WebSocket client down to single bytes: RFC 6455, as much of it as tests need."""

from __future__ import annotations

import base64
import json
import os
import select
import struct
from typing import TYPE_CHECKING, Any

from support import watching
from support.ending import Ending
from support.frames import take_apart

if TYPE_CHECKING:
    import socket

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
KEY = base64.b64encode(bytes(range(16))).decode()
UPGRADE = {
    "Host": "localhost",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}


def handshake(**changed: str | None) -> bytes:
    """Write the request; ``changed`` headers (`_` for `-`) replace those of `UPGRADE`."""
    headers: dict[str, str | None] = dict(UPGRADE)
    headers.update({name.replace("_", "-"): value for name, value in changed.items()})
    lines = [f"{name}: {value}\r\n" for name, value in headers.items() if value is not None]
    return f"GET /v1/stream HTTP/1.1\r\n{''.join(lines)}\r\n".encode()


def frame(payload: bytes, opcode: int = TEXT, *, fin: bool = True) -> bytes:
    """Write a masked frame."""
    first = opcode | (0x80 if fin else 0)
    if len(payload) < 126:
        head = struct.pack(">BB", first, 0x80 | len(payload))
    elif len(payload) < 1 << 16:
        head = struct.pack(">BBH", first, 0x80 | 126, len(payload))
    else:
        head = struct.pack(">BBQ", first, 0x80 | 127, len(payload))
    mask = os.urandom(4)
    padded = payload + bytes(-len(payload) % 4)
    key = int.from_bytes(mask * (len(padded) // 4), "big")
    masked = (int.from_bytes(padded, "big") ^ key).to_bytes(len(padded), "big")
    return head + mask + masked[: len(payload)]


def read(number: int, target: str, address: int, length: int = 8, **more: object) -> dict[str, Any]:
    """Write a message that asks for one region."""
    return {"id": number, "target": target, "addresses": [address], "lengths": length, **more}


def slug(shown: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    """Name the problem that a message tells of."""
    return str(shown["problem"]["type"]).removeprefix("urn:farpeek:problem:")


class WebSocket(Ending):
    """An open stream. ``sock`` is connected already."""

    def __init__(self, sock: socket.socket, request: bytes | None = None) -> None:
        self.sock = sock
        self._received = bytearray()
        sock.sendall(request or handshake())
        while b"\r\n\r\n" not in self._received:
            self._receive()
        head, _, rest = bytes(self._received).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        self._received = bytearray(rest)

    def end(self) -> None:
        self.sock.close()

    def send(self, message: object) -> None:
        """Send a message; what is no bytes goes as JSON."""
        payload = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.sock.sendall(frame(payload))

    def receive(self) -> tuple[int, bytes]:
        """Return opcode and payload of the next frame, whatever it is."""
        first, second = self._take(2)
        assert first & 0xF0 == 0x80, "frames are whole, and not compressed"
        assert not second & 0x80, "a server masks nothing"
        length = second
        if length == 126:
            (length,) = struct.unpack(">H", self._take(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self._take(8))
        return first & 0x0F, self._take(length)

    def has_more(self, within_s: float) -> bool:
        """Wait so long, at most, until something has come."""
        return bool(self._received or select.select([self.sock], [], [], max(0.0, within_s))[0])

    def next(self) -> tuple[Any, bytes]:
        """Return the object of the next answer, and its bytes; pings before it are answered."""
        opcode, payload = self.receive()
        while opcode == PING:
            self.sock.sendall(frame(payload, PONG))
            opcode, payload = self.receive()
        assert opcode == BINARY, (opcode, payload)
        shown, data = take_apart(payload)
        watching.saw_object("StreamAnswer", shown)
        return shown, data

    def ask(self, message: object) -> tuple[Any, bytes]:
        """Send a message, and return the next answer."""
        self.send(message)
        return self.next()

    def close_reason(self) -> tuple[int, str]:
        """Pass over all frames up to the close; its code and reason."""
        while True:
            opcode, payload = self.receive()
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big"), payload[2:].decode()

    def _take(self, size: int) -> bytes:
        while len(self._received) < size:
            self._receive()
        taken = bytes(self._received[:size])
        del self._received[:size]
        return taken

    def _receive(self) -> None:
        piece = self.sock.recv(1 << 16)
        if not piece:
            raise EOFError("the service has closed the connection")
        self._received += piece
