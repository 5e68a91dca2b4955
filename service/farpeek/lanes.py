"""What one target may have in the threads at once, so that no target slows another.

A lane is one target in one mode. Its slots are given back by the thread's return and by nothing
else: given back when the client's time is over, one stuck target takes every thread there is.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, TypeVar

from farpeek.errors import DeadlineExceeded, TargetStuck, TooBusy
from farpeek.pool import Job, no_thread_for_doubtful

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from typing import Any

    from farpeek.pool import Pool

T = TypeVar("T")

MOST_WAITING = 64


class Lane:
    """Slots for the jobs of one target in one mode, and the line before them."""

    __slots__ = (
        "_answers",
        "_futures",
        "_jobs",
        "_loop",
        "_most_waiting",
        "_overdue",
        "_pool",
        "_slots",
        "_taken",
        "_waiting",
        "_whose",
    )

    def __init__(
        self,
        pool: Pool,
        slots: int,
        loop: asyncio.AbstractEventLoop,
        most_waiting: int = MOST_WAITING,
        whose: str = "this target's threads",
    ) -> None:
        """``whose`` says in refusals what the line is for."""
        self._most_waiting = most_waiting
        self._whose = whose
        self._pool = pool
        self._loop = loop
        self._slots = slots
        self._taken = 0
        self._answers = False  # the last job that came back had not hung
        self._overdue = 0  # jobs whose time is over while their thread has not returned
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._futures: set[asyncio.Future[Any]] = set()
        self._jobs: set[Job[Any]] = set()

    async def run(self, work: Callable[[], T], deadline: float, returned: Callable[[], None]) -> T:
        """Have ``work`` done by a thread, and wait for it until ``deadline`` (time.monotonic).

        ``returned`` is called once the thread is done with it, however long that takes after
        this has raised; if it never began, at once. Raises what ``work`` does, TooBusy,
        TargetStuck, DeadlineExceeded, and what `fail` is given.
        """
        try:
            self._check_clogged()
            if self._taken < self._slots:
                self._taken += 1
            else:
                await self._slot(deadline)
        except BaseException:
            returned()
            raise
        return await self._in_thread(work, deadline, returned)

    def fail(self, error: BaseException) -> None:
        """End the wait of everybody with ``error``. Threads return when they return."""
        for future in [*self._futures, *self._waiting]:
            if not future.done():
                future.set_exception(error)
        self._waiting.clear()

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs, and nobody waits."""
        return not self._taken

    def stuck(self) -> list[float]:
        """Since when (time.monotonic) each thread that hangs for this lane does so."""
        times = (self._pool.stuck_since(job) for job in self._jobs)
        return [since for since in times if since is not None]

    async def _slot(self, deadline: float) -> None:
        """Wait for a slot; it is the caller's on return, in the order of arrival."""
        if self._overdue >= self._slots:
            raise self._stuck_error()
        if len(self._waiting) >= self._most_waiting:
            raise TooBusy(f"{self._most_waiting} requests wait for {self._whose} already")
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(future)
        timer = self._loop.call_later(deadline - time.monotonic(), _expire, future)
        try:
            await future
        except BaseException:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._give_back()  # cancelled in the moment when the slot had just come
            raise
        finally:
            timer.cancel()
            if future in self._waiting:
                self._waiting.remove(future)

    def _check_clogged(self) -> None:
        if self._pool.is_clogged and self.stuck():
            raise TooBusy(
                "as many threads hang in the kernel as may, some of them for this target", 5
            )
        if self._pool.refuses_doubtful and not self._answers:
            raise no_thread_for_doubtful()

    async def _in_thread(
        self, work: Callable[[], T], deadline: float, returned: Callable[[], None]
    ) -> T:
        future: asyncio.Future[T] = self._loop.create_future()
        overdue = False

        def expire() -> None:
            nonlocal overdue
            overdue = True
            self._overdue += 1
            self._pool.abandon(job)
            _expire(future)
            if self._overdue >= self._slots:
                self._turn_away()

        def done(value: T | None, error: BaseException | None) -> None:
            timer.cancel()
            self._jobs.remove(job)
            self._overdue -= overdue
            if not job.abandoned:
                self._answers = not job.hung and not isinstance(error, TooBusy)
            returned()
            self._give_back()
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(value)  # type: ignore[arg-type] # no error, so it is a T

        job = Job(work, done, doubtful=not self._answers)
        self._jobs.add(job)
        self._futures.add(future)
        timer = self._loop.call_later(deadline - time.monotonic(), expire)
        self._pool.submit(job)
        try:
            return await future
        finally:
            # The timer goes on: a job whose client has left is overdue at its deadline too.
            self._futures.discard(future)
            if job in self._jobs:
                self._pool.abandon(job)

    def _give_back(self) -> None:
        """Hand a slot on to the first in line; it stays taken meanwhile, so nobody can cut in."""
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                return
        self._taken -= 1

    def _turn_away(self) -> None:
        """Tell all in line that every slot hangs, so that they need not find out by waiting."""
        for future in self._waiting:
            if not future.done():
                future.set_exception(self._stuck_error())
        self._waiting.clear()

    def _stuck_error(self) -> TargetStuck:
        return TargetStuck(
            f"all {self._slots} threads of this target hang in the kernel past their deadline; "
            "they are free again when the page they wait for comes, or the target ends"
        )


def _expire(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_exception(
            DeadlineExceeded("the time is over; a page that was asked for has not come")
        )
