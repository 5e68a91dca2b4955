"""What is said on a stream, and what it means. Nothing here waits for anything, or sends.

A conversation is told what is wanted and what came. It gives back the bytes that are to be sent,
and deliveries: calls that tell whoever waits. It belongs to one thread at a time; deliveries may
be made outside of that, for they may call back.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, cast

import wsproto
from wsproto import events
from wsproto.connection import Connection
from wsproto.utilities import ProtocolError, generate_accept_token, generate_nonce

from farpeek_api.client import calls, framing, members
from farpeek_api.client.members import Members, Odd
from farpeek_api.client.problems import BadAnswer, Interrupted, PeekError, problem_of
from farpeek_api.client.repeating import OPENING, Following
from farpeek_api.client.steps import MOST_JSON, Reply, Request, retry_after_s
from farpeek_api.client.ticks import Left, Tick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from farpeek_api.client.plans import PlanResult
    from farpeek_api.client.results import ReadResult

    Deliveries = list[Callable[[], None]]


_SWITCHING: Final = 101
_QUIET_ENDS: Final = ("unsubscribed", "target-exited")
"""Ends of a subscription that are no mistake."""


class Receiver(Protocol):
    """Whoever has a subscription."""

    def agree(self, hz: float) -> None:
        """Take note that it has begun."""
        ...

    def add(self, tick: Tick) -> None:
        """Take a tick."""
        ...

    def leave(self, left: Left) -> None:
        """Take note that a target of a standing match is sampled no more."""
        ...

    def end(self, why: str, error: PeekError | None) -> None:
        """Take note that it has ended."""
        ...


@dataclass(frozen=True, slots=True)
class _Read:
    regions: list[tuple[int, int]]
    stops: bool
    answer: Callable[[ReadResult | PeekError], None]


@dataclass(frozen=True, slots=True)
class _Sampling:
    sampled: list[tuple[int, int]] | Following  # regions, or a plan
    receiver: Receiver


@dataclass(slots=True)
class Handshake:
    """How a stream begins: a request, and the one right answer."""

    _nonce: bytes = field(default_factory=generate_nonce)

    @property
    def request(self) -> Request:
        """What to ask."""
        headers = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Key": self._nonce.decode(),
            "Sec-WebSocket-Version": "13",
        }
        return Request("GET", "/v1/stream", headers=headers)

    def check(self, reply: Reply) -> None:
        """Raise Problem if the service refuses, BadAnswer if it is none."""
        if reply.status != _SWITCHING:
            with calls.answer_of_a_farpeek():
                shown = members.parse(reply.body).all
            wait_s = retry_after_s(reply) if "retry-after" in reply.headers else None
            raise problem_of(shown, wait_s)
        accepted = reply.headers.get("sec-websocket-accept", "")
        if accepted.encode() != generate_accept_token(self._nonce):
            raise BadAnswer("what answers is no WebSocket")


class Conversation:
    """One stream's reads and subscriptions, by their numbers."""

    def __init__(self) -> None:
        self._connection = Connection(wsproto.ConnectionType.CLIENT)
        self._last = 0
        self._reads: dict[int, _Read] = {}
        self._samplings: dict[int, _Sampling] = {}
        self._message = bytearray()
        self._most = MOST_JSON
        self.error: PeekError | None = None
        """Why nothing more can be said."""

    # What is wanted.

    def read(
        self,
        target: str,
        regions: Sequence[tuple[int, int]],
        options: Mapping[str, object],
        answer: Callable[[ReadResult | PeekError], None],
    ) -> bytes:
        """Ask for a read; ``answer`` is told what comes of it."""
        wanted, columns = self._columns(regions)
        self._reads[self._last] = _Read(wanted, options.get("on_gap") == "stop", answer)
        return self._say({"id": self._last, "target": target, **columns, **calls.given(options)})

    def subscribe(
        self,
        what: Sequence[tuple[int, int]] | Mapping[str, object],
        options: Mapping[str, object],
        receiver: Receiver,
    ) -> tuple[int, bytes]:
        """Ask for ticks, of a ``target`` or a ``match``; gives the subscription's number too.

        ``what`` is regions, or a plan.
        """
        wanted: list[tuple[int, int]] | Following
        sampled: Mapping[str, object]
        if isinstance(what, Mapping):
            self._next_number()
            wanted, sampled = Following(), {"plan": what}
        else:
            wanted, sampled = self._columns(what)
        self._samplings[self._last] = _Sampling(wanted, receiver)
        sampling = {**sampled, **calls.given(options)}
        return self._last, self._say({"id": self._last, "subscribe": sampling})

    def unsubscribe(self, number: int) -> bytes:
        """End a subscription, if it has not ended."""
        if number not in self._samplings or self.error is not None:
            return b""
        return self._say({"unsubscribe": number})

    def goodbye(self) -> bytes:
        """Close the stream from this side."""
        if self._connection.state is not wsproto.connection.ConnectionState.OPEN:
            return b""
        return self._connection.send(events.CloseConnection(code=1000))

    def _columns(
        self, regions: Sequence[tuple[int, int]]
    ) -> tuple[list[tuple[int, int]], dict[str, list[int]]]:
        """Check regions, take the next number for them, and write them as the wire has them."""
        wanted = list(regions)
        framing.pack_regions(wanted)
        lengths = [length for _, length in wanted]
        self._next_number()
        self._most = max(self._most, MOST_JSON + sum(lengths))
        return wanted, {"addresses": [address for address, _ in wanted], "lengths": lengths}

    def _next_number(self) -> None:
        if self.error is not None:
            raise self.error
        self._last += 1

    def _say(self, message: Mapping[str, object]) -> bytes:
        return self._connection.send(events.TextMessage(data=json.dumps(message)))

    # What came.

    def receive(self, data: bytes) -> tuple[Deliveries, bytes]:
        """Take what came, none at the end: who is to be told, and what is to be sent."""
        deliveries: Deliveries = []
        out = bytearray()
        if not data:
            deliveries += self.fail(Interrupted("the service, or the network, ended the stream"))
        try:
            self._connection.receive_data(data or None)
            for event in self._connection.events():
                if isinstance(event, events.Ping):
                    out += self._connection.send(event.response())
                elif isinstance(event, events.BytesMessage):
                    deliveries += self._take(event)
                elif isinstance(event, events.CloseConnection):
                    deliveries += self.fail(Interrupted(_farewell(event)))
        except Odd as error:
            wrong = BadAnswer(f"{error}: it is no farpeek, or one of another version")
            deliveries += self.fail(wrong)
        except BadAnswer as error:
            deliveries += self.fail(error)
        except ProtocolError as error:
            deliveries += self.fail(BadAnswer(f"what answers is no WebSocket: {error}"))
        return deliveries, bytes(out)

    def fail(self, error: PeekError) -> Deliveries:
        """End all that is under way."""
        if self.error is None:
            self.error = error
        reads, self._reads = self._reads, {}
        samplings, self._samplings = self._samplings, {}
        told: Iterable[Callable[[], None]] = [
            *(partial(read.answer, error) for read in reads.values()),
            *(partial(each.receiver.end, "cut", error) for each in samplings.values()),
        ]
        return list(told)

    def _take(self, event: events.BytesMessage) -> Deliveries:
        """Take a part of a message, and what it says if it is the last."""
        self._message += event.data
        if len(self._message) > self._most:
            raise Odd("a message is longer than what was asked for")
        if not event.message_finished:
            return []
        message, self._message = bytes(self._message), bytearray()
        text, data = framing.cut_frame(message)
        return self._understand(self._parse(text), data)

    def _parse(self, text: bytes) -> Members:
        opening = OPENING.match(text)
        sampling = None if opening is None else self._samplings.get(int(opening["id"]))
        if opening is None or sampling is None or not isinstance(sampling.sampled, Following):
            return members.parse(text)
        return sampling.sampled.read(text, opening)

    def _understand(self, shown: Members, data: memoryview) -> Deliveries:
        """Tell whose answer it is; what later versions may say is passed over."""
        if "problem" in shown.all:
            return self._refused(shown)
        number = shown.number("id")
        read = self._reads.pop(number, None)
        if read is not None:
            result = framing.read_result(shown, bytes(data), read.regions, stops=read.stops)
            return [partial(read.answer, result)]
        sampling = self._samplings.get(number)
        if sampling is None:
            return []
        return self._sampled(number, sampling, shown, data)

    def _sampled(
        self, number: int, sampling: _Sampling, shown: Members, data: memoryview
    ) -> Deliveries:
        """Tell what a subscription has said."""
        receiver = sampling.receiver
        if "tick" in shown.all:
            return [partial(receiver.add, _tick(shown, data, sampling.sampled))]
        if "left" in shown.all:
            left = Left(shown.text("target"), shown.text("left"))
            if isinstance(sampling.sampled, Following):
                sampling.sampled.leave(left.target)
            return [partial(receiver.leave, left)]
        if "ended" in shown.all:
            del self._samplings[number]
            return [partial(receiver.end, *_end(shown.text("ended")))]
        return [partial(receiver.agree, _hz(shown))] if "subscribed" in shown.all else []

    def _refused(self, shown: Members) -> Deliveries:
        problem = problem_of(cast("Mapping[str, object]", shown.all["problem"]))
        number = shown.all.get("id")
        if not isinstance(number, int):  # of a message that could not be read: which one?
            return self.fail(problem)
        read = self._reads.pop(number, None)
        if read is not None:
            return [partial(read.answer, problem)]
        if shown.all.get("of") == "subscribe" and number in self._samplings:
            return [partial(self._samplings.pop(number).receiver.end, problem.slug, problem)]
        return []


def _tick(shown: Members, data: memoryview, sampled: list[tuple[int, int]] | Following) -> Tick:
    found: ReadResult | PlanResult
    if isinstance(sampled, Following):
        found = sampled.parse(shown, data)
    else:
        found = framing.read_result(shown, bytes(data), sampled, stops=False)
    by = shown.inner("dropped_by").all
    return Tick(
        number=shown.number("tick"),
        scheduled=shown.time("scheduled"),
        at=shown.time("at"),
        dropped=shown.number("dropped"),
        dropped_by={name: value for name, value in by.items() if isinstance(value, int)},
        found=found,
    )


def _hz(shown: Members) -> float:
    hz = shown.all.get("hz")
    # JSON has integers that are no float, and Python's has NaN.
    if not isinstance(hz, (int, float)) or not 0 < hz <= sys.float_info.max:
        raise Odd("the answer has an odd `hz`")
    return float(hz)


def _end(why: str) -> tuple[str, PeekError | None]:
    """Give a subscription's end, and what is raised at it: a mistake is not passed over."""
    if why in _QUIET_ENDS:
        return why, None
    detail = f"the subscription has ended: {why}"
    return why, problem_of({"type": f"urn:farpeek:problem:{why}", "title": why, "detail": detail})


def _farewell(event: events.CloseConnection) -> str:
    reason = f": {event.reason}" if event.reason else ""
    return f"the service closed the stream ({event.code}{reason})"
