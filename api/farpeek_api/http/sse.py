"""GET /v1/events: what happens to targets, as Server-Sent Events."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Final

from aiohttp import web
from pydantic_core import to_json

from farpeek.errors import ShuttingDown
from farpeek_api.http import answers, queries, render
from farpeek_api.policy.verbs import Verb
from farpeek_api.serving.connection import client_of, entry_of
from farpeek_api.serving.shares import Shares

if TYPE_CHECKING:
    from farpeek.identity import Event
    from farpeek.targets.events import EventRing
    from farpeek_api.audit.trail import Trail
    from farpeek_api.policy.reach import Reach, Reaches
    from farpeek_api.serving.lifecycle import Lifecycle
    from farpeek_api.serving.metrics import Metrics

MOST_TEXTS: Final = 1024
"""Events of which the text is kept, so that it is made once and not for each client."""

GATHER_S: Final = 0.02
"""At most, after what was sent, so that of many events those of a moment go out together."""

GATHER_EACH_S: Final = 0.0002
"""For each event that was sent: a few go out at once, as do those that follow them."""

COMMENT_S: Final = 15.0
"""Longest silence: proxies close streams in which nothing moves."""

_HEADERS: Final = {
    "Content-Type": answers.EVENTS,
    **answers.MEMORY_HEADERS,
}


class EventStreams:
    """Hands events on to any number of clients, each at its own place in the ring."""

    def __init__(
        self,
        events: EventRing,
        reaches: Reaches,
        lifecycle: Lifecycle,
        metrics: Metrics,
        trail: Trail,
        most_of_one: int,
    ) -> None:
        self._trail = trail
        self._open = Shares(most_of_one, "streams of events", "--max-client-event-streams")
        self._events = events
        self._reaches = reaches
        self._metrics = metrics
        self._lifecycle = lifecycle
        # Of events, by their numbers, and by the client where it has a claim on the target.
        self._texts: OrderedDict[tuple[int, str], bytes] = OrderedDict()

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Send events until the client leaves or the service stops."""
        answers.check_accept(request, answers.EVENTS)
        query = queries.parse_query(queries.EventsQuery, request.query_string, request.query.items)
        number = queries.parse_event_number(request.headers.get("Last-Event-ID"))
        if number is None:
            number = self._events.newest
        if query.target is not None:
            self._trail.aim(entry_of(request), query.target)
        with self._open.one_more(client_of(request)):
            return await self._answer(request, number, query.target)

    async def _answer(
        self, request: web.Request, number: int, target: str | None
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers=_HEADERS)
        await response.prepare(request)
        self._trail.begin(entry_of(request))
        try:
            await self._send(request, response, b": events follow\n\n")
            reach = self._reaches.of(client_of(request))
            allowed = self._reaches.while_allowed(partial(reach.check, Verb.EVENTS), request)
            with allowed, reach.while_it_listens():
                await self._follow(request, response, number, target)
        except ShuttingDown:
            await response.write_eof()
        return response

    async def _follow(
        self, request: web.Request, response: web.StreamResponse, number: int, target: str | None
    ) -> None:
        loop = asyncio.get_running_loop()
        silent_since = loop.time()
        reach = self._reaches.of(client_of(request))
        while True:
            self._trail.check(Verb.EVENTS)
            before = number
            text, number = self._next(number, target, reach)
            # By the clock of this stream: events of other targets are silence to a proxy.
            silence_left = silent_since + COMMENT_S - loop.time()
            if not text and silence_left <= 0:
                text = b": still here\n\n"
            if text:
                await self._send(request, response, text)
                silent_since = loop.time()
                await asyncio.sleep(min(GATHER_S, (number - before) * GATHER_EACH_S))
            elif self._events.newest > number:
                await asyncio.sleep(0)  # a long ring is looked through in turns with others
            else:
                await self._moves(request, number, silence_left)
            if self._lifecycle.stopping:
                raise ShuttingDown

    def _next(self, number: int, target: str | None, reach: Reach) -> tuple[bytes, int]:
        """Give what follows ``number`` as text, and the number it goes up to."""
        lost, events = self._events.after(number)
        text = b""
        if lost:
            self._metrics.lost_events += 1
            follows = events[0].number if events else self._events.newest + 1
            text = _lost(number, follows)
            number = follows - 1
        for event in events:
            number = event.number
            if target in (None, event.target.id) and event.client in (None, reach.client):
                text += self._text(event, reach.client) if reach.hears(event) else b""
        return text, number

    def _text(self, event: Event, client: str) -> bytes:
        name = event.number, client if client in event.target.claims else ""
        text = self._texts.get(name)
        if text is None:
            text = self._texts[name] = text_of(event, client)
            if len(self._texts) > MOST_TEXTS:
                self._texts.popitem(last=False)
        return text

    async def _moves(self, request: web.Request, number: int, most_s: float) -> None:
        """Wait for an event after ``number``, but not longer than ``most_s``."""
        waiting = self._events.wait_beyond(number)
        await self._lifecycle.within(request, waiting, most_s)

    async def _send(self, request: web.Request, response: web.StreamResponse, text: bytes) -> None:
        await response.write(text)
        await request.writer.drain()


def text_of(event: Event, client: str) -> bytes:
    """Write an event, as Server-Sent Events have it."""
    data = to_json(render.event(event, client))
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (event.number, event.kind.encode(), data)


def _lost(after: int, follows: int) -> bytes:
    """Say that what happened after one number, and before the other, is not known any more."""
    data = to_json({"after": after, "continues_at": follows})
    return b"id: %d\nevent: lost\ndata: %b\n\n" % (follows - 1, data)
