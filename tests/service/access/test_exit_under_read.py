"""A target that dies while reads of it hang: the kernel then reports success, with zeros."""

from __future__ import annotations

import asyncio
import errno
import mmap
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from farpeek.access import ProcessGone, choose
from farpeek.access.probe import probe
from farpeek.errors import DeadlineExceeded, TargetExited
from farpeek.identity import Process
from farpeek.kernel import uapi
from farpeek.memory import MemoryService
from farpeek.model import Limits, Mode, ReadSpec, Regions, Stage
from support.asking import ask, close
from support.targets import Target, start
from support.writing import held

if TYPE_CHECKING:
    from farpeek.access import Access

READS_AND_ROUNDS = [
    (8, 10),
    *(pytest.param(reads, 200, marks=pytest.mark.slow) for reads in (1, 8, 60)),
]


def _spec(target: Target) -> ReadSpec:
    """A page that never comes, between two that are there."""
    missing, pages = target["missing"], target["pages"]
    return ReadSpec(Regions([missing - 16, missing, missing + pages * mmap.PAGESIZE], [16, 16, 16]))


def _outcome(access: Access, process: Process, spec: ReadSpec) -> str:
    try:
        result = access.read(process, spec, time.monotonic() + 60)
    except ProcessGone:
        return "gone"
    return f"{bytes(result.data).hex()} {result.gaps}"


@pytest.mark.parametrize(("reads", "rounds"), READS_AND_ROUNDS)
def test_hanging_reads_of_a_killed_process_end_as_gone_never_as_zeros(
    access: Access, reads: int, rounds: int
) -> None:
    with ThreadPoolExecutor(reads) as threads:
        for number in range(rounds):
            with start("uffd", 1) as target:
                pidfd = os.pidfd_open(target.pid)
                process, spec = Process(target.pid, pidfd), _spec(target)
                hanging = [threads.submit(_outcome, access, process, spec) for _ in range(reads)]
                target.command(f"faults {reads}")
                target.kill()
                # Every second one is reaped at once: its number is free while reads come back.
                if number % 2:
                    target.reap()
                outcomes = {future.result(timeout=60) for future in hanging}
                os.close(pidfd)
            assert outcomes == {"gone"}, f"round {number}"


def test_a_nowait_read_does_not_wait_until_a_large_target_has_given_up_its_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = choose(probe()).nowait
    if reader is None:
        pytest.skip("there is no nowait here")
    with start("plain") as target, held(target.pid) as process:
        spec = ReadSpec(Regions([target["marker"]], [8]), Mode.NOWAIT)
        # The process lives, and the kernel says what it says while the memory is being given up.
        monkeypatch.setattr(uapi, "probe_memory", lambda *_: -errno.ESRCH)
        with ThreadPoolExecutor(1) as threads:
            reading = threads.submit(reader.read, process, spec, time.monotonic() + 60)
            with pytest.raises(DeadlineExceeded, match="ask again") as caught:
                reading.result(timeout=60)
        assert caught.value.stage is Stage.EXIT
        assert caught.value.retryable
        target.kill()
        target.await_zombie()
        with pytest.raises(ProcessGone):
            reader.read(process, spec, time.monotonic() + 60)


@pytest.mark.parametrize(("reads", "rounds"), READS_AND_ROUNDS)
async def test_hanging_requests_for_a_killed_target_get_target_exited_never_zeros(
    reads: int,
    rounds: int,
) -> None:
    service = await MemoryService.open(Limits(access_threads=64, target_threads=60))
    for number in range(rounds):
        with start("uffd", 1) as target:
            snapshot, _ = await service.register(target.pid, None)
            hanging = [
                asyncio.ensure_future(ask(service, snapshot.id, _spec(target)))
                for _ in range(reads)
            ]
            await asyncio.to_thread(target.command, f"faults {reads}")
            target.kill()
            if number % 2:
                target.reap()
            answers = await asyncio.wait_for(
                asyncio.gather(*hanging, return_exceptions=True), timeout=60
            )
        assert {type(answer) for answer in answers} == {TargetExited}, f"round {number}: {answers}"
        assert {answer.target.id for answer in answers if isinstance(answer, TargetExited)} == {
            snapshot.id
        }
        service.release(snapshot.id)
    await close(service)
