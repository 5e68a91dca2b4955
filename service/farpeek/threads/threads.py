"""The one crossing between the event loop and the threads: who works for whom.

Each purpose of each target has a lane of its own, so that what hangs in one leaves the others free.
What one purpose may take is in one table here. Lanes are kept by the target's id: whoever lets go
of a target and registers it again gets no more threads to hang.
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
from farpeek.threads.lanes import CommonLane, Lane
from farpeek.threads.pool import Pool
from farpeek.threads.supervision import StuckLimit
from farpeek.threads.tasks import Task, settle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from farpeek.model import Limits
    from farpeek.targets.target import Target

T = TypeVar("T")

BULK_SLOTS: Final = 2
"""Of a target for transfers, in lanes of their own: small reads never stand in line with them."""

BULK_NICENESS: Final = 10
"""Of the threads for transfers: what is short goes first on a busy processor."""

_LOOKING_AT_PROC: Final = 4
"""Threads that identify processes, for registrations and whoever asks for a target."""
_LISTING: Final = 2
"""Threads that look through all processes, which takes a second where there are thousands."""
_MOST_LOOKING_AT_PROC: Final = 1024
"""In line for the former, of all targets together: a profiler may register a whole host at once."""


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
    PLAN = "plan"
    PLAN_NOWAIT = "plan-nowait"


READING: Final = {Mode.WAIT: Purpose.WAIT, Mode.NOWAIT: Purpose.NOWAIT}
WRITING: Final = {Mode.WAIT: Purpose.WRITE, Mode.NOWAIT: Purpose.WRITE_NOWAIT}
PLANNED: Final = {Mode.WAIT: Purpose.PLAN, Mode.NOWAIT: Purpose.PLAN_NOWAIT}
TRANSFER: Final = {Mode.WAIT: Purpose.BULK, Mode.NOWAIT: Purpose.BULK_NOWAIT}


class _In(Enum):
    """The pools: nobody of one stands in line behind anybody of another."""

    WAITING = "may hang in a page fault"
    NOWAIT = "serves what does not wait, and nothing else"
    BULK = "reads long ranges"
    PLANS = "does plans that may hang in a page fault"
    PLANS_NOWAIT = "does plans that do not"
    PROC = "identifies processes"
    LISTS = "looks through all processes"


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
    Purpose.PLAN: _Place(_In.PLANS),
    Purpose.PLAN_NOWAIT: _Place(_In.PLANS_NOWAIT),
}


def _nothing() -> None:
    """For work that holds nothing."""


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
        self._target_waiting = limits.target_waiting
        self._look_at = look_at
        stuck_limit = StuckLimit(limits.max_stuck_threads)
        self._pools = {
            _In.WAITING: Pool(loop, limits.access_threads, stuck_limit),
            _In.NOWAIT: Pool(loop, limits.nowait_threads, stuck_limit),
            _In.BULK: Pool(loop, limits.bulk_threads, stuck_limit, BULK_NICENESS),
            _In.PLANS: Pool(loop, limits.plan_threads, stuck_limit),
            _In.PLANS_NOWAIT: Pool(loop, limits.plan_threads, stuck_limit),
            _In.PROC: Pool(loop, _LOOKING_AT_PROC, stuck_limit),
            _In.LISTS: Pool(loop, _LISTING, stuck_limit, BULK_NICENESS),
        }
        for pool in self._pools.values():
            pool.crew.on_starved = self._spare_one
        self.proc = CommonLane(
            self._pools[_In.PROC],
            _LOOKING_AT_PROC,
            loop,
            _MOST_LOOKING_AT_PROC,
            "the threads that identify processes",
        )
        """Of nobody in particular: what is looked up in /proc without a target's lane."""
        self.lists = CommonLane(
            self._pools[_In.LISTS], _LISTING, loop, whose="the threads that list processes"
        )
        """The same, where it takes long."""
        self._lanes: dict[str, dict[Purpose, Lane]] = {}
        self._leaving: set[str] = set()  # not held any more; their lanes go when they are idle
        self._closed = False

    @property
    def counts(self) -> ThreadCounts:
        """What all of them are doing."""
        return sum((pool.counts for pool in self._pools.values()), ThreadCounts())

    def _spare_one(self) -> None:
        """Have one pool give up an idle thread: the system lets no more be (a limit of pids)."""
        any(pool.crew.give_one_up() for pool in self._pools.values())

    def lane(self, target: Target, purpose: Purpose) -> Lane:
        """Find where work of that purpose for ``target`` stands in line."""
        lanes = self._lanes.get(target.id)
        if lanes is None:
            lanes = self._lanes[target.id] = {}
            if not target.is_held:  # its transfers go on
                self._leaving.add(target.id)
        lane = lanes.get(purpose)
        if lane is None:
            place = _PLACES[purpose]
            slots = self._target_threads if place.slots is None else place.slots
            lane = lanes[purpose] = Lane(
                self._pools[place.pool], slots, self._loop, self._target_waiting
            )
        return lane

    def is_idle(self, target: Target, purpose: Purpose) -> bool:
        """Whether no thread works at that for ``target``, and nobody waits for one."""
        lane = self._lanes.get(target.id, {}).get(purpose)
        return lane is None or lane.is_idle

    def begin(  # noqa: PLR0913 - who, at what, what, until when, and whom to tell
        self,
        target: Target,
        purpose: Purpose,
        work: Callable[[], T],
        deadline: float,
        on_done: Callable[[T | None, BaseException | None], None],
        returned: Callable[[], None],
        *,
        light: bool = False,
        latest: float = 0.0,
    ) -> Task[T]:
        """Have ``work`` done, which uses the target's pidfd; see ``Task`` and ``Lane.begin``.

        The pidfd stays open until the thread is done with it. TargetExited is told in place of
        ProcessGone.
        """
        target.hold()

        def done(value: T | None, error: BaseException | None) -> None:
            on_done(value, self.look_after(target, error))

        def let_go() -> None:
            returned()
            target.let_go()

        task = Task(work, deadline, done, let_go, light=light, latest=latest)
        self.lane(target, purpose).begin(task)
        return task

    def look_after(self, target: Target, error: BaseException | None) -> BaseException | None:
        """Look at a target whose work has shown that it is not what it was; give what to tell."""
        if isinstance(error, ProcessGone):
            self._look_at(target)
            return TargetExited(target.snapshot())
        if target.generation != target.programs.generation:
            self._look_at(target)
        return error

    async def run(
        self,
        target: Target,
        purpose: Purpose,
        work: Callable[[], T],
        deadline: float,
        returned: Callable[[], None] = _nothing,
        *,
        latest: float = 0.0,
    ) -> T:
        """Do the same, and wait for it."""
        future: asyncio.Future[T] = self._loop.create_future()
        on_done = settle(future)
        task = self.begin(target, purpose, work, deadline, on_done, returned, latest=latest)
        try:
            return await future
        finally:
            task.forget()
            del future  # an error holds this frame, which would hold the error, and all its memory

    async def run_chunk(
        self,
        target: Target,
        purpose: Purpose,
        work: Callable[[], T],
        deadline: float,
        returned: Callable[[], None],
        latest: float = 0.0,
    ) -> T:
        """Have a chunk of a transfer read: it goes on for a target that was released meanwhile."""
        if self._closed or target.has_exited:
            returned()
            raise ShuttingDown if self._closed else TargetExited(target.snapshot())
        return await self.run(target, purpose, work, deadline, returned, latest=latest)

    def exited(self, target: Target) -> None:
        """See ``Follower.exited``: nobody need wait for it any more."""
        error = TargetExited(target.snapshot())
        for lane in self._lanes.get(target.id, {}).values():
            lane.fail(error)

    def held(self, target: Target) -> None:
        """See ``Follower.held``: its lanes stay."""
        self._leaving.discard(target.id)

    def forgotten(self, target: Target) -> None:
        """See ``Follower.forgotten``: its lanes go as soon as no thread works in them."""
        self._leaving.add(target.id)
        for lane in self._lanes.get(target.id, {}).values():
            lane.last = None  # of this target's pidfd, and its program's descriptor
        self._drop_idle()

    def _drop_idle(self) -> None:
        for target_id in list(self._leaving):
            lanes = self._lanes.get(target_id, {})
            if all(lane.is_idle for lane in lanes.values()):
                for lane in lanes.values():
                    lane.last = None  # it leads back to the lane
                self._lanes.pop(target_id, None)
                self._leaving.discard(target_id)

    def stuck(self) -> list[StuckThreads]:
        """Threads that hang, by target and purpose; for targets that were let go of, too."""
        self._drop_idle()
        found: list[StuckThreads] = []
        to_wall_clock = time.time() - time.monotonic()
        for target_id, lanes in self._lanes.items():
            for purpose, lane in lanes.items():
                if times := lane.stuck():
                    since = min(times) + to_wall_clock
                    found.append(StuckThreads(target_id, purpose, len(times), since))
        return found

    async def drain(self, timeout_s: float) -> None:
        """Return when nothing that anybody waits for is unfinished, or after ``timeout_s``."""
        await asyncio.gather(*(pool.drain(timeout_s) for pool in self._pools.values()))

    def close(self) -> None:
        """End all waiting, and let idle threads end; those in the kernel are left there."""
        self._closed = True
        for lanes in self._lanes.values():
            for lane in lanes.values():
                lane.fail(ShuttingDown())
        for lane in (self.proc, self.lists):
            lane.fail(ShuttingDown())
        for pool in self._pools.values():
            pool.close()

    @property
    def are_drained(self) -> bool:
        """Whether none of them is in the kernel."""
        return not any(pool.unfinished for pool in self._pools.values())
