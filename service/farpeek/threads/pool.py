"""The threads that go into the kernel.

ThreadPoolExecutor will not do: it joins its threads at exit, and one that hangs in a page fault is
never joined. These are daemons, and are left where they are.

A thread that has been in one call for 50 ms is *stuck*: it no longer counts as working, and another
one takes its place, up to a limit. Nothing can cancel it; it works again when the kernel lets it
go.

Where more threads hang than may be replaced, the rest has to be kept for those who answer. So jobs
of which nobody knows yet whether they will hang (*unproven* ones: their target has not answered
before) get a quarter of the threads, and those that may still be replaced. The others wait here.

The loop owns all state. A thread takes batches of jobs from one queue, and appends what came of
them to another; besides that it only says of itself what it is doing, and since when.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from farpeek.errors import TooBusy
from farpeek.model import ThreadCounts
from farpeek.threads.deadlines import Deadlines
from farpeek.threads.workers import Batches, Worker

if TYPE_CHECKING:
    from farpeek.threads.workers import Job

_log = logging.getLogger(__name__)

STUCK_AFTER_S = 0.05
_SLOW_AFTER_S = 0.001
_EAGER = 2
"""Threads that are started at once. Small reads go faster through few threads, since the GIL lets
one of them run at a time; more are started when those there are slow."""


def no_thread_for_unproven() -> TooBusy:
    """Say that no thread is left for a target of which nothing is known."""
    return TooBusy(
        "as many threads hang in the kernel as may, and this target has not answered yet", 5
    )


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


class Pool:
    """At most ``working`` threads that work, and more that hang, up to a limit."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        working: int,
        stuck_limit: StuckLimit,
        niceness: int = 0,
    ) -> None:
        """``niceness`` of the threads is on top of the process's own (nice(2))."""
        self._loop = loop
        self._most_working = working
        self._stuck_limit = stuck_limit
        self.niceness = niceness
        self.deadlines = Deadlines(loop)
        self.jobs = Batches()
        self._users = 1  # of that queue: the loop, and every thread
        self._users_lock = threading.Lock()
        self.results: deque[tuple[Job[Any], Any, BaseException | None]] = deque()
        self._waking = False
        self._workers: set[Worker] = set()
        self._stuck: dict[Worker, Job[Any]] = {}
        self._unreplaced: dict[Worker, Job[Any]] = {}  # they hang too, beyond the limit
        self._unproven_threads = max(1, working // 4)
        self._unproven: set[Job[Any]] = set()  # in the hands of threads that count as working
        self._held: deque[Job[Any]] = deque()  # unproven ones that wait for their turn
        self._unfinished = 0
        self._abandoned = 0
        self._watch: asyncio.TimerHandle | None = None
        self._hurry: asyncio.TimerHandle | None = None
        self._started = 0
        self._refused = False  # the system let no further thread be, the last time
        self._retiring = 0
        self._fresh: list[Job[Any]] = []  # came in this turn of the loop
        self.turn = 0  # a number for it
        self._drained: asyncio.Future[None] | None = None

    def submit(self, job: Job[Any]) -> None:
        """Have ``job`` done by a thread."""
        self._unfinished += 1
        if job.unproven:
            self._held.append(job)
            self._let_unproven_in()
        else:
            self._put(job)
        if self._watch is None:
            self._watch = self._loop.call_later(STUCK_AFTER_S / 2, self._look_around)
        if self._unfinished - len(self._held) - len(self._stuck) > self._working:
            if self._working < min(_EAGER, self._most_working):
                self._start_thread()
            elif self._hurry is None:
                self._hurry = self._loop.call_later(_SLOW_AFTER_S, self._help_slow_ones)

    @property
    def counts(self) -> ThreadCounts:
        """What the threads are doing now."""
        stuck = len(self._stuck) + len(self._unreplaced)
        busy = max(sum(worker.job is not None for worker in self._workers) - stuck, 0)
        return ThreadCounts(busy, max(len(self._workers) - stuck - busy, 0), stuck)

    def _let_unproven_in(self) -> None:
        """Give threads to unproven jobs as long as there are some for them."""
        room = self._unproven_threads + self._stuck_limit.left
        while self._held and (len(self._unproven) < room or self._held[0].abandoned):
            job = self._held.popleft()
            self._unproven.add(job)
            self._put(job)

    def _put(self, job: Job[Any]) -> None:
        if self._unfinished == 1:  # no need to wait for company
            self.turn += 1
            self.jobs.put(deque((job,)))
            return
        if not self._fresh:
            self._loop.call_soon(self._put_fresh)
        self._fresh.append(job)

    def _put_fresh(self) -> None:
        """Give the threads what came in this turn of the loop, light jobs many at once.

        At its end, so that a thread that wakes up finds the GIL free (1.3 of 4.9 context switches
        a request less).
        """
        light = deque(job for job in self._fresh if job.light)
        if light:
            self.jobs.put(light)
        for job in self._fresh:
            if not job.light:
                self.jobs.put(deque((job,)))
        if len(self._fresh) > 1 and self._hurry is None:
            self._hurry = self._loop.call_later(_SLOW_AFTER_S, self._help_slow_ones)
        self._fresh.clear()
        self.turn += 1

    def abandon(self, job: Job[Any]) -> None:
        """Nobody waits for ``job``, which has not come back, any more."""
        if not job.abandoned:
            job.abandoned = True
            self._abandoned += 1
            self._check_drained()

    @property
    def unfinished(self) -> int:
        """Jobs that were submitted and have not come back."""
        return self._unfinished

    @property
    def is_clogged(self) -> bool:
        """Whether as many threads are stuck as may be."""
        return self._stuck_limit.is_reached

    @property
    def refuses_unproven(self) -> bool:
        """Whether every thread hangs that unproven jobs may have."""
        return self.is_clogged and len(self._unreplaced) >= self._unproven_threads

    def stuck_since(self, job: Job[Any]) -> float | None:
        """Since when (time.monotonic) the thread that does ``job`` hangs; None if it does not."""
        if job.hung:
            for worker, stuck in [*self._stuck.items(), *self._unreplaced.items()]:
                if stuck is job and worker.job is job:
                    return worker.since
        return None

    async def drain(self, timeout_s: float) -> None:
        """Return when nothing that anybody waits for is unfinished, or after ``timeout_s``."""
        self._drained = self._loop.create_future()
        self._check_drained()
        await asyncio.wait([self._drained], timeout=timeout_s)

    def close(self) -> None:
        """Let idle threads end; those in the kernel are left there."""
        for handle in (self._watch, self._hurry):
            if handle is not None:
                handle.cancel()
        self.deadlines.close()
        for _ in self._workers:
            self.jobs.put(None)
        self.leave()

    def leave(self) -> None:
        """Use the queue no more. The last one closes it, which may be a thread that hung."""
        with self._users_lock:
            self._users -= 1
            is_last = not self._users
        if is_last:
            self.jobs.close()

    @property
    def _working(self) -> int:
        return len(self._workers) - len(self._stuck)

    def wake(self) -> None:
        """In a thread: have the loop look at the results. Serves all that come meanwhile."""
        if not self._waking:
            self._waking = True
            try:
                self._loop.call_soon_threadsafe(self._collect)
            except RuntimeError:
                return  # the loop is closed: nobody wants to know any more

    def _collect(self) -> None:
        # Lowered first: a result that is appended from here on wakes the loop again.
        self._waking = False
        results = self.results
        while results:
            job, value, error = results.popleft()
            self._unfinished -= 1
            self._abandoned -= job.abandoned
            self._unproven.discard(job)
            job.conclude(value, error)
        if self._held:
            self._let_unproven_in()
        self._check_drained()

    def _check_drained(self) -> None:
        done = self._unfinished == self._abandoned
        if self._drained is not None and done and not self._drained.done():
            self._drained.set_result(None)

    def _look_around(self) -> None:
        """Find threads that are stuck, and those that are no more; replace the former."""
        self._watch = None
        now = time.monotonic()
        self._forget_returned()
        for worker in self._workers:
            doing = worker.job
            if doing is None or worker in self._stuck or worker in self._unreplaced:
                continue
            if now - worker.since >= STUCK_AFTER_S:
                doing.hung = True
                self._unreplaced[worker] = doing
        self._replace()
        self._let_unproven_in()
        self._refuse_held()
        self._retire_surplus()
        if self._hurry is None:
            self._help_slow_ones()
        # The last one may have returned meanwhile, behind the look for those.
        if self._unfinished or self._stuck or self._unreplaced:
            self._watch = self._loop.call_later(STUCK_AFTER_S / 2, self._look_around)

    def _forget_returned(self) -> None:
        """Threads that hang no more work again."""
        for hanging in (self._stuck, self._unreplaced):
            for worker, job in list(hanging.items()):
                if worker.job is not job:
                    del hanging[worker]
                    self._stuck_limit.reached -= hanging is self._stuck

    def _replace(self) -> None:
        """Count threads that hang no longer among those that work, as many as may be."""
        for worker, job in list(self._unreplaced.items())[: self._stuck_limit.left]:
            del self._unreplaced[worker]
            self._stuck[worker] = job
            self._stuck_limit.reached += 1
            self._unproven.discard(job)

    def _refuse_held(self) -> None:
        """Tell unproven jobs that wait when there is nothing to wait for."""
        while self._held and self.refuses_unproven:
            job = self._held.popleft()
            self._unfinished -= 1
            self._abandoned -= job.abandoned
            job.conclude(None, no_thread_for_unproven())

    def _help_slow_ones(self) -> None:
        """Start a thread for each that has been at its job for a while, if jobs wait."""
        self._hurry = None
        # Asked first: what a thread does behind its last look is told by its own wake-up.
        under_way = any(worker.batch for worker in self._workers)
        if self.results:
            self._collect()
        since = time.monotonic() - _SLOW_AFTER_S
        fast = 0
        for worker in self._workers:
            if worker.job is not None and worker.since <= since:
                self._take_back(worker)
            elif worker not in self._stuck:
                fast += 1
        waiting = len(self.jobs)
        for _ in range(min(waiting, _EAGER - fast, self._most_working - self._working)):
            self._start_thread()
        if self._hurry is None and (waiting or under_way):
            self._hurry = self._loop.call_later(_SLOW_AFTER_S, self._help_slow_ones)

    def _take_back(self, worker: Worker) -> None:
        """Give others what a slow thread has not begun of its batch."""
        batch, doing = worker.batch, worker.job
        others: deque[Job[Any]] = deque()
        shared: list[Job[Any]] = []
        while batch:
            try:
                job = batch.popleft()
            except IndexError:  # the thread was faster
                break
            if doing is not None and job.shares_with(doing) and not job.abandoned:
                shared.append(job)
            else:
                others.append(job)
        if others:
            self.jobs.put(others)
        for job in reversed(shared):  # each goes to the head of its line
            self._unfinished -= 1
            self._unproven.discard(job)
            job.put_back()

    def _start_thread(self) -> None:
        self._started += 1
        with self._users_lock:
            self._users += 1
        worker = Worker(self, self._started)
        try:
            worker.start()
        except RuntimeError:  # a limit on threads; tried again as long as jobs wait
            self.leave()
            if not self._refused:  # said once, for it is tried every millisecond
                _log.warning("no further access thread can be started (%d run)", len(self._workers))
            self._refused = True
            return
        self._refused = False
        self._workers.add(worker)

    def _retire_surplus(self) -> None:
        """Let threads end that were stuck and came back, while others had replaced them."""
        for worker in [worker for worker in self._workers if not worker.is_alive()]:
            self._workers.remove(worker)
            self._retiring -= 1
        for _ in range(self._working - self._most_working - self._retiring):
            self._retiring += 1
            self.jobs.put(None)
