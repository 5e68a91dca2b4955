"""The C library, and the calls that it has no function for."""

from __future__ import annotations

import ctypes
import os
from typing import Final

libc = ctypes.CDLL(None, use_errno=True)
syscall = libc.syscall
syscall.restype = ctypes.c_long

# The numbers of these are the same on every architecture.
SYS_PIDFD_OPEN: Final = 434
SYS_OPENAT2: Final = 437
SYS_PROCESS_MADVISE: Final = 440
SYS_CACHESTAT: Final = 451


def failure() -> OSError:
    """Return what the last call of this thread failed with."""
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code))
