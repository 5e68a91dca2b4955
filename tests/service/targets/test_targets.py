"""Targets are processes: what they are, how they change, how they end, and what stays behind."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import shutil
import signal
import struct
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek.errors import InvalidRequest, NoSuchProcess, NoSuchTarget, TargetExited, TooBusy
from farpeek.identity import EventKind, ExitStatus, TargetState
from farpeek.memory import MemoryService
from farpeek.model import Limits, ReadSpec, Regions
from support import leftovers
from support.asking import ask, close
from support.targets import Target, build, start, start_32_bits, state_of
from support.waiting import aio_until

if TYPE_CHECKING:
    from farpeek.identity import TargetSnapshot

MARKER = 0x5EC000000000
PF_KTHREAD = 0x00200000
FOUR_MILLION = 1 << 22  # no number is that high: PID_MAX_LIMIT


async def _marker(service: MemoryService, target_id: str) -> int:
    result = await ask(service, target_id, ReadSpec(Regions([MARKER], [8])))
    assert result.complete
    (value,) = struct.unpack("=Q", result.data)
    return int(value)


def _state(service: MemoryService, target_id: str) -> TargetState | None:
    return next((t.state for t in service.targets() if t.id == target_id), None)


async def _until(service: MemoryService, target_id: str, state: TargetState) -> TargetSnapshot:
    await aio_until(lambda: _state(service, target_id) is state, f"{target_id} is {state}")
    return next(t for t in service.targets() if t.id == target_id)


async def test_exec_keeps_the_target_and_reads_the_new_image(service: MemoryService) -> None:
    with start("plain", "--marker", 1, "--name", "first") as target:
        before, created = await service.register(target.pid, {"tier": "db"})
        assert created
        assert before.identity.comm == "first"
        assert await _marker(service, before.id) == 1
        target.send("exec 9")
        target.await_ready()
        assert await _marker(service, before.id) == 9
        after = await service.target(before.id)
        assert after.state is TargetState.RUNNING
        assert after.identity.comm == "second"
        again, created = await service.register(target.pid, None)
        assert (again.id, created, again.claim_of("").labels) == (before.id, False, {"tier": "db"})
        assert len(service.targets()) == 1


async def test_hundreds_may_be_registered_and_looked_at_at_once(service: MemoryService) -> None:
    with start("plain") as target:
        held = await asyncio.gather(*(service.register(target.pid) for _ in range(300)))
        ids = {snapshot.id for snapshot, _ in held}
        assert len(ids) == 1
        assert sum(created for _, created in held) == 1
        seen = await asyncio.gather(*(service.target(each) for each in [*ids] * 300))
        assert {snapshot.identity.pid for snapshot in seen} == {target.pid}


async def test_a_zombie_is_no_target_but_an_exited_process(service: MemoryService) -> None:
    with start("plain") as target, start("plain") as held:
        known, _ = await service.register(held.pid, {"tier": "db"})
        for each in (target, held):
            each.send("exit 3")
            each.await_zombie()
        with pytest.raises(TargetExited) as caught:
            await service.register(target.pid, None)
        assert caught.value.target.identity.pid == target.pid
        assert [each.id for each in service.targets()] == [known.id]
        with pytest.raises(TargetExited) as caught:
            await service.register(held.pid, {"tier": "web"})
        told = caught.value.target
        assert (told.id, told.claim_of("").labels, told.state) == (
            known.id,
            {"tier": "db"},
            TargetState.EXITED,
        )
        assert told.registered_at == known.registered_at
        assert target.reap() == 3
    with start("family") as parent:
        parent.command("end 3")
        with pytest.raises(TargetExited):
            await service.register(parent["child"], None)
        assert state_of(parent["child"]) == "Z"


async def test_a_process_whose_first_thread_has_ended_is_running_and_readable(
    service: MemoryService,
) -> None:
    with start("threads") as target:
        early, _ = await service.register(target.pid, None)
        assert await _marker(service, early.id) == 1
        target.command("leader-exit")
        assert state_of(target.pid) == "Z"
        assert await _marker(service, early.id) == 1
        assert (await service.target(early.id)).state is TargetState.RUNNING
        again, created = await service.register(target.pid, None)
        assert (again.id, created) == (early.id, False)
        now = (await service.target(early.id)).identity
        assert replace(now, process_state="") == replace(early.identity, process_state="")
        target.kill()
        ended = await service.wait_exit(early.id, 20)
        assert ended.state is not TargetState.RUNNING
        with pytest.raises(TargetExited):
            await _marker(service, early.id)
    with start("threads") as target:
        target.command("leader-exit")
        late, created = await service.register(target.pid, None)
        assert created
        assert late.state is TargetState.RUNNING
        assert late.identity.exe == early.identity.exe
        assert late.identity.pointer_size == early.identity.pointer_size
        assert await _marker(service, late.id) == 1


async def test_reads_go_on_while_the_first_thread_ends(service: MemoryService) -> None:
    for _ in range(20):
        with start("threads") as target:
            snapshot, _ = await service.register(target.pid, None)
            ending = asyncio.ensure_future(asyncio.to_thread(target.command, "leader-exit"))
            while not ending.done():
                assert await _marker(service, snapshot.id) == 1
            assert await _marker(service, snapshot.id) == 1


def _a_kernel_thread() -> int:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[6]) & PF_KTHREAD:
                return int(entry.name)
    pytest.skip("no kernel thread is to be seen from here")


@pytest.mark.host
async def test_a_kernel_thread_is_refused(service: MemoryService) -> None:
    with pytest.raises(InvalidRequest, match="kernel thread"):
        await service.register(_a_kernel_thread(), None)


async def test_the_number_of_a_thread_is_refused(service: MemoryService) -> None:
    with start("threads") as target:
        for name in ("thread", "sleeper"):
            with pytest.raises(InvalidRequest, match="thread"):
                await service.register(target[name], None)
        target.command("leader-exit")
        with pytest.raises(InvalidRequest, match="thread"):
            await service.register(target["sleeper"], None)


async def test_a_number_that_is_no_process_is_refused(service: MemoryService) -> None:
    with start("plain") as target:
        pid = target.pid
    for number in (pid, FOUR_MILLION, (1 << 31) - 1):
        with pytest.raises(NoSuchProcess):
            await service.register(number, None)
    assert service.targets() == []


async def test_the_service_itself_is_no_target(service: MemoryService) -> None:
    with pytest.raises(InvalidRequest, match="own process"):
        await service.register(os.getpid(), None)
    assert service.targets() == []


async def test_pointer_size_and_byte_order_come_from_the_program(
    service: MemoryService, tmp_path: Path
) -> None:
    # Copies, for the tests' own folder may be on a filesystem whose files are never opened.
    with Target("plain", program=Path(shutil.copy(build("plain"), tmp_path))) as target:
        snapshot, _ = await service.register(target.pid, None)
        assert (snapshot.identity.pointer_size, snapshot.identity.byte_order) == (8, "little")
    with start_32_bits(tmp_path) as compat:
        snapshot, _ = await service.register(compat.pid, None)
        assert (snapshot.identity.pointer_size, snapshot.identity.byte_order) == (4, "little")
        result = await ask(service, snapshot.id, ReadSpec(Regions([compat["marker"]], [8])))
        assert bytes(result.data) == struct.pack("=II", 1, 5)


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
        assert await _marker(service, snapshot.id) == 2
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
            await _marker(service, snapshot.id)
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
            assert await _marker(service, snapshot.id) == number
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
            assert await _marker(service, snapshot.id) == 1
            other.kill()
            assert await service.close(5.0)
    await aio_until(lambda: not leftovers.access_threads(others), "its threads have ended")
    await aio_until(lambda: not leftovers.descriptors().keys() - before.keys(), "nothing is open")
    assert len(asyncio.all_tasks()) == tasks
