"""A thread of the pool, how it waits for work, and the way back of what came of it."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from farpeek.threads.tracebacks import empty_frames

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from farpeek.threads.tasks import Task

_WAKE_AFTER_S = 0.0005
"""How long a thread keeps results of a batch to itself: each wake-up of the loop costs as much as a
small read, for the two take the GIL from one another."""


class Batches:
    """A queue of batches, in which threads wait in a read(2) of an eventfd.

    That is for what the writer does: its system call gives up the GIL, so that the thread that it
    wakes can run. Woken by a lock of Python's, it finds the GIL taken, and sleeps again, twice (9.3
    context switches for a read, against 5).
    """

    def __init__(self) -> None:
        self._batches: deque[deque[Task[Any]] | None] = deque()
        self._count = os.eventfd(0, os.EFD_SEMAPHORE | os.EFD_CLOEXEC)

    def __len__(self) -> int:
        return len(self._batches)

    def put(self, batch: deque[Task[Any]] | None) -> None:
        """Append a batch, and wake a thread; None is for one that is to end."""
        self._batches.append(batch)
        os.eventfd_write(self._count, 1)

    def get(self) -> deque[Task[Any]] | None:
        """In a thread: wait for a batch."""
        os.eventfd_read(self._count)
        return self._batches.popleft()

    def close(self) -> None:
        """Nobody waits, or will."""
        os.close(self._count)


class Exchange:
    """Between the loop and the threads of one pool: batches one way, results the other."""

    def __init__(self, loop: asyncio.AbstractEventLoop, collect: Callable[[], None]) -> None:
        """``collect`` is called on the loop when there are results."""
        self._loop = loop
        self._collect = collect
        self.batches = Batches()
        self.results: deque[tuple[Task[Any], Any, BaseException | None]] = deque()
        self.waking = False  # the loop is about to collect
        self._users = 1  # of the batches: the loop, and every thread
        self._users_lock = threading.Lock()

    def wake(self) -> None:
        """In a thread: have the loop look at the results. Serves all that come meanwhile."""
        if not self.waking:
            self.waking = True
            try:
                self._loop.call_soon_threadsafe(self._collect)
            except RuntimeError:
                return  # the loop is closed: nobody wants to know any more

    def enter(self) -> None:
        """One more uses the batches."""
        with self._users_lock:
            self._users += 1

    def leave(self) -> None:
        """Use them no more. The last one closes them, which may be a thread that hung."""
        with self._users_lock:
            self._users -= 1
            is_last = not self._users
        if is_last:
            self.batches.close()


class Worker(threading.Thread):
    """One thread. ``task``, ``batch`` and ``since`` are its own to write, the loop's to read.

    Tasks come in batches. From one whose thread hangs the loop takes back what was not begun.
    """

    def __init__(self, exchange: Exchange, number: int, niceness: int) -> None:
        super().__init__(name=f"access-{number}", daemon=True)
        self._exchange = exchange
        self._niceness = niceness
        self.since = 0.0
        self.looked_at = 0.0  # by the loop, whether it is blocked
        self.task: Task[Any] | None = None
        self.batch: deque[Task[Any]] = deque()

    def run(self) -> None:
        """Work off batch after batch, until there is None."""
        os.nice(self._niceness)  # this thread's alone; nice(2), "C library/kernel differences"
        exchange = self._exchange
        while (batch := exchange.batches.get()) is not None:
            self.batch = batch
            self._work_off(batch)
            exchange.wake()
        exchange.leave()

    def _work_off(self, batch: deque[Task[Any]]) -> None:
        exchange = self._exchange
        wake_at = time.monotonic() + _WAKE_AFTER_S
        while batch:
            try:
                task = batch.popleft()
            except IndexError:  # the loop was faster
                return
            self.since = task.began = time.monotonic()
            if self.since > wake_at:
                exchange.wake()
                wake_at = self.since + _WAKE_AFTER_S
            self.task = task
            value: Any = None
            error: BaseException | None = None
            if not task.abandoned:
                try:
                    value = task.work()
                except BaseException as raised:  # noqa: BLE001 - it is for whoever waits
                    empty_frames(raised)
                    error = raised
            self.task = None
            exchange.results.append((task, value, error))
            del value, error  # the frames that an error holds lead back to this one
