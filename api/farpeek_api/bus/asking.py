"""What a client does: requests to nodes, and their answers put together again, to the last byte."""

from __future__ import annotations

import asyncio
import json
import math
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from farpeek_api.bus import messages, problems, subjects
from farpeek_api.bus.problems import Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

NOBODY: Final = problems.Kind(404, "unknown-node", "Nobody answers to that name", retryable=True)
NOT_PERMITTED: Final = problems.Kind(403, "forbidden", "The broker does not allow it")
LOST: Final = problems.BROKER_UNREACHABLE
KINDS: Final = (NOBODY, NOT_PERMITTED)
"""What else goes wrong for whoever asks."""

_DENIED: Final = re.compile(r'permissions violation for (?:publish|subscription) to "([^"]*)"')
_SILENCE_S: Final = 60.0
_SIGN_S: Final = 20.0
"""How often a node is told that its answer is still waited for."""
_USUAL_MS: Final = 30_000
_MOST_SENT: Final = 48
"""Messages of ours that the node has not said yet that it has passed on: less than it lets wait."""
_MOST_BESIDES: Final = 128
"""Messages beside those of the answer: what a node says of a client's own."""
_NO_RESPONDERS: Final = "503"
_STREAM: Final = "Nats-Stream"
_INQUIRY_S: Final = 5.0
"""How long the broker itself may take to answer."""


@dataclass(frozen=True, slots=True)
class Question:
    """One request, as it goes over the broker."""

    operation: str
    target: str | None = None
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    timeout_s: float = _USUAL_MS / 1000
    not_after: int | None = None
    """By the clock of the node that is asked; needed for what changes something."""
    credit: int = 16

    def written(self) -> dict[str, str]:
        """Give all headers of its message."""
        made = {
            **self.headers,
            messages.TIMEOUT: str(int(self.timeout_s * 1000)),
            messages.CREDIT: str(self.credit),
        }
        if self.target is not None:
            made[messages.TARGET] = self.target
        if self.query:
            made[messages.QUERY] = self.query
        if self.not_after is not None:
            made[messages.NOT_AFTER] = str(self.not_after)
        return made


class Answer:
    """The answer of one node, as it comes."""

    def __init__(
        self, asking: Asking, node: str, number: str, credit: int, window: int | None = None
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
        is_gone = refusal.kind is NOBODY
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


def new_number() -> str:
    """Make the ID of a request, which nobody guesses."""
    return secrets.token_hex(12)


def is_from_nobody(msg: Msg) -> bool:
    """Whether NATS says by it that nobody listens to what was published."""
    return (msg.headers or {}).get("Status") == _NO_RESPONDERS


def is_kept(msg: Msg) -> bool:
    """Whether it comes from a stream: a client may have that sent to any subject, another's too."""
    return _STREAM in (msg.headers or {})


class Waits(Protocol):
    """Whoever waits for what comes of something that was published."""

    def add(self, came: Refusal, /) -> None:
        """Take that nothing comes of it."""
        ...


class _Inquiry:
    """Something that the broker itself answers."""

    def __init__(self) -> None:
        self.came: asyncio.Queue[Msg | Refusal] = asyncio.Queue()

    def add(self, came: Msg | Refusal) -> None:
        self.came.put_nowait(came)


class Asking:
    """Asks in the name of one client, over a connection of its own."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self.name = subjects.check_client(name)
        self._asked: dict[str, list[Waits]] = {}  # by subjects in small letters

    async def ask(self, node: str, question: Question) -> Answer:
        """Ask one node. The answer is a Refusal where nobody listens to its name."""
        answer = Answer(self, node, new_number(), question.credit)
        inbox = self.inbox(answer.number)

        async def came(msg: Msg) -> None:
            # The broker lets a node send under its own name alone; whoever else has seen this
            # inbox was not asked.
            if msg.subject == f"{inbox}.{node}" and not is_kept(msg):
                answer.add(msg)

        async def refused(msg: Msg) -> None:
            if is_from_nobody(msg):
                answer.add(Refusal(NOBODY, f"no node {node!r} is connected to the broker"))

        answer.subscriptions = [
            await self.listen(f"{inbox}.*", came),
            await self.listen(inbox, refused),
        ]
        subject = subjects.request(self.name, node, question.operation)
        await self.publish(subject, question.body, inbox, question.written(), answer)
        return answer

    async def inquire(
        self, subject: str, payload: bytes, is_last: Callable[[Msg], bool]
    ) -> list[Msg]:
        """Ask the broker itself. Raises Refusal where it does not answer, or may not be asked."""
        inquiry = _Inquiry()

        async def came(msg: Msg) -> None:
            nobody = Refusal(NOBODY, "the broker does not know it")
            inquiry.add(nobody if is_from_nobody(msg) else msg)

        inbox = self.inbox(new_number())
        subscription = await self.listen(inbox, came)
        found: list[Msg] = []
        try:
            await self.publish(subject, payload, inbox, None, inquiry)
            while not (found and is_last(found[-1])):
                async with asyncio.timeout(_INQUIRY_S):
                    each = await inquiry.came.get()
                if isinstance(each, Refusal):
                    raise each
                found.append(each)
        except TimeoutError:
            raise Refusal(problems.DEADLINE, "the broker does not answer") from None
        finally:
            self.forget(inquiry)
            if self.is_connected:
                await subscription.unsubscribe()
        return found

    def inbox(self, number: str) -> str:
        """Write where answers of that number come to."""
        return subjects.inbox(self.name, number)

    async def listen(self, subject: str, came: Callable[[Msg], Awaitable[None]]) -> Subscription:
        """Have messages handled."""
        return await self._client.subscribe(subject, cb=came)  # pyright: ignore[reportUnknownMemberType] - nats-py leaves a future's type open

    async def publish(
        self,
        subject: str,
        payload: bytes,
        inbox: str,
        headers: dict[str, str] | None,
        waits: Waits,
    ) -> None:
        """Publish something, and tell who waits for it if the broker does not take it."""
        self._asked.setdefault(subject.lower(), []).append(waits)
        await self._client.publish(subject, payload, inbox, headers)

    def denied(self, text: str) -> None:
        """Take what the broker says to the connection: perhaps that something may not be asked.

        It names the subject alone, in small letters, and no request. If it is about one that is
        under way, as credit or an inbox, the right to it was withdrawn meanwhile.
        """
        found = _DENIED.search(text.lower())
        if found is None:
            return
        refusal = Refusal(NOT_PERMITTED, f"the broker does not let {self.name!r} ask for that")
        words = found[1].split(".")
        for each in (*self._asked.pop(found[1], ()), *self._numbered(words)):
            each.add(refusal)

    def _numbered(self, words: Sequence[str]) -> list[Answer]:
        """Find the answers whose number is among the words of a subject."""
        asked = [each for waiting in self._asked.values() for each in waiting]
        return [each for each in asked if isinstance(each, Answer) and each.number in words]

    def lost(self) -> None:
        """Take that the connection has ended, and nothing comes any more."""
        asked, self._asked = self._asked, {}
        for waiting in asked.values():
            for each in waiting:
                each.add(Refusal(LOST, "the connection to the broker has ended"))

    def forget(self, waits: Waits) -> None:
        """It is over."""
        for subject, waiting in list(self._asked.items()):
            if waits in waiting:
                waiting.remove(waits)
                if not waiting:
                    del self._asked[subject]

    async def cancel(self, node: str, number: str) -> None:
        """Want no more of what one node, or several, were asked for."""
        await self._client.publish(subjects.request(self.name, node, subjects.CANCEL, number))

    async def clock_ns(self, node: str) -> int:
        """Ask for a node's clock: at the earliest what it shows now. Raises Refusal."""
        answer = await self.ask(node, Question(subjects.CLOCK))
        try:
            await answer.whole()
        finally:
            await answer.close()
        return answer.clock_ns

    @property
    def room(self) -> int:
        """Bytes that the body of a request may have."""
        return self._client.max_payload - messages.ROOM_FOR_HEADERS

    @property
    def is_connected(self) -> bool:
        """Whether anything can be said."""
        return self._client.is_connected

    async def say(
        self, answer: Answer, what: str, headers: Mapping[str, str], payload: bytes = b""
    ) -> None:
        """Say something about a request that is under way."""
        subject = subjects.request(self.name, answer.node, what, answer.number)
        # NATS itself answers there if the node has gone.
        inbox = "" if what == subjects.CANCEL else self.inbox(answer.number)
        await self._client.publish(subject, payload, inbox, dict(headers))
