"""Deadlines: everybody is told in time, once, unless they do not wait any more."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farpeek.threads.deadlines import STEP_S, Deadlines
from support.waiting import aio_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Waiting:
    def __init__(self, deadline: float, then: Callable[[], None] = lambda: None) -> None:
        self.deadline = deadline
        self.told: list[float] = []
        self._then = then

    def expire(self) -> None:
        self.told.append(time.monotonic())
        self._then()


@pytest.fixture
async def deadlines() -> AsyncIterator[Deadlines[Waiting]]:
    opened: Deadlines[Waiting] = Deadlines(asyncio.get_running_loop(), Waiting.expire)
    yield opened
    opened.close()


async def test_nobody_is_told_too_early_and_each_once(deadlines: Deadlines[Waiting]) -> None:
    now = time.monotonic()
    waiting = [Waiting(now + seconds) for seconds in (0.2, 0.05, -1, 0.05, 0.1, 0)]
    for each in waiting:
        deadlines.add(each)
    await aio_until(lambda: all(each.told for each in waiting), "all are told")
    assert all(each.told[0] >= each.deadline for each in waiting)
    await asyncio.sleep(2 * STEP_S)
    assert [len(each.told) for each in waiting] == [1] * 6


async def test_who_waits_no_more_is_not_told(deadlines: Deadlines[Waiting]) -> None:
    now = time.monotonic()
    gone, waiting = Waiting(now + 0.05), Waiting(now + 0.06)
    deadlines.add(gone)
    deadlines.add(waiting)
    deadlines.discard(gone)
    await aio_until(lambda: waiting.told, "the other is told")
    assert not gone.told


async def test_one_who_is_told_may_end_the_wait_of_others(deadlines: Deadlines[Waiting]) -> None:
    deadline = time.monotonic() + 0.03
    told: list[Waiting] = []

    def end_all() -> None:
        for each in waiting:
            if each.told:
                told.append(each)
            else:
                deadlines.discard(each)

    waiting = [Waiting(deadline, end_all) for _ in range(10)]
    last = Waiting(deadline + 5 * STEP_S)
    for each in (*waiting, last):
        deadlines.add(each)
    await aio_until(lambda: last.told, "those that follow are told")
    assert len(told) == 1


async def test_one_who_is_told_may_begin_to_wait_again(deadlines: Deadlines[Waiting]) -> None:
    again = Waiting(time.monotonic())
    first = Waiting(time.monotonic(), lambda: deadlines.add(again))
    deadlines.add(first)
    await aio_until(lambda: again.told, "it is told too")


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 60), st.booleans()), max_size=30))
def test_exactly_those_that_wait_are_told(wanted: list[tuple[int, bool]]) -> None:
    async def check() -> None:
        deadlines = Deadlines(asyncio.get_running_loop(), Waiting.expire)
        now = time.monotonic()
        waiting = [(Waiting(now + ms / 1000), stays) for ms, stays in wanted]
        for each, _ in waiting:
            deadlines.add(each)
        for each, stays in waiting:
            if not stays:
                deadlines.discard(each)
        await aio_until(lambda: all(each.told for each, stays in waiting if stays), "all are told")
        assert not any(each.told for each, stays in waiting if not stays)
        deadlines.close()

    asyncio.run(check())
