"""A stream through the broker: bytes both ways, of which nothing is understood here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast

from aiohttp import web

from farpeek_api.bus import messages
from farpeek_api.serving.connection import connection_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farpeek_api.fleet.nodes import Asked
    from farpeek_api.serving.connection import Connection

_SIGN_S: Final = 3.0
"""How often a node is told that its answer is still taken, while one part of it goes out."""

_FULL: Final = 64 << 10


async def write(response: web.StreamResponse, part: bytes, asked: Asked) -> None:
    """Send a part of an answer; the node is given credit for more once that is taken.

    Whoever takes nothing of it is cut off by its connection. Raises Refusal.
    """
    writing = asyncio.ensure_future(response.write(part))
    try:
        while not (await asyncio.wait({writing}, timeout=_SIGN_S))[0]:
            await asked.keep()
        writing.result()
    finally:
        writing.cancel()


class _Incoming:
    """What comes of the client behind the upgrade; aiohttp takes it for a parser."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._bytes = bytearray()
        self._came = asyncio.Event()
        self._is_over = False

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take some; no more is read while much of it waits."""
        self._bytes += data
        if len(self._bytes) >= _FULL:
            self._connection.pause_reading()
        self._came.set()
        return False, b""

    def feed_eof(self) -> None:
        """There is no more."""
        self._is_over = True
        self._came.set()

    async def take(self) -> bytes:
        """Give the next of it; nothing at the end."""
        while not self._bytes and not self._is_over:
            self._came.clear()
            await self._came.wait()
        taken = bytes(self._bytes[: messages.LARGEST_SENT])
        was_full = len(self._bytes) >= _FULL
        del self._bytes[: len(taken)]
        if was_full and len(self._bytes) < _FULL and not self._is_over:
            self._connection.resume_reading()
        return taken


async def both_ways(
    request: web.Request, asked: Asked, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Pass bytes on until one of the ends has no more. Raises Refusal."""
    connection = connection_of(request)
    response = web.StreamResponse(status=101, headers={**headers, "Connection": "Upgrade"})
    response.force_close()
    await response.prepare(request)
    incoming = _Incoming(connection)
    connection.set_parser(cast("Any", incoming))
    ways = {
        asyncio.ensure_future(_hear(asked, response)),
        asyncio.ensure_future(_speak(asked, incoming)),
    }
    try:
        done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for each in done:
            each.result()
    finally:
        for each in ways:
            each.cancel()
    return response


async def _hear(asked: Asked, response: web.StreamResponse) -> None:
    part: bytes | None = asked.first
    while part is not None:
        if part:
            await write(response, part, asked)
        part = await asked.part()


async def _speak(asked: Asked, incoming: _Incoming) -> None:
    while payload := await incoming.take():
        await asked.send(payload)
