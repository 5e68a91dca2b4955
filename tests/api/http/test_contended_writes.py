"""Writes that others are in the way of: writers, holders, the kernel, the end."""

from __future__ import annotations

import http.client
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

import pytest

from support.debugger import gdb_attached, stracing
from support.folders import open_folder
from support.reading import proc_mem
from support.targets import Target, start, state_of
from support.waiting import PATIENCE_S, until
from support.wire import Served
from support.writev import audit_of_writes, b64, writev
from support.writing import tracers

if TYPE_CHECKING:
    from pathlib import Path
NOBODY = 65534
OTHER = 1234


def test_who_holds_the_target_is_named(writing: Served, written: Target) -> None:
    target = writing.register(written.pid)
    with gdb_attached(written.pid) as tracer:
        reply = writev(writing, target, written["block"], b"x")
        assert (reply.status, reply.slug) == (409, "already-traced")
        assert reply.json["tracer_pid"] == tracer
        # Reading goes on, whoever holds it.
        assert writing.read(target, written["block"], 8).json["complete"]


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming other users needs root")
def test_a_holder_that_may_not_be_looked_at_is_named_too(tmp_path: Path) -> None:
    with (
        open_folder() as folder,
        Served(folder, "--allow-writes", uid=NOBODY, as_user=["--hide-others"]) as service,
        start("written", tmp_path / "file", NOBODY) as target,
    ):
        registered = service.register(target.pid)
        with gdb_attached(target.pid) as tracer:
            reply = writev(service, registered, target["block"], b"x")
            assert (reply.status, reply.slug) == (409, "already-traced")
            assert reply.json["tracer_pid"] == tracer
        assert writev(service, registered, target["block"], b"x").json["verified"]


def test_of_many_writers_at_once_all_are_served(writing: Served, written: Target) -> None:
    target = writing.register(written.pid)

    def write_often(number: int) -> list[bool]:
        place = written["big"] + 100 * number
        replies = (writev(writing, target, place, bytes([turn]) * 100) for turn in range(10))
        return [reply.status == 200 and reply.json["verified"] for reply in replies]

    with ThreadPoolExecutor(32) as threads:
        outcomes = [each for some in threads.map(write_often, range(32)) for each in some]
    assert outcomes == [True] * 320
    assert proc_mem(written.pid, written["big"], 3200) == bytes([9]) * 3200
    assert not tracers(written.pid)
    assert written.command("interrupted") == "0"


def test_of_two_that_expect_the_same_bytes_one_writes(writing: Served, written: Target) -> None:
    target = writing.register(written.pid)
    was = proc_mem(written.pid, written["block"], 8)
    assert was is not None

    def take(number: int) -> int:
        reply = writev(writing, target, written["block"], bytes([number]) * 8, expect=[b64(was)])
        return int(reply.status)

    with ThreadPoolExecutor(16) as threads:
        statuses = sorted(threads.map(take, range(1, 17)))
    assert statuses == [200] + [409] * 15


def test_a_write_that_hangs_is_given_up_and_holds_up_nobody_else(
    writing: Served, written: Target
) -> None:
    kind = "wp" if "wp" in written else "missing"
    target = writing.register(written.pid)
    reply = writev(writing, target, written[kind], b"late")
    assert (reply.status, reply.slug) == (504, "deadline")
    (line,) = audit_of_writes(writing, target, 1)
    assert line["outcome"] == "deadline"
    stuck = writing.request("GET", "/v1/info").json["stuck"]
    assert [(each["mode"], each["threads"]) for each in stuck if each["target"] == target] == [
        ("write", 1)
    ]
    # The one slot for writes that wait is taken; those that do not wait have another.
    again = writev(writing, target, written["block"], b"x")
    assert (again.status, again.slug) == (503, "target-stuck")
    assert writev(writing, target, written["block"], b"x", mode="nowait").json["verified"]
    assert writing.read(target, written["block"], 8).json["complete"]
    assert not tracers(written.pid)
    assert written.command("resolve") == "ok"
    until(
        lambda: writev(writing, target, written["block"], b"x").status == 200,
        "the slot is given back",
    )


def test_an_exited_target_answers_gone(writing: Served, written: Target) -> None:
    target = writing.register(written.pid)
    written.kill()
    written.reap()
    reply = writev(writing, target, written["block"], b"x")
    assert (reply.status, reply.slug) == (410, "target-exited")


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming other users needs root")
def test_what_the_kernel_refuses_names_its_gate() -> None:
    with (
        open_folder() as folder,
        Served(folder, "--allow-writes", uid=NOBODY) as service,
        start("plain", "--uid", OTHER, "--gid", NOBODY) as target,
    ):
        reply = writev(service, service.register(target.pid), target["marker"], b"x")
        assert (reply.status, reply.slug, reply.json["gate"]) == (403, "access-denied", "uid")
        assert not tracers(target.pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming other users needs root")
def test_a_service_that_may_not_look_at_itself_hands_signals_on(tmp_path: Path) -> None:
    """As one with file capabilities: it cannot see whether a write of its own sleeps."""
    with (
        open_folder() as folder,
        Served(folder, "--allow-writes", uid=NOBODY, as_user=["--not-dumpable"]) as service,
        start("written", tmp_path / "file", NOBODY) as target,
        ThreadPoolExecutor(1) as thread,
    ):
        registered = service.register(target.pid)
        assert writev(service, registered, target["block"], b"x").json["verified"]
        assert not tracers(target.pid)
        if "wp" not in target:
            pytest.skip("this kernel's userfaultfd does not write-protect")
        hanging = thread.submit(writev, service, registered, target["wp"], b"late")
        until(lambda: tracers(target.pid), "the target is held")
        for number in range(1, 11):
            os.kill(target.pid, signal.SIGRTMIN)
            until(lambda n=number: target.command("handled") == str(n), "the signal is handled")
        assert target.command("resolve") == "ok"
        assert hanging.result(PATIENCE_S).json["verified"]
        assert not tracers(target.pid)


def test_the_pin_holds_while_strace_keeps_the_call_from_beginning(tmp_path: Path) -> None:
    with (
        open_folder() as folder,
        Served(folder, "--allow-writes") as service,
        start("written", tmp_path / "file") as target,
        ThreadPoolExecutor(1) as thread,
    ):
        registered = service.register(target.pid)
        before = writev(service, registered, target["block"], b"a").json
        if before["backend"]["pidfd"] != "pinned":
            pytest.skip("this kernel has no need to pin")
        with stracing(service.process.pid, "process_vm_writev", "delay_enter=300000"):
            writing = thread.submit(writev, service, registered, target["block"], b"b")
            until(lambda: tracers(target.pid), "the target is held")
            until(lambda: not tracers(target.pid), "it is let go")
            assert proc_mem(target.pid, target["block"], 1) == b"b"
            assert writing.result(PATIENCE_S).json["verified"]


@pytest.mark.slow
def test_a_service_that_is_killed_in_the_middle_of_a_write_leaves_no_trace(
    written: Target,
) -> None:
    big = written["big"]
    assert written.command("threads 4") == "ok"
    met = 0
    for _ in range(8):
        with open_folder() as folder, Served(folder, "--allow-writes") as service:
            target = service.register(written.pid)
            with ThreadPoolExecutor(4) as threads:
                writers = [
                    threads.submit(_write_until_killed, service, target, big + number * (1 << 20))
                    for number in range(4)
                ]
                until(lambda: tracers(written.pid), "a write is under way")
                service.process.send_signal(signal.SIGKILL)
                service.process.wait(PATIENCE_S)
                met += 1
                for writer in writers:
                    writer.result(timeout=PATIENCE_S)
        until(lambda: not tracers(written.pid), "nobody traces it")
        assert state_of(written.pid) in ("S", "R")
        assert written.command("alive") == "ok"
    assert met == 8


def _write_until_killed(service: Served, target: str, place: int) -> None:
    with suppress(OSError, http.client.HTTPException):  # what a killed service leaves of an answer
        for turn in count():
            assert writev(service, target, place, bytes([turn % 256]) * (1 << 19)).status == 200
