"""The ends of targets: how they are told, waited for, and leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek.errors import NoSuchTarget, TooBusy
from farpeek.identity import EventKind, ExitStatus, TargetState
from farpeek.memory import MemoryService
from farpeek.model import Limits
from support import leftovers
from support.asking import close, marker
from support.targets import Target, start, state_of
from support.waiting import aio_until

if TYPE_CHECKING:
    from farpeek.identity import TargetSnapshot


def _state(service: MemoryService, target_id: str) -> TargetState | None:
    return next((t.state for t in service.targets() if t.id == target_id), None)


async def _until(service: MemoryService, target_id: str, state: TargetState) -> TargetSnapshot:
    await aio_until(lambda: _state(service, target_id) is state, f"{target_id} is {state}")
    return next(t for t in service.targets() if t.id == target_id)


ENDS = {
    "exit 0": ExitStatus(0, None, core_dumped=False),
    "exit 7": ExitStatus(7, None, core_dumped=False),
    "exit 255": ExitStatus(255, None, core_dumped=False),
    "kill 9": ExitStatus(None, "SIGKILL", core_dumped=False),
    "kill 15": ExitStatus(None, "SIGTERM", core_dumped=False),
    "kill 11": ExitStatus(None, "SIGSEGV", core_dumped=False),
    "kill 64": ExitStatus(None, "SIGRTMAX", core_dumped=False),
}


@pytest.mark.parametrize("end", ENDS)
async def test_a_childs_exit_status_is_told_and_left_for_its_parent(
    service: MemoryService, end: str
) -> None:
    with start("plain") as target:
        resource.prlimit(target.pid, resource.RLIMIT_CORE, (0, 0))
        snapshot, _ = await service.register(target.pid, None)
        word, number = end.split()
        if word == "kill":
            target.kill(int(number))
        else:
            target.send(end)
        exited = await service.wait_exit(snapshot.id, 20)
        assert exited.state is TargetState.EXITED
        assert exited.exited_at is not None
        assert exited.exit == ENDS[end]
        # Nobody has reaped it: the status is still there for whom it is meant.
        assert state_of(target.pid) == "Z"
        assert target.reap() == (int(number) if word == "exit" else -int(number))
        reaped = await _until(service, snapshot.id, TargetState.REAPED)
        assert reaped.exit == ENDS[end]
        assert reaped.exited_at == exited.exited_at


@pytest.mark.parametrize("end", ENDS)
async def test_a_strangers_exit_status_is_told_once_it_is_reaped(
    service: MemoryService, end: str
) -> None:
    if service.capabilities["exit_status"].provided != "native":
        pytest.skip("this kernel does not tell it of processes that are no children (before 6.15)")
    with start("family") as parent:
        resource.prlimit(parent["child"], resource.RLIMIT_CORE, (0, 0))
        snapshot, _ = await service.register(parent["child"], None)
        assert await marker(service, snapshot.id) == 2
        await asyncio.to_thread(parent.command, end.replace("exit", "end"))
        exited = await _until(service, snapshot.id, TargetState.EXITED)
        assert exited.exit is None
        status = int(parent.command("reap").partition("=")[2], 16)
        reaped = await _until(service, snapshot.id, TargetState.REAPED)
        assert reaped.exit == ENDS[end]
        code = os.waitstatus_to_exitcode(status)
        assert code == (-int(end.split()[1]) if end.startswith("kill") else int(end.split()[1]))


@pytest.mark.skipif(
    Path("/proc/sys/kernel/core_pattern").read_text().startswith(("|", "/")),
    reason="cores go to another place here",
)
async def test_a_core_dump_is_told(service: MemoryService, tmp_path: Path) -> None:
    with start("plain", cwd=tmp_path) as target:
        unlimited = resource.RLIM_INFINITY
        try:
            resource.prlimit(target.pid, resource.RLIMIT_CORE, (unlimited, unlimited))
        except PermissionError:
            pytest.skip("cores are forbidden here")
        snapshot, _ = await service.register(target.pid, None)
        target.send("abort")
        exited = await service.wait_exit(snapshot.id, 20)
        assert exited.exit == ExitStatus(None, "SIGABRT", core_dumped=True)


async def test_waiting_for_an_exit_ends_with_the_exit_or_with_the_time(
    service: MemoryService,
) -> None:
    with start("plain") as target:
        snapshot, _ = await service.register(target.pid, None)
        assert (await service.wait_exit(snapshot.id, 0.05)).state is TargetState.RUNNING
        waiting = [asyncio.ensure_future(service.wait_exit(snapshot.id, 20)) for _ in range(5)]
        await asyncio.sleep(0)
        target.kill(signal.SIGKILL)
        for future in waiting:
            assert (await asyncio.wait_for(future, 20)).state is TargetState.EXITED
        assert (await service.wait_exit(snapshot.id, 20)).state is TargetState.EXITED


async def test_a_released_target_is_unknown_and_its_process_untouched(
    service: MemoryService,
) -> None:
    with start("plain") as target:
        snapshot, _ = await service.register(target.pid, None)
        service.release(snapshot.id)
        with pytest.raises(NoSuchTarget):
            await marker(service, snapshot.id)
        with pytest.raises(NoSuchTarget):
            service.release(snapshot.id)
        assert state_of(target.pid) in ("S", "R")
        again, created = await service.register(target.pid, None)
        assert (again.id, created) == (snapshot.id, True)


async def test_the_longest_dead_make_room_and_the_living_do_not() -> None:
    service = await MemoryService.open(Limits(max_targets=2))
    try:
        with start("plain") as first, start("plain") as second, start("plain") as third:
            one, two = [(await service.register(each.pid))[0].id for each in (first, second)]
            with pytest.raises(TooBusy, match="--max-targets"):
                await service.register(third.pid)
            assert (await service.register(first.pid))[0].id == one  # it is there already
            for target, target_id in ((second, two), (first, one)):
                target.kill()
                await _until(service, target_id, TargetState.EXITED)
            three, created = await service.register(third.pid)
            assert created
            assert [each.id for each in service.targets()] == [one, three.id]
            service.release(three.id)
            assert (await service.register(third.pid))[0].id == three.id
    finally:
        await close(service)


async def test_who_waits_for_the_exit_of_a_target_is_told_when_it_is_released(
    service: MemoryService,
) -> None:
    with start("plain") as target:
        snapshot, _ = await service.register(target.pid)
        waiting = asyncio.ensure_future(service.wait_exit(snapshot.id, 20))
        await asyncio.sleep(0)
        service.release(snapshot.id)
        with pytest.raises(NoSuchTarget):
            await asyncio.wait_for(waiting, 20)


async def test_events_tell_a_targets_life_in_order(service: MemoryService) -> None:
    begin = service.events.newest
    with start("plain") as target:
        snapshot, _ = await service.register(target.pid, None)
        target.kill()
        await _until(service, snapshot.id, TargetState.EXITED)
        target.reap()
        await _until(service, snapshot.id, TargetState.REAPED)
    service.release(snapshot.id)
    lost, events = service.events.after(begin)
    assert not lost
    assert [event.kind for event in events] == [
        EventKind.REGISTERED,
        EventKind.EXITED,
        EventKind.REAPED,
        EventKind.RELEASED,
    ]
    assert [event.number for event in events] == [begin + 1, begin + 2, begin + 3, begin + 4]
    assert {event.target.id for event in events} == {snapshot.id}


async def _a_life(service: MemoryService, count: int) -> None:
    """Register ``count`` processes, read each, kill all, and wait until they are forgotten."""
    targets: list[Target] = []
    try:
        for number in range(count):
            target = start("plain", "--marker", number)
            targets.append(target)
            snapshot, created = await service.register(target.pid, None)
            assert created
            assert await marker(service, snapshot.id) == number
        for target in targets:
            target.kill()
    finally:
        for target in targets:
            target.end()
    await aio_until(lambda: not service.targets(), "all are forgotten", 30)


def _all_threads(limits: Limits) -> int:
    pools = limits.access_threads, limits.nowait_threads, limits.bulk_threads, limits.plan_threads
    return sum(pools)


@pytest.mark.slow
async def test_a_thousand_targets_leave_no_descriptor_thread_or_task_behind() -> None:
    service = await MemoryService.open(Limits(exited_ttl_s=0.2))
    try:
        await _a_life(service, 10)
        gc.collect()
        before, tasks = leftovers.descriptors(), len(asyncio.all_tasks())
        threads = len(leftovers.access_threads())
        for _ in range(4):
            await _a_life(service, 250)
        assert leftovers.descriptors() == before
        # Exits that meet start threads, as many as the pools have; one for each target they do not.
        assert len(leftovers.access_threads()) <= threads + _all_threads(service.limits)
        assert len(asyncio.all_tasks()) == tasks
    finally:
        await close(service)


async def test_a_closed_service_leaves_no_descriptor_thread_or_task_behind() -> None:
    others = leftovers.access_threads()  # of earlier tests
    gc.collect()
    before, tasks = leftovers.descriptors(), len(asyncio.all_tasks())
    for _ in range(5):
        service = await MemoryService.open(Limits())
        with start("plain") as target, start("plain") as other:
            snapshot, _ = await service.register(target.pid, None)
            await service.register(other.pid, None)
            assert await marker(service, snapshot.id) == 1
            other.kill()
            assert await service.close(5.0)
    await aio_until(lambda: not leftovers.access_threads(others), "its threads have ended")
    await aio_until(lambda: not leftovers.descriptors().keys() - before.keys(), "nothing is open")
    assert len(asyncio.all_tasks()) == tasks
