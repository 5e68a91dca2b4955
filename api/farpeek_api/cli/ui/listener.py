"""The port that a browser opens: of 127.0.0.1, for processes of one user and of root."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from farpeek_api.cli import loopback
from farpeek_api.cli.ui.relay import Relay
from farpeek_api.cli.ui.service import PIECE

if TYPE_CHECKING:
    import socket

    from farpeek_api.cli.ui.door import Door
    from farpeek_api.cli.ui.service import Service

HOST: Final = "127.0.0.1"
MOST_CONNECTIONS: Final = 128
"""A browser has six for requests, and one for each WebSocket."""


class Listener:
    """Serves whoever connects."""

    def __init__(self, door: Door, service: Service) -> None:
        self._door = door
        self._service = service
        self._serving: set[asyncio.Task[None]] = set()

    async def run(self, made: socket.socket) -> None:
        """Serve until it is cancelled."""
        server = await asyncio.start_server(self._begin, sock=made, limit=PIECE)
        try:
            await asyncio.Event().wait()
        finally:
            server.close()

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection. One too many, or of another user's, is closed at once.

        By a task of ours: asyncio 3.11 complains of its own where they are cancelled.
        """
        here, there = writer.get_extra_info("sockname"), writer.get_extra_info("peername")
        has_room = len(self._serving) < MOST_CONNECTIONS
        if not (has_room and there and loopback.is_ours(here, there)):
            writer.close()
            return
        relay = Relay(self._door, self._service, reader, writer)
        task = asyncio.get_running_loop().create_task(_serve(relay, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)


async def _serve(relay: Relay, writer: asyncio.StreamWriter) -> None:
    try:
        await relay.run()
    finally:
        writer.close()
