"""Targets are processes: what they are, how they change, how they end, and what stays behind."""

from __future__ import annotations

import asyncio
import os
import shutil
import struct
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek.errors import InvalidRequest, NoSuchProcess, TargetExited
from farpeek.identity import TargetState
from farpeek.model import ReadSpec, Regions
from support.asking import ask, marker
from support.targets import Target, build, start, start_32_bits, state_of

if TYPE_CHECKING:
    from farpeek.memory import MemoryService

PF_KTHREAD = 0x00200000
FOUR_MILLION = 1 << 22  # no number is that high: PID_MAX_LIMIT


async def test_exec_keeps_the_target_and_reads_the_new_image(service: MemoryService) -> None:
    with start("plain", "--marker", 1, "--name", "first") as target:
        before, created = await service.register(target.pid, {"tier": "db"})
        assert created
        assert before.identity.comm == "first"
        assert await marker(service, before.id) == 1
        target.send("exec 9")
        target.await_ready()
        assert await marker(service, before.id) == 9
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
        assert await marker(service, early.id) == 1
        target.command("leader-exit")
        assert state_of(target.pid) == "Z"
        assert await marker(service, early.id) == 1
        assert (await service.target(early.id)).state is TargetState.RUNNING
        again, created = await service.register(target.pid, None)
        assert (again.id, created) == (early.id, False)
        now = (await service.target(early.id)).identity
        assert replace(now, process_state="") == replace(early.identity, process_state="")
        target.kill()
        ended = await service.wait_exit(early.id, 20)
        assert ended.state is not TargetState.RUNNING
        with pytest.raises(TargetExited):
            await marker(service, early.id)
    with start("threads") as target:
        target.command("leader-exit")
        late, created = await service.register(target.pid, None)
        assert created
        assert late.state is TargetState.RUNNING
        assert late.identity.exe == early.identity.exe
        assert late.identity.pointer_size == early.identity.pointer_size
        assert await marker(service, late.id) == 1


async def test_reads_go_on_while_the_first_thread_ends(service: MemoryService) -> None:
    for _ in range(20):
        with start("threads") as target:
            snapshot, _ = await service.register(target.pid, None)
            ending = asyncio.ensure_future(asyncio.to_thread(target.command, "leader-exit"))
            while not ending.done():
                assert await marker(service, snapshot.id) == 1
            assert await marker(service, snapshot.id) == 1


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
