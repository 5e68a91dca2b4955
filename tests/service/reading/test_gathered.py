"""Reads that are gathered again and again: what was made ready for one is no other's."""

from __future__ import annotations

import asyncio
import mmap
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from farpeek.errors import DeadlineExceeded
from farpeek.memory import MemoryService
from farpeek.model import Limits, Mode, OnGap, ReadSpec, Regions
from support.asking import ask, close
from support.targets import start
from support.waiting import aio_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from farpeek.model import ReadResult
    from farpeek.reading.gathered import GatheredRead

PAGE = mmap.PAGESIZE


class Asking:
    """Reads in contexts of their own, and waits for them."""

    def __init__(self, service: MemoryService) -> None:
        self.service = service

    async def again(self, read: GatheredRead) -> ReadResult:
        future: asyncio.Future[ReadResult] = asyncio.get_running_loop().create_future()
        with self.service.lease_bytes(4096) as lease, self.service.gather() as gathered:
            assert gathered.add_again(read, lease, lambda _, *told: self._tell(future, *told))
        return await future

    async def one(self, target_id: str, spec: ReadSpec) -> tuple[GatheredRead, ReadResult]:
        target = self.service.find(target_id)
        assert target is not None
        future: asyncio.Future[ReadResult] = asyncio.get_running_loop().create_future()
        cost = self.service.cost(spec)
        with self.service.lease_bytes(cost) as lease, self.service.gather() as gathered:
            read = gathered.add(
                target, spec, cost, lease, lambda _, *told: self._tell(future, *told)
            )
        assert read is not None, "it is known to answer"
        return read, await future

    def _tell(
        self,
        future: asyncio.Future[ReadResult],
        result: ReadResult | None,
        error: BaseException | None,
    ) -> None:
        if result is not None:
            future.set_result(result)
        else:
            future.set_exception(error or AssertionError("nothing was told"))


@pytest_asyncio.fixture
async def asking() -> AsyncIterator[Asking]:
    service = await MemoryService.open(Limits())
    yield Asking(service)
    await close(service)


async def test_a_process_that_is_registered_again_is_read_by_its_new_pidfd(asking: Asking) -> None:
    service = asking.service
    if service.capabilities["nowait"].provided == "unavailable":
        pytest.skip("nowait is not there")
    with start("uffd", 1) as hung, start("plain") as other:
        spec = ReadSpec(Regions([hung["missing"] - 8], [8]), Mode.NOWAIT)
        target_id = (await service.register(hung.pid))[0].id
        await ask(service, target_id, spec)
        for _ in range(3):
            _, before = await asking.one(target_id, spec)
        old = service.find(target_id)
        assert old is not None
        pidfd = old.process.pidfd
        with suppress(DeadlineExceeded):  # a thread that hangs keeps the lanes, and the old pidfd
            await ask(service, target_id, ReadSpec(Regions([hung["missing"]], [8])), 0.01)
        service.release(target_id)
        assert (await service.register(hung.pid))[0].id == target_id
        hung.command("resolve-all")
        await aio_until(
            lambda: not Path(f"/proc/self/fd/{pidfd}").exists(), "the old pidfd is closed"
        )
        impostor = os.pidfd_open(other.pid)
        if impostor != pidfd:  # it mostly has the number that was free
            os.dup2(impostor, pidfd)
            os.close(impostor)
        try:
            await ask(service, target_id, spec)
            read, after = await asking.one(target_id, spec)
            assert read.target is service.find(target_id)
            assert bytes(after.data) == bytes(before.data)
        finally:
            os.close(pidfd)


async def test_what_one_says_of_gaps_is_not_said_for_another(asking: Asking) -> None:
    with start("plain") as target:
        regions = Regions([target["marker"], 0, target["marker"]], [8, 8, 8])
        on, stop = (ReadSpec(regions, on_gap=each) for each in (OnGap.CONTINUE, OnGap.STOP))
        target_id = (await asking.service.register(target.pid))[0].id
        await ask(asking.service, target_id, on)
        read, first = await asking.one(target_id, on)
        _, stopped = await asking.one(target_id, stop)
        assert (len(first.data), len(stopped.data)) == (24, 8)
        assert len((await asking.again(read)).data) == 24


async def test_nothing_is_kept_open_of_a_target_that_was_let_go(asking: Asking) -> None:
    with start("uffd", 1) as hung:
        there = ReadSpec(Regions([hung["missing"] - 8], [8]))
        target_id = (await asking.service.register(hung.pid))[0].id
        await ask(asking.service, target_id, there)
        for _ in range(3):
            read, _ = await asking.one(target_id, there)
        lane = read.lane
        del read
        with suppress(DeadlineExceeded):
            await ask(asking.service, target_id, ReadSpec(Regions([hung["missing"]], [8])), 0.01)
        asking.service.release(target_id)
        assert lane.last is None
        hung.command("resolve-all")


async def test_a_thread_that_hangs_keeps_nothing_open_of_those_it_has_read(asking: Asking) -> None:
    service = asking.service
    with start("uffd", 1) as hung, start("plain") as other:
        there = ReadSpec(Regions([hung["missing"] - 8], [8]))
        marker = ReadSpec(Regions([other["marker"]], [8]))
        slow, quick = [(await service.register(each.pid))[0].id for each in (hung, other)]
        for target_id, spec in ((slow, there), (quick, marker)):
            await ask(service, target_id, spec)
            for _ in range(3):
                await asking.one(target_id, spec)
        assert other.pid in page_tables()
        told: dict[str, ReadResult | None] = {}

        def begin() -> None:
            wanted = ((quick, marker), (slow, ReadSpec(Regions([hung["missing"]], [8]))))
            with service.lease_bytes(4096) as lease, service.gather(0.05) as gathered:
                for target_id, spec in wanted:
                    target = service.find(target_id)
                    assert target is not None
                    gathered.add(
                        target,
                        spec,
                        service.cost(spec),
                        lease,
                        lambda _, value, __, name=target_id: told.update({name: value}),
                    )

        begin()
        await aio_until(lambda: len(told) == 2, "both are told of")
        assert told[quick] is not None
        assert told[slow] is None
        service.release(quick)
        await aio_until(lambda: other.pid not in page_tables(), "its page table is closed")
        assert hung.pid in page_tables()
        hung.command("resolve-all")


def page_tables() -> set[int]:
    """Give the numbers of processes whose page tables are open here."""
    found: set[int] = set()
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            shown = entry.readlink()
            if shown.name == "pagemap" and shown.parent.name.isdigit():
                found.add(int(shown.parent.name))
    return found
