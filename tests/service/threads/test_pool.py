"""The pool: who of those that wait gets a thread, and what hangs."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek.errors import DeadlineExceeded, TargetStuck, TooBusy
from farpeek.threads.lanes import MOST_WAITING, Lane
from farpeek.threads.pool import Pool
from farpeek.threads.supervision import STUCK_AFTER_S, Crew, StuckLimit
from farpeek.threads.tasks import Task, settle
from farpeek.threads.workers import Exchange
from support.pools import nothing, soon, until_stuck
from support.waiting import aio_until

if TYPE_CHECKING:
    from collections.abc import Iterator


async def test_work_is_done_in_another_thread(pool: Pool) -> None:
    lane = Lane(pool, 4, asyncio.get_running_loop())
    assert await lane.run(threading.get_ident, soon(), nothing) != threading.get_ident()


async def test_what_the_work_raises_reaches_the_one_who_waits(pool: Pool) -> None:
    lane = Lane(pool, 4, asyncio.get_running_loop())

    def fail() -> None:
        raise LookupError("from the thread")

    with pytest.raises(LookupError, match="from the thread"):
        await lane.run(fail, soon(), nothing)


async def test_an_error_holds_nothing_of_what_was_read_until_then(pool: Pool) -> None:
    lane = Lane(pool, 4, asyncio.get_running_loop())
    read: list[weakref.ref[Memory]] = []

    def fail() -> None:
        memory = Memory()
        read.append(weakref.ref(memory))
        try:
            raise LookupError
        except LookupError as error:
            raise TooBusy("in a frame that has it") from error

    with without_collections():
        told: weakref.ref[TooBusy] | None = None
        try:
            await lane.run(fail, soon(), nothing)
        except TooBusy as error:
            told = weakref.ref(error)
            assert read[0]() is None
        await asyncio.sleep(0)  # until now the loop has the future in hand that woke us
        assert told is not None
        assert told() is None


class Memory:
    """Stands for what a read has brought."""


@contextlib.contextmanager
def without_collections() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def test_a_thread_that_returns_while_the_pool_looks_around_counts_as_stuck_no_more(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = Lane(pool, 4, asyncio.get_running_loop())
    go_on = threading.Event()
    hanging: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    task = Task(go_on.wait, soon(), settle(hanging), nothing)
    lane.begin(task)
    await until_stuck(pool, 1)
    crew = pool.crew
    look_for_returned = crew._forget_returned  # noqa: SLF001 - the moment that is met by chance

    def return_just_behind() -> None:
        look_for_returned()
        go_on.set()
        while crew.worker_of(task) is not None:
            time.sleep(0)

    monkeypatch.setattr(crew, "_forget_returned", return_just_behind)
    assert await hanging
    await until_stuck(pool, 0)


async def test_who_hangs_behind_tasks_that_came_seldom_is_found_and_so_is_his_return(
    pool: Pool,
) -> None:
    lane = Lane(pool, 4, asyncio.get_running_loop())
    for _ in range(2):
        for _ in range(4):
            assert await lane.run(lambda: 7, soon(), nothing) == 7
            await asyncio.sleep(STUCK_AFTER_S)
        go_on = threading.Event()
        hanging = asyncio.create_task(lane.run(go_on.wait, soon(), nothing))
        await until_stuck(pool, 1)
        go_on.set()
        assert await hanging
        await until_stuck(pool, 0)


async def test_a_burst_of_results_comes_back_whole(pool: Pool) -> None:
    lanes = [Lane(pool, 4, asyncio.get_running_loop()) for _ in range(50)]
    numbers = range(40 * len(lanes))
    jobs = (lanes[n % 50].run(lambda n=n: n, soon(), nothing) for n in numbers)
    assert await asyncio.gather(*jobs) == list(numbers)


async def test_a_limit_on_threads_is_told_once_and_left_behind_when_it_goes(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    attempts: list[threading.Thread] = []

    def refuse(thread: threading.Thread) -> None:
        attempts.append(thread)
        raise RuntimeError("can't start new thread")

    lane = Lane(pool, 4, asyncio.get_running_loop())
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        waiting = asyncio.create_task(lane.run(lambda: 7, soon(), nothing))
        await aio_until(lambda: len(attempts) > 5, "it goes on trying")
    assert await waiting == 7
    assert caplog.text.count("no further access thread can be started") == 1


async def test_threads_that_hang_are_replaced_at_once(pool: Pool) -> None:
    loop = asyncio.get_running_loop()
    release = threading.Event()
    stuck = [
        asyncio.create_task(Lane(pool, 1, loop).run(release.wait, soon(), nothing))
        for _ in range(6)  # two more than may work
    ]
    await until_stuck(pool, 6)
    assert await Lane(pool, 1, loop).run(lambda: 7, soon(), nothing) == 7
    release.set()
    await asyncio.gather(*stuck)


async def test_threads_that_come_back_are_not_kept_beyond_the_limit(pool: Pool) -> None:
    loop = asyncio.get_running_loop()
    before = threading.active_count()
    release = threading.Event()
    stuck = [
        asyncio.create_task(Lane(pool, 1, loop).run(release.wait, soon(), nothing))
        for _ in range(8)
    ]
    await until_stuck(pool, 8)
    release.set()
    await asyncio.gather(*stuck)
    async with asyncio.timeout(60):
        while threading.active_count() - before > 4:
            await Lane(pool, 1, loop).run(nothing, soon(), nothing)
            await asyncio.sleep(STUCK_AFTER_S / 4)


async def test_a_thread_that_has_ended_is_not_counted() -> None:
    exchange = Exchange(asyncio.get_running_loop(), nothing)
    crew = Crew(exchange, 2, StuckLimit(8), 0)
    before = threading.active_count()
    crew.start()
    crew.start()
    assert crew.counts.idle == 2
    assert crew.give_one_up()
    await aio_until(lambda: threading.active_count() == before + 1, "one has ended")
    assert crew.counts.idle == 1
    assert crew.give_one_up()
    await aio_until(lambda: threading.active_count() == before, "the other has, too")
    assert crew.counts.idle == 0
    exchange.leave()


async def test_a_slot_is_given_back_by_the_thread_alone(pool: Pool) -> None:
    lane = Lane(pool, 1, asyncio.get_running_loop())
    release = threading.Event()
    returned: list[str] = []
    with pytest.raises(DeadlineExceeded):
        await lane.run(release.wait, soon(0.05), lambda: returned.append("stuck"))
    with pytest.raises(TargetStuck):
        await lane.run(nothing, soon(), lambda: returned.append("refused"))
    assert returned == ["refused"]
    release.set()
    await aio_until(lambda: lane.is_idle, "the thread has returned")
    assert returned == ["refused", "stuck"]
    assert await lane.run(lambda: 1, soon(), nothing) == 1


async def test_those_in_line_get_the_slot_in_their_order(pool: Pool) -> None:
    lane = Lane(pool, 1, asyncio.get_running_loop())
    release = threading.Event()
    order: list[int] = []
    first = asyncio.create_task(lane.run(release.wait, soon(), nothing))
    rest = [
        asyncio.create_task(lane.run(lambda n=n: order.append(n), soon(), nothing))
        for n in range(20)
    ]
    await asyncio.sleep(0)
    release.set()
    await asyncio.gather(first, *rest)
    assert order == list(range(20))


async def test_those_in_line_are_told_when_every_slot_hangs(pool: Pool) -> None:
    lane = Lane(pool, 1, asyncio.get_running_loop())
    release = threading.Event()
    first = asyncio.create_task(lane.run(release.wait, soon(0.1), nothing))
    second = asyncio.create_task(lane.run(nothing, soon(30), nothing))
    results = await asyncio.wait_for(asyncio.gather(first, second, return_exceptions=True), 10)
    assert isinstance(results[0], DeadlineExceeded)
    assert isinstance(results[1], TargetStuck)
    release.set()


async def test_the_line_has_an_end(pool: Pool) -> None:
    lane = Lane(pool, 1, asyncio.get_running_loop())
    release = threading.Event()
    tasks = [
        asyncio.create_task(lane.run(release.wait, soon(), nothing))
        for _ in range(1 + MOST_WAITING)
    ]
    await asyncio.sleep(0)
    with pytest.raises(TooBusy):
        await lane.run(nothing, soon(), nothing)
    release.set()
    await asyncio.gather(*tasks)


async def test_one_who_gives_up_in_line_does_not_take_the_slot_along(pool: Pool) -> None:
    lane = Lane(pool, 1, asyncio.get_running_loop())
    release = threading.Event()
    first = asyncio.create_task(lane.run(release.wait, soon(), nothing))
    second = asyncio.create_task(lane.run(nothing, soon(), nothing))
    await asyncio.sleep(0)
    release.set()
    await first
    second.cancel()  # in the very moment when the slot is handed on
    await asyncio.gather(second, return_exceptions=True)
    assert await lane.run(lambda: 3, soon(), nothing) == 3


async def test_a_task_that_nobody_waits_for_is_not_begun(pool: Pool) -> None:
    lane = Lane(pool, 1, asyncio.get_running_loop())
    begun: list[str] = []
    unwanted = Task(lambda: begun.append("unwanted"), soon(), lambda *_: None, nothing)
    lane.begin(unwanted)  # threads get it at the end of this turn
    lane.forget(unwanted)
    await lane.run(lambda: begun.append("wanted"), soon(), nothing)
    assert begun == ["wanted"]


async def test_a_clogged_pool_refuses_only_those_whose_threads_hang(pool: Pool) -> None:
    loop = asyncio.get_running_loop()
    release = threading.Event()
    lanes = [Lane(pool, 2, loop) for _ in range(8)]
    stuck = [asyncio.create_task(lane.run(release.wait, soon(), nothing)) for lane in lanes]
    await until_stuck(pool, 8)
    with pytest.raises(TooBusy):
        await lanes[0].run(nothing, soon(), nothing)
    assert await Lane(pool, 2, loop).run(lambda: 5, soon(), nothing) == 5
    release.set()
    await asyncio.gather(*stuck)


def eventfds() -> int:
    links: list[str] = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the folder's own
            links.append(str(entry.readlink()))
    return links.count("anon_inode:[eventfd]")


async def test_a_closed_pool_leaves_no_descriptor_even_if_a_thread_returns_late() -> None:
    loop = asyncio.get_running_loop()
    before = eventfds()
    opened = Pool(loop, working=4, stuck_limit=StuckLimit(8))
    release = threading.Event()
    stuck = asyncio.create_task(Lane(opened, 1, loop).run(release.wait, soon(), nothing))
    await until_stuck(opened, 1)
    opened.close()
    assert eventfds() <= before + 1
    release.set()
    await stuck
    await aio_until(lambda: eventfds() <= before, "it is closed")
