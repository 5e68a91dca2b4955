"""GET /v1/stream: many small reads, and sampling, over one WebSocket.

A client that asks for more than it takes is held back by its own requests not being read.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import WSCloseCode, WSMsgType
from pydantic_core import to_json

from farpeek.errors import InvalidRequest, ShuttingDown, TargetExited, TooBusy
from farpeek_api.audit.entry import DONE
from farpeek_api.http import frames, problems, refusals
from farpeek_api.http.turns import LARGE, in_turn
from farpeek_api.serving.limits import MOST_UNDER_WAY
from farpeek_api.stream import messages
from farpeek_api.stream.frame_writer import FrameWriter
from farpeek_api.stream.match_sampling import MatchSubscription
from farpeek_api.stream.message_timer import MessageTimer
from farpeek_api.stream.sampling import Order
from farpeek_api.stream.under_way import UnderWay, problem

if TYPE_CHECKING:
    from aiohttp import WSMessage, web

    from farpeek.memory import MemoryService
    from farpeek.threads.budget import Lease
    from farpeek_api.audit.entry import Entry
    from farpeek_api.serving.bounds import Bounds
    from farpeek_api.serving.connection import Connection
    from farpeek_api.stream.samples import Sample
    from farpeek_api.stream.sampling import Sampler, Subscription
    from farpeek_api.stream.under_way import Once


_Often = messages.Subscribe | messages.SubscribePlan


class Stream:
    """One client: what it has asked for, and the way its answers go."""

    def __init__(
        self,
        ws: web.WebSocketResponse[Any],
        connection: Connection,
        service: MemoryService,
        sampler: Sampler,
        bounds: Bounds,
    ) -> None:
        self._ws = ws
        self._most_subscriptions = bounds.max_stream_subscriptions
        self._connection = connection
        self._service = service
        self._sampler = sampler
        self._trail = sampler.trail
        self._reach = sampler.reaches.of(connection.client)
        self._writer = FrameWriter(ws, connection, self._look_for_room)
        self._under_way = UnderWay(
            self._reach,
            self._trail,
            self._writer,
            service.limits.max_request_bytes,
            self._look_for_room,
        )
        self._subscriptions: dict[int, Subscription | MatchSubscription] = {}
        loop = asyncio.get_running_loop()
        self._room: asyncio.Future[None] | None = None  # waited for while it is held back
        # Why it is closed.
        self._why: asyncio.Future[tuple[WSCloseCode, bytes]] = loop.create_future()
        self._arriving: Lease | None = None  # the bytes of a message that is not whole
        self._awaits = False  # whatever message comes next
        self._timer = MessageTimer(loop, bounds.deadline, lambda: self._awaits, self._too_late)

    async def run(self, end: asyncio.Future[None]) -> None:
        """Receive until the client closes, is too slow, or the service ends."""
        receiving = asyncio.ensure_future(self._receive())
        gone = self._connection.gone()
        over: set[asyncio.Future[Any]] = {receiving, gone, end, self._why}
        try:
            await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
        finally:
            receiving.cancel()
            await asyncio.wait({receiving})
        if self._why.done():
            self._writer.close()
            code, reason = self._why.result()
            await self._ws.close(code=code, message=reason)
        elif end.done() and not gone.done():
            await self._finish()
            await self._ws.close(code=WSCloseCode.GOING_AWAY, message=b"the service is stopping")
        if not receiving.cancelled():
            receiving.result()

    def release(self) -> None:
        """Let go of everything; what hangs in the kernel stays there, and keeps its slot."""
        self._under_way.release()
        for subscription in list(self._subscriptions.values()):
            subscription.cancel()
        self._writer.close()
        self._timer.close()
        self._hold_no_more()

    def bytes_came(self, data: bytes) -> None:
        """See ``connection.Writer``."""
        self._timer.came(data)
        if self._timer.size > LARGE:
            self._hold(self._timer.size)

    def may_write(self) -> None:
        """See ``connection.Writer``."""
        self._writer.may_write()

    def too_slow(self) -> None:
        """See ``connection.Writer``."""
        self._close_as(b"the answers were not taken in time")

    def _too_late(self) -> None:
        """See ``MessageTimer``."""
        self._close_as(b"a message did not arrive in time")

    def look(self) -> None:
        """Raise Forbidden if the policy knows the client no more, or its time is over."""
        self._reach.check_known()

    def refuse(self) -> None:
        """Close: see `look`."""
        self._close_as(b"the policy lets this client in no more")

    def _close_as(self, reason: bytes, code: WSCloseCode = WSCloseCode.POLICY_VIOLATION) -> None:
        if not self._why.done():
            self._why.set_result((code, reason))

    def _hold(self, size: int) -> None:
        """Take what has come of a message from the budget; without, nothing more is taken in."""
        try:
            if self._arriving is None:
                self._arriving = self._service.lease_bytes(size, self._writer.client)
            else:
                self._arriving.grow(size)
        except TooBusy:
            self._close_as(b"too many bytes are held: try again", WSCloseCode.TRY_AGAIN_LATER)

    def _hold_no_more(self) -> None:
        lease, self._arriving = self._arriving, None
        if lease is not None:
            lease.let_go()

    # Requests in.

    async def _receive(self) -> None:
        since_pause = 0
        while True:
            self._awaits = True
            message = await self._ws.receive()
            self._awaits = False
            if message.type in (WSMsgType.PING, WSMsgType.PONG):
                if message.type is WSMsgType.PING:
                    await self._ws.pong(message.data)
            elif message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                await in_turn(len(message.data), partial(self._take, message))
                if self._arriving is not None and self._timer.size <= LARGE:
                    self._hold_no_more()
            else:
                return
            since_pause += 1
            if not self._has_room():
                await self._wait_for_room()
                since_pause = 0
            elif since_pause >= MOST_UNDER_WAY:  # receive() does not wait where messages are there
                await asyncio.sleep(0)
                since_pause = 0

    def _has_room(self) -> bool:
        return self._under_way.has_room and self._writer.is_open

    async def _wait_for_room(self) -> None:
        self._room = asyncio.get_running_loop().create_future()
        try:
            await self._room
        finally:
            self._room = None

    def _look_for_room(self) -> None:
        if self._room is not None and not self._room.done() and self._has_room():
            self._room.set_result(None)

    def _take(self, message: WSMessage) -> None:
        """Do what a message asks for; what is wrong with it is answered."""
        entry = self._connection.entry.piece(None, None)
        if message.type is WSMsgType.BINARY:
            error = refusals.Malformed("send requests as text messages, in JSON")
            self._trail.end(entry, problems.slug(error))
            self._refuse(None, error, "read")
            return
        text = message.data
        try:
            self._trail.check()
            self._reach.take_request()
            wanted = messages.parse(text, self._service.limits.max_regions)
            verb = entry.verb = messages.VERBS[type(wanted)]
            if verb is not None:
                self._reach.check(verb)
            if isinstance(wanted, messages.StreamRead | messages.StreamPlan):
                self._read(wanted, entry)
            elif isinstance(wanted, messages.Subscribe | messages.SubscribePlan):
                self._subscribe(wanted, entry)
            else:
                self._unsubscribe(wanted, entry)
        except Exception as error:  # noqa: BLE001 - the last net: the stream goes on
            number, target, kind = messages.origin(text)
            self._record_refused(entry, error, number, target, kind)
            self._refuse(number, error, kind, target)

    def _record_refused(
        self,
        entry: Entry,
        error: Exception,
        number: int | None,
        target: str | None,
        kind: messages.Kind,
    ) -> None:
        entry.part = number
        entry.verb = messages.VERBS_OF_KINDS[kind]
        if target is not None:
            self._trail.aim(entry, target)
        self._trail.end(entry, problems.slug(error))

    def _read(self, wanted: Once, entry: Entry) -> None:
        sample = wanted.sample()
        entry.part = wanted.id
        sample.name(entry)
        self._trail.aim(entry, wanted.target)
        self._check_id(wanted.id)
        self._under_way.begin(wanted, sample, entry)

    def _subscribe(self, wanted: _Often, entry: Entry) -> None:
        sample = wanted.subscribe.sample()
        entry.part = wanted.id
        sample.name(entry)
        self._check_id(wanted.id)
        if len(self._subscriptions) >= self._most_subscriptions:
            raise TooBusy(
                f"a stream may have {self._most_subscriptions} subscriptions "
                "(--max-stream-subscriptions): end some"
            )
        self._subscriptions[wanted.id] = self._begin(wanted, sample, entry)
        hz = wanted.subscribe.hz
        shown = int(hz) if hz.is_integer() else hz
        self._send({"id": wanted.id, "subscribed": True, "hz": shown})

    def _begin(
        self, wanted: _Often, sample: Sample, entry: Entry
    ) -> Subscription | MatchSubscription:
        sampling = wanted.subscribe
        order = Order(wanted, sample, entry)
        if sampling.match is not None:
            return MatchSubscription(
                self._sampler, order, sampling.match, self._writer, self._ended
            )
        assert sampling.target is not None  # noqa: S101 - the model has checked it
        return self._sampler.subscribe(order, sampling.target, self._writer, self._ended)

    def _unsubscribe(self, wanted: messages.Unsubscribe, entry: Entry) -> None:
        entry.part = wanted.unsubscribe
        subscription = self._subscriptions.get(wanted.unsubscribe)
        if subscription is None:
            raise InvalidRequest("there is no subscription of that number", ("unsubscribe",))
        subscription.end("unsubscribed")
        self._trail.end(entry, DONE)

    def _check_id(self, number: int) -> None:
        if number in self._under_way or number in self._subscriptions:
            raise InvalidRequest("an earlier request of that number is under way", ("id",))

    # Answers out.

    def _ended(self, number: int, reason: str) -> None:
        """See ``Sampler.subscribe``."""
        del self._subscriptions[number]
        self._send({"id": number, "ended": reason})

    def _send(self, value: object) -> None:
        self._writer.send(frames.message(to_json(value)))

    def _refuse(
        self, number: int | None, error: Exception, of: messages.Kind, target: str | None = None
    ) -> None:
        if of == "subscribe" and number is not None and isinstance(error, TargetExited):
            # It has exited while the message was on its way: that is told as it always is.
            self._send({"id": number, "ended": problems.slug(error)})
        else:
            self._writer.send(problem(number, error, of, target, self._writer.client))

    async def _finish(self) -> None:
        """Let what is under way be answered; the service ends it in time."""
        reason = problems.slug(ShuttingDown())
        for subscription in list(self._subscriptions.values()):
            subscription.end(reason)
        await self._under_way.wait_until_answered()
