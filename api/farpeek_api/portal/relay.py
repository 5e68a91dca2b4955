"""One request for a node: passed on by the broker, and its answer back, as it comes and is taken.

Which operations there are, what they take and what they answer says the node's own document. What
is not known here is passed on as well as the rest.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import web

from farpeek_api.fleet.nodes import HELD, Wanted
from farpeek_api.gate import tickets
from farpeek_api.http import answers
from farpeek_api.portal import refusing, tunnel
from farpeek_api.portal.gate import ASKER
from farpeek_api.portal.metrics import COUNTED
from farpeek_api.serving import request_ids
from farpeek_api.serving.connection import connection_of

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from farpeek_api.bus.known import Found
    from farpeek_api.fleet.nodes import Asked, Nodes
    from farpeek_api.gate.tickets import Tickets
    from farpeek_api.http.bodies import Bodies, Lender
    from farpeek_api.portal.permits import Permits
    from farpeek_api.serving.lifecycle import Lifecycle

TICKET: Final = "stream_ticket"
"""The one operation that is not passed on: who gets in here is not for a node to say."""

_LOOK_S: Final = 1.0
"""Between looks whether the policy still allows what goes on."""

_SWITCHING: Final = 101
_ANSWERED: Final = frozenset(
    {
        "accept-ranges",
        "allow",
        "cache-control",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "etag",
        "location",
        "retry-after",
        "sec-websocket-accept",
        "sec-websocket-protocol",
        "upgrade",
        "vary",
        "x-accel-buffering",
        "x-request-id",
    }
)
"""Headers of a node's answer that mean something here, besides those that begin with Farpeek."""

_GUARDED: Final = {
    "Server": "farpeek",
    "X-Content-Type-Options": "nosniff",
    # What a node answers is shown under the name of the gateway, whose page has a token.
    "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Relay:
    """Passes requests on. Lives on the event loop."""

    def __init__(
        self,
        nodes: Nodes,
        permits: Permits,
        bodies: Bodies,
        room: Lender,
        lifecycle: Lifecycle,
        made: Tickets,
    ) -> None:
        self._nodes = nodes
        self._permits = permits
        self._bodies = bodies
        self._room = room
        self._lifecycle = lifecycle
        self._tickets = made

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer one request for a node."""
        request[COUNTED].of_some_node()
        return await self._lifecycle.unless_over(request, self._serve(request))

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        asker = request[ASKER]
        client = self._permits.name(asker)
        _, _, _, node, path = request.rel_url.raw_path.split("/", 4)
        found = await self._nodes.find(client, node, request.method, f"/{path}")
        counted = request[COUNTED]
        counted.of_node(request.method, found.operation)
        counted.is_endless = found.route.endless
        self._permits.check(asker, found.operation)
        if found.operation == TICKET:
            ticket = self._tickets.make(asker, connection_of(request))
            return answers.send_object({"ticket": ticket, "expires_in_s": tickets.LIFETIME_S})
        with self._bodies.lease(request) as lease, self._room.lease_bytes(HELD, asker.client):
            body = bytes(await self._bodies.read(request, lease))
            query = request.raw_path.partition("?")[2]
            wanted = Wanted(query, _sent(request), body)
            asked = await self._nodes.ask(client, node, found, wanted)
            try:
                return await self._while_permitted(request, found, _pass_on(request, asked, node))
            finally:
                await asked.close()

    async def _while_permitted(
        self,
        request: web.Request,
        found: Found,
        work: Coroutine[None, None, web.StreamResponse],
    ) -> web.StreamResponse:
        """Do it, as long as the policy allows it. Raises Forbidden."""
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait({task}, timeout=_LOOK_S))[0]:
                self._permits.check(request[ASKER], found.operation)
            return task.result()
        finally:
            task.cancel()


def _sent(request: web.Request) -> Mapping[str, str]:
    """Give the headers that a node may be told of: neither who asks here, nor by what ticket."""
    sent = {
        name.lower(): ", ".join(request.headers.getall(name))
        for name in request.headers
        if name.lower() not in ("authorization", "cookie")
    }
    protocols = [each.strip() for each in sent.pop("sec-websocket-protocol", "").split(",")]
    told = [each for each in protocols if each and not each.startswith(tickets.MARK)]
    if told:
        sent["sec-websocket-protocol"] = ", ".join(told)
    request_id = request_ids.CURRENT.get()
    return sent if request_id is None else {**sent, "x-request-id": request_id}


def _answered(asked: Asked, node: str) -> dict[str, str]:
    """Give the headers of a node's answer, for whoever has asked here."""
    known = {
        name: value
        for name, value in asked.headers.items()
        if name in _ANSWERED or name.startswith("farpeek-")
    }
    location = known.pop("location", "")
    if location.startswith("/") and not location.startswith("//"):
        known["location"] = f"/v1/nodes/{node}{location}"
    return {**known, **_GUARDED}


async def _pass_on(request: web.Request, asked: Asked, node: str) -> web.StreamResponse:
    headers = _answered(asked, node)
    if asked.status == _SWITCHING:
        return await tunnel.both_ways(request, asked, headers)
    if request.method == "HEAD":
        return web.Response(status=asked.status, headers=headers)
    if asked.is_whole:
        headers.pop("content-length", None)
        body, slug = refusing.with_node(headers, asked.first, node)
        if slug is not None:
            request[COUNTED].told(slug)
        return web.Response(status=asked.status, body=body, headers=headers)
    response = web.StreamResponse(status=asked.status, headers=headers)
    await response.prepare(request)
    part: bytes | None = asked.first
    while part is not None:
        if part:
            await tunnel.write(response, part, asked)
        part = await asked.part()
    await response.write_eof()
    return response
