"""Visits: light work for many targets, of which one that hangs holds up none of the others."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farpeek.errors import DeadlineExceeded, FarpeekError, TooBusy
from farpeek.memory import MemoryService
from farpeek.model import Limits, ReadSpec, Regions, Stage
from farpeek.threads.lanes import Lane
from farpeek.threads.pool import Pool
from farpeek.threads.supervision import STUCK_AFTER_S, StuckLimit
from farpeek.threads.sweeps import MOST_VISITS, Sweep, Visit, begin_sweeps
from support.asking import ask, close
from support.targets import start
from support.waiting import aio_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from farpeek.model import ReadResult
    from farpeek.threads.sweeps import Joint

    Join = Callable[[Sequence["Work"]], Joint]


class Work(Visit):
    """Something to do, with a name."""

    def __init__(self, lane: Lane, name: str, work: Callable[[], object]) -> None:
        super().__init__(lane)
        self.name = name
        self.work = work


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    opened = Pool(asyncio.get_running_loop(), working=4, stuck_limit=StuckLimit(8))
    yield opened
    await opened.drain(5)
    opened.close()


def nothing() -> None:
    pass


def soon(seconds: float = 10) -> float:
    return time.monotonic() + seconds


class Apart:
    """Visits of which none is paid together with others."""

    def __init__(self, visits: Sequence[Work]) -> None:
        self.visits = visits

    def run(self) -> list[object | None]:
        return [None] * len(self.visits)

    def stop(self) -> int:
        return 0


class InARow(Apart):
    """Visits that are paid one behind the other until that is stopped; what gives None, alone."""

    def __init__(self, visits: Sequence[Work]) -> None:
        super().__init__(visits)
        self.left = deque(visits)
        self.is_stopped = False

    def run(self) -> list[object | None] | None:
        values: list[object | None] = []
        while True:
            try:
                visit = self.left.popleft()
            except IndexError:
                return None if self.is_stopped else values
            try:
                values.append(visit.work())
            except LookupError:
                values.append(None)

    def stop(self) -> int:
        self.is_stopped = True
        number = len(self.visits)
        with contextlib.suppress(IndexError):
            while True:
                self.left.pop()
                number -= 1
        return max(0, number - 1)


WAYS: tuple[Join, ...] = (Apart, InARow)


class Told:
    """Has visits paid; what is told of each, by name."""

    def __init__(self, join: Join = Apart) -> None:
        self.join = join
        self.told: dict[str, object] = {}
        self.times = Counter[str]()
        self.back = Counter[str]()
        self.threads = set[int]()

    def pay(self, visit: Work) -> object:
        self.threads.add(threading.get_ident())
        return visit.work()

    def tell(self, visit: Work, value: object, error: BaseException | None) -> None:
        self.told[visit.name] = value if error is None else error
        self.times[visit.name] += 1

    def returned(self, visit: Work) -> None:
        self.back[visit.name] += 1


async def answering(pool: Pool, count: int, slots: int = 2) -> list[Lane]:
    """Lanes of targets that have answered before."""
    lanes = [Lane(pool, slots, asyncio.get_running_loop()) for _ in range(count)]
    for lane in lanes:
        await lane.run(nothing, soon(), nothing)
    return lanes


def visit(lane: Lane, name: str, work: Callable[[], object]) -> Work:
    assert lane.admit()
    return Work(lane, name, work)


@pytest.mark.parametrize("join", WAYS)
async def test_visits_of_many_targets_are_paid_in_another_thread(pool: Pool, join: Join) -> None:
    lanes, told = await answering(pool, 3 * MOST_VISITS), Told(join)
    visits = [
        visit(lane, str(number), lambda number=number: number) for number, lane in enumerate(lanes)
    ]
    assert not any(lane.is_idle for lane in lanes)
    begin_sweeps(told, visits, soon())
    await aio_until(lambda: len(told.told) == len(lanes), "all are told")
    assert told.told == {str(number): number for number in range(len(lanes))}
    assert threading.get_ident() not in told.threads
    assert told.back == told.times
    # The slot of one that was slow is free when its thread is back.
    await aio_until(lambda: all(lane.is_idle for lane in lanes), "all slots are free")


@pytest.mark.parametrize("join", WAYS)
async def test_what_one_raises_is_told_of_that_one(pool: Pool, join: Join) -> None:
    lanes, told = await answering(pool, 3), Told(join)

    def fail() -> None:
        raise LookupError("from the thread")

    works = [nothing, fail, nothing]
    visits = [
        visit(lane, str(n), work) for n, (lane, work) in enumerate(zip(lanes, works, strict=True))
    ]
    begin_sweeps(told, visits, soon())
    await aio_until(lambda: len(told.told) == 3, "all are told")
    assert isinstance(told.told["1"], LookupError)
    assert told.told["0"] is told.told["2"] is None


@pytest.mark.parametrize("join", WAYS)
async def test_one_that_hangs_is_late_and_holds_up_no_other(pool: Pool, join: Join) -> None:
    lanes, told, release = await answering(pool, 20), Told(join), threading.Event()
    visits = [
        visit(lane, str(number), release.wait if number in {0, 7} else nothing)
        for number, lane in enumerate(lanes)
    ]
    began = time.monotonic()
    begin_sweeps(told, visits, soon(1.0))
    await aio_until(lambda: len(told.told) == 18, "all others are told")
    assert time.monotonic() - began < 1.0
    await aio_until(lambda: pool.counts.stuck == 2, "the two are stuck")
    assert [bool(lane.stuck()) for lane in lanes] == [number in {0, 7} for number in range(20)]
    await aio_until(lambda: len(told.told) == 20, "those are told, too")
    for name in ("0", "7"):
        late = told.told[name]
        assert isinstance(late, DeadlineExceeded)
        assert late.stage is Stage.PAGE_FAULT
        assert not told.back[name]
    assert not lanes[0].admit(), "who hangs is visited no more"
    release.set()
    await aio_until(lambda: told.back["0"] + told.back["7"] == 2, "they are back")
    assert set(told.times.values()) == set(told.back.values()) == {1}
    await aio_until(lambda: all(lane.is_idle for lane in lanes), "all slots are free")


async def test_a_target_that_has_not_answered_or_has_no_slot_left_is_not_visited(
    pool: Pool,
) -> None:
    assert not Lane(pool, 2, asyncio.get_running_loop()).admit()
    (lane,) = await answering(pool, 1)
    assert lane.admit()
    assert lane.admit()
    assert not lane.admit()
    waiting = asyncio.ensure_future(lane.run(lambda: 3, soon(), nothing))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    lane.leave()
    assert await waiting == 3
    lane.leave()
    assert lane.is_idle


@pytest.mark.parametrize("join", WAYS)
async def test_what_is_forgotten_is_not_told_and_its_slot_comes_back(
    pool: Pool, join: Join
) -> None:
    lanes, told, release = await answering(pool, 3), Told(join), threading.Event()
    visits = [
        visit(lane, str(n), release.wait if n == 1 else nothing) for n, lane in enumerate(lanes)
    ]
    begin_sweeps(told, visits, soon())
    visits[1].forget()
    visits[2].forget()
    await aio_until(lambda: told.back["2"] == 1, "the last is back")
    await aio_until(lambda: bool(lanes[1].stuck()), "the one is stuck, though nobody waits")
    release.set()
    await aio_until(lambda: told.back["1"] == 1, "that is back")
    assert set(told.told) == {"0"}


@pytest.mark.parametrize("join", WAYS)
async def test_the_end_of_its_target_ends_the_wait_for_one_that_hangs(
    pool: Pool, join: Join
) -> None:
    lanes, told, release = await answering(pool, 2), Told(join), threading.Event()
    visits = [visit(lane, str(n), release.wait) for n, lane in enumerate(lanes)]
    begin_sweeps(told, visits, soon())
    await aio_until(lambda: pool.counts.stuck == 2, "they are stuck")
    lanes[0].fail(LookupError("it has ended"))
    assert isinstance(told.told["0"], LookupError)
    assert "1" not in told.told
    release.set()
    await aio_until(lambda: told.back == {"0": 1, "1": 1}, "they are back")
    assert told.times == {"0": 1, "1": 1}


@pytest.mark.parametrize("join", WAYS)
async def test_those_whose_turn_does_not_come_are_told_so(join: Join) -> None:
    pool = Pool(asyncio.get_running_loop(), working=1, stuck_limit=StuckLimit(1))
    lanes, told, release = await answering(pool, 3), Told(join), threading.Event()
    visits = [visit(lane, str(n), release.wait) for n, lane in enumerate(lanes)]
    begin_sweeps(told, visits, soon(2 * STUCK_AFTER_S))
    await aio_until(lambda: len(told.told) == 3, "all are told")
    stages = [e.stage for e in told.told.values() if isinstance(e, DeadlineExceeded)]
    assert sorted(stages) == [Stage.PAGE_FAULT, Stage.PAGE_FAULT, Stage.QUEUE]
    release.set()
    await aio_until(lambda: told.back.total() == 3, "all are back")
    await aio_until(lambda: all(lane.is_idle for lane in lanes), "all slots are free")
    await pool.drain(5)
    pool.close()


async def test_what_has_come_back_and_is_paid_anew_is_not_told_by_the_sweep_before() -> None:
    class Anew(Told):
        def tell(self, visit: Work, value: object, error: BaseException | None) -> None:
            super().tell(visit, value, error)
            visit.is_over = False  # as that of a read that is begun again

    pool, told = Pool(asyncio.get_running_loop(), working=1, stuck_limit=StuckLimit(1)), Anew()
    (lane,) = await answering(pool, 1)
    # Its thread is late: the loop takes it for one that hangs, and then its time is over.
    sweep = Sweep(pool, told, [visit(lane, "0", lambda: sweep.slow(task) or "done")])
    task = sweep.task(soon())
    task.work()
    sweep.expire(task)
    assert told.told == {"0": "done"}
    assert told.times == told.back == {"0": 1}
    pool.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from(["fast", "slow", "fails", "hangs", "forgotten"]), max_size=80),
    st.sampled_from(WAYS),
)
def test_each_is_told_once_and_comes_back_once_whatever_the_others_do(
    kinds: list[str], join: Join
) -> None:
    async def run() -> None:
        pool = Pool(asyncio.get_running_loop(), working=8, stuck_limit=StuckLimit(100))
        lanes, told, release = await answering(pool, len(kinds)), Told(join), threading.Event()

        def fail() -> None:
            raise LookupError

        works = {
            "slow": lambda: time.sleep(0.002),
            "fails": fail,
            "hangs": release.wait,
        }
        visits = [
            visit(lane, str(n), works.get(kind, nothing))
            for n, (lane, kind) in enumerate(zip(lanes, kinds, strict=True))
        ]
        begin_sweeps(told, visits, soon(0.4))
        for each, kind in zip(visits, kinds, strict=True):
            if kind == "forgotten":
                each.forget()
        wanted = {str(n) for n, kind in enumerate(kinds) if kind != "forgotten"}
        await aio_until(lambda: told.told.keys() == wanted, "all are told")
        release.set()
        await aio_until(lambda: len(told.back) == len(kinds), "all are back")
        assert set(told.times.values()) | set(told.back.values()) <= {1}
        for n, kind in enumerate(kinds):
            if kind == "hangs":
                assert isinstance(told.told[str(n)], DeadlineExceeded | TooBusy)
        await aio_until(lambda: all(lane.is_idle for lane in lanes), "all slots are free")
        await pool.drain(5)
        pool.close()

    asyncio.run(run())


async def test_reads_that_are_gathered_are_those_of_their_targets() -> None:
    service = await MemoryService.open(Limits())
    with contextlib.ExitStack() as stack:
        targets = [stack.enter_context(start("plain", "--marker", n)) for n in range(1, 6)]
        hung = stack.enter_context(start("uffd", 1))
        ids = [(await service.register(each.pid))[0].id for each in [*targets, hung]]
        specs = [ReadSpec(Regions([each["marker"]], [8])) for each in targets]
        there = ReadSpec(Regions([hung["missing"] - 8], [8]))
        for each, spec in zip(ids, [*specs, there], strict=True):
            await ask(service, each, spec)  # so that they are known to answer
        specs.append(ReadSpec(Regions([hung["missing"]], [8])))
        done: dict[int, ReadResult | BaseException | None] = {}
        with service.lease_bytes(1 << 16) as lease, service.gather(1.0) as gathered:
            for n, (each, spec) in enumerate(zip(ids, specs, strict=True)):
                target = service.find(each)
                assert target is not None
                added = gathered.add(
                    target,
                    spec,
                    service.cost(spec),
                    lease,
                    lambda _, value, error, n=n: done.update({n: value or error}),
                )
                assert added is not None
            assert not done
        await aio_until(lambda: len(done) == 6, "all are told")
        for n in range(5):
            result = done[n]
            assert not isinstance(result, BaseException | None)
            assert int.from_bytes(result.data, "little") == n + 1
        assert isinstance(done[5], FarpeekError)
        hung.kill()
        await aio_until(lambda: not service.state().stuck, "its thread is back")
    await close(service)
