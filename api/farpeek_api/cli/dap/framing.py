"""Messages of the Debug Adapter Protocol: a head with a length, and a JSON object."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

MOST_HEAD: Final = 4096
MOST_BODY: Final = 4 << 20
"""Bytes of a message."""


class NotDap(Exception):
    """What came is no message; what follows cannot be found any more."""


class Channel:
    """Messages in, one by one; messages out, from any thread."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self._source = source
        self._sink = sink
        self._sending = threading.Lock()
        self._sent = 0

    def receive(self) -> Mapping[str, object] | None:
        """Wait for a message; None at the end. Raises NotDap."""
        length = self._length()
        if length is None:
            return None
        body = self._source.read(length)
        if len(body) < length:
            return None
        try:
            message: object = json.loads(body)
        except (ValueError, RecursionError):
            raise NotDap("a message is no JSON") from None
        if not isinstance(message, dict):
            raise NotDap("a message is no JSON object")
        return cast("dict[str, object]", message)

    def _length(self) -> int | None:
        """Read a head; None at the end."""
        length: int | None = None
        left = MOST_HEAD
        while line := self._source.readline(left):
            left -= len(line)
            if line in (b"\r\n", b"\n"):
                if length is None:
                    raise NotDap("a head has no Content-Length")
                return length
            if left <= 0 or not line.endswith(b"\n"):
                raise NotDap(f"a head is over {MOST_HEAD} bytes, or cut off")
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-length":
                length = _number(value.strip())
        return None

    def event(self, name: str, body: Mapping[str, object]) -> None:
        """Tell of something."""
        self._send({"type": "event", "event": name, "body": body})

    def respond(self, request: Mapping[str, object], body: Mapping[str, object]) -> None:
        """Answer a request."""
        self._send({**_of(request), "success": True, "body": body})

    def refuse(self, request: Mapping[str, object], text: str) -> None:
        """Answer that it cannot be done; ``text`` may hold anything."""
        # In a format, braces would name variables.
        shown = {"id": 1, "format": "{text}", "variables": {"text": text}, "showUser": True}
        self._send({**_of(request), "success": False, "message": text, "body": {"error": shown}})

    def _send(self, message: Mapping[str, object]) -> None:
        with self._sending:
            self._sent += 1
            body = json.dumps({"seq": self._sent, **message}).encode()
            self._sink.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
            self._sink.flush()


def _of(request: Mapping[str, object]) -> dict[str, object]:
    number = request.get("seq")
    return {
        "type": "response",
        "request_seq": number if isinstance(number, int) else 0,
        "command": str(request.get("command")),
    }


def _number(value: bytes) -> int:
    if not (value.isdigit() and len(value) < 10 and int(value) <= MOST_BODY):  # noqa: PLR2004 - digits
        raise NotDap(f"Content-Length is no number up to {MOST_BODY}")
    return int(value)
