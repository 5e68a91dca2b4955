"""The service behind the listener: a connection for each request, so that none outlives it."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import h11

from farpeek_api.cli.ui.door import STREAM_PATH, Way, ticket, unreachable
from farpeek_api.client.address import complaint

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from farpeek_api.client.address import Place

Came = h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]
"""What h11 makes of bytes."""

PIECE: Final = 256 << 10
"""Bytes that are taken from a connection at once."""

_CONNECT_S: Final = 5.0
_LARGEST_HEAD: Final = 64 << 10

HOP_BY_HOP: Final = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate"),
        *(b"proxy-authorization", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
    }
)
"""Headers that are about a connection: RFC 9110, 7.6.1."""

_ENDING_HERE: Final = HOP_BY_HOP | {
    *(b"authorization", b"cookie", b"expect", b"host", b"origin", b"sec-websocket-protocol"),
}
"""What has been judged here, or is said anew."""


class Exchange:
    """One request to the service, and its answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LARGEST_HEAD)
        self._first: asyncio.Future[Came] | None = None

    async def send(self, event: h11.Event) -> None:
        """Send a part of the request."""
        self.writer.writelines(self.http.send_with_data_passthrough(event) or ())
        await self.writer.drain()

    def listen(self) -> asyncio.Future[Came]:
        """Read from now on: whoever is refused by its head is so while its body is still sent.

        It is over once the first part of the answer, which `event` gives, is there.
        """
        self._first = asyncio.ensure_future(self._next())
        return self._first

    def close(self) -> None:
        """End it."""
        if self._first is not None:
            self._first.cancel()
        self.writer.close()

    async def event(self) -> Came:
        """Give the next part of the answer. Raises h11.RemoteProtocolError, ConnectionError."""
        first, self._first = self._first, None
        return await (self._next() if first is None else first)

    async def _next(self) -> Came:
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(await self.reader.read(PIECE))
        return event


class Service:
    """Where it is, and how it is asked. Raises ssl.SSLError where there is no TLS."""

    def __init__(self, place: Place) -> None:
        self._place = place
        parts = urlsplit(place.base)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._prefix = parts.path.encode()
        self._named = parts.netloc.encode("ascii" if parts.netloc.isascii() else "idna")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None

    @asynccontextmanager
    async def exchange(self) -> AsyncGenerator[Exchange]:
        """Connect for one request. Raises Refused where nobody is there."""
        try:
            async with asyncio.timeout(_CONNECT_S):
                reader, writer = await self._connect()
        except OSError as error:
            raise unreachable(complaint(self._place.shown, error)) from None
        exchange = Exchange(reader, writer)
        try:
            yield exchange
        finally:
            exchange.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._place.socket is not None:
            return await asyncio.open_unix_connection(self._place.socket, limit=PIECE)
        return await asyncio.open_connection(self._host, self._port, ssl=self._tls, limit=PIECE)

    def head(self, request: h11.Request, way: Way) -> h11.Request:
        """Write the head of a request as the service gets it."""
        is_chunked = any(name == b"transfer-encoding" for name, _ in request.headers)
        # Beside chunks a length says nothing: RFC 9112, 6.3.
        left_out = _ENDING_HERE | {b"content-length"} if is_chunked else _ENDING_HERE
        kept = [(name, value) for name, value in request.headers if name not in left_out]
        added = [(b"Host", self._named)]
        if way is Way.KNOWN and self._place.token is not None:
            added.append((b"Authorization", f"Bearer {self._place.token}".encode()))
        if _is_upgrade(request):
            added += [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
        else:
            added.append((b"Connection", b"close"))
        if way is Way.TICKETED:
            # Not as it came: what the service is to judge must not be what it overlooks.
            offered = f"farpeek.v1, farpeek.ticket.{ticket(request)}"
            added.append((b"Sec-WebSocket-Protocol", offered.encode()))
        if is_chunked:
            added.append((b"Transfer-Encoding", b"chunked"))
        return h11.Request(
            method=request.method, target=self._prefix + request.target, headers=[*kept, *added]
        )

    async def has_page(self) -> bool:
        """Whether it serves the page. Raises Refused where nobody is there."""
        asked = h11.Request(method=b"HEAD", target=b"/", headers=[(b"Host", b"localhost")])
        async with self.exchange() as exchange:
            try:
                await exchange.send(self.head(asked, Way.LOADING))
                await exchange.send(h11.EndOfMessage())
                event = await exchange.event()
            except (OSError, h11.RemoteProtocolError) as error:
                raise unreachable(f"{self._place.shown} ended the answer: {error}") from None
        return isinstance(event, h11.Response) and event.status_code == 200  # noqa: PLR2004


def _is_upgrade(request: h11.Request) -> bool:
    return request.target == STREAM_PATH and any(
        name == b"upgrade" and value.strip().lower() == b"websocket"
        for name, value in request.headers
    )
