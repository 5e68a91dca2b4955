"""Targets that hang, one or many, in page faults or on a file's server: nobody else feels it."""

from __future__ import annotations

import asyncio
import mmap
import os
import random
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek.errors import TargetExited, TooBusy, Unavailable
from farpeek.memory import MemoryService
from farpeek.model import GapReason, Limits, MapsSpec, Mode, ReadSpec, Regions
from support.asking import ask, close
from support.kinds import FUSE_FILES, page_kinds
from support.pattern import pattern
from support.reading import proc_mem
from support.targets import Target, start
from support.waiting import aio_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

PAGE = mmap.PAGESIZE
MANY = 64
CALLERS = 32


def _missing(target: Target, page: int, mode: Mode = Mode.WAIT) -> ReadSpec:
    return ReadSpec(Regions([target["missing"] + page * PAGE], [8]), mode)


def _marker(target: Target, mode: Mode = Mode.WAIT) -> ReadSpec:
    return ReadSpec(Regions([target["marker"]], [8]), mode)


def _what_it_holds(target: Target) -> bytes | None:
    return proc_mem(target.pid, target["marker"], 8)


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def _register(service: MemoryService, target: Target) -> str:
    return (await service.register(target.pid))[0].id


class Crowd:
    """A service, targets that hang and targets that do not, and the reads under way."""

    def __init__(self, service: MemoryService, stack: ExitStack) -> None:
        self.service = service
        self._stack = stack
        self.tasks: list[asyncio.Future[object]] = []
        self.hung: list[tuple[Target, str]] = []

    async def start(self, name: str, count: int) -> list[tuple[Target, str]]:
        targets = [self._stack.enter_context(start(name)) for _ in range(count)]
        return [(target, await _register(self.service, target)) for target in targets]

    async def start_hung(self, count: int) -> None:
        self.hung = await self.start("uffd", count)

    def hang(self, target: Target, target_id: str, threads: int) -> None:
        for page in range(threads):
            reading = ask(self.service, target_id, _missing(target, page))
            self.tasks.append(asyncio.ensure_future(reading))

    async def outcomes(self) -> list[object]:
        return await asyncio.wait_for(asyncio.gather(*self.tasks, return_exceptions=True), 30)

    def stuck(self) -> dict[str, int]:
        return {entry.target: entry.threads for entry in self.service.state().stuck}


@pytest.fixture
async def crowd_of(request: pytest.FixtureRequest) -> AsyncIterator[Crowd]:
    limits: Limits = getattr(request, "param", Limits())
    with ExitStack() as stack:
        crowd = Crowd(await MemoryService.open(limits), stack)
        yield crowd
        for target, _ in crowd.hung:
            target.end()
        for task in crowd.tasks:
            task.cancel()
        await crowd.outcomes()
        await close(crowd.service)


async def test_a_target_whose_wait_slots_all_hang_still_serves_nowait_and_maps(
    crowd_of: Crowd,
) -> None:
    service = crowd_of.service
    await crowd_of.start_hung(1)
    ((target, target_id),) = crowd_of.hung
    slots = service.limits.target_threads
    crowd_of.hang(target, target_id, 2 * slots)
    await aio_until(lambda: crowd_of.stuck() == {target_id: slots}, "all slots hang")
    for _ in range(20):
        spec = ReadSpec(Regions([target["before"], target["missing"]], [8, 8]), Mode.NOWAIT)
        result = await ask(service, target_id, spec, 5)
        assert bytes(result.data[:8]) == pattern(target["before"], 8)
        assert [gap.reason for gap in result.gaps] == [GapReason.NOT_RESIDENT]
        mapping = await service.mapping_at(target_id, target["missing"], MapsSpec(residency=True))
        assert mapping is not None
        assert mapping.start <= target["missing"] < mapping.end
    assert [(each.target, each.mode) for each in service.state().stuck] == [(target_id, Mode.WAIT)]


@pytest.fixture
def fuse_target() -> Iterator[Target]:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    with (
        tempfile.TemporaryDirectory() as folder,
        page_kinds(Path(folder), swap=False) as kinds,
    ):
        if kinds.fuse is None or "fuse_hung" not in kinds.names:
            pytest.skip("FUSE cannot be had here")
        kinds.fuse.hang(FUSE_FILES["fuse_hung"])
        yield kinds.target
        kinds.fuse.serve(FUSE_FILES["fuse_hung"])


async def test_every_read_of_the_healthy_succeeds_while_two_targets_hang(
    crowd_of: Crowd, fuse_target: Target
) -> None:
    service = crowd_of.service
    await crowd_of.start_hung(1)
    on_fuse = await _register(service, fuse_target)
    ((in_fault, in_fault_id),) = crowd_of.hung
    hanging = [
        (in_fault_id, _missing(in_fault, 0)),
        (on_fuse, ReadSpec(Regions([fuse_target["fuse_hung"]], [8]))),
    ]
    over = asyncio.Event()
    chance = random.Random(7)  # noqa: S311 - when callers come again

    async def call(number: int) -> None:
        target_id, spec = hanging[number % 2]
        while not over.is_set():
            with pytest.raises(Unavailable):
                await ask(service, target_id, spec, 0.2)
            await asyncio.sleep(chance.uniform(0.05, 0.15))

    healthy = await crowd_of.start("plain", 7)
    callers = [asyncio.create_task(call(number)) for number in range(CALLERS)]
    try:
        await aio_until(lambda: len(crowd_of.stuck()) == 2, "both hang")
        for _ in range(150):
            for target, target_id in healthy:
                result = await ask(service, target_id, _marker(target), 5)
                assert bytes(result.data) == _what_it_holds(target)
    finally:
        over.set()
        outcomes = await asyncio.gather(*callers, return_exceptions=True)
        in_fault.end()
        fuse_target.end()
    assert outcomes == [None] * CALLERS


async def test_with_64_targets_hung_the_others_are_served_and_all_is_accounted(
    crowd_of: Crowd,
) -> None:
    service = crowd_of.service
    healthy = await crowd_of.start("plain", 3)
    descriptors = _descriptors()
    await crowd_of.start_hung(MANY)
    slots = service.limits.target_threads
    for target, target_id in crowd_of.hung:
        crowd_of.hang(target, target_id, slots)
    expected = {target_id: slots for _, target_id in crowd_of.hung}
    await aio_until(lambda: crowd_of.stuck() == expected, "every slot of every one hangs")
    assert service.state().threads.stuck == MANY * slots == service.limits.max_stuck_threads
    for target, target_id in healthy:
        for mode in Mode:
            result = await ask(service, target_id, _marker(target, mode), 5)
            assert bytes(result.data) == _what_it_holds(target)
    for target, target_id in crowd_of.hung:
        with pytest.raises(TooBusy):
            await ask(service, target_id, _missing(target, 9))
    for target, target_id in crowd_of.hung:
        target.end()
        service.release(target_id)
    assert {type(each) for each in await crowd_of.outcomes()} <= {TargetExited}
    await aio_until(lambda: service.state().threads.stuck == 0, "the dead hold no thread")
    assert not crowd_of.stuck()

    def is_small() -> bool:
        threads = service.state().threads
        return threads.busy + threads.idle <= service.limits.access_threads + 8

    async with asyncio.timeout(60):
        while not is_small():
            await ask(service, healthy[0][1], _marker(healthy[0][0]))
    assert _descriptors() <= descriptors


@pytest.mark.parametrize(
    "crowd_of",
    [Limits(access_threads=8, target_threads=4, max_stuck_threads=16)],
    indirect=True,
)
async def test_with_more_hung_than_may_be_replaced_who_answered_before_is_still_served(
    crowd_of: Crowd,
) -> None:
    service = crowd_of.service
    healthy = await crowd_of.start("plain", 7)
    for target, target_id in healthy:
        assert (await ask(service, target_id, _marker(target))).complete
    ((slow, slow_id),) = await crowd_of.start("uffd", 1)
    assert (await ask(service, slow_id, ReadSpec(Regions([slow["before"]], [8])))).complete
    await crowd_of.start_hung(24)  # 96 reads that hang, for 16 stuck threads and 8 that work
    for target, target_id in crowd_of.hung:
        crowd_of.hang(target, target_id, 4)
    await aio_until(lambda: service.state().threads.stuck >= 16, "the limit is reached")
    for _ in range(100):
        for target, target_id in healthy:
            result = await ask(service, target_id, _marker(target), 5)
            assert bytes(result.data) == _what_it_holds(target)
    # Who was only slow meanwhile is served on, too.
    read_before = ReadSpec(Regions([slow["before"]], [8]))
    for page in range(3):
        late = asyncio.ensure_future(ask(service, slow_id, _missing(slow, page), 10))
        await aio_until(lambda: slow_id in crowd_of.stuck(), "its thread counts as stuck")
        assert slow.command(f"resolve {page}") == "ok"
        assert (await late).complete
        assert (await ask(service, slow_id, read_before, 5)).complete

    def is_up_to_date() -> bool:
        return service.state().threads.stuck == sum(crowd_of.stuck().values())

    await aio_until(is_up_to_date, "threads that came back are no longer counted")
    # Who hangs, or has not been heard of, is told at once; the line is not left waiting either.
    for target, target_id in crowd_of.hung:
        with pytest.raises(TooBusy):
            await ask(service, target_id, _missing(target, 5), 10)
    state = service.state().threads
    assert state.stuck <= 16 + 8
    told = [task.exception() for task in crowd_of.tasks if task.done()]
    assert len(told) == len(crowd_of.tasks) - state.stuck
    assert {type(error) for error in told} == {TooBusy}
    # One of them dies: there is room again, for newcomers too.
    newcomer = await crowd_of.start("plain", 1)
    for target, _ in crowd_of.hung:
        target.end()
    await aio_until(lambda: service.state().threads.stuck == 0, "the dead hold no thread")
    assert (await ask(service, newcomer[0][1], _marker(newcomer[0][0]), 5)).complete
