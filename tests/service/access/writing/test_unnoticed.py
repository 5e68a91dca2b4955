"""How little a target notices of a write, whatever it is at."""

from __future__ import annotations

import mmap
import os
import resource
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek.access import ProcessGone
from farpeek.errors import AlreadyTraced, TooBusy
from farpeek.model import GapReason, Mode
from support.debugger import gdb_attached
from support.reading import proc_mem
from support.targets import Target, start, state_of
from support.waiting import until
from support.writing import held, hurt, tracers, write, writers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farpeek.access import WriteAccess
    from farpeek.identity import Process

PAGE = mmap.PAGESIZE


# How little the target notices.


def test_a_stopped_target_stays_stopped_and_runs_not_one_instruction(
    writer: WriteAccess, target: Target, process: Process
) -> None:
    assert target.command("spin") == "ok"
    until(lambda: _turns(target), "its first thread counts")
    os.kill(target.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, target.pid, os.WSTOPPED)
    stopped_at = _turns(target)
    for number in range(50):
        assert write(writer, process, [target["block"]], [bytes([number])]).verified
        assert _turns(target) == stopped_at
    until(lambda: state_of(target.pid) == "T", "it is stopped as before")
    assert not tracers(target.pid)
    # Its parent, which are we, is told nothing.
    assert os.waitid(os.P_PID, target.pid, os.WSTOPPED | os.WCONTINUED | os.WNOHANG) is None
    assert _turns(target) == stopped_at
    os.kill(target.pid, signal.SIGCONT)
    until(lambda: _turns(target) > stopped_at, "it counts on")
    assert proc_mem(target.pid, target["block"], 1) == bytes([49])


def _turns(target: Target) -> int:
    return int.from_bytes(proc_mem(target.pid, target["turns"], 8) or b"", "little")


def test_a_target_of_many_threads_goes_on_in_all_of_them(
    writer: WriteAccess, target: Target, process: Process
) -> None:
    assert target.command("threads 64") == "ok"
    for number in range(100):
        assert write(writer, process, [target["block"]], [bytes([number])]).verified
    assert hurt(target) == []


def test_no_signal_is_lost_in_a_storm_of_them_while_it_is_written(
    writer: WriteAccess, target: Target, process: Process
) -> None:
    _write_in_a_storm(writer, target, process, 300)


@pytest.mark.slow
def test_no_signal_is_lost_in_five_thousand_writes(
    writer: WriteAccess, target: Target, process: Process
) -> None:
    _write_in_a_storm(writer, target, process, 5000)


def _write_in_a_storm(writer: WriteAccess, target: Target, process: Process, writes: int) -> None:
    sent = 0
    over = threading.Event()

    def storm() -> None:
        nonlocal sent
        while not over.is_set():
            # Signals beyond the queue are refused, not lost: RLIMIT_SIGPENDING bounds it.
            os.kill(target.pid, signal.SIGRTMIN)
            sent += 1
            time.sleep(0.0002)

    thread = threading.Thread(target=storm)
    thread.start()
    try:
        for number in range(writes):
            assert write(writer, process, [target["block"]], [number.to_bytes(2, "big")]).verified
    finally:
        over.set()
        thread.join()
    until(lambda: target.command("handled") == str(sent), f"all {sent} signals are handled")
    assert sent > writes // 2
    assert hurt(target) == []


@pytest.mark.parametrize("by_whom", [(), (0, "thread")], ids=["first thread", "second thread"])
def test_a_target_that_forks_and_executes_all_the_time_goes_on(
    writer: WriteAccess, by_whom: tuple[object, ...]
) -> None:
    with start("execs", *by_whom) as target, held(target.pid) as process:
        marker = target["marker"]
        written = 0
        for _ in range(300):
            result = write(writer, process, [marker + 64], [b"written!"])
            written += result.complete
            if result.gaps:  # between two programs
                assert {gap.reason for gap in result.gaps} <= {
                    GapReason.UNMAPPED,
                    GapReason.UNREADABLE,
                }
        assert written > 0
        assert not tracers(target.pid)
        first = _generation(target, marker)
        until(lambda: _generation(target, marker) > first + 2, "it goes on to execute itself")


def _generation(target: Target, marker: int) -> int:
    found: list[bytes] = []

    def is_told() -> bool:  # not between two programs, when a second thread executes the next one
        found.append(proc_mem(target.pid, marker, 8) or b"")
        return bool(found[-1])

    until(is_told, "it has memory")
    return int.from_bytes(found[-1], "little")


def test_a_target_in_a_debuggers_hands_is_left_to_it(
    writer: WriteAccess, target: Target, process: Process
) -> None:
    was = proc_mem(target.pid, target["block"], 8)
    with gdb_attached(target.pid) as tracer:
        with pytest.raises(AlreadyTraced) as refused:
            write(writer, process, [target["block"]], [b"x"])
        assert refused.value.tracer_pid == tracer
        assert proc_mem(target.pid, target["block"], 8) == was
    assert write(writer, process, [target["block"]], [b"x"]).verified
    # The debugger did interrupt system calls; all threads run on all the same.
    assert target.command("alive") == "ok"


def test_a_write_for_which_no_thread_can_be_started_is_refused_as_busy(
    target: Target, process: Process
) -> None:
    found = writers("pinned")
    assert found is not None
    was = proc_mem(target.pid, target["block"], 1)
    with no_further_threads(), pytest.raises(TooBusy):
        write(found[Mode.WAIT], process, [target["block"]], [b"x"])
    assert proc_mem(target.pid, target["block"], 1) == was
    assert write(found[Mode.WAIT], process, [target["block"]], [b"x"]).verified


@contextmanager
def no_further_threads() -> Iterator[None]:
    """Leave less of the address space than the stack of a thread takes."""
    (pages, *_) = map(int, Path("/proc/self/statm").read_text().split())
    limits = resource.getrlimit(resource.RLIMIT_AS)
    stack = threading.stack_size(1 << 30)  # no stack of that size is kept from before
    resource.setrlimit(resource.RLIMIT_AS, (pages * PAGE + (1 << 29), limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
        threading.stack_size(stack)


def test_writes_of_many_threads_wait_for_one_another(
    writer: WriteAccess, target: Target, process: Process
) -> None:
    def write_often(number: int) -> bool:
        place = target["big"] + number * 64
        return all(
            write(writer, process, [place], [bytes([turn]) * 64]).verified for turn in range(20)
        )

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(write_often, range(16)))
    assert hurt(target) == []


def test_a_process_whose_first_thread_has_ended_is_written_by_a_live_one(
    writer: WriteAccess,
) -> None:
    with start("threads") as target, held(target.pid) as process:
        assert target.command("leader-exit") == "ok"
        result = write(writer, process, [target["marker"]], [b"by another"])
        assert result.verified
        tid = target["thread"]
        assert proc_mem(tid, target["marker"], 10) == b"by another"


def test_an_exited_target_is_gone(writer: WriteAccess, target: Target, process: Process) -> None:
    target.kill()
    target.await_zombie()
    with pytest.raises(ProcessGone):
        write(writer, process, [target["block"]], [b"x"])
