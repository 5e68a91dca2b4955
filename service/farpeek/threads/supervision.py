"""Who hangs, and who is replaced.

A thread that has been at one task for 50 ms and sleeps in the kernel is *stuck*: it no longer
counts as working, and another one takes its place, up to a limit. Nothing can cancel it; it works
again when the kernel lets it go. One that is busy in Python is *slow*: another one would only make
all slower.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from farpeek.model import ThreadCounts
from farpeek.threads import activity
from farpeek.threads.workers import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek.threads.tasks import Task
    from farpeek.threads.workers import Exchange

_log = logging.getLogger(__name__)

STUCK_AFTER_S: Final = 0.05


def _nothing() -> None:
    """For a crew that nobody helps out."""


class StuckLimit:
    """How many threads may hang and be replaced, in all pools that share this."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.reached = 0

    @property
    def left(self) -> int:
        """How many more threads that hang are replaced."""
        return max(0, self.most - self.reached)

    @property
    def is_reached(self) -> bool:
        """Whether no further thread that hangs is replaced."""
        return self.reached >= self.most


class Crew:
    """The threads of one pool. Lives on the event loop."""

    def __init__(
        self, exchange: Exchange, most_working: int, stuck_limit: StuckLimit, niceness: int
    ) -> None:
        self._exchange = exchange
        self._most_working = most_working
        self._stuck_limit = stuck_limit
        self._niceness = niceness
        self._workers: set[Worker] = set()
        self._stuck: dict[Worker, Task[Any]] = {}
        self._unreplaced: dict[Worker, Task[Any]] = {}  # they hang too, beyond the limit
        self._started = 0
        self._refused = False  # the system let no further thread be, the last time
        self._retiring = 0
        self.on_starved: Callable[[], None] = _nothing
        """Called when tasks wait, no thread is there, and the system lets none be."""

    def __len__(self) -> int:
        return len(self._workers)

    @property
    def counts(self) -> ThreadCounts:
        """What the threads are doing now."""
        stuck = self.hanging
        busy = max(sum(worker.task is not None for worker in self._workers) - stuck, 0)
        there = sum(worker.is_alive() for worker in self._workers)
        return ThreadCounts(busy, max(there - stuck - busy, 0), stuck)

    @property
    def working(self) -> int:
        """How many have not been replaced."""
        return len(self._workers) - len(self._stuck)

    @property
    def replaced(self) -> int:
        """How many hang, and have been."""
        return len(self._stuck)

    @property
    def unreplaced(self) -> int:
        """How many hang, and have not."""
        return len(self._unreplaced)

    @property
    def hanging(self) -> int:
        """How many hang."""
        return len(self._stuck) + len(self._unreplaced)

    def has_batches(self) -> bool:
        """Whether one has more before it than what it is doing."""
        return any(worker.batch for worker in self._workers)

    def worker_of(self, task: Task[Any]) -> Worker | None:
        """The thread that does ``task`` at this moment; None if it is none's turn."""
        return next((worker for worker in self._workers if worker.task is task), None)

    def stuck_since(self, task: Task[Any]) -> float | None:
        """Since when (time.monotonic) the thread that does ``task`` hangs; None if it does not."""
        if task.hung:
            for worker, stuck in [*self._stuck.items(), *self._unreplaced.items()]:
                if stuck is task and worker.task is task:
                    return worker.since
        return None

    def look(self, now: float) -> list[Task[Any]]:
        """Find threads that are stuck, and those that are no more.

        Answers what those were doing that are replaced from now on.
        """
        self._forget_returned()
        for worker in self._workers:
            doing = worker.task
            if doing is None or worker in self._stuck or worker in self._unreplaced:
                continue
            # What was slow a moment ago is asked about again when as much time has passed.
            if now - max(worker.since, worker.looked_at) < STUCK_AFTER_S:
                continue
            worker.looked_at = now
            if activity.is_blocked(worker):
                doing.hung = True
                self._unreplaced[worker] = doing
        return self._replace()

    def _forget_returned(self) -> None:
        """Threads that hang no more work again."""
        for hanging in (self._stuck, self._unreplaced):
            for worker, task in list(hanging.items()):
                if worker.task is not task:
                    del hanging[worker]
                    self._stuck_limit.reached -= hanging is self._stuck

    def _replace(self) -> list[Task[Any]]:
        """Count threads that hang no longer among those that work, as many as may be."""
        replaced = list(self._unreplaced.items())[: self._stuck_limit.left]
        for worker, task in replaced:
            del self._unreplaced[worker]
            self._stuck[worker] = task
            self._stuck_limit.reached += 1
        return [task for _, task in replaced]

    def slow(self, since: float) -> tuple[list[Worker], int]:
        """Those that have been at one thing since then or before, and how many others work."""
        slow = [
            worker
            for worker in self._workers
            if (task := worker.task) is not None and max(worker.since, task.moved) <= since
        ]
        fast = self._workers.difference(slow).difference(self._stuck)
        return slow, len(fast)

    @staticmethod
    def is_held_up(worker: Worker, since: float) -> bool:
        """Whether it sleeps in the kernel, or has been at one thing since then or before."""
        task = worker.task
        if task is None:
            return False
        return max(worker.since, task.moved) <= since or activity.is_blocked(worker)

    def start(self) -> None:
        """Start one more thread, if the system lets it be."""
        self._started += 1
        self._exchange.enter()
        worker = Worker(self._exchange, self._started, self._niceness)
        try:
            worker.start()
        except RuntimeError:  # a limit on threads; tried again as long as tasks wait
            self._exchange.leave()
            if not self._refused:  # said once, for it is tried every millisecond
                _log.warning("no further access thread can be started (%d run)", len(self))
            self._refused = True
            if not self._workers:
                self.on_starved()
            return
        self._refused = False
        self._workers.add(worker)

    def give_one_up(self) -> bool:
        """Let an idle thread end, so that another pool can have one; False if none is idle."""
        self._forget_ended()
        is_idle = self.counts.idle > self._retiring and not len(self._exchange.batches)
        if is_idle:
            self._retiring += 1
            self._exchange.batches.put(None)
        return is_idle

    def retire_surplus(self) -> None:
        """Let threads end that were stuck and came back, while others had replaced them."""
        self._forget_ended()
        for _ in range(self.working - self._most_working - self._retiring):
            self._retiring += 1
            self._exchange.batches.put(None)

    def _forget_ended(self) -> None:
        for worker in [worker for worker in self._workers if not worker.is_alive()]:
            self._workers.remove(worker)
            self._retiring -= 1

    def dismiss(self) -> None:
        """Let idle threads end; those in the kernel are left there."""
        for _ in self._workers:
            self._exchange.batches.put(None)


def take_back(worker: Worker) -> tuple[deque[Task[Any]], list[Task[Any]]]:
    """Take from a slow thread what it has not begun.

    First comes what any other thread may do, then what may be done in the slot of that thread
    alone, the last first.
    """
    batch, doing = worker.batch, worker.task
    others: deque[Task[Any]] = deque()
    shared: list[Task[Any]] = []
    while batch:
        try:
            task = batch.popleft()
        except IndexError:  # the thread was faster
            break
        if doing is not None and task.slot is doing.slot and not task.abandoned:
            shared.append(task)
        else:
            others.append(task)
    shared.reverse()
    return others, shared
