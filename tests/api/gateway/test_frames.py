"""Frames of odd kinds, through the gateway as under ptrace: the vdso's, and a large program's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.debugged import by_ptrace, debugger
from support.ending import end_process
from support.targets import SOURCES, Target, state_of
from support.waiting import until


def functions(text: str) -> list[str]:
    """Find the functions of a backtrace, the innermost first."""
    found = re.findall(r"^#\d+ +(?:0x\w+ in )?([^\s(]+) ?\(", text, re.MULTILINE)
    return [str(each) for each in found]


def by_gateway(pid: int, *commands: str) -> str:
    words = [word for each in (*commands, "echo done\\n") for word in ("-ex", each)]
    return debugger("gdb", pid, "--", "-nx", "-batch", *words)


@pytest.mark.usefixtures("url")
def test_a_thread_that_hangs_in_the_vdso_is_shown_by_the_function_there(tmp_path: Path) -> None:
    # It is unwound by rbp, which nobody knows of a thread that is not traced: so it is one frame.
    program = tmp_path / "vdso"
    subprocess.run(["gcc", "-O2", "-g", "-pthread", "-o", program, SOURCES / "vdso.c"], check=True)
    with Target("vdso", program=program) as target:
        threads = by_gateway(target.pid, "thread apply all bt").split("\nThread ")[1:]
    (hanging,) = (each for each in threads if "handle_userfault" in each)
    assert functions(hanging)[0].endswith("clock_gettime")


@pytest.mark.usefixtures("url")
def test_the_stack_of_an_interpreter_is_that_under_ptrace() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; list(map(time.sleep, [1000]))"],
        env={},
        stdin=subprocess.DEVNULL,
    )
    try:
        call = Path(f"/proc/{process.pid}/syscall")
        until(
            lambda: state_of(process.pid) == "S" and call.read_text().split()[0] in ("230", "115"),
            "it sleeps",
        )
        shown = functions(by_gateway(process.pid, "bt"))
        traced = functions(by_ptrace(process.pid, "bt"))
        status = Path(f"/proc/{process.pid}/status").read_text()
    finally:
        end_process(process)
    assert len(shown) > 10
    assert "time_sleep" in "".join(shown)
    assert shown == traced
    assert "TracerPid:\t0\n" in status
