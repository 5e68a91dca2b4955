"""A thread of the pool, what it is given to do, and how it waits for that."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from farpeek.threads.tracebacks import empty_frames

if TYPE_CHECKING:
    from farpeek.threads.pool import Pool

T = TypeVar("T")

_WAKE_AFTER_S = 0.0005
"""How long a thread keeps results of a batch to itself: each wake-up of the loop costs as much as a
small read, for the two take the GIL from one another."""


class Job(Generic[T]):
    """Something to do in a thread, and what to do (on the loop) with what came of it."""

    __slots__ = ("abandoned", "hung", "light", "unproven")

    def __init__(self, *, unproven: bool = False, light: bool = False) -> None:
        self.unproven = unproven  # whether its target answers is not known
        self.light = light  # takes microseconds, unless it hangs
        self.hung = False  # its thread was found stuck
        self.abandoned = False  # nobody waits any more: not worth beginning

    def work(self) -> T:
        """In a thread: what there is to do."""
        raise NotImplementedError

    def conclude(self, value: T | None, error: BaseException | None) -> None:
        """On the loop: what came of it."""
        raise NotImplementedError

    def put_back(self) -> None:
        """On the loop: its turn has not come, and its thread hangs in a job that it shares with."""
        raise NotImplementedError

    def shares_with(self, other: Job[Any]) -> bool:
        """Whether it may be done in the same thread as ``other`` only, and in no second one."""
        raise NotImplementedError

    def execute(self) -> tuple[T | None, BaseException | None]:
        """In a thread: do it."""
        if self.abandoned:
            return None, None
        try:
            return self.work(), None
        except BaseException as error:  # noqa: BLE001 - it is for whoever waits, on the loop
            empty_frames(error)
            return None, error


class Batches:
    """A queue of batches, in which threads wait in a read(2) of an eventfd.

    That is for what the writer does: its system call gives up the GIL, so that the thread that it
    wakes can run. Woken by a lock of Python's, it finds the GIL taken, and sleeps again, twice (9.3
    context switches for a read, against 5).
    """

    def __init__(self) -> None:
        self._batches: deque[deque[Job[Any]] | None] = deque()
        self._count = os.eventfd(0, os.EFD_SEMAPHORE | os.EFD_CLOEXEC)

    def __len__(self) -> int:
        return len(self._batches)

    def put(self, batch: deque[Job[Any]] | None) -> None:
        """Append a batch, and wake a thread; None is for one that is to end."""
        self._batches.append(batch)
        os.eventfd_write(self._count, 1)

    def get(self) -> deque[Job[Any]] | None:
        """In a thread: wait for a batch."""
        os.eventfd_read(self._count)
        return self._batches.popleft()

    def close(self) -> None:
        """Nobody waits, or will."""
        os.close(self._count)


class Worker(threading.Thread):
    """One thread. ``job``, ``batch`` and ``since`` are its own to write, the loop's to read.

    Jobs come in batches. From one whose thread hangs the loop takes back what was not begun.
    """

    def __init__(self, pool: Pool, number: int) -> None:
        super().__init__(name=f"access-{number}", daemon=True)
        self._pool = pool
        self.since = 0.0
        self.job: Job[Any] | None = None
        self.batch: deque[Job[Any]] = deque()

    def run(self) -> None:
        """Work off batch after batch, until there is None."""
        os.nice(self._pool.niceness)  # this thread's alone; nice(2), "C library/kernel differences"
        while (batch := self._pool.jobs.get()) is not None:
            self.batch = batch
            self._work_off(batch)
            self._pool.wake()
        self._pool.leave()

    def _work_off(self, batch: deque[Job[Any]]) -> None:
        pool = self._pool
        wake_at = time.monotonic() + _WAKE_AFTER_S
        while batch:
            try:
                job = batch.popleft()
            except IndexError:  # the loop was faster
                return
            self.since = time.monotonic()
            if self.since > wake_at:
                pool.wake()
                wake_at = self.since + _WAKE_AFTER_S
            self.job = job
            value, error = job.execute()
            self.job = None
            pool.results.append((job, value, error))
            del value, error  # the frames that an error holds lead back to this one
