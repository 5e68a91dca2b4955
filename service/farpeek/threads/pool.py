"""The threads that go into the kernel, and who of those that wait gets one.

ThreadPoolExecutor will not do: it joins its threads at exit, and one that hangs in a page fault is
never joined. These are daemons, and are left where they are.

Where more threads hang than may be replaced (see ``supervision``), the rest has to be kept for
those who answer. So tasks of which nobody knows yet whether they will hang (*unproven* ones: their
target has not answered before) get a quarter of the threads, and those that may still be replaced.
The others wait here.

The loop owns all state. A thread takes batches of tasks from one queue, and appends what came of
them to another; besides that it only says of itself what it is doing, and since when.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from farpeek.errors import TooBusy
from farpeek.threads.deadlines import Deadlines
from farpeek.threads.supervision import STUCK_AFTER_S, Crew, take_back
from farpeek.threads.workers import Exchange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farpeek.model import ThreadCounts
    from farpeek.threads.supervision import StuckLimit
    from farpeek.threads.tasks import Task

_SLOW_AFTER_S = 0.001
_BUSY_AFTER_S = 0.005
"""A thread that sleeps in the kernel is relieved of what it has not begun when it is slow. One that
only wants the processor, or the GIL, keeps it until then: a second thread would want the same."""
_EAGER = 2
"""Threads that are started at once. Small reads go faster through few threads, since the GIL lets
one of them run at a time; more are started when those there are slow."""


def no_thread_for_unproven() -> TooBusy:
    """Say that no thread is left for a target of which nothing is known."""
    return TooBusy(
        "as many threads hang in the kernel as may, and this target has not answered yet", 5
    )


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
        self.deadlines: Deadlines[Task[Any]] = Deadlines(loop, _expire)
        self._exchange = Exchange(loop, self._collect)
        self.crew = Crew(self._exchange, working, stuck_limit, niceness)
        self._unproven_threads = max(1, working // 4)
        self._unproven: set[Task[Any]] = set()  # in the hands of threads that count as working
        self._held: deque[Task[Any]] = deque()  # unproven ones that wait for their turn
        self._unfinished = 0
        self._abandoned = 0
        self._watch: asyncio.TimerHandle | None = None
        self._watch_began = 0.0
        self._watched = 0  # tasks since then
        self._is_seldom = False  # there is mostly one, done long before the watch looks around
        self._hurry: asyncio.TimerHandle | None = None
        self._fresh: list[Task[Any]] = []  # came in this turn of the loop
        self.turn = 0  # a number for it
        self._drained: asyncio.Future[None] | None = None

    def submit(self, task: Task[Any]) -> None:
        """Have ``task`` done by a thread."""
        self._unfinished += 1
        if task.unproven:
            self._held.append(task)
            self._let_unproven_in()
        elif self._unfinished == 1:  # no need to wait for company
            self.turn += 1
            self._exchange.batches.put(deque((task,)))
        else:
            self._put_with_others(task)
        self._see_to_threads()

    def submit_together(self, tasks: Sequence[Task[Any]]) -> None:
        """Have proven ones done by one thread, one behind the other, as long as none is slow."""
        self._unfinished += len(tasks)
        self._exchange.batches.put(deque(tasks))
        self._see_to_threads()
        if self._hurry is None:
            self._hurry = self._loop.call_later(_SLOW_AFTER_S, self._help_slow_ones)

    def _see_to_threads(self) -> None:
        """There is more to do: start a thread now, or look in a moment whether one is needed."""
        self._watched += 1
        if self._watch is None:
            self._begin_to_watch()
        crew = self.crew
        if self._unfinished - len(self._held) - crew.replaced > crew.working:
            if crew.working < min(_EAGER, self._most_working):
                crew.start()
            elif self._hurry is None:
                self._hurry = self._loop.call_later(_SLOW_AFTER_S, self._help_slow_ones)

    def _begin_to_watch(self) -> None:
        now = time.monotonic()
        if now - self._watch_began < STUCK_AFTER_S / 2:
            self._is_seldom = False
        self._watch_began, self._watched = now, 1
        self._watch = self._loop.call_later(STUCK_AFTER_S / 2, self._look_around)

    def _watch_no_more(self) -> None:
        """Sleep on behind the last task, where they are seldom: to wake up takes as long as one."""
        if self._watch is not None and not self.crew.hanging:
            self._watch.cancel()
            self._watch = None

    def _let_unproven_in(self) -> None:
        """Give threads to unproven tasks as long as there are some for them."""
        room = self._unproven_threads + self._stuck_limit.left
        while self._held and (len(self._unproven) < room or self._held[0].abandoned):
            task = self._held.popleft()
            self._unproven.add(task)
            self._put_with_others(task)

    def _put_with_others(self, task: Task[Any]) -> None:
        if not self._fresh:
            self._loop.call_soon(self._put_fresh)
        self._fresh.append(task)

    def _put_fresh(self) -> None:
        """Give the threads what came in this turn of the loop, light tasks many at once.

        At its end, so that a thread that wakes up finds the GIL free (1.3 of 4.9 context switches
        a request less).
        """
        light = deque(task for task in self._fresh if task.light)
        if light:
            self._exchange.batches.put(light)
        for task in self._fresh:
            if not task.light:
                self._exchange.batches.put(deque((task,)))
        if len(self._fresh) > 1 and self._hurry is None:
            self._hurry = self._loop.call_later(_SLOW_AFTER_S, self._help_slow_ones)
        self._fresh.clear()
        self.turn += 1

    def abandon(self, task: Task[Any]) -> None:
        """Nobody waits for ``task``, which has not come back, any more."""
        if not task.abandoned:
            task.abandoned = True
            self._abandoned += 1
            self._check_drained()

    @property
    def counts(self) -> ThreadCounts:
        """What the threads are doing now."""
        return self.crew.counts

    @property
    def unfinished(self) -> int:
        """Tasks that were submitted and have not come back."""
        return self._unfinished

    @property
    def is_clogged(self) -> bool:
        """Whether as many threads are stuck as may be."""
        limit = self._stuck_limit  # not by its own property: each visit comes here
        return limit.reached >= limit.most

    @property
    def refuses_unproven(self) -> bool:
        """Whether every thread hangs that unproven tasks may have."""
        return self._stuck_limit.is_reached and self.crew.unreplaced >= self._unproven_threads

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
        self.crew.dismiss()
        self._exchange.leave()

    def _collect(self) -> None:
        # Lowered first: a result that is appended from here on wakes the loop again.
        self._exchange.waking = False
        results = self._exchange.results
        while results:
            task, value, error = results.popleft()
            self._finish(task, value, error)
        if self._held:
            self._let_unproven_in()
        self._check_drained()
        if self._is_seldom and not self._unfinished:
            self._watch_no_more()

    def _finish(self, task: Task[Any], value: object, error: BaseException | None) -> None:
        self._unfinished -= 1
        self._abandoned -= task.abandoned
        self._unproven.discard(task)
        task.owner.finish(task, value, error)

    def _check_drained(self) -> None:
        done = self._unfinished == self._abandoned
        if self._drained is not None and done and not self._drained.done():
            self._drained.set_result(None)

    def _look_around(self) -> None:
        """Find threads that are stuck, and those that are no more; replace the former."""
        self._watch = None
        self._unproven.difference_update(self.crew.look(time.monotonic()))
        self._let_unproven_in()
        while self._held and self.refuses_unproven:  # there is nothing to wait for
            self._finish(self._held.popleft(), None, no_thread_for_unproven())
        self.crew.retire_surplus()
        if self._hurry is None:
            self._help_slow_ones()
        # The last one may have returned meanwhile, behind the look for those.
        is_over = not self._unfinished and not self.crew.hanging
        self._is_seldom = is_over and self._watched == 1
        if not is_over:
            self._watch = self._loop.call_later(STUCK_AFTER_S / 2, self._look_around)

    def _help_slow_ones(self) -> None:
        """Start a thread for each that has been at its task for a while, if tasks wait."""
        self._hurry = None
        # Asked first: what a thread does behind its last look is told by its own wake-up.
        under_way = self.crew.has_batches()
        if self._exchange.results:
            self._collect()
        now = time.monotonic()
        slow, fast = self.crew.slow(now - _SLOW_AFTER_S)
        for worker in slow:
            if not self.crew.is_held_up(worker, now - _BUSY_AFTER_S):
                continue
            self._share_out(*take_back(worker))
            if (task := worker.task) is not None:
                task.owner.slow(task)
        waiting = len(self._exchange.batches)
        working = self.crew.working
        for _ in range(min(waiting, _EAGER - fast, self._most_working - working)):
            self.crew.start()
        if self._hurry is None and (waiting or under_way):
            self._hurry = self._loop.call_later(_SLOW_AFTER_S, self._help_slow_ones)

    def _share_out(self, others: deque[Task[Any]], shared: list[Task[Any]]) -> None:
        """Give others what a slow thread gave back; what shares its slot goes to its line again."""
        if others:
            self._exchange.batches.put(others)
        for task in shared:  # each goes to the head of its line
            self._unfinished -= 1
            self._unproven.discard(task)
            task.owner.put_back(task)


def _expire(task: Task[Any]) -> None:
    task.owner.expire(task)
