"""Light work for many targets, which one thread does, one behind the other.

A *visit* takes a slot of its target's lane, as a task does, with a fifth of the bookkeeping. Only
targets that have answered are visited. If one hangs all the same, the sweep becomes the task of
that visit, with all that a lane does for a task, and what had not begun goes on in another sweep.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from farpeek.errors import DeadlineExceeded
from farpeek.model import Stage
from farpeek.threads.tasks import Slot, Task
from farpeek.threads.tracebacks import empty_frames

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from farpeek.threads.lanes import Lane
    from farpeek.threads.pool import Pool

V = TypeVar("V", bound="Visit")
V_contra = TypeVar("V_contra", bound="Visit", contravariant=True)

MOST_VISITS: Final = 128
"""Of one sweep: a millisecond and a half, after which others get their answers."""


def _nothing(*_: object) -> None:
    """For a task that tells nobody."""


class Visit:
    """What is done for one target; whoever does it adds what that is."""

    __slots__ = ("is_over", "lane")

    def __init__(self, lane: Lane) -> None:
        """``lane`` has given it a slot."""
        self.lane = lane
        self.is_over = False  # nobody waits for it any more

    def forget(self) -> None:
        """Nobody waits for it any more; it is done all the same, for it is light."""
        self.is_over = True


class Visiting(Protocol[V_contra]):
    """Who has visits paid."""

    def pay(self, visit: V_contra) -> object:
        """In a thread: do it, and give what comes of it."""
        ...

    def tell(self, visit: V_contra, value: Any, error: BaseException | None) -> None:  # noqa: ANN401 - of `pay`
        """On the loop: that, or why nothing came of it; once, and not of what is forgotten."""
        ...

    def returned(self, visit: V_contra) -> None:
        """On the loop: the thread is done with it, however late."""
        ...


class Sweep(Generic[V]):
    """Visits that a thread pays one behind the other. All but ``_go`` is for the loop."""

    def __init__(self, pool: Pool, visiting: Visiting[V], visits: Iterable[V]) -> None:
        self._pool = pool
        self._visiting = visiting
        self._lock = threading.Lock()  # held for some instructions, by both sides
        self._todo = deque(visits)
        self._doing: V | None = None
        self._done: deque[tuple[V, Any, BaseException | None]] = deque()
        self._adopted: V | None = None  # whose lane has the task now
        self._task: Task[None] | None = None  # until it is over

    def task(self, deadline: float) -> Task[None]:
        """Make the task of it, which has until ``deadline`` (time.monotonic)."""
        task: Task[None] = Task(self._go, deadline, _nothing, _nothing, light=True)
        task.owner = self
        task.slot = Slot(-1)
        self._task = task
        self._pool.deadlines.add(task)
        return task

    def _go(self) -> None:
        """In a thread: pay the visits that are left."""
        pay, task = self._visiting.pay, self._task
        assert task is not None  # noqa: S101 - its thread is here
        while True:
            with self._lock:
                self._doing = visit = self._todo.popleft() if self._todo else None
            if visit is None:
                return
            task.moved = time.monotonic()
            value: Any = None
            error: BaseException | None = None
            try:
                value = pay(visit)
            except BaseException as raised:  # noqa: BLE001 - it is for whoever waits
                empty_frames(raised)
                error = raised
            self._done.append((visit, value, error))
            del value, error  # the frames that an error holds lead back to this one

    def finish(self, task: Task[Any], value: object, error: BaseException | None) -> None:
        """See ``Owner.finish``."""
        del value, error  # those of the visits are told
        self._pool.deadlines.discard(task)
        self._come_back()

    def slow(self, task: Task[Any]) -> None:
        """See ``Owner.slow``: only what it is at may take so long, and nothing else of it."""
        rest = self._part(task)
        self._tell_done()
        if rest:
            again = Sweep(self._pool, self._visiting, rest)
            self._pool.submit_together([again.task(task.deadline)])

    def expire(self, task: Task[Any]) -> None:
        """See ``Owner.expire``."""
        rest = self._part(task)
        self._tell_done()
        if task.owner is not self:
            task.owner.expire(task)
        else:
            self._pool.abandon(task)
        for visit in rest:
            self._end(
                visit,
                None,
                DeadlineExceeded("the time is over before its turn came", Stage.QUEUE),
            )

    def put_back(self, task: Task[Any]) -> None:
        """See ``Owner.put_back``: its slot is nobody else's, so that does not come."""
        self._pool.submit(task)

    def forget(self, task: Task[Any]) -> None:
        """See ``Owner.forget``: each visit has its own who waits."""

    def _part(self, task: Task[Any]) -> deque[V]:
        """Take what has not begun, and give the task to the lane of what has."""
        with self._lock:
            rest, self._todo = self._todo, deque[V]()
            doing = self._doing
        if doing is not None and self._adopted is None:
            self._adopted = doing
            task.on_done = self._tell_adopted
            task.returned = self._come_back
            doing.lane.adopt(task)
        return rest

    def _tell_adopted(self, value: None, error: BaseException | None) -> None:
        """See ``Task.on_done``, of the visit whose lane has the task."""
        adopted = self._adopted
        if error is not None and adopted is not None:
            if not adopted.is_over:
                self._tell(adopted, value, error)
        else:
            self._tell_done()

    def _come_back(self) -> None:
        """The thread is done with it."""
        self._task = None  # that holds this, too
        self._tell_done()

    def _tell_done(self) -> None:
        while self._done:
            self._end(*self._done.popleft())

    def _end(self, visit: V, value: object, error: BaseException | None) -> None:
        if visit is not self._adopted:
            visit.lane.leave()
        if not visit.is_over:
            self._tell(visit, value, error)
        self._visiting.returned(visit)

    def _tell(self, visit: V, value: object, error: BaseException | None) -> None:
        visit.is_over = True
        self._visiting.tell(visit, value, error)


def begin_sweeps(visiting: Visiting[V], visits: Sequence[V], deadline: float) -> None:
    """Have ``visits`` paid, whose lanes may be of several pools, until ``deadline``."""
    by_pool: dict[Pool, list[V]] = {}
    for visit in visits:
        by_pool.setdefault(visit.lane.pool, []).append(visit)
    for pool, those in by_pool.items():
        sweeps = (
            Sweep(pool, visiting, those[first : first + MOST_VISITS])
            for first in range(0, len(those), MOST_VISITS)
        )
        pool.submit_together([sweep.task(deadline) for sweep in sweeps])
