"""A client of the WebSocket with as little client as can be: its messages are built once."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from bench import wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_TEXT, _BINARY, _PING, _PONG = 0x81, 0x82, 0x89, 0x8A
_SHORT, _LONG = 126, 127  # instead of a length: it follows in 2 bytes, in 8
_KEY = "x3JJHMbDL1EzLkh9GBhXDw=="  # any sixteen bytes
_HANDSHAKE = wire.request(
    "GET",
    "/v1/stream",
    None,
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    f"Sec-WebSocket-Key: {_KEY}",
)


class Answer(NamedTuple):
    """Where in the buffer an answer is: its object, and the bytes behind that."""

    start: int
    middle: int
    end: int


def message(content: object) -> bytes:
    """Build a message; RFC 6455 has clients mask what they send."""
    text = json.dumps(content, separators=(",", ":")).encode()
    return _masked(_TEXT, text)


def read(number: int, target: str, addresses: Sequence[int], length: int) -> bytes:
    """Build a read whose answer has the id ``number``."""
    return message(
        {"id": number, "target": target, "addresses": list(addresses), "lengths": length}
    )


class Stream(wire.Link):
    """One stream."""

    def __init__(self, address: wire.Address) -> None:
        super().__init__(address)
        self._socket.sendall(_HANDSHAKE)
        while (end := self._buffer.find(b"\r\n\r\n", 0, self._filled)) < 0:
            self._receive()
        if not self._buffer.startswith(b"HTTP/1.1 101"):
            raise ConnectionError(bytes(self._buffer[: self._filled]).decode())
        self._start = end + 4

    def send(self, content: bytes) -> None:
        """Send messages."""
        self._socket.sendall(content)

    def ask(self, content: bytes) -> Answer:
        """Send a message and wait for the one that answers it."""
        self._socket.sendall(content)
        for answer in self.answers():
            return answer
        raise AssertionError

    def keep_asking(self, messages: Sequence[bytes], count: int) -> None:
        """Get so many answers, with all of ``messages`` under way at any time.

        The message with the number n must have the id n: it is sent again once that is answered.
        """
        self._socket.sendall(b"".join(messages))
        asked, answered = len(messages), 0
        while answered < count:
            self._receive()
            free = [self.number(each) for each in self._received()]
            answered += len(free)
            again = free[: count - asked]
            asked += len(again)
            self._socket.sendall(b"".join([messages[number] for number in again]))

    def answers(self) -> Iterator[Answer]:
        """Give all answers that come, waiting for more for ever."""
        while True:
            yield from self._received()
            self._receive()

    def number(self, answer: Answer) -> int:
        """Give the id of an answer that is no problem."""
        start, middle, _ = answer
        if self._buffer.find(b'"problem"', start, middle) >= 0:
            raise ValueError(bytes(self._view[start:middle]).decode())
        at = end = self._buffer.find(b'"id":', start, middle) + 5
        while self._buffer[end] in b"0123456789":
            end += 1
        return int(self._buffer[at:end])

    def text(self, answer: Answer) -> bytes:
        """Give an answer's object as it is."""
        return bytes(self._view[answer.start : answer.middle])

    def found(self, answer: Answer) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Give an answer's object."""
        return json.loads(self.text(answer))

    def content(self, answer: Answer) -> bytes:
        """Give the bytes of an answer that has all of them."""
        found = self.found(answer)
        if not found.get("complete"):
            raise ValueError(f"an answer with holes: {found}")
        return bytes(self._view[answer.middle : answer.end])

    def _received(self) -> Iterator[Answer]:
        """Give the answers that are there in full, each once."""
        while (frame := self._frame()) is not None:
            kind, start, end = frame
            self._start = end
            if kind == _BINARY:
                middle = start + 4 + int.from_bytes(self._buffer[start : start + 4], "big")
                yield Answer(start + 4, middle, end)
            elif kind == _PING:
                self._socket.sendall(_masked(_PONG, bytes(self._view[start:end])))
            else:
                raise ConnectionError(f"the stream ended: {bytes(self._view[start:end])!r}")

    def _frame(self) -> tuple[int, int, int] | None:
        """Look at the next frame: its kind, and where its payload begins and ends."""
        at, there = self._start, self._filled - self._start
        if there < 2:
            return None
        length = self._buffer[at + 1]
        more = {_SHORT: 2, _LONG: 8}.get(length, 0)
        begin = at + 2 + more
        if more:
            length = int.from_bytes(self._buffer[at + 2 : begin], "big")
        if there < 2 + more or self._filled < begin + length:
            return None
        return self._buffer[at], begin, begin + length

    def _receive(self) -> None:
        """Wait for more; what was given out before is no longer good."""
        if self._start:
            left = bytes(self._view[self._start : self._filled])
            self._view[: len(left)] = left
            self._start, self._filled = 0, len(left)
        received = self._socket.recv_into(self._view[self._filled :])
        if not received:
            raise ConnectionResetError("the service ended the stream, or its answer is too long")
        self._filled += received


def _masked(kind: int, payload: bytes) -> bytes:
    length = len(payload)
    if length < _SHORT:
        head = bytes([kind, 0x80 | length])
    elif length < 1 << 16:
        head = bytes([kind, 0x80 | _SHORT]) + length.to_bytes(2, "big")
    else:
        head = bytes([kind, 0x80 | _LONG]) + length.to_bytes(8, "big")
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
