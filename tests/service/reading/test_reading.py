"""Processes whose threads come and go under a read: each is read by one that has memory."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from farpeek.access.process_ref import ByNumber, ByThread, NoMemory
from farpeek.access.verified import resolve_again
from farpeek.model import GapReason, ReadSpec, Regions
from support.targets import start
from support.writing import held

if TYPE_CHECKING:
    from farpeek.access import Access

NO_THREAD = 0


def soon() -> float:
    return time.monotonic() + 20


def test_a_process_whose_thread_is_gone_is_read_by_its_first_one_again() -> None:
    with start("plain") as target, held(target.pid) as process:
        first = ByNumber(process)
        assert resolve_again(ByThread(first, NO_THREAD, 0), soon()) == first


def test_a_process_whose_first_thread_has_ended_is_read_by_a_live_one() -> None:
    with start("threads") as target, held(target.pid) as process:
        assert target.command("leader-exit") == "ok"
        first = ByNumber(process)
        with pytest.raises(NoMemory):
            first.verify()
        for ref in (first, ByThread(first, NO_THREAD, 0)):
            found = resolve_again(ref, soon())
            assert found.number in (target["thread"], target["sleeper"])
            found.verify()


def test_a_process_whose_second_thread_executes_all_the_time_is_read(access: Access) -> None:
    with start("execs", 0, "thread") as target, held(target.pid) as process:
        spec = ReadSpec(Regions([target["marker"]], [8]))
        seen: set[bytes] = set()
        reasons: set[GapReason] = set()
        while len(seen) < 20:
            result = access.read(process, spec, soon())
            if result.complete:
                seen.add(bytes(result.data))
            reasons |= {gap.reason for gap in result.gaps}
        assert reasons <= {GapReason.UNMAPPED, GapReason.UNREADABLE}  # between two programs
