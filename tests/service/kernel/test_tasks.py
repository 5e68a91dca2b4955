"""Threads and their registers, as /proc tells of them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from farpeek.kernel import tasks
from farpeek.kernel.tasks import Registers

_ADDRESSES = st.integers(1, 2**64 - 1)


@given(st.integers(0, 2**31 - 1), st.lists(_ADDRESSES, min_size=6, max_size=6), _ADDRESSES)
def test_registers_in_a_call_are_told_whole(number: int, arguments: list[int], at: int) -> None:
    words = " ".join(hex(each) for each in (*arguments, at, at - 1))
    assert tasks.registers_of(f"{number} {words}\n".encode()) == Registers(
        at - 1, at, number, tuple(arguments)
    )


@given(_ADDRESSES, _ADDRESSES)
def test_in_a_page_fault_only_place_and_stack_are_known(pc: int, sp: int) -> None:
    assert tasks.registers_of(f"-1 {sp:#x} {pc:#x}\n".encode()) == Registers(pc, sp)


def test_of_a_thread_that_runs_or_has_ended_nothing_is_known() -> None:
    assert tasks.registers_of(b"running\n") is None
    assert tasks.registers_of(b"-1 0x0 0x0\n") is None
    assert tasks.registers_of(b"") is None


@given(st.binary(min_size=1, max_size=15).filter(lambda name: b"\0" not in name))
def test_a_name_forges_nothing(name: bytes) -> None:
    own = threading.get_native_id()
    path = Path(f"/proc/self/task/{own}/comm")
    before = path.read_bytes()
    path.write_bytes(name)
    try:
        seen = tasks.look_at("/proc/self", own)
    finally:
        path.write_bytes(before.rstrip(b"\n"))
    assert seen is not None
    assert (seen.tid, seen.state) == (own, "R")
    assert seen.comm == name
    assert seen.cpu_ns > 0


def test_a_thread_that_has_ended_is_none() -> None:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    number = thread.native_id
    assert number is not None
    thread.join()
    while Path(f"/proc/self/task/{number}").exists():
        os.sched_yield()
    assert tasks.look_at("/proc/self", number) is None
    assert number not in tasks.numbers("/proc/self")
