"""What is held of answers that many nodes give at a time: bounded, whatever they send."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from farpeek_api.bus import messages, problems
from farpeek_api.bus.problems import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nats.aio.msg import Msg

    from farpeek_api.bus.answers import Answer
    from farpeek_api.bus.replies import Reply

MOST_EACH: Final = 16 << 20
"""Bytes of one node's answer."""
MOST: Final = 128 << 20
"""Bytes of all answers that have come, and that nobody has taken yet."""
WINDOW: Final = 8
"""Messages of a long answer that may be under way."""

_LONG: Final = 4
"""Long answers that come at a time: with all that they may have, they are half of `MOST`."""
_ALIVE_S: Final = 3.0
"""How often a node is told that its long answer has to wait for others'."""
_MOST_HEADERS: Final = 16 << 10


class Part:
    """One node's answer under way, and what is held of it."""

    def __init__(self, refused: Callable[[str, Refusal], None], answer: Answer) -> None:
        self._refused = refused
        self.answer = answer
        self.count = 0
        self.held = 0
        self.has_turn = False
        self.task: asyncio.Task[None] | None = None

    def add(self, came: Refusal) -> None:
        """Take that the broker does not let this node be asked, or has gone."""
        self._refused(self.answer.node, came)


class Holding:
    """The bytes of all answers, and whose turn it is to send a long one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._room = asyncio.Event()
        self.turns = asyncio.Semaphore(_LONG)

    def take(self, part: Part, msg: Msg) -> Refusal | None:
        """Hold a message; or say why it is not taken."""
        size, headers = len(msg.data), _size(msg.headers or {})
        is_large = size > messages.LARGEST_CHUNK or headers > _MOST_HEADERS
        if is_large or (part.count and not part.has_turn):
            return Refusal(problems.BROKEN, "the node has sent more than there was credit for")
        if part.held + size > MOST_EACH + messages.LARGEST_CHUNK:
            most = f"its answer has more than {MOST_EACH} bytes"
            return Refusal(problems.TOO_LARGE, f"{most}: ask that node alone")
        if self._held + size > self._most:
            return Refusal(
                problems.TOO_LARGE,
                f"all answers together have more than {self._most} bytes that nobody has taken: "
                "ask fewer nodes at a time, or for less",
            )
        part.count += 1
        part.held += size + headers
        self._held += size + headers
        return None

    def keep(self, reply: Reply) -> int:
        """Hold a reply; how many bytes it is."""
        size = len(reply.body) + _size(reply.headers)
        self._held += size
        return size

    def release(self, size: int) -> None:
        """Hold so much less."""
        self._held -= size
        self._room.set()

    async def wait_for_turn(self, part: Part) -> None:
        """Wait until there is room for a long answer, and say so to the node meanwhile."""
        while not part.has_turn:
            try:
                async with asyncio.timeout(_ALIVE_S):
                    while self._held > self._most // 2:
                        self._room.clear()
                        await self._room.wait()
                    await self.turns.acquire()
                    part.has_turn = True
            except TimeoutError:
                await part.answer.give()

    def end_turn(self, part: Part) -> None:
        """Let another one have it."""
        if part.has_turn:
            self.turns.release()


def _size(headers: Mapping[str, str]) -> int:
    return sum(len(name) + len(value) for name, value in headers.items())
