"""What happened to targets, kept in a bounded ring.

There is one ring for all readers; each has a place in it, not a queue. A slow reader costs nothing,
and is told when the ring has gone past it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from farpeek.identity import Event, EventKind
from farpeek.targets import claims

if TYPE_CHECKING:
    from farpeek.identity import TargetSnapshot

RING_SIZE = 32_768
"""Twice the most targets that are held: all of them may exit, and be reaped, at once."""


MOST_OF_TEXTS: Final = 16 << 20
"""Bytes of all labels and arguments in the ring: it would keep those of targets long gone."""


class EventRing:
    """The last events. Lives on the event loop."""

    def __init__(self, size: int = RING_SIZE, most_of_texts: int = MOST_OF_TEXTS) -> None:
        self._ring: deque[Event] = deque()
        self._size = size
        self._most_of_texts = most_of_texts
        self._of_texts = 0
        # From the time in microseconds on, so that numbers rise across restarts too.
        self.newest = time.time_ns() // 1000
        self._waiting: list[asyncio.Future[None]] = []
        self.exits = 0  # that were told of

    def add(self, kind: EventKind, target: TargetSnapshot, client: str | None = None) -> None:
        """Append an event, and wake all who wait for one; ``client`` is whom alone it concerns."""
        self.newest += 1
        self.exits += kind is EventKind.EXITED
        self._ring.append(Event(self.newest, kind, time.time(), target, client))
        self._of_texts += _text_bytes(target)
        while len(self._ring) > self._size or self._of_texts > self._most_of_texts:
            self._of_texts -= _text_bytes(self._ring.popleft().target)
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def after(self, number: int, most: int = 256) -> tuple[bool, list[Event]]:
        """Answer whether events that follow ``number`` are lost, and the first ones that are not.

        A number from the future, or from before this ring began, counts as lost: nobody can tell
        what happened since.
        """
        oldest = self.newest - len(self._ring)  # the number before the first one kept
        lost = not oldest <= number <= self.newest
        first = 0 if lost else number - oldest
        last = min(first + most, len(self._ring))
        return lost, [self._ring[index] for index in range(first, last)]

    async def wait_beyond(self, number: int) -> None:
        """Return once there is an event that follows ``number``."""
        while self.newest <= number:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            try:
                await future
            except asyncio.CancelledError:
                if future in self._waiting:
                    self._waiting.remove(future)
                raise


def _text_bytes(target: TargetSnapshot) -> int:
    labels = sum(claims.size(claim.labels) for claim in target.claims.values())
    return labels + len(target.identity.cmdline or b"")
