"""The threads of a target, and their registers, as a debugger that stops it finds them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.folders import open_folder
from support.targets import start, state_of
from support.waiting import until
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534
OTHER = 1234

_MANY = """
import os, socket, sys, threading, time
ends = [os.pipe() for _ in range(100)]
def wait(place):
    os.read(ends[place][0], 1000 + place)
threads = [threading.Thread(target=wait, args=[place], daemon=True) for place in range(100)]
for thread in threads: thread.start()
def work():
    while True: pass
if sys.argv[1:]: threading.Thread(target=work, daemon=True).start()
print(*[thread.native_id for thread in threads], flush=True)
print(*[end[0] for end in ends], flush=True)
sys.stdin.read()
"""


@contextmanager
def _hundred_readers(*arguments: str) -> Iterator[tuple[int, dict[int, tuple[int, int]]]]:
    """A process of 100 threads that read; which descriptor each of them reads, and how much."""
    process = subprocess.Popen(
        [sys.executable, "-c", _MANY, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            numbers, ends = (map(int, process.stdout.readline().split()) for _ in range(2))
            reads = enumerate(zip(numbers, ends, strict=True))
            yield process.pid, {tid: (end, 1000 + place) for place, (tid, end) in reads}
        finally:
            process.kill()


def _threads(served: Served, pid: int, query: str = "") -> Any:  # noqa: ANN401 - JSON
    target = served.register(pid)
    reply = served.request("GET", f"/v1/targets/{target}/threads{query}")
    assert reply.status == 200, reply.body
    return reply.json


def _all_wait(served: Served, pid: int, tids: set[int]) -> bool:
    shown = _threads(served, pid)["threads"]
    return all(each["registers"] is not None for each in shown if each["tid"] in tids)


def test_a_hundred_threads_are_told_of_with_what_they_wait_for(served: Served) -> None:
    with _hundred_readers() as (pid, reads):
        until(lambda: _all_wait(served, pid, set(reads)), "all of them wait")
        shown = _threads(served, pid)["threads"]
        assert [each["tid"] for each in shown] == sorted({pid, *reads})
        by_tid = {each["tid"]: each for each in shown}
        for tid, (descriptor, length) in reads.items():
            seen = by_tid[tid]
            assert (seen["state"], seen["running"]) == ("S", False)
            arguments = [int(each, 16) for each in seen["registers"]["arguments"]]
            assert (arguments[0], arguments[2]) == (descriptor, length)
            assert seen["registers"]["syscall"] == by_tid[min(reads)]["registers"]["syscall"]
            assert seen["cpu_ns"] > 0
            assert seen["wchan"] in (None, "pipe_read", "anon_pipe_read")


@pytest.mark.skipif(shutil.which("gdb") is None, reason="gdb is not installed")
def test_registers_are_those_that_a_debugger_finds(served: Served) -> None:
    with _hundred_readers() as (pid, reads):
        until(lambda: _all_wait(served, pid, {pid, *reads}), "all of them wait")
        shown = _threads(served, pid)["threads"]
        assert Path(f"/proc/{pid}/status").read_text().count("TracerPid:\t0\n") == 1
        told = {
            (each["tid"], int(each["registers"]["pc"], 16), int(each["registers"]["sp"], 16))
            for each in shown
        }
        printing = 'thread apply all -q printf "%d %lu %lu\\n", $_gthread, $pc, $sp'
        listing = "info threads"
        ran = subprocess.run(
            ["gdb", "-nx", "-batch", "-p", str(pid), "-ex", printing, "-ex", listing],
            capture_output=True,
            text=True,
            check=True,
        )
        tids = {
            int(number): int(tid)
            for number, tid in re.findall(r"^[* ] +(\d+) .*LWP (\d+)", ran.stdout, re.MULTILINE)
        }
        found = {
            (tids[int(number)], int(pc), int(sp))
            for number, pc, sp in re.findall(r"^(\d+) (\d+) (\d+)$", ran.stdout, re.MULTILINE)
        }
        assert len(found) == 101
        assert told == found


def test_of_a_thread_that_runs_no_registers_are_told(served: Served) -> None:
    with _hundred_readers("and one that works") as (pid, reads):

        def working() -> list[Any]:
            shown = _threads(served, pid)["threads"]
            return [each for each in shown if each["tid"] not in {pid, *reads}]

        until(lambda: any(each["running"] for each in working()), "it was seen running")
        [first] = working()
        until(lambda: working()[0]["cpu_ns"] > first["cpu_ns"], "it goes on")
        for each in working():
            assert (each["registers"] is None) >= each["running"]


def test_a_list_goes_on_from_any_thread(served: Served) -> None:
    with _hundred_readers() as (pid, reads):
        tids = sorted({pid, *reads})
        shown = _threads(served, pid, f"?from={tids[40]}")["threads"]
        assert [each["tid"] for each in shown] == tids[40:]
        assert _threads(served, pid, f"?from={2**31}")["threads"] == []
        target = served.register(pid)
        refused = served.request("GET", f"/v1/targets/{target}/threads?from=-1")
        assert (refused.status, refused.json["errors"][0]["place"]) == (422, "from")


def test_a_process_whose_first_thread_has_ended_shows_the_others(served: Served) -> None:
    with start("threads") as target:
        assert target.command("leader-exit") == "ok"
        until(lambda: state_of(target.pid) == "Z", "its first thread is a zombie")
        first, *others = _threads(served, target.pid)["threads"]
        assert (first["state"], first["registers"], first["running"]) == ("Z", None, False)
        assert {each["tid"] for each in others} == {target["thread"], target["sleeper"]}
        assert all(each["registers"] is not None for each in others)


def test_a_process_that_has_exited_is_gone(served: Served) -> None:
    with start("threads") as target:
        name = served.register(target.pid)
        target.kill()
        target.await_zombie()
        reply = served.request("GET", f"/v1/targets/{name}/threads")
        assert (reply.status, reply.json["type"]) == (410, "urn:farpeek:problem:target-exited")


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming other users needs root")
def test_what_the_kernel_refuses_names_its_gate() -> None:
    with (
        open_folder() as folder,
        Served(folder, uid=NOBODY) as service,
        start("plain", "--uid", OTHER, "--gid", NOBODY) as target,
    ):
        reply = service.request("GET", f"/v1/targets/{service.register(target.pid)}/threads")
        assert (reply.status, reply.slug, reply.json["gate"]) == (403, "access-denied", "uid")


@pytest.mark.skipif(os.geteuid() != 0, reason="giving up capabilities needs root")
def test_who_may_read_memory_but_no_registers_is_told_what_is_lacking() -> None:
    with (
        open_folder() as folder,
        Served(folder, without=("dac_read_search", "dac_override")) as service,
        start("plain", "--uid", OTHER, "--gid", OTHER) as target,
    ):
        reply = service.request("GET", f"/v1/targets/{service.register(target.pid)}/threads")
        assert (reply.status, reply.slug) == (501, "unsupported")
        assert "CAP_DAC_READ_SEARCH" in reply.json["detail"]
