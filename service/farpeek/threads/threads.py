"""The one crossing between the event loop and the threads: who works for whom.

Each purpose of each target has a lane of its own, so that what hangs in one leaves the others free.
What one purpose may take is in one table here.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

from farpeek.access import ProcessGone
from farpeek.errors import ShuttingDown, TargetExited
from farpeek.model import Mode, StuckThreads, ThreadCounts
from farpeek.threads.lanes import Lane
from farpeek.threads.pool import Pool, StuckLimit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from farpeek.model import Limits
    from farpeek.targets.target import Target

T = TypeVar("T")

BULK_SLOTS: Final = 2
"""Of a target for transfers, in lanes of their own: small reads never stand in line with them."""

BULK_NICENESS: Final = 10
"""Of the threads for transfers: what is short goes first on a busy processor."""

_BULK_THREADS: Final = 4
"""For all transfers together: a chunk takes its thread for a hundred small reads' time."""
_NOWAIT_THREADS: Final = 8
_LOOKING_AT_PROC: Final = 4
"""Threads that may list and identify processes at once, so that targets' reads have the others."""
_MOST_LOOKING_AT_PROC: Final = 1024
"""In line for them, of all targets together: a profiler may register a whole host at once."""


class Purpose(StrEnum):
    """What a thread works at; the name is what `/v1/info` calls it."""

    WAIT = "wait"
    NOWAIT = "nowait"
    MAPS = "maps"
    PREFETCH = "prefetch"
    WRITE = "write"
    WRITE_NOWAIT = "write-nowait"
    BULK = "bulk"
    BULK_NOWAIT = "bulk-nowait"


READING: Final = {Mode.WAIT: Purpose.WAIT, Mode.NOWAIT: Purpose.NOWAIT}
WRITING: Final = {Mode.WAIT: Purpose.WRITE, Mode.NOWAIT: Purpose.WRITE_NOWAIT}
TRANSFER: Final = {Mode.WAIT: Purpose.BULK, Mode.NOWAIT: Purpose.BULK_NOWAIT}


class _In(Enum):
    """The pools: nobody of one stands in line behind anybody of another."""

    WAITING = "may hang in a page fault"
    NOWAIT = "serves what does not wait, and nothing else"
    BULK = "reads long ranges"


@dataclass(frozen=True, slots=True)
class _Place:
    pool: _In
    slots: int | None = None  # of one target; None: as many as --target-threads says


# One write after the other, so that of two that expect the same bytes one fails.
_PLACES: Final[Mapping[Purpose, _Place]] = {
    Purpose.WAIT: _Place(_In.WAITING),
    Purpose.NOWAIT: _Place(_In.NOWAIT),
    Purpose.MAPS: _Place(_In.WAITING),
    Purpose.PREFETCH: _Place(_In.WAITING, 1),
    Purpose.WRITE: _Place(_In.WAITING, 1),
    Purpose.WRITE_NOWAIT: _Place(_In.NOWAIT, 1),
    Purpose.BULK: _Place(_In.BULK, BULK_SLOTS),
    Purpose.BULK_NOWAIT: _Place(_In.BULK, BULK_SLOTS),
}


class Threads:
    """Has work done for targets. Lives on the event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        look_at: Callable[[Target], None],
    ) -> None:
        """``look_at`` is called with a target that a thread has found to have exited."""
        self._loop = loop
        self._target_threads = limits.target_threads
        self._look_at = look_at
        stuck_limit = StuckLimit(limits.max_stuck_threads)
        self._pools = {
            _In.WAITING: Pool(loop, limits.access_threads, stuck_limit),
            _In.NOWAIT: Pool(loop, _NOWAIT_THREADS, stuck_limit),
            _In.BULK: Pool(loop, _BULK_THREADS, stuck_limit, BULK_NICENESS),
        }
        self.proc = Lane(
            self._pools[_In.WAITING],
            _LOOKING_AT_PROC,
            loop,
            _MOST_LOOKING_AT_PROC,
            "the threads that read /proc",
        )
        """Of nobody in particular: what is looked up in /proc without a target's lane."""
        self._closed = False

    @property
    def counts(self) -> ThreadCounts:
        """What all of them are doing."""
        return sum((pool.counts for pool in self._pools.values()), ThreadCounts())

    def lane(self, target: Target, purpose: Purpose) -> Lane:
        """The lane of a target for a purpose."""
        lane = target.lanes.get(purpose)
        if lane is None:
            place = _PLACES[purpose]
            slots = self._target_threads if place.slots is None else place.slots
            lane = target.lanes[purpose] = Lane(self._pools[place.pool], slots, self._loop)
        return lane

    async def run(
        self,
        target: Target,
        lane: Lane,
        work: Callable[[], T],
        deadline: float,
        returned: Callable[[], None] | None = None,
    ) -> T:
        """Have ``work`` done, which uses the target's pidfd; see ``Lane.run``.

        The pidfd stays open until thread *and* request are done with it. Raises TargetExited in
        place of ProcessGone.
        """

        def thread_returned() -> None:
            if returned is not None:
                returned()
            target.let_go()

        target.hold()
        target.hold()
        try:
            return await lane.run(work, deadline, thread_returned)
        except ProcessGone:
            self._look_at(target)
            raise TargetExited(target.snapshot()) from None
        finally:
            target.let_go()

    async def run_chunk(
        self,
        target: Target,
        lane: Lane,
        work: Callable[[], T],
        deadline: float,
        returned: Callable[[], None],
    ) -> T:
        """Have a chunk of a transfer read: it goes on for a target that was released meanwhile."""
        if self._closed or target.has_exited:
            returned()
            raise ShuttingDown if self._closed else TargetExited(target.snapshot())
        return await self.run(target, lane, work, deadline, returned)

    def stuck(self, targets: Iterable[Target]) -> list[StuckThreads]:
        """Threads that hang, by target and purpose."""
        found: list[StuckThreads] = []
        to_wall_clock = time.time() - time.monotonic()
        for target in targets:
            for purpose, lane in target.lanes.items():
                if times := lane.stuck():
                    since = min(times) + to_wall_clock
                    found.append(StuckThreads(target.id, purpose, len(times), since))
        return found

    async def drain(self, timeout_s: float) -> None:
        """Return when nothing that anybody waits for is unfinished, or after ``timeout_s``."""
        await asyncio.gather(*(pool.drain(timeout_s) for pool in self._pools.values()))

    def close(self, targets: Iterable[Target]) -> None:
        """End all waiting, and let idle threads end; those in the kernel are left there."""
        self._closed = True
        for target in targets:
            for lane in target.lanes.values():
                lane.fail(ShuttingDown())
        self.proc.fail(ShuttingDown())
        for pool in self._pools.values():
            pool.close()

    @property
    def are_drained(self) -> bool:
        """Whether none of them is in the kernel."""
        return not any(pool.unfinished for pool in self._pools.values())
