"""Tracing without stopping: ptrace(2), PTRACE_SEIZE."""

from __future__ import annotations

import ctypes
from typing import Final

from farpeek.kernel.uapi.libc import libc

_PTRACE_CONT: Final = 7
_PTRACE_SEIZE: Final = 0x4206
_PTRACE_LISTEN: Final = 0x4208
PTRACE_EVENT_STOP: Final = 128
WALL: Final = 0x40000000
"""__WALL of waitpid(2): threads, too."""

_ptrace = libc.ptrace
_ptrace.restype = ctypes.c_long
_ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def ptrace_seize(tid: int) -> int:
    """Trace a thread without stopping it (ptrace(2), PTRACE_SEIZE); 0, or a negative errno.

    It is traced by the calling thread, and let go silently when that ends.
    """
    return 0 if _ptrace(_PTRACE_SEIZE, tid, None, None) >= 0 else -ctypes.get_errno()


def ptrace_cont(tid: int, number: int) -> int:
    """Let a traced thread that has stopped go on, with signal ``number`` unless that is 0."""
    return 0 if _ptrace(_PTRACE_CONT, tid, None, number or None) >= 0 else -ctypes.get_errno()


def ptrace_listen(tid: int) -> int:
    """Leave a traced thread stopped by its group-stop, until SIGCONT ends that."""
    return 0 if _ptrace(_PTRACE_LISTEN, tid, None, None) >= 0 else -ctypes.get_errno()
