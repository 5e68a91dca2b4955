"""One connection of a browser's: request by request, each of which the door lets in or not.

Heads are taken apart and written anew on both sides, so that nobody else reads them otherwise.
Bodies go through as they come, and no faster than they are taken.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import h11

from farpeek_api.cli.ui.door import Refused, Way, malformed, unreachable
from farpeek_api.cli.ui.service import HOP_BY_HOP, PIECE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from farpeek_api.cli.ui.door import Door
    from farpeek_api.cli.ui.service import Came, Exchange, Service

_IDLE_S: Final = 75.0
"""For a request to come."""

_BODY_S: Final = 30.0
"""For the next part of its body."""

_LINGERING_S: Final = 1.0
"""For a body that nobody wants, so that its sender still sees the answer."""

_REFUSING_S: Final = 0.02
"""For the service to refuse a head before a long body follows."""

_LONG: Final = 64 << 10
"""Bytes of a body that a socket's buffer may not take at once."""

_LARGEST_HEAD: Final = 32 << 10
_LARGEST_SECRET: Final = 4096
_SWITCHING: Final = 101


class Relay:
    """Serves one connection."""

    def __init__(
        self,
        door: Door,
        service: Service,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._door = door
        self._service = service
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_LARGEST_HEAD)

    async def run(self) -> None:
        """Serve it until either side ends it."""
        with suppress(ConnectionError, TimeoutError, h11.ProtocolError):
            while await self._serve_one():
                self._http.start_next_cycle()

    async def _serve_one(self) -> bool:
        """Serve a request; whether another may follow."""
        try:
            request = await self._request()
            if request is None:
                return False
            await self._answer(request)
        except Refused as refused:
            await self._refuse(refused)
        await self._linger()
        return self._http.states == {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}

    async def _request(self) -> h11.Request | None:
        """Wait for the head of the next request; None at the end. Raises Refused."""
        try:
            async with asyncio.timeout(_IDLE_S):
                event = await self._event()
        except h11.RemoteProtocolError as error:
            raise malformed(f"this is no HTTP/1.1: {error}") from None
        return event if isinstance(event, h11.Request) else None

    async def _event(self) -> Came:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(PIECE))
        return event

    async def _send(self, *events: h11.Event) -> None:
        for event in events:
            self._writer.writelines(self._http.send_with_data_passthrough(event) or ())
        await self._writer.drain()

    async def _answer(self, request: h11.Request) -> None:
        way = self._door.admit(request)
        if self._http.they_are_waiting_for_100_continue:
            await self._send(h11.InformationalResponse(status_code=100, headers=[]))
        if way is Way.EXCHANGE:
            token = self._door.exchange(await self._secret())
            await self._send_json(200, {"token": token}, "application/json")
            return
        async with self._service.exchange() as exchange:
            await self._ask(exchange, self._service.head(request, way))
            if await self._answered(exchange):
                await self._splice(exchange)

    # Answers of its own.

    async def _secret(self) -> bytes:
        """Take the body of a request that has a secret. Raises Refused."""
        body = b""
        async for piece in self._body():
            body += piece
            if len(body) > _LARGEST_SECRET:
                raise malformed(f"the body is over {_LARGEST_SECRET} bytes: no secret is")
        return body

    async def _body(self) -> AsyncIterator[bytes]:
        while True:
            async with asyncio.timeout(_BODY_S):
                event = await self._event()
            if not isinstance(event, h11.Data):
                return
            yield bytes(event.data)

    async def _refuse(self, refused: Refused) -> None:
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            raise ConnectionAbortedError  # the answer has begun
        problem = "application/problem+json"
        await self._send_json(refused.status, refused.problem, problem, refused.headers)

    async def _linger(self) -> None:
        """Take what is left of a body that nobody wants; else its sender might see no answer."""
        if self._http.their_state is not h11.SEND_BODY:
            return
        async with asyncio.timeout(_LINGERING_S):
            async for _ in self._body():
                pass

    async def _send_json(
        self, status: int, value: object, kind: str, more: Sequence[tuple[str, str]] = ()
    ) -> None:
        body = json.dumps(value).encode()
        headers = [
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            *more,
        ]
        events: list[h11.Event] = [h11.Response(status_code=status, headers=headers)]
        events.append(h11.Data(data=body))
        await self._send(*events, h11.EndOfMessage())

    # Answers of the service.

    async def _ask(self, exchange: Exchange, head: h11.Request) -> None:
        """Pass the request on, with its body as it comes."""
        # Whoever is refused may be so before all of it was taken: then no more is sent, for a
        # transport that cannot write throws away what it has not read.
        with suppress(ConnectionError):
            await exchange.send(head)
            answer = exchange.listen()
            if _has_long_body(head):
                await asyncio.wait({answer}, timeout=_REFUSING_S)
            async for piece in self._body():
                if answer.done():
                    return
                await exchange.send(h11.Data(data=piece))
            await exchange.send(h11.EndOfMessage())

    async def _answered(self, exchange: Exchange) -> bool:
        """Pass the answer on, while the browser is there. True: from here on it is no HTTP."""
        passing = asyncio.ensure_future(self._pass(exchange))
        coming = asyncio.ensure_future(self._reader.read(PIECE))
        try:
            await asyncio.wait({passing, coming}, return_when=asyncio.FIRST_COMPLETED)
            if not passing.done() and not coming.result():
                raise ConnectionAbortedError  # the browser has gone
            return await passing
        finally:
            _, came = await _ended(passing, coming)
            if isinstance(came, bytes):  # the next request has begun already
                self._http.receive_data(came)

    async def _pass(self, exchange: Exchange) -> bool:
        has_begun = False
        try:
            while True:
                event = await exchange.event()
                if isinstance(event, h11.InformationalResponse):
                    if event.status_code == _SWITCHING:
                        await self._send(_switching(event))
                        return True
                    continue
                if isinstance(event, h11.Response):
                    event = _response(event)
                    has_begun = True
                elif not isinstance(event, h11.Data | h11.EndOfMessage):
                    raise ConnectionAbortedError
                await self._send(event)
                if isinstance(event, h11.EndOfMessage):
                    return False
        except (ConnectionError, h11.RemoteProtocolError):
            if has_begun:
                raise ConnectionAbortedError from None  # its end is missing, as it is there
            raise unreachable("the service has ended the connection: ask again") from None

    async def _splice(self, exchange: Exchange) -> None:
        """Pass bytes on, both ways, until either side ends."""
        exchange.writer.write(self._http.trailing_data[0])
        self._writer.write(exchange.http.trailing_data[0])
        ways = (
            asyncio.ensure_future(_pump(self._reader, exchange.writer)),
            asyncio.ensure_future(_pump(exchange.reader, self._writer)),
        )
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _ended(*ways)


async def _ended(*tasks: asyncio.Future[Any]) -> list[object]:
    """End tasks that are not over; what came of each."""
    for task in tasks:
        task.cancel()
    came: list[object] = await asyncio.gather(*tasks, return_exceptions=True)
    return came


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while piece := await source.read(PIECE):
            sink.write(piece)
            await sink.drain()


def _has_long_body(head: h11.Request) -> bool:
    lengths = [value for name, value in head.headers if name == b"content-length"]
    is_chunked = any(name == b"transfer-encoding" for name, _ in head.headers)
    return is_chunked or any(int(length) > _LONG for length in lengths)


def _response(found: h11.Response) -> h11.Response:
    headers = [(name, value) for name, value in found.headers if name not in HOP_BY_HOP]
    return h11.Response(status_code=found.status_code, headers=headers, reason=found.reason)


def _switching(found: h11.InformationalResponse) -> h11.InformationalResponse:
    headers = [(name, value) for name, value in found.headers if name not in HOP_BY_HOP]
    return h11.InformationalResponse(
        status_code=_SWITCHING,
        headers=[*headers, (b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")],
        reason=found.reason,
    )
