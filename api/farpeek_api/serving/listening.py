"""Servers on listeners: those of https anew where their files have changed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from farpeek_api.serving import tls
from farpeek_api.serving.listeners import BACKLOG, TcpAddress, UnixAddress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from farpeek_api.serving.connection import Connection
    from farpeek_api.serving.listeners import Listener
    from farpeek_api.serving.tls import TlsFiles

_HANDSHAKE_S: Final = 10.0
"""For a client's part of a TLS handshake."""


def _nobody() -> Connection:
    """Before anything is started."""
    raise RuntimeError


class Servers:
    """One for each listener. Lives on the event loop."""

    def __init__(self, listeners: Sequence[Listener], files: TlsFiles | None) -> None:
        self._listeners = listeners
        self._tls = files
        self._plain: list[asyncio.AbstractServer] = []
        self._secured: list[asyncio.AbstractServer] = []
        self._connect: Callable[[], Connection] = _nobody

    async def start(self, connect: Callable[[], Connection]) -> None:
        """Take connections; each has a protocol that ``connect`` makes. Raises TlsError."""
        self._connect = connect
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            if isinstance(listener.address, UnixAddress):
                self._plain.append(
                    await loop.create_unix_server(connect, sock=listener.socket, backlog=BACKLOG)
                )
            elif not listener.address.tls:
                self._plain.append(
                    await loop.create_server(connect, sock=listener.socket, backlog=BACKLOG)
                )
        await self.renew_tls()

    async def renew_tls(self) -> None:
        """Serve https with the files as they are now. TlsError: it goes on with those before."""
        if self._tls is None:
            return
        context = tls.context(self._tls)
        loop = asyncio.get_running_loop()
        before = self._secured
        started: list[asyncio.AbstractServer] = []
        for listener in self._listeners:
            if isinstance(listener.address, TcpAddress) and listener.address.tls:
                # A server closes its socket, and this one is listened on again.
                new = await loop.create_server(
                    self._connect,
                    sock=listener.socket.dup(),
                    backlog=BACKLOG,
                    ssl=context,
                    ssl_handshake_timeout=_HANDSHAKE_S,
                )
                started.append(new)
        self._secured = started
        for server in before:  # connections of theirs go on
            server.close()

    def stop(self) -> None:
        """Take no new connections; the paths of unix sockets are free for another server.

        Before anything else, because the rest may hang.
        """
        for server in (*self._plain, *self._secured):
            server.close()
        for listener in self._listeners:
            listener.close()
