"""What a client does: requests to nodes, over a connection in its name."""

from __future__ import annotations

import asyncio
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from farpeek_api.bus import messages, problems, subjects
from farpeek_api.bus.answers import Answer
from farpeek_api.bus.problems import LOST, NOBODY, NOT_PERMITTED, Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

_DENIED: Final = re.compile(r'permissions violation for (?:publish|subscription) to "([^"]*)"')
_USUAL_MS: Final = 30_000
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
