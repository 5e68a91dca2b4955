"""Who may open a stream, and how one begins and ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from farpeek_api.gate.tickets import PROTOCOL
from farpeek_api.http import answers, queries, refusals
from farpeek_api.serving.connection import client_of, connection_of
from farpeek_api.serving.shares import Shares
from farpeek_api.stream.frame_writer import BUFFERED
from farpeek_api.stream.room import Room
from farpeek_api.stream.sampling import Sampler
from farpeek_api.stream.stream import Stream

if TYPE_CHECKING:
    from farpeek.memory import MemoryService
    from farpeek_api.audit.trail import Trail
    from farpeek_api.policy.reach import Reaches
    from farpeek_api.serving.bounds import Bounds
    from farpeek_api.serving.lifecycle import Lifecycle
    from farpeek_api.serving.metrics import StreamCounts

HEARTBEAT_S: Final = 20.0
"""Silence after which the client is pinged; it has half of that to answer."""

_HELD_BACK: Final = 5
"""The same in deadlines, at least. A client is held back until its reads are over their deadline,
and its answers over theirs, and its pongs are not read meanwhile."""

_CLOSING_S: Final = 1.0
"""For the client to answer that it closes too; aiohttp waits 10 s."""

_HEADERS: Final = {
    "Server": answers.COMMON_HEADERS["Server"],
    **answers.NOT_SPOOLED,
}

_NEVER: Final = 1 << 62  # bytes after which aiohttp would wait by itself; the writer sees to that


class Streams:
    """Serves any number of clients; they share the sampler, and its room."""

    def __init__(
        self,
        service: MemoryService,
        reaches: Reaches,
        lifecycle: Lifecycle,
        bounds: Bounds,
        counted: StreamCounts,
        trail: Trail,
    ) -> None:
        self._trail = trail
        self._service = service
        self._reaches = reaches
        self._lifecycle = lifecycle
        room = Room(bounds.max_subscriptions, bounds.subscriptions_of_one)
        self._sampler = Sampler(service, reaches, room, counted, trail)
        self._open = Shares(bounds.max_client_streams, "streams", "--max-client-streams")
        self._bounds = bounds

    def check_room(self, client: str) -> None:
        """Raise TooBusy if the client may open no more of them."""
        with self._open.one_more(client):
            pass

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve a client until it leaves, or is asked to."""
        queries.parse_query(queries.NoQuery, request.query_string, request.query.items)
        ws = web.WebSocketResponse(
            timeout=_CLOSING_S,
            protocols=(PROTOCOL,),
            autoping=False,  # its pongs would not wait for the client to take them
            heartbeat=max(HEARTBEAT_S, _HELD_BACK * self._bounds.deadline),
            compress=False,
            max_msg_size=self._bounds.max_body_bytes,
            writer_limit=_NEVER,
            decode_text=False,
        )
        _check_upgrade(request, ws)
        ws.headers.update(_HEADERS)
        with self._open.one_more(client_of(request)):
            await self._converse(request, ws)
        return ws

    async def _converse(self, request: web.Request, ws: web.WebSocketResponse[Any]) -> None:
        connection = connection_of(request)
        stream = Stream(ws, connection, self._service, self._sampler, self._bounds)
        # Before the handshake, so that it hears of every byte behind it.
        stream.bytes_came(connection.early_bytes)
        connection.writer = stream
        try:
            connection.gather_writes(BUFFERED)
            await ws.prepare(request)
            self._trail.begin(connection.entry)
            with self._reaches.guard.rounds.during(stream.look, stream.refuse):
                await stream.run(self._lifecycle.end)
        finally:
            connection.writer = None
            stream.release()


def _check_upgrade(request: web.Request, ws: web.WebSocketResponse[Any]) -> None:
    if request.headers.get("Upgrade", "").lower().strip() != "websocket":
        raise refusals.UpgradeRequired("ask for a WebSocket: `Upgrade: websocket`, RFC 6455")
    # aiohttp decodes the key in a way that raises for what is not ASCII; the gate has seen to that.
    if not ws.can_prepare(request):
        raise refusals.Malformed(
            "a WebSocket handshake has `Connection: Upgrade`, `Sec-WebSocket-Version: 13` and a "
            "`Sec-WebSocket-Key` of 16 bytes in base64"
        )
