"""What is said of a thread that does not come back: what it is at, and whether it hangs."""

from __future__ import annotations

import asyncio
import gc
import mmap
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING

import pytest

from farpeek.errors import DeadlineExceeded, TargetStuck, TooBusy
from farpeek.mappings.maps import cut
from farpeek.memory import MemoryService
from farpeek.model import Limits, ReadSpec, Regions, Stage
from farpeek.threads import activity
from farpeek.threads.lanes import Lane
from farpeek.threads.pool import Pool
from farpeek.threads.supervision import STUCK_AFTER_S, Crew, StuckLimit
from support.asking import ask, close
from support.targets import start
from support.waiting import aio_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from farpeek.mappings.mapping import Mapping
    from farpeek.threads.workers import Worker

PAGE = mmap.PAGESIZE


def nothing() -> None:
    pass


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    opened = Pool(asyncio.get_running_loop(), working=4, stuck_limit=StuckLimit(8))
    yield opened
    await opened.drain(5)
    opened.close()


async def late(pool: Pool, work: Callable[[], object]) -> DeadlineExceeded:
    """Have ``work`` done by a lane of one slot, until it is too late."""
    lane = Lane(pool, 1, asyncio.get_running_loop())
    with pytest.raises(DeadlineExceeded) as caught:
        await lane.run(work, time.monotonic() + 4 * STUCK_AFTER_S, nothing)
    return caught.value


async def test_a_read_that_is_too_late_says_that_it_is_in_a_page_fault_or_in_line() -> None:
    service = await MemoryService.open(Limits(target_threads=1))
    with start("uffd") as target:
        snapshot, _ = await service.register(target.pid)
        spec = ReadSpec(Regions([target["missing"]], [8]))
        before = time.time()
        hanging = asyncio.ensure_future(ask(service, snapshot.id, spec, 1.0))
        await aio_until(lambda: service.state().stuck, "it hangs")
        with pytest.raises(DeadlineExceeded, match="this target's threads were all") as in_line:
            await ask(service, snapshot.id, spec, 0.1)
        assert in_line.value.stage is Stage.QUEUE
        with pytest.raises(DeadlineExceeded, match="a thread hangs at the transfer") as in_fault:
            await hanging
        assert in_fault.value.stage is Stage.PAGE_FAULT
        assert in_fault.value.since is not None
        assert in_line.value.since is not None
        assert before - 0.1 <= in_fault.value.since <= in_line.value.since
    await close(service)


async def test_who_waits_for_the_targets_map_is_told_so(pool: Pool) -> None:
    reader, writer = os.pipe()

    class Locked:
        def at_or_above(self, address: int) -> Mapping | None:
            del address
            os.read(reader, 1)
            return None

    error = await late(pool, lambda: list(cut(Locked(), [(0, PAGE)])))
    assert error.stage is Stage.MAPPINGS
    assert "hangs at the target's mappings" in str(error)
    os.write(writer, b"x")
    await aio_until(lambda: not pool.unfinished, "it is back")
    os.close(reader)
    os.close(writer)


async def test_a_thread_that_is_busy_is_slow_and_not_stuck(pool: Pool) -> None:
    over = threading.Event()

    def compute() -> None:
        while not over.is_set():
            sum(range(1000))

    lane = Lane(pool, 1, asyncio.get_running_loop())
    try:
        with pytest.raises(DeadlineExceeded, match="a thread is slow, not stuck"):
            await lane.run(compute, time.monotonic() + 4 * STUCK_AFTER_S, nothing)
        assert pool.counts.stuck == 0
        assert not lane.stuck()
        with pytest.raises(TooBusy, match="slow, but not stuck"):
            await lane.run(nothing, time.monotonic() + 1, nothing)
    finally:
        over.set()
    await aio_until(lambda: lane.is_idle, "it is back")


async def test_what_is_only_slow_has_as_long_as_it_may_and_so_has_who_waits_in_line_for_it(
    pool: Pool,
) -> None:
    over = threading.Event()

    def compute() -> str:
        while not over.is_set():
            sum(range(1000))
        return "done"

    lane = Lane(pool, 1, asyncio.get_running_loop())
    soon = time.monotonic() + 2 * STUCK_AFTER_S
    late = asyncio.ensure_future(lane.run(compute, soon, nothing))
    in_line = asyncio.ensure_future(lane.run(lambda: "its turn", soon, nothing, soon + 600))
    with pytest.raises(DeadlineExceeded, match="a thread is slow, not stuck"):
        await late
    # The one slot is overdue, and this one is taken all the same.
    further = asyncio.ensure_future(lane.run(compute, soon, nothing, soon + 600))
    try:
        with pytest.raises(TooBusy, match="slow, but not stuck"):
            await lane.run(nothing, time.monotonic() + 1, nothing)
    finally:
        over.set()
    assert await asyncio.gather(in_line, further) == ["its turn", "done"]


async def test_what_hangs_has_no_time_past_its_deadline_nor_has_who_waits_in_line_for_it(
    pool: Pool,
) -> None:
    reader, writer = os.pipe()

    def hang() -> bytes:
        return os.read(reader, 1)

    lane = Lane(pool, 1, asyncio.get_running_loop())
    soon = time.monotonic() + 2 * STUCK_AFTER_S
    hanging, in_line = [
        asyncio.ensure_future(lane.run(hang, deadline, nothing, soon + 600))
        for deadline in (soon, soon + 300)
    ]
    try:
        with pytest.raises(DeadlineExceeded, match="a thread hangs"):
            await hanging
        with pytest.raises(TargetStuck):
            await in_line
        with pytest.raises(TargetStuck):
            await lane.run(hang, time.monotonic() + 1, nothing, soon + 600)
    finally:
        os.write(writer, b"x")
    await aio_until(lambda: lane.is_idle, "it is back")
    os.close(reader)
    os.close(writer)


async def test_who_sleeps_is_held_up_at_once_and_who_wants_the_processor_after_a_while(
    pool: Pool,
) -> None:
    over = threading.Event()

    def compute() -> None:
        while not over.is_set():
            sum(range(1000))

    lanes = [Lane(pool, 1, asyncio.get_running_loop()) for _ in range(2)]
    busy, asleep = [
        asyncio.ensure_future(lane.run(work, time.monotonic() + 60, nothing))
        for lane, work in zip(lanes, (compute, over.wait), strict=True)
    ]
    try:
        await aio_until(lambda: pool.counts.busy + pool.counts.stuck == 2, "both are at it")
        held_up = {
            worker.task.work: (
                Crew.is_held_up(worker, worker.since - 1),
                Crew.is_held_up(worker, worker.since),
            )
            for worker in await _at_work(pool)
            if worker.task is not None
        }
        assert held_up == {compute: (False, True), over.wait: (True, True)}
    finally:
        over.set()
    await asyncio.gather(busy, asleep)


async def _at_work(pool: Pool) -> list[Worker]:
    """Threads that have been at one thing for a while."""
    slow: list[Worker] = []

    def found() -> bool:
        slow[:] = pool.crew.slow(time.monotonic() - STUCK_AFTER_S)[0]
        return len(slow) == 2

    await aio_until(found, "both have been at it for a while")
    return slow


def test_a_look_at_a_thread_keeps_nothing_that_the_thread_had() -> None:
    class Content:
        """What is in hand, such as 16 MiB of a target."""

    kept: list[weakref.ref[Content]] = []
    begun, over = threading.Event(), threading.Event()

    def hold() -> None:
        content = Content()
        kept.append(weakref.ref(content))
        begun.set()
        over.wait()

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    assert begun.wait(60)
    gc.collect()
    gc.disable()
    try:
        activity.stage(thread)
        activity.is_blocked(thread)
        over.set()
        thread.join()
        assert kept[0]() is None
    finally:
        gc.enable()


async def test_a_thread_that_waits_for_another_thread_is_stuck(pool: Pool) -> None:
    over = threading.Event()
    error = await late(pool, over.wait)
    assert "hangs" in str(error)
    assert pool.counts.stuck == 1
    over.set()
