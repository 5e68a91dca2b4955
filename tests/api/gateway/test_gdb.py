"""gdb through the gateway, on real programs: what it shows is what it shows under ptrace."""

from __future__ import annotations

import mmap
import re
import shutil
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.debugged import build, by_ptrace, debugger, frames, start
from support.namespaces import can_have_a_private_pid_namespace
from support.targets import state_of
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from support.targets import Target

DEEP = [f"frame{number}" for number in range(15)] + ["main"]


@pytest.fixture(scope="module")
def debugged() -> Iterator[Target]:
    with start() as process:
        yield process


def _gdb(target: Target, *commands: str, flags: tuple[str, ...] = ()) -> str:
    # The status of the last command is gdb's, with -batch.
    words = [word for each in (*commands, "echo done\\n") for word in ("-ex", each)]
    return debugger("gdb", target.pid, *flags, "--", "-nx", "-batch", *words)


class Watched:
    """Looks at a process for as long as it is in a ``with``: its states, and who traces it."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.states: set[str | None] = set()
        self.tracers: set[str] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.is_set():
            self.states.add(state_of(self._pid))
            text = Path(f"/proc/{self._pid}/status").read_text()
            self.tracers |= set(re.findall(r"TracerPid:\t(\d+)", text))


def test_backtraces_are_those_under_ptrace_and_the_target_goes_on(debugged: Target) -> None:
    with Watched(debugged.pid) as watched:
        shown = _gdb(
            debugged, "print counter", "thread apply all bt", "print counter", "c", "print counter"
        )
    traced = by_ptrace(debugged.pid, "thread apply all bt")
    assert watched.tracers == {"0"}
    assert watched.states <= {"S", "R"}  # never t or T
    assert frames(shown)
    seen = frames(shown.partition("thread apply")[0])
    assert [function for function, _ in seen if function.startswith(("frame", "main"))] == DEEP
    by_thread, by_thread_traced = _by_thread(shown), _by_thread(traced)
    assert by_thread == by_thread_traced
    assert len(by_thread) == 4
    counters = [int(value) for value in re.findall(r"^\$\d = (\d+)$", shown, re.MULTILINE)]
    assert counters[0] <= counters[1] < counters[2]


def _by_thread(text: str) -> dict[int, list[tuple[str, str]]]:
    parts = re.split(r"^Thread (\d+) \(.*\):$", text, flags=re.MULTILINE)
    return {
        int(number): frames(part) for number, part in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_data_threads_and_libraries_are_those_under_ptrace(debugged: Target) -> None:
    commands = (
        "print *head->next",
        "x/s greeting",
        "find &last, +sizeof(last), (char)22",
        "find &last, +sizeof(last), (char)99",
        "print sizeof(struct node)",
        "info sharedlibrary",
    )
    shown, traced = _gdb(debugged, *commands), by_ptrace(debugged.pid, *commands)
    for pattern in (
        r"^\$1 = .*$",
        r'^0x\w+:\t".*"$',
        r"^0x\w+ <last\+8>$",
        "^1 pattern found.$",
        "^Pattern not found.$",
        r"^0x\w+ +0x\w+ +Yes.*? ",
    ):
        found = re.findall(pattern, shown, re.MULTILINE)
        assert found, shown
        assert found == re.findall(pattern, traced, re.MULTILINE)
    assert '"hello from the target"' in shown
    assert shown.count(".so") >= 2
    threads = _gdb(debugged, "info threads")
    assert len(re.findall(r"^[* ] \d+ +Thread .*\(S, in \w+\)", threads, re.MULTILINE)) == 4
    assert f"Thread {debugged.pid}.{debugged.pid} " in threads


@pytest.mark.parametrize("variant", ["plain", "static", "static-pie"])
def test_programs_of_all_kinds_have_their_backtraces(variant: str) -> None:
    with start(variant) as process:
        shown = _gdb(process, "bt", "print *head->next")
    names = [function for function, _ in frames(shown)]
    assert [each for each in names if each in DEEP] == DEEP
    assert 'name = "last' in shown


def test_a_program_without_a_name_has_symbols_still(folder: Path) -> None:
    copy = folder / "a copy"
    shutil.copy(build("pie"), copy)
    with start(program=copy) as process:
        copy.unlink()
        shown = _gdb(process, "bt")
    assert [each for each, _ in frames(shown) if each in DEEP] == DEEP


def test_a_hundred_threads_and_five_thousand_mappings_are_shown() -> None:
    with start("pie", 100, 5000) as process:
        shown = _gdb(process, "thread apply all bt 2", "info proc mappings")
    assert len(re.findall(r"^Thread \d+ \(", shown, re.MULTILINE)) == 102
    assert shown.count(" in waiting (") == 100
    assert len(re.findall(rf"^ +0x\w+ +0x\w+ +{mmap.PAGESIZE:#x} ", shown, re.MULTILINE)) >= 5000


def test_to_go_on_is_to_look_again_and_is_said_once(debugged: Target) -> None:
    shown = _gdb(debugged, "c", "stepi", "c")
    assert shown.count("the target is not stopped, and goes on") == 1
    assert shown.count("stopped.") >= 3


def test_nothing_is_killed_written_called_or_inserted(debugged: Target) -> None:
    shown = _gdb(
        debugged, "set var sunk = 77", "print frame1(1, 2)", "break frame3", "c", "kill", "detach"
    )
    assert "Writing to memory is not allowed" in shown
    assert "may-call-functions is off" in shown
    assert "Cannot insert breakpoint 1" in shown
    assert "Can't kill process" in shown
    assert "detached" in shown
    assert state_of(debugged.pid) in ("S", "R")


def test_with_write_it_is_the_service_that_allows_it(debugged: Target, folder: Path) -> None:
    write = "set var sunk = 77"
    refused = _gdb(debugged, write, "print sunk", flags=("--write",))
    assert "Cannot access memory" in refused
    assert "$1 = 77" not in refused
    with Served(folder, "--allow-writes") as allowing, start() as process:
        flags = ("--write", "--url", f"unix:{allowing.path}")
        assert "$1 = 77" in _gdb(process, write, "print sunk", flags=flags)
        assert _value(process, "sunk") == 77
        unasked = _gdb(process, write.replace("77", "78"), "print sunk", flags=flags[1:])
        assert "Writing to memory is not allowed" in unasked
        assert "$1 = 77" in unasked


def _value(target: Target, name: str) -> int:
    [found] = re.findall(r"^\$1 = (\d+)$", by_ptrace(target.pid, f"print {name}"), re.MULTILINE)
    return int(found)


@pytest.mark.parametrize(
    ("ending", "told"), [("exit 7", "exited with code 07"), ("abort", "SIGABRT, Aborted")]
)
def test_how_a_target_has_ended_is_told(ending: str, told: str) -> None:
    with start() as process:
        reaping = threading.Thread(target=process.reap)
        reaping.start()
        end = f"shell echo {ending} >/proc/{process.pid}/fd/0"
        gone = f"shell while [ -d /proc/{process.pid} ]; do sleep 0.01; done"
        shown = _gdb(process, end, gone, "print counter", "c", "info threads")
        reaping.join()
    assert told in shown
    assert "No threads." in shown


def test_of_a_target_that_nobody_has_reaped_nobody_knows_how_it_ended() -> None:
    with start() as process:
        end = f"shell echo exit 7 >/proc/{process.pid}/fd/0"
        gone = f"shell until grep -q '^State:.Z' /proc/{process.pid}/status; do sleep 0.01; done"
        shown = _gdb(process, end, gone, "c", "info threads")
        process.await_zombie()
    assert "the target has exited; nobody knows how" in shown
    assert "exited normally" in shown


def test_a_running_thread_is_listed_without_registers() -> None:
    with subprocess.Popen(["/bin/sh", "-c", "while :; do :; done"]) as process:
        try:
            commands = ("-ex", "info threads", "-ex", "info auxv")
            shown = debugger("gdb", process.pid, "--", "-nx", "-batch", *commands)
        finally:
            process.kill()
    assert re.search(r"\(running: its registers are not known\) +0x0+ in \?\?", shown), shown
    assert "AT_ENTRY" in shown


@pytest.mark.skipif(not can_have_a_private_pid_namespace(), reason="no namespaces here")
def test_a_target_in_another_mount_namespace_has_its_own_files(folder: Path) -> None:
    away = folder / "away"
    away.mkdir()
    script = (
        f"mount -t tmpfs none {away} && cp {build('pie')} {away}/program && exec {away}/program"
    )
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        while process.stdout.readline() != b"ready\n":
            pass
        assert not (away / "program").exists()
        shown = debugger("gdb", process.pid, "--", "-nx", "-batch", "-ex", "bt")
        process.stdin.close()
    assert [each for each, _ in frames(shown) if each in DEEP] == DEEP
