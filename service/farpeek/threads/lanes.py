"""What one target may have in the threads at once, so that no target slows another.

A lane is one target in one mode. Its slots are given back by the thread's return and by nothing
else: given back when the client's time is over, one stuck target takes every thread there is.

Light tasks that come in one turn of the loop share a slot where the target has answered before: one
thread does them all, one behind the other. If it hangs in one of them, the others are put back, and
need slots of their own.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeVar

from farpeek.errors import DeadlineExceeded, TargetStuck, TooBusy, Unavailable
from farpeek.model import Stage
from farpeek.threads import activity
from farpeek.threads.pool import no_thread_for_unproven
from farpeek.threads.tasks import Slot, Task, settle

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from farpeek.threads.pool import Pool
    from farpeek.threads.workers import Worker

T = TypeVar("T")

_DOING: Final = {
    Stage.QUEUE: "in line",
    Stage.PAGE_FAULT: "at the transfer: a page has not come, or the address space is locked",
    Stage.MAPPINGS: "at the target's mappings, which a stuck page fault can lock",
    Stage.RESIDENCY: "at the target's page table",
    Stage.FILES: "at the files behind the target's mappings",
    Stage.PIN: "at holding the target still, so that the write finds no other process",
    Stage.EXIT: "at the target's exit: its memory is being given up",
}

LOOK_AGAIN_S: Final = 1.0
"""Between looks at a task that is late, and has time as long as nothing hangs."""

MOST_WAITING = 64
MOST_TOGETHER = 64
"""Light tasks that share a slot."""


class Lane:
    """Slots for the tasks of one target in one mode, and the line before them."""

    __slots__ = (
        "_answers",
        "_has_answered",
        "_loop",
        "_most_waiting",
        "_open",
        "_overdue",
        "_slots",
        "_taken",
        "_tasks",
        "_waiting",
        "_whose",
        "last",
        "pool",
    )

    def __init__(
        self,
        pool: Pool,
        slots: int,
        loop: asyncio.AbstractEventLoop,
        most_waiting: int = MOST_WAITING,
        whose: str = "this target's threads",
    ) -> None:
        """``whose`` says in refusals which threads the line is for."""
        self._most_waiting = most_waiting
        self._whose = whose
        self.pool = pool
        self._loop = loop
        self._slots = slots
        self._taken = 0
        self._answers = False  # the last task that came back had not hung
        self._has_answered = False  # one of them had not
        self._overdue = 0  # slots with tasks whose time is over while their thread has not returned
        # The last slot that light tasks may share. Unproven ones may have to wait in the pool, each
        # for itself, and would go to several threads then.
        self._open: Slot | None = None
        self._waiting: deque[Task[Any]] = deque()
        self._tasks: set[Task[Any]] = set()
        self.last: Any = None
        """What whoever visits keeps for the next time; dropped with the target's end."""

    async def run(
        self,
        work: Callable[[], T],
        deadline: float,
        returned: Callable[[], None],
        latest: float = 0.0,
    ) -> T:
        """Have ``work`` done by a thread, and wait for it until ``deadline`` (time.monotonic).

        ``returned`` is called once the thread is done with it, however long that takes after
        this has raised; if it never began, at once. ``latest``: see ``Task``. Raises what ``work``
        does, TooBusy, TargetStuck, DeadlineExceeded, and what `fail` is given.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        task = Task(work, deadline, settle(future), returned, latest=latest)
        self.begin(task)
        try:
            return await future
        finally:
            self.forget(task)
            del future  # an error holds this frame, which would hold the error, and all its memory

    def begin(self, task: Task[Any]) -> None:
        """Give ``task`` to a thread, or let it wait in line for a slot.

        Raises TooBusy or TargetStuck; it has ``returned`` then, and nobody is told.
        """
        task.owner = self
        try:
            self._check(task)
        except BaseException:
            task.returned()
            raise
        self.pool.deadlines.add(task)
        if not self._start(task):
            self._waiting.append(task)

    def admit(self) -> bool:
        """Give a slot to a visit (see ``sweeps``), until it is to `leave`; False: begin a task."""
        is_free = self._answers and self._taken < self._slots and not self._overdue
        if not is_free or self.pool.is_clogged:
            return False
        self._taken += 1
        return True

    def leave(self) -> None:
        """A visit is over, and needs its slot no more."""
        self._taken -= 1
        if self._waiting:
            self._serve_line()

    def adopt(self, task: Task[Any]) -> None:
        """Own ``task``, which a thread is at, in the slot of a visit; it is like all others now."""
        task.owner = self
        task.slot = Slot(-1)
        task.slot.tasks = 1
        self._tasks.add(task)

    def fail(self, error: BaseException) -> None:
        """End the wait of everybody with ``error``. Threads return when they return."""
        self.last = None
        for task in list(self._tasks):
            self.pool.abandon(task)
            task.tell(None, error)
        self._end_line(error)

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs, and nobody waits."""
        return not self._taken

    def stuck(self) -> list[float]:
        """Since when (time.monotonic) each thread that hangs for this lane does so."""
        times = (self.pool.crew.stuck_since(task) for task in self._tasks)
        return [since for since in times if since is not None]

    def finish(self, task: Task[Any], value: object, error: BaseException | None) -> None:
        """See ``Owner.finish``."""
        self._tasks.remove(task)
        self.pool.deadlines.discard(task)
        if not task.abandoned:
            self._answers = not task.hung and not isinstance(error, TooBusy)
            self._has_answered |= self._answers
        self._leave(task)
        self._serve_line()
        task.tell(value, error)
        task.returned()

    def put_back(self, task: Task[Any]) -> None:
        """See ``Owner.put_back``: it needs a slot of its own."""
        self._tasks.remove(task)
        self._leave(task)
        if not self._start(task):
            self._waiting.appendleft(task)

    def slow(self, task: Task[Any]) -> None:
        """See ``Owner.slow``: a task may be."""

    def expire(self, task: Task[Any]) -> None:
        """See ``Owner.expire``."""
        worker = self.pool.crew.worker_of(task)
        now = time.monotonic()
        if now < task.latest and self._is_only_late(task, worker):
            task.deadline = now + LOOK_AGAIN_S
            self.pool.deadlines.add(task)
            return
        since = time.time() - now + task.began
        slot = task.slot
        if slot is None:
            self._waiting.remove(task)
            text = f"the time is over, and {self._whose} were all at work for others"
            task.tell(None, DeadlineExceeded(text, Stage.QUEUE, since))
            task.returned()
            return
        if worker is None:
            late = DeadlineExceeded("the time is over before its turn came", Stage.QUEUE, since)
        else:
            at = activity.stage(worker)
            manner = "hangs" if activity.is_blocked(worker) else "is slow, not stuck"
            late = DeadlineExceeded(
                f"the time is over; a thread {manner} {self._doing(at)}", at, since
            )
        if not slot.overdue:
            slot.overdue = True
            self._overdue += 1
        self.pool.abandon(task)
        task.tell(None, late)
        if self._overdue >= self._slots:
            self._end_overdue_line(self._overdue_error())

    def forget(self, task: Task[Any]) -> None:
        """See ``Owner.forget``.

        Its deadline goes on: a task whose client has left is overdue then too.
        """
        task.on_done = None
        if task in self._tasks:
            self.pool.abandon(task)
        elif task.slot is None and task in self._waiting:
            self._waiting.remove(task)
            self.pool.deadlines.discard(task)
            task.returned()

    def _check(self, task: Task[Any]) -> None:
        """Find out whether there is a slot, or a place in the line; raise where there is not."""
        if self.pool.is_clogged and self.stuck():
            raise TooBusy(
                "as many threads hang in the kernel as may, some of them for this target", 5
            )
        if self.pool.refuses_unproven and self._is_unproven:
            raise no_thread_for_unproven()
        if self._shared(task) is not None or self._taken < self._slots:
            return
        if self._overdue >= self._slots and _ends(error := self._overdue_error(), task):
            raise error
        if len(self._waiting) >= self._most_waiting:
            waiting = f"{self._most_waiting} requests wait for {self._whose} already"
            raise TooBusy(waiting + self._setting())

    def _setting(self) -> str:
        return " (--target-waiting)"

    @property
    def _is_unproven(self) -> bool:
        """Whether nobody knows that its next task will not hang.

        Who has answered before and was only slow since may try with one task at a time: else it
        could never show that it answers again, where unproven ones are refused.
        """
        return not self._answers and not (self._has_answered and self.is_idle)

    def _shared(self, task: Task[Any]) -> Slot | None:
        """The slot that ``task`` can share, if there is one."""
        slot = self._open
        if slot is None or slot.turn != self.pool.turn or not task.light or not self._answers:
            return None
        return slot if slot.tasks < MOST_TOGETHER else None

    def _start(self, task: Task[Any]) -> bool:
        """Give ``task`` a slot, and to a thread; False if there is none."""
        unproven = self._is_unproven
        slot = self._shared(task)
        if slot is None:
            if self._taken >= self._slots:
                return False
            self._taken += 1
            slot = Slot(self.pool.turn)
            if task.light and self._answers:
                self._open = slot
        slot.tasks += 1
        task.slot = slot
        task.unproven = unproven
        self._tasks.add(task)
        self.pool.submit(task)
        return True

    def _leave(self, task: Task[Any]) -> None:
        """Take ``task`` out of its slot, which is free if it was the last in it."""
        slot, task.slot = task.slot, None
        if slot is None:
            return
        slot.tasks -= 1
        if not slot.tasks:
            slot.turn = -1
            self._taken -= 1
            self._overdue -= slot.overdue

    def _serve_line(self) -> None:
        """Give slots to those who wait, in the order of arrival."""
        while self._waiting and self._start(self._waiting[0]):
            self._waiting.popleft()

    def _end_line(self, error: BaseException) -> None:
        """Tell all in line ``error``, so that they need not find out by waiting."""
        while self._waiting:
            task = self._waiting.popleft()
            self.pool.deadlines.discard(task)
            task.tell(None, error)
            task.returned()

    def _end_overdue_line(self, error: Unavailable) -> None:
        """Do so, but for those that have time while others are slow."""
        staying = deque(task for task in self._waiting if not _ends(error, task))
        for task in staying:
            self._waiting.remove(task)
        self._end_line(error)
        self._waiting = staying

    def _is_only_late(self, task: Task[Any], worker: Worker | None) -> bool:
        """Whether ``task``, which ``worker`` is at, is late while nothing hangs that it needs."""
        if worker is not None:
            return not activity.is_blocked(worker)
        if task.slot is not None or self._overdue < self._slots:
            return True  # its turn has not come
        return not _ends(self._overdue_error(), task)

    def _doing(self, at: Stage) -> str:
        return _DOING[at]

    def _overdue_error(self) -> Unavailable:
        crew = self.pool.crew
        workers = [crew.worker_of(task) for task in self._tasks]
        if any(worker is not None and activity.is_blocked(worker) for worker in workers):
            return self._stuck_error()
        return TooBusy(f"{self._whose} are all at work past their deadline: slow, but not stuck")

    def _stuck_error(self) -> Unavailable:
        return TargetStuck(
            f"all {self._slots} threads of this target hang in the kernel past their deadline; "
            "they are free again when the page or the lock they wait for comes, or the target ends"
        )


def _ends(overdue: Unavailable, task: Task[Any]) -> bool:
    """Whether nobody waits for ``task`` in a line of which all slots are ``overdue``."""
    return isinstance(overdue, TargetStuck) or time.monotonic() >= task.latest


class CommonLane(Lane):
    """A lane of nobody in particular."""

    __slots__ = ()

    def _setting(self) -> str:
        return ""

    def _doing(self, at: Stage) -> str:
        del at
        return "at looking processes up in /proc"

    def _stuck_error(self) -> Unavailable:
        return TooBusy(f"{self._whose} are all at work that has taken longer than it may")
