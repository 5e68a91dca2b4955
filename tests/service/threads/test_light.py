"""Light tasks: many in one thread, one behind the other."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from farpeek.errors import DeadlineExceeded, TargetStuck, TooBusy
from farpeek.threads.lanes import MOST_TOGETHER, MOST_WAITING, Lane
from farpeek.threads.tasks import Task
from support.pools import nothing, soon, until_stuck
from support.waiting import aio_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek.threads.pool import Pool


class Light:
    """A light task that tells in which thread it was done, and when it was given back."""

    def __init__(
        self, lane: Lane, work: Callable[[], object] = nothing, seconds: float = 10
    ) -> None:
        self._work = work
        self.lane = lane
        self.thread = 0
        self.outcome: tuple[object, BaseException | None] | None = None
        self.times_returned = 0
        self.task = Task(self._do, soon(seconds), self._note, self._returned, light=True)
        lane.begin(self.task)

    def _do(self) -> object:
        self.thread = threading.get_ident()
        return self._work()

    def _returned(self) -> None:
        self.times_returned += 1

    def _note(self, value: object, error: BaseException | None) -> None:
        self.outcome = (value, error)


async def until_told(jobs: list[Light]) -> None:
    await aio_until(lambda: all(job.outcome for job in jobs), "all are told")


@pytest.fixture
async def lane(pool: Pool) -> Lane:
    """Return a lane of two slots whose target has answered before."""
    opened = Lane(pool, 2, asyncio.get_running_loop())
    await opened.run(nothing, soon(), nothing)
    return opened


async def test_light_tasks_of_one_turn_are_done_in_one_thread_in_their_order(
    pool: Pool, lane: Lane
) -> None:
    before = pool.turn
    order: list[int] = []
    jobs = [Light(lane, lambda n=n: order.append(n)) for n in range(20)]
    await until_told(jobs)
    assert order == list(range(20))
    assert len({job.thread for job in jobs[1:]}) == 1  # a lone first one is not kept waiting
    assert pool.turn - before == 2
    assert {job.times_returned for job in jobs} == {1}
    assert lane.is_idle


async def test_what_came_before_a_task_that_hangs_is_told_meanwhile_and_what_comes_behind_is_done(
    pool: Pool, lane: Lane
) -> None:
    release = threading.Event()
    others = Lane(pool, 2, asyncio.get_running_loop())
    await others.run(nothing, soon(), nothing)
    before = [Light(lane) for _ in range(5)]
    hung = Light(lane, release.wait)
    behind = [Light(lane) for _ in range(5)] + [Light(others) for _ in range(5)]
    await until_told([*before, *behind])
    assert hung.outcome is None
    assert hung.thread not in {job.thread for job in behind}
    release.set()
    await until_told([hung])
    assert lane.is_idle


async def test_light_tasks_that_hang_take_no_more_threads_than_there_are_slots(
    pool: Pool, lane: Lane
) -> None:
    release = threading.Event()
    others = Lane(pool, 2, asyncio.get_running_loop())
    jobs = [Light(lane, release.wait) for _ in range(30)]
    await until_stuck(pool, 2)
    for _ in range(20):
        assert await others.run(lambda: 7, soon(), nothing) == 7
    assert pool.counts.stuck == 2
    assert len({job.thread for job in jobs if job.thread}) == 2
    release.set()
    await until_told(jobs)
    assert {job.times_returned for job in jobs} == {1}
    assert lane.is_idle


async def test_light_tasks_of_a_target_that_has_not_answered_share_nothing(pool: Pool) -> None:
    release = threading.Event()
    unknown = Lane(pool, 2, asyncio.get_running_loop())
    jobs = [Light(unknown, release.wait) for _ in range(6)]
    await until_stuck(pool, 2)
    assert (
        len({job.task.slot for job in jobs}) == 3
    )  # one each for two of them; the others are in line
    release.set()
    await until_told(jobs)


async def test_a_line_of_light_tasks_ends_with_its_target(pool: Pool, lane: Lane) -> None:
    release = threading.Event()
    jobs = [Light(lane, release.wait) for _ in range(30)]
    await until_stuck(pool, 2)
    lane.fail(LookupError("gone"))
    assert all(job.outcome and isinstance(job.outcome[1], LookupError) for job in jobs)
    assert sum(job.times_returned for job in jobs) == 28
    release.set()
    await aio_until(lambda: lane.is_idle, "the threads have returned")
    assert {job.times_returned for job in jobs} == {1}


async def test_light_tasks_whose_time_is_over_are_told_and_begin_no_more(lane: Lane) -> None:
    release = threading.Event()
    begun: list[int] = []

    def work() -> None:
        begun.append(1)
        release.wait()

    jobs = [Light(lane, work, seconds=0.1) for _ in range(30)]
    await until_told(jobs)
    kinds = {type(job.outcome[1]) for job in jobs if job.outcome}
    assert kinds <= {DeadlineExceeded, TargetStuck}
    with pytest.raises(TargetStuck):
        Light(lane)
    release.set()
    await aio_until(lambda: lane.is_idle, "the threads have returned")
    assert len(begun) == 2
    assert {job.times_returned for job in jobs} == {1}


async def test_a_light_task_that_is_forgotten_gives_everything_back(pool: Pool, lane: Lane) -> None:
    release = threading.Event()
    jobs = [Light(lane, release.wait) for _ in range(10)]
    await until_stuck(pool, 2)
    for job in jobs:
        lane.forget(job.task)
    release.set()
    await aio_until(lambda: lane.is_idle, "the threads have returned")
    assert {job.times_returned for job in jobs} == {1}
    assert not any(job.outcome for job in jobs)


async def test_the_line_of_light_tasks_has_an_end_too(lane: Lane) -> None:
    # A lone one in the first slot, as many as share one in the second, and those in line.
    jobs = [Light(lane) for _ in range(1 + MOST_TOGETHER + MOST_WAITING)]
    with pytest.raises(TooBusy):
        Light(lane)
    await until_told(jobs)
