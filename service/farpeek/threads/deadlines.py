"""When waiting ends: one timer of the loop for everything that has a deadline.

A timer of its own for each request costs more than all the rest of the bookkeeping, and nearly all
are cancelled before they fire.
"""

from __future__ import annotations

import time
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

STEP_S: Final = 0.01
"""How late a deadline may be noticed."""


class Mortal(Protocol):
    """Something that has a deadline, a time of time.monotonic that does not change."""

    @property
    def deadline(self) -> float:
        """When its time is over."""
        ...


M = TypeVar("M", bound=Mortal)


class Deadlines(Generic[M]):
    """Tells of what is added when its time is over. Lives on the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, expire: Callable[[M], None]) -> None:
        """``expire`` is called with what is over; that is forgotten here."""
        self._loop = loop
        self._expire = expire
        self._steps: dict[int, set[M]] = {}  # by the step in which they end
        self._order: list[int] = []  # a heap of their keys
        self._timer: asyncio.TimerHandle | None = None
        self._timer_step = 0

    def add(self, mortal: M) -> None:
        """Have it told when the time of ``mortal`` is over."""
        step = _step(mortal)
        ending = self._steps.get(step)
        if ending is None:
            ending = self._steps[step] = set()
            heappush(self._order, step)
            if self._timer is None or step < self._timer_step:
                self._set_timer(step)
        ending.add(mortal)

    def discard(self, mortal: M) -> None:
        """It waits no more."""
        ending = self._steps.get(_step(mortal))
        if ending is not None:
            ending.discard(mortal)

    def close(self) -> None:
        """Tell nobody any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _set_timer(self, step: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_step = step
        self._timer = self._loop.call_later(step * STEP_S - time.monotonic(), self._end)

    def _end(self) -> None:
        self._timer = None
        now = time.monotonic()
        # Those without anybody are passed over early: most of them are.
        while self._order and (self._order[0] * STEP_S <= now or not self._steps[self._order[0]]):
            self._end_step(heappop(self._order))
        if self._order and self._timer is None:
            self._set_timer(self._order[0])

    def _end_step(self, step: int) -> None:
        ending = self._steps[step]
        while ending:  # one that is told may end the wait of others
            self._expire(ending.pop())
        del self._steps[step]


def _step(mortal: Mortal) -> int:
    return int(mortal.deadline / STEP_S) + 1
