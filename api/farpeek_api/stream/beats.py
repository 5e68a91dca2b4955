"""The clock of subscriptions: those of one rate tick together, a few at a time.

They share a timer, their threads are woken once, and small ones take their bytes from the budget
once. No tick waits for anything: what cannot be read or sent at its time is dropped, and counted.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from farpeek.errors import TooBusy
from farpeek_api.http import render

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from farpeek.memory import MemoryService
    from farpeek.reading.gathered import GatheredReads
    from farpeek.threads.budget import Lease
    from farpeek_api.policy.reach import Reach

TOGETHER: Final = 256
"""Subscriptions that tick at one instant: with more, the last one is read three milliseconds late.
Two beats of half as many take 7 % more of the processor (200 reads of 16 bytes at 20 Hz)."""

SMALL: Final = 2 << 10
"""Bytes of a sample that takes them together with others. They all come back with the last of
those, which may hang."""

_EARLY_S: Final = 0.0005
"""Timers of the loop count in milliseconds, and may fire this much before their time."""

_LONGEST_PERIOD_S: Final = 1e9
_LONGEST_SLEEP_S: Final = 3600.0


class Ticking(Protocol):
    """Who ticks."""

    client: str
    reach: Reach
    size: int
    """What ``lease_bytes`` is to take each time."""

    def is_due(self, missed: int) -> bool:
        """Count a tick, and those that were ``missed`` before it; False where it is dropped."""
        ...

    def tick(self, scheduled: bytes, gathering: GatheredReads, lease: Lease | None) -> None:
        """Begin to read; with bytes of ``lease``, or, where that is None, with its own."""
        ...


class Beat:
    """Those of one rate that tick at the same instants, and their timer. Lives on the event loop.

    Instants are ``offset`` + whole periods, by time.monotonic.
    """

    def __init__(self, service: MemoryService, number: int, period: float, offset: float) -> None:
        self._service = service
        self.number = number
        self.members: dict[Ticking, None] = {}
        self._period = period
        self._offset = offset
        self._last = int((time.monotonic() - offset) / period) - (period > 1)
        self._timer: asyncio.TimerHandle | None = None

    def add(self, member: Ticking) -> None:
        """Have it tick too."""
        self.members[member] = None
        if self._timer is None:
            self._set_timer()

    def remove(self, member: Ticking) -> bool:
        """Have it tick no more; True if there is none left."""
        del self.members[member]
        if self.members:
            return False
        if self._timer is not None:
            self._timer.cancel()
        return True

    def _set_timer(self) -> None:
        left = self._offset + (self._last + 1) * self._period - time.monotonic()
        sleep = min(max(left, 0.0), _LONGEST_SLEEP_S)
        self._timer = asyncio.get_running_loop().call_later(sleep, self._wake)

    def _wake(self) -> None:
        now = time.monotonic()
        number = int((now + _EARLY_S - self._offset) / self._period)
        missed = number - self._last - 1
        if missed >= 0:
            self._last = number
            late_s = now - self._offset - number * self._period
            self._tick(missed, render.exact_time(time.time() - late_s).encode())
        if self.members:
            self._set_timer()

    def _tick(self, missed: int, scheduled: bytes) -> None:
        due = [each for each in self.members if each.is_due(missed)]
        leases = _lease_together(due)
        with self._service.gather() as gathering:
            for each in due:
                lease = leases.get(each.client) if each.size <= SMALL else None
                each.tick(scheduled, gathering, lease)
        for lease in leases.values():
            lease.let_go()


def _lease_together(due: Sequence[Ticking]) -> Mapping[str, Lease]:
    """Take the bytes of small samples, those of each client at once; where they are there."""
    sizes: defaultdict[str, int] = defaultdict(int)
    reaches: dict[str, Reach] = {}
    for each in due:
        if each.size <= SMALL:
            sizes[each.client] += each.size
            reaches[each.client] = each.reach
    leases: dict[str, Lease] = {}
    for client, size in sizes.items():
        with suppress(TooBusy):  # there may be enough for some of them
            leases[client] = reaches[client].lease_bytes(size)
    return leases


class Beats:
    """All beats, by their rate. Lives on the event loop."""

    def __init__(self, service: MemoryService) -> None:
        self._service = service
        self._by_rate: dict[float, list[Beat]] = {}

    def of(self, hz: float) -> Beat:
        """Find one of that rate with room, or begin one, as far from the others as may be."""
        beats = self._by_rate.setdefault(hz, [])
        for beat in beats:
            if len(beat.members) < TOGETHER and hz >= 1:
                return beat
        taken = {beat.number for beat in beats}
        number = next(each for each in range(len(beats) + 1) if each not in taken)
        # A slow one begins at once. The others keep to a common clock, so that they meet.
        offset = time.monotonic() if hz < 1 else _spread(number) / hz
        beats.append(Beat(self._service, number, min(1 / hz, _LONGEST_PERIOD_S), offset))
        return beats[-1]

    def leave(self, beat: Beat, hz: float, member: Ticking) -> None:
        """Have ``member`` tick no more."""
        if beat.remove(member):
            self._by_rate[hz].remove(beat)
            if not self._by_rate[hz]:
                del self._by_rate[hz]


def _spread(number: int) -> float:
    """The ``number``-th of fractions that lie apart: 0, 1/2, 1/4, 3/4, 1/8, 5/8, ..."""
    fraction, weight = 0.0, 0.5
    while number:
        fraction += weight * (number & 1)
        number >>= 1
        weight /= 2
    return fraction
