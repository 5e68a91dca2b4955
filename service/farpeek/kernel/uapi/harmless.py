"""Calls with arguments by which nothing happens, so that it shows whether they are there."""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Final

from farpeek.kernel.uapi.libc import (
    SYS_CACHESTAT,
    SYS_OPENAT2,
    SYS_PIDFD_OPEN,
    SYS_PROCESS_MADVISE,
    libc,
    syscall,
)
from farpeek.kernel.uapi.pages import MOVE_PAGES_NUMBER
from farpeek.kernel.uapi.process_vm import process_vm_writev

HARMLESS: Final = {
    "pidfd_open": errno.EINVAL,
    "process_vm_writev": 0,
    "openat2": errno.EINVAL,
    "process_madvise": errno.EBADF,
    "move_pages": 0,
    "mincore": 0,
    "cachestat": errno.EBADF,
}
"""Calls that `try_harmlessly` knows, each with the errno by which a kernel answers that has it."""


def try_harmlessly(call: str) -> int:
    """Make a call of `HARMLESS` with arguments by which nothing happens; 0, or a negative errno.

    The kernel finds fault with them before it looks at privileges, or has nothing to do.
    """
    if call == "process_vm_writev":
        return process_vm_writev(os.getpid(), 0, 0, 0, 0)
    if call == "mincore":
        done = libc.mincore(None, ctypes.c_size_t(0), None)
    else:
        number = {
            "pidfd_open": SYS_PIDFD_OPEN,
            "openat2": SYS_OPENAT2,
            "process_madvise": SYS_PROCESS_MADVISE,
            "move_pages": MOVE_PAGES_NUMBER,
            "cachestat": SYS_CACHESTAT,
        }[call]
        if number is None:
            return -errno.ENOSYS
        who = 0 if call == "move_pages" else -1  # ourselves, or none
        done = syscall(ctypes.c_long(number), ctypes.c_long(who), *(ctypes.c_long(0),) * 5)
    return 0 if done >= 0 else -ctypes.get_errno()
