"""Answers on their way: numbered messages, no more of them than the client has given credit for."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from farpeek_api.bus import messages
from farpeek_api.bus.problems import BROKEN, MALFORMED, NO_CREDIT, TOO_BUSY, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from farpeek_api.fleet.broker import Connection

MOST: Final = 256
MOST_OF_ONE: Final = 32
"""Requests under way, of one client."""
MOST_SENT: Final = 64
"""Messages of a client's, of one stream, that wait to be passed on."""
_MOST_SENT_BYTES: Final = 1 << 20
SIGN_OF_LIFE_S: Final = 60.0
"""An answer that goes on is lost without a word of its client for so long."""


class Answer:
    """One answer. Lives on the event loop."""

    def __init__(
        self, connection: Connection, subject: str, node: str, credit: int, deadline_s: float
    ) -> None:
        self._connection = connection
        self._subject = f"{subject}.{node}"
        self._node = node
        self._credit = max(1, credit)
        self._more = asyncio.Event()
        self._deadline_s = deadline_s
        self._number = 0
        self._bytes = 0
        self._has_ended = False
        self.seen = asyncio.get_running_loop().time()
        self.room = connection.room

    @property
    def has_begun(self) -> bool:
        """Whether its head is out."""
        return self._number > 0

    def give(self, credit: int) -> None:
        """Let so many messages out, counted from the first."""
        self.seen = asyncio.get_running_loop().time()
        limit = self._number + messages.MOST_CREDIT  # not a thousand at once, whatever is said
        self._credit = max(self._credit, min(credit, limit))
        self._more.set()

    async def send(self, payload: bytes, headers: Mapping[str, str]) -> None:
        """Send the next message. Raises Refusal where nobody takes it, Gone."""
        while self._number >= self._credit:
            self._more.clear()
            try:
                async with asyncio.timeout(self._deadline_s):
                    await self._more.wait()
            except TimeoutError:
                raise Refusal(
                    NO_CREDIT,
                    f"nobody gave credit for the rest within {self._deadline_s:g} s: ask again for "
                    "what is missing, and give credit as it comes",
                ) from None
        await self._publish(payload, headers)

    async def end(self, payload: bytes, how: str, headers: Mapping[str, str]) -> None:
        """Send the last message, for which no credit is needed. Raises Gone."""
        if self._has_ended:
            return
        self._has_ended = True
        size = self._bytes + len(payload) * (how != messages.PROBLEM)
        last = {**headers, messages.END: how, messages.BYTES: str(size)}
        await self._publish(payload, last)

    async def refuse(self, refusal: Refusal) -> None:
        """End with a problem. Raises Gone."""
        headers = {
            messages.STATUS: str(refusal.kind.status),
            "content-type": "application/problem+json",
            messages.ERROR: refusal.kind.title,
            messages.ERROR_CODE: str(refusal.kind.status),
        }
        how = messages.CUT if self.has_begun and refusal.kind is BROKEN else messages.PROBLEM
        body = b"" if how == messages.CUT else refusal.document(self._node)
        await self.end(body, how, headers)

    async def tell_taken(self, count: int) -> None:
        """Say how many messages of the client's have been passed on. Raises Gone."""
        await self._connection.publish(self._subject, b"", {messages.TAKEN: str(count)})

    async def _publish(self, payload: bytes, headers: Mapping[str, str]) -> None:
        number, self._number = self._number, self._number + 1
        self._bytes += len(payload)
        clock = {messages.CHUNK: str(number), messages.CLOCK: str(messages.clock_ns())}
        await self._connection.publish(self._subject, payload, {**clock, **headers})


class Sent:
    """What a client has sent behind its request, and was not passed on yet."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(MOST_SENT)
        self._size = 0
        self._next = 0
        self.is_wrong = False

    def add(self, number: int, payload: bytes) -> None:
        """Take what has come; it is wrong from then on if some is missing, or too much waits."""
        is_full = self._waiting.full() or self._size + len(payload) > _MOST_SENT_BYTES
        if self.is_wrong or number != self._next or is_full:
            self.is_wrong = True
            return
        self._next += 1
        self._size += len(payload)
        self._waiting.put_nowait(payload)

    async def take(self) -> bytes:
        """Give the next of it."""
        payload = await self._waiting.get()
        self._size -= len(payload)
        return payload


class Part:
    """One request under way."""

    def __init__(self, answer: Answer, sent: Sent) -> None:
        self.answer = answer
        self.sent = sent
        self.task: asyncio.Task[None] | None = None
        self.is_lost = False

    def stop(self) -> None:
        """Do no more of it."""
        if self.task is not None:
            self.task.cancel()


class Under:
    """All requests under way."""

    def __init__(self) -> None:
        self._parts: dict[tuple[str, str], Part] = {}
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._parts)

    def find(self, client: str, number: str | None) -> Part | None:
        """Give the one that a client means."""
        return None if number is None else self._parts.get((client, number))

    def check(self, client: str, number: str) -> None:
        """Raise Refusal if there is no room for one more."""
        if (client, number) in self._parts:
            raise Refusal(MALFORMED, "a request with that inbox is under way: use a new one")
        if self._counts.get(client, 0) >= MOST_OF_ONE or len(self._parts) >= MOST:
            raise Refusal(
                TOO_BUSY,
                f"{MOST_OF_ONE} requests of one client and {MOST} of all are under way at most: "
                "wait for one of them",
            )

    def add(self, client: str, number: str, part: Part) -> Callable[[], None]:
        """Keep it; what is given back forgets it."""
        self._parts[client, number] = part
        self._counts[client] = self._counts.get(client, 0) + 1

        def forget() -> None:
            if self._parts.pop((client, number), None) is not None:
                self._counts[client] -= 1
                if not self._counts[client]:
                    del self._counts[client]

        return forget

    def look(self) -> None:
        """Stop answers that have begun, and whose client has said nothing for long."""
        late = asyncio.get_running_loop().time() - SIGN_OF_LIFE_S
        for part in list(self._parts.values()):
            if part.answer.has_begun and part.answer.seen < late:
                part.is_lost = True
                part.stop()

    def stop(self) -> None:
        """Stop all."""
        for part in list(self._parts.values()):
            part.stop()


class Buffer:
    """Bytes that have come and not gone out; whoever fills it waits while it is full."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._parts: deque[bytes] = deque()  # joined only where that saves messages
        self._size = 0
        self._changed = asyncio.Event()
        self._error: Exception | None = None
        self._is_over = False

    async def put(self, part: bytes) -> None:
        """Add some, once there is room."""
        while self._size >= self._most:
            await self._change()
        self._parts.append(part)
        self._size += len(part)
        self._changed.set()

    def end(self, error: Exception | None = None) -> None:
        """There is no more; or nobody knows, and ``error`` is raised behind the rest."""
        self._is_over, self._error = True, error
        self._changed.set()

    async def take(self) -> bytes:
        """Give what is there, as soon as there is something; nothing at the end."""
        while not self._size and not self._is_over:
            await self._change()
        if not self._size and self._error is not None:
            raise self._error
        taken = self._take()
        self._size -= len(taken)
        self._changed.set()
        return taken

    def _take(self) -> bytes:
        """Take as many parts as one message has room for, and of the last one a piece."""
        taken: list[bytes] = []
        room = self._most
        while self._parts and room >= len(self._parts[0]):
            taken.append(self._parts.popleft())
            room -= len(taken[-1])
        if self._parts and room and not taken:
            first = self._parts.popleft()
            taken.append(first[:room])
            self._parts.appendleft(first[room:])
        return taken[0] if len(taken) == 1 else b"".join(taken)

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
