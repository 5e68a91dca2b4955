"""The answer of one node, as it comes: put together again, to the last byte."""

from __future__ import annotations

import asyncio
import json
import math
from typing import TYPE_CHECKING, Any, Final, Protocol

from farpeek_api.bus import messages, problems, subjects
from farpeek_api.bus.problems import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

_SILENCE_S: Final = 60.0
_SIGN_S: Final = 20.0
"""How often a node is told that its answer is still waited for."""
_MOST_SENT: Final = 48
"""Messages of ours that the node has not said yet that it has passed on: less than it lets wait."""
_MOST_BESIDES: Final = 128
"""Messages beside those of the answer: what a node says of a client's own."""


class Asks(Protocol):
    """Who has asked, and says more of it; see ``Asking``."""

    @property
    def is_connected(self) -> bool:
        """Whether anything can be said."""
        ...

    async def say(
        self, answer: Answer, what: str, headers: Mapping[str, str], payload: bytes = b""
    ) -> None:
        """Say something about a request that is under way."""
        ...

    def forget(self, waits: Answer) -> None:
        """It is over."""
        ...


class Answer:
    """The answer of one node, as it comes."""

    def __init__(
        self, asking: Asks, node: str, number: str, credit: int, window: int | None = None
    ) -> None:
        self._asking = asking
        self.node = node
        self.number = number
        self._credit = max(1, credit)
        self._window = self._credit if window is None else window
        self._came: asyncio.Queue[Msg | Refusal] = asyncio.Queue(self._window + _MOST_BESIDES)
        self._is_flooded = False
        self.subscriptions: list[Subscription] = []
        self._expected = 0
        self.bytes_came = 0
        """Bytes that have come, without problems that end it."""
        self._sent = 0
        self._has_room = asyncio.Event()
        self._sending = asyncio.Lock()
        self.taken = 0
        """How many messages of ours the node has passed on."""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.clock_ns = 0
        """What the node's clock showed when its latest message went out."""
        self.is_over = False
        self.is_endless = False
        """Whether it may be silent for as long as it likes."""

    def add(self, came: Msg | Refusal) -> None:
        """Take a message; it is checked when it is asked for."""
        if self._came.full():
            self._is_flooded = True  # more has come than there was credit for
        else:
            self._came.put_nowait(came)

    async def part(self) -> bytes | None:
        """Give the next bytes; None at the end, if it is whole. Raises Refusal."""
        while not self.is_over:
            msg = await self._next()
            headers = messages.folded(msg.headers)
            if messages.TAKEN in headers and messages.CHUNK not in headers:
                self.taken = self._count(headers, messages.TAKEN)
                self._has_room.set()
                continue
            return await self._checked(headers, msg.data)
        return None

    async def whole(self, most: int = 64 << 20) -> bytes:
        """Give all that is left. Raises Refusal."""
        parts = bytearray()
        while (part := await self.part()) is not None:
            parts += part
            if len(parts) > most:
                raise Refusal(problems.BROKEN, f"the answer has more than {most} bytes")
        return bytes(parts)

    async def send(self, payload: bytes) -> None:
        """Send bytes behind the request, where another protocol is spoken there.

        They go in as many messages as they take; what another task sends comes behind them all.
        """
        async with self._sending:
            for begin in range(0, len(payload), messages.LARGEST_SENT):
                await self._send(payload[begin : begin + messages.LARGEST_SENT])

    async def _send(self, payload: bytes) -> None:
        while self._sent - self.taken >= _MOST_SENT and not self.is_over:
            self._has_room.clear()
            await self._has_room.wait()
        if self.is_over:
            return  # nobody takes it, and whoever listens is told why
        number, self._sent = self._sent, self._sent + 1
        await self._asking.say(self, subjects.SEND, {messages.CHUNK: str(number)}, payload)

    async def close(self) -> None:
        """Want no more of it."""
        if not self.is_over:
            self.is_over = True
            self._came_no_more()
            if self._asking.is_connected:
                await self._asking.say(self, subjects.CANCEL, {})
        self._asking.forget(self)
        subscriptions, self.subscriptions = self.subscriptions, []
        for each in subscriptions if self._asking.is_connected else ():
            await each.unsubscribe()

    async def keep(self) -> None:
        """Say that it is waited for still, where its bytes are taken slowly."""
        if not self.is_over and self._asking.is_connected:
            await self.give()

    def _came_no_more(self) -> None:
        """Wake up whoever waits for something of it."""
        self._has_room.set()
        if not self._came.full():
            self._came.put_nowait(Refusal(problems.BROKEN, "the answer was given up"))

    async def _next(self) -> Msg:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + _SILENCE_S
        while True:
            left = math.inf if self.is_endless else give_up - loop.time()
            if left <= 0:
                raise Refusal(problems.DEADLINE, f"the node {self.node!r} has not gone on")
            try:
                async with asyncio.timeout(min(left, _SIGN_S)):
                    came = await self._came.get()
            except TimeoutError:
                await self.give()
                continue
            if isinstance(came, Refusal):
                self.is_over = True
                raise self._ended_by(came)
            if self._is_flooded:
                raise self._broken("the node has sent more than there was credit for")
            return came

    def _ended_by(self, refusal: Refusal) -> Refusal:
        if not self._expected:
            return refusal
        is_gone = refusal.kind is problems.NOBODY
        return self._broken("the node is there no more" if is_gone else str(refusal))

    async def give(self) -> None:
        """Say how many messages may come; again, that the answer is still waited for."""
        await self._asking.say(self, subjects.CREDIT, {messages.CREDIT: str(self._credit)})

    async def _checked(self, headers: Mapping[str, str], payload: bytes) -> bytes:
        """Check that it is the next one, and give credit for more."""
        if headers.get(messages.CHUNK) != str(self._expected):
            raise self._broken(
                f"message {self._expected} of the answer is missing: "
                f"number {headers.get(messages.CHUNK)!s:.20} has come"
            )
        if self._expected == 0:
            self.status = self._count(headers, messages.STATUS)
            if not 100 <= self.status <= 599:  # noqa: PLR2004 - HTTP's
                raise self._broken(f"its status is {self.status}")
            self.headers = dict(headers)
        self._expected += 1
        self.clock_ns = self._count(headers, messages.CLOCK)
        how = headers.get(messages.END)
        if how is not None:
            self._end(how, headers, payload)
            return payload
        self.bytes_came += len(payload)
        if self._credit - self._expected <= self._window // 2:
            self._credit = self._expected + self._window
            await self.give()
        return payload

    def _end(self, how: str, headers: Mapping[str, str], payload: bytes) -> None:
        self.is_over = True
        if how == messages.PROBLEM:
            raise _told(payload)
        self.bytes_came += len(payload)
        if how != messages.COMPLETE or headers.get(messages.BYTES) != str(self.bytes_came):
            raise self._broken("the answer was cut")

    def _count(self, headers: Mapping[str, str], name: str) -> int:
        try:
            return messages.count(headers, name) or 0
        except Refusal as refusal:
            raise self._broken(str(refusal)) from None

    def _broken(self, why: str) -> Refusal:
        return Refusal(problems.BROKEN, f"{why}; {self.bytes_came} bytes have come before")


def _told(payload: bytes) -> Refusal:
    """Give the problem that a node has told of."""
    try:
        problem: Any = json.loads(payload)
        slug = str(problem["type"]).rpartition(":")[2]
        kind = problems.Kind(int(problem["status"]), slug, str(problem["title"]))
        return Refusal(kind, str(problem["detail"]))
    except (ValueError, KeyError, TypeError):
        kind = problems.Kind(502, "transfer-broken", "The answer is not whole")
        return Refusal(kind, "it ends with a problem that cannot be read")
