"""What a client does: requests to nodes, and their answers put together again, to the last byte."""

from __future__ import annotations

import asyncio
import json
import math
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from farpeek_api.bus import messages, problems, subjects
from farpeek_api.bus.problems import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

NOBODY: Final = problems.Kind(404, "unknown-node", "Nobody answers to that name", retryable=True)
NOT_PERMITTED: Final = problems.Kind(403, "forbidden", "The broker does not allow it")

_DENIED: Final = re.compile(r'permissions violation for publish to "([^"]*)"')
_SILENCE_S: Final = 60.0
_SIGN_S: Final = 20.0
"""How often a node is told that its answer is still waited for."""
_USUAL_MS: Final = 30_000
_MOST_SENT: Final = 48
"""Messages of ours that the node has not said yet that it has passed on: less than it lets wait."""
_MOST_BESIDES: Final = 128
"""Messages beside those of the answer: what a node says of a client's own."""
_NO_RESPONDERS: Final = "503"


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

    def __init__(self, asking: Asking, node: str, number: str, credit: int) -> None:
        self._asking = asking
        self.node = node
        self.number = number
        self._credit = max(1, credit)
        self._window = self._credit
        self._came: asyncio.Queue[Msg | Refusal] = asyncio.Queue(self._window + _MOST_BESIDES)
        self._is_flooded = False
        self.subscriptions: list[Subscription] = []
        self._expected = 0
        self._bytes = 0
        self._sent = 0
        self._has_room = asyncio.Event()
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
        """Send bytes behind the request, where another protocol is spoken there."""
        while self._sent - self.taken >= _MOST_SENT and not self.is_over:
            self._has_room.clear()
            await self._has_room.wait()
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
            await self._give()

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
                await self._give()
                continue
            if isinstance(came, Refusal):
                self.is_over = True
                if not self._expected:
                    raise came
                is_gone = came.kind is not problems.BROKEN
                raise self._broken("the node is there no more" if is_gone else str(came))
            if self._is_flooded:
                raise self._broken("the node has sent more than there was credit for")
            return came

    async def _give(self) -> None:
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
            self.headers = dict(headers)
        self._expected += 1
        self.clock_ns = self._count(headers, messages.CLOCK)
        how = headers.get(messages.END)
        if how is not None:
            self._end(how, headers, payload)
            return payload
        self._bytes += len(payload)
        if self._credit - self._expected <= self._window // 2:
            self._credit = self._expected + self._window
            await self._give()
        return payload

    def _end(self, how: str, headers: Mapping[str, str], payload: bytes) -> None:
        self.is_over = True
        if how == messages.PROBLEM:
            raise _told(payload)
        self._bytes += len(payload)
        if how != messages.COMPLETE or headers.get(messages.BYTES) != str(self._bytes):
            raise self._broken("the answer was cut")

    def _count(self, headers: Mapping[str, str], name: str) -> int:
        try:
            return messages.count(headers, name) or 0
        except Refusal as refusal:
            raise self._broken(str(refusal)) from None

    def _broken(self, why: str) -> Refusal:
        return Refusal(problems.BROKEN, f"{why}; {self._bytes} bytes have come before")


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


class Asking:
    """Asks in the name of one client, over a connection of its own."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self._name = subjects.check_client(name)
        self._asked: dict[str, list[Answer]] = {}  # by subjects in small letters

    async def ask(self, node: str, question: Question) -> Answer:
        """Ask one node. Raises Refusal where nobody listens to its name."""
        number = secrets.token_hex(12)
        inbox = subjects.inbox(self._name, number)
        answer = Answer(self, node, number, question.credit)

        async def came(msg: Msg) -> None:
            # The broker lets a node send under its own name alone; whoever else has seen this
            # inbox was not asked.
            if msg.subject == f"{inbox}.{node}":
                answer.add(msg)

        async def refused(msg: Msg) -> None:
            if (msg.headers or {}).get("Status") == _NO_RESPONDERS:
                answer.add(Refusal(NOBODY, f"no node {node!r} is connected to the broker"))

        subscribe = self._client.subscribe  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - nats-py leaves a future's type open
        answer.subscriptions = [
            await subscribe(f"{inbox}.*", cb=came),
            await subscribe(inbox, cb=refused),
        ]
        subject = subjects.request(self._name, node, question.operation)
        self._asked.setdefault(subject.lower(), []).append(answer)
        await self._client.publish(subject, question.body, inbox, question.written())
        return answer

    def denied(self, text: str) -> None:
        """Take what the broker says to the connection: perhaps that something may not be asked.

        It names the subject alone, in small letters, and no request.
        """
        found = _DENIED.search(text.lower())
        for each in self._asked.pop(found[1], ()) if found is not None else ():
            each.add(Refusal(NOT_PERMITTED, f"the broker does not let {self._name!r} ask for that"))

    def lost(self) -> None:
        """The connection has ended, and with it whatever is under way."""
        for each in [one for asked in self._asked.values() for one in asked]:
            each.add(Refusal(problems.BROKEN, "the connection to the broker has ended"))

    def forget(self, answer: Answer) -> None:
        """It is over."""
        for subject, answers in list(self._asked.items()):
            if answer in answers:
                answers.remove(answer)
                if not answers:
                    del self._asked[subject]

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
        subject = subjects.request(self._name, answer.node, what, answer.number)
        # NATS itself answers there if the node has gone.
        inbox = "" if what == subjects.CANCEL else subjects.inbox(self._name, answer.number)
        await self._client.publish(subject, payload, inbox, dict(headers))
