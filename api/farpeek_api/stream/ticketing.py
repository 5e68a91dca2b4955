"""POST /v1/stream/tickets: a credential for one stream of a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farpeek_api.gate.identifying import Asker
from farpeek_api.gate.tickets import LIFETIME_S
from farpeek_api.http import answers, queries
from farpeek_api.http.handlers import prepare
from farpeek_api.serving.connection import client_of, connection_of, entry_of

if TYPE_CHECKING:
    from aiohttp import web

    from farpeek_api.gate.tickets import Tickets
    from farpeek_api.stream.streams import Streams


class Ticketing:
    """Gives tickets to clients that may open a stream now."""

    def __init__(self, tickets: Tickets, streams: Streams) -> None:
        self._tickets = tickets
        self._streams = streams

    async def make(self, request: web.Request) -> web.StreamResponse:
        """Make one. A page is told no reason where its WebSocket is refused, so it is told here."""
        prepare(request, queries.NoQuery)
        client = client_of(request)
        self._streams.check_room(client)
        asker = Asker(client, entry_of(request).by or client)
        ticket = self._tickets.make(asker, connection_of(request))
        return answers.send_object({"ticket": ticket, "expires_in_s": LIFETIME_S})
