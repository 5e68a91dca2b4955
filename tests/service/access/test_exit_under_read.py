"""A target that dies while reads of it hang: the kernel then reports success, with zeros."""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from farpeek.access import ProcessGone
from farpeek.errors import TargetExited
from farpeek.memory import MemoryService
from farpeek.model import Limits, Process, ReadSpec, Regions
from support.asking import ask, close
from support.targets import Target, start

if TYPE_CHECKING:
    from farpeek.access import Access

READS_AND_ROUNDS = [
    (8, 10),
    *(pytest.param(reads, 200, marks=pytest.mark.slow) for reads in (1, 8, 60)),
]


def _spec(target: Target) -> ReadSpec:
    """A page that never comes, between two that are there."""
    missing, pages = target["missing"], target["pages"]
    return ReadSpec(Regions([missing - 16, missing, missing + pages * 4096], [16, 16, 16]))


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
                outcomes = {future.result(timeout=20) for future in hanging}
                os.close(pidfd)
            assert outcomes == {"gone"}, f"round {number}"


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
                asyncio.gather(*hanging, return_exceptions=True), timeout=20
            )
        assert {type(answer) for answer in answers} == {TargetExited}, f"round {number}: {answers}"
        assert {answer.target.id for answer in answers if isinstance(answer, TargetExited)} == {
            snapshot.id
        }
        service.release(snapshot.id)
    await close(service)
