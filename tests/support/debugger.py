"""A real debugger that has a target in its hands."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from support.waiting import PATIENCE_S, until
from support.writing import all_traced_by, tracers

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def gdb_attached(pid: int) -> Iterator[int]:
    """Let gdb attach to a process, and detach at the end; its own number."""
    if shutil.which("gdb") is None:
        pytest.skip("gdb is not installed")
    debugger = subprocess.Popen(
        ["gdb", "--quiet", "--nx", "--interpreter=mi", "--pid", str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: tracers(pid) == {debugger.pid}, "the debugger has attached")
        yield debugger.pid
    finally:
        debugger.communicate(b"-gdb-exit\n", timeout=PATIENCE_S)
    until(lambda: not tracers(pid), "the debugger has let go")


@contextmanager
def stracing(pid: int, call: str, injected: str) -> Iterator[None]:
    """Let strace trace all threads of a process, and disturb one system call (strace(1))."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    tracer = subprocess.Popen(
        ["strace", "-f", "-p", str(pid), "-o", "/dev/null", f"--inject={call}:{injected}"],
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: all_traced_by(tracer.pid, pid), "strace has attached to all threads")
        yield
    finally:
        tracer.terminate()
        tracer.wait(PATIENCE_S)
