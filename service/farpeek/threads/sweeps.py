"""Light work for many targets, which one thread does, one behind the other.

A *visit* takes a slot of its target's lane, as a task does, with a fifth of the bookkeeping. Only
targets that have answered are visited. If one hangs all the same, the sweep becomes the task of
that visit, with all that a lane does for a task, and what is not over goes on in another sweep.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
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

MOST_VISITS: Final = 256
"""Of one sweep: three milliseconds, after which others get their answers. Two threads with half of
them each take the GIL from one another, and 7 % more of the processor."""

TOGETHER: Final = 32
"""Of those, what is done together. They are done again where one of them hangs, and where it is
looked first whether a page is there, that is some 100 us ago when the page is read."""


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


class Joint(Protocol):
    """What is done for several visits together."""

    def run(self) -> Sequence[object | None] | None:
        """In a thread: do it, and give what comes of each; None of one that is to be paid alone.

        None in place of them all if it was stopped.
        """
        ...

    def stop(self) -> int:
        """On the loop: have nothing more done; the number of the visit that the thread is at."""
        ...


class Visiting(Protocol[V_contra]):
    """Who has visits paid."""

    def join(self, visits: Sequence[V_contra]) -> Joint:
        """In a thread: give what does ``visits`` together. Raises nothing."""
        ...

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
        self._alone: deque[V] = deque()  # of which nothing came together with others
        self._doing: V | None = None  # alone
        self._some: Sequence[V] = ()  # that are paid together
        self._joint: Joint | None = None  # by this
        self._done: deque[tuple[V, Any, BaseException | None]] = deque()
        self._adopted: V | None = None  # whose lane has the task now
        self._is_back = False  # that one has come back, and may be paid anew by others
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
        task = self._task
        assert task is not None  # noqa: S101 - its thread is here
        while self._take():
            task.moved = time.monotonic()
            if self._doing is not None:
                self._pay(self._doing)
            else:
                self._pay_together()

    def _take(self) -> bool:
        """Take what is next; False if nothing is."""
        with self._lock:
            self._doing = self._alone.popleft() if self._alone else None
            most = 0 if self._doing is not None else min(TOGETHER, len(self._todo))
            self._some = [self._todo.popleft() for _ in range(most)]
        return self._doing is not None or bool(most)

    def _pay(self, visit: V) -> None:
        value: Any = None
        error: BaseException | None = None
        try:
            value = self._visiting.pay(visit)
        except BaseException as raised:  # noqa: BLE001 - it is for whoever waits
            empty_frames(raised)
            error = raised
        self._done.append((visit, value, error))
        del value, error  # the frames that an error holds lead back to this one

    def _pay_together(self) -> None:
        some = self._some
        values: Sequence[object | None] | None = [None] * len(some)
        with suppress(Exception):  # each finds out alone what it was
            joint = self._visiting.join(some)
            if not self._begin(joint):
                return
            values = joint.run()
        with self._lock:
            adopted = self._doing = self._adopted
            if self._some and values is not None:
                self._joint, self._some = None, ()
                for visit, value in zip(some, values, strict=True):
                    if value is None:
                        self._alone.append(visit)
                    else:
                        self._done.append((visit, value, None))
        if adopted is not None:  # the others were taken back: what came of it is not known
            self._pay(adopted)

    def _begin(self, joint: Joint) -> bool:
        """Note how those are paid; False if the loop has taken them back."""
        with self._lock:
            if self._some:
                self._joint = joint
            return bool(self._some)

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
            late = DeadlineExceeded("the time is over before its turn came", Stage.QUEUE)
            self._done.append((visit, None, late))
        self._tell_done()

    def put_back(self, task: Task[Any]) -> None:
        """See ``Owner.put_back``: its slot is nobody else's, so that does not come."""
        self._pool.submit(task)

    def forget(self, task: Task[Any]) -> None:
        """See ``Owner.forget``: each visit has its own who waits."""

    def _part(self, task: Task[Any]) -> deque[V]:
        """Take what is not over, and give the task to the lane of what the thread is at."""
        with self._lock:
            rest = self._alone + self._todo
            doing = self._doing
            if self._joint is not None:
                doing = self._some[self._joint.stop()]
            rest.extend(visit for visit in self._some if visit is not doing)
            self._alone, self._todo = deque[V](), deque[V]()
            self._some, self._joint = (), None
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
            if not self._is_back and not adopted.is_over:
                self._tell(adopted, value, error)
        else:
            self._tell_done()

    def _come_back(self) -> None:
        """The thread is done with it."""
        self._task = None  # that holds this, too
        self._tell_done()

    def _tell_done(self) -> None:
        done, adopted = self._done, self._adopted
        tell, returned = self._visiting.tell, self._visiting.returned
        while done:
            visit, value, error = done.popleft()
            if visit is adopted:
                self._is_back = True
            else:
                visit.lane.leave()
            if not visit.is_over:
                visit.is_over = True
                tell(visit, value, error)
            returned(visit)

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
