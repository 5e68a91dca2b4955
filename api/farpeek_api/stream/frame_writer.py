"""Frames to the client of a WebSocket, as it takes them, from code that does not await."""

from __future__ import annotations

import struct
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from farpeek.threads.budget import Lease
    from farpeek_api.serving.connection import Connection

BUFFERED: Final = 64 << 10
"""Bytes that may lie between here and the kernel: small frames of one turn go out together."""


_BINARY: Final = 0x82  # and the only frame of its message
_IN_TWO: Final = 126  # from here on the length is in two bytes behind this number
_IN_EIGHT: Final = 1 << 16  # and from here on in eight, behind the next one
_HEAD: Final = struct.Struct("!BB")
_HEAD_OF_TWO: Final = struct.Struct("!BBH")
_HEAD_OF_EIGHT: Final = struct.Struct("!BBQ")


class FrameWriter:
    """Writes frames, or keeps them until the client has taken what was sent before.

    The bytes of a frame stay in the budget until the client takes them. ``taken`` is called when
    there is room again, ``slow`` when the client has taken nothing for too long. How much is kept
    is up to the user: it writes no more than it has to where `is_open` is False.
    """

    def __init__(
        self, ws: web.WebSocketResponse, connection: Connection, taken: Callable[[], None]
    ) -> None:
        self._ws = ws
        self._connection = connection
        self._taken = taken
        self._kept: deque[tuple[bytes, Lease | None]] = deque()
        self._leases: list[Lease] = []  # of frames that the client has not taken
        self._closed = False

    @property
    def client(self) -> str:
        """On whose account the frames are."""
        return self._connection.client

    @property
    def is_open(self) -> bool:
        """Whether the client takes what it is sent."""
        return not self._connection.writing_paused

    def send(self, frame: bytes, lease: Lease | None = None) -> None:
        """Send a frame, in its turn, and give ``lease`` back when it is out."""
        if self._closed:
            if lease is not None:
                lease.let_go()
        elif self._connection.writing_paused:
            self._kept.append((frame, lease))
        else:
            self._write(frame, lease)

    def may_write(self) -> None:
        """Go on: the client has taken what was there."""
        self._let_go()
        while self._kept and not self._connection.writing_paused:
            self._write(*self._kept.popleft())
        if not self._connection.writing_paused:
            self._taken()

    def close(self) -> None:
        """Write nothing any more, and hold nothing."""
        self._closed = True
        self._leases += [lease for _, lease in self._kept if lease is not None]
        self._kept.clear()
        self._let_go()

    def _write(self, frame: bytes, lease: Lease | None) -> None:
        transport = self._connection.transport
        if self._ws.closed or transport is None or transport.is_closing():
            self.close()  # the client has gone; whoever receives is told
        else:
            # As `send_bytes` does, which takes three coroutines to it: as long as a small read.
            transport.write(_head(len(frame)) + frame)
        if lease is None:
            return
        if self._connection.writing_paused:
            self._leases.append(lease)
        else:
            lease.let_go()

    def _let_go(self) -> None:
        leases, self._leases = self._leases, []
        for lease in leases:
            lease.let_go()


def _head(size: int) -> bytes:
    """Give what is before the payload of a binary message of one frame (RFC 6455, 5.2)."""
    if size < _IN_TWO:
        return _HEAD.pack(_BINARY, size)
    if size < _IN_EIGHT:
        return _HEAD_OF_TWO.pack(_BINARY, _IN_TWO, size)
    return _HEAD_OF_EIGHT.pack(_BINARY, _IN_TWO + 1, size)
