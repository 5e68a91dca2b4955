"""Memory of other processes: process_vm_readv(2), and the PROCESS_VM_* patch series.

The flags are those of linux/process_vm_access.h.
"""

from __future__ import annotations

import ctypes
import errno
from array import array
from typing import TYPE_CHECKING, Final

from farpeek import machine
from farpeek.kernel.uapi.buffers import address_of
from farpeek.kernel.uapi.libc import libc

if TYPE_CHECKING:
    from collections.abc import Callable

PROCESS_VM_PIDFD: Final = 1 << 0
PROCESS_VM_NOWAIT: Final = 1 << 1
IOV_MAX: Final = 1024
EHWPOISON: Final = 133  # a broken page; `errno` has no name for it
MAX_RW_COUNT: Final = 0x7FFFF000
"""The most bytes that one call moves (linux/fs.h); a longer one is cut without a word."""

_process_vm_readv = libc.process_vm_readv
_process_vm_writev = libc.process_vm_writev
for _call in (_process_vm_readv, _process_vm_writev):
    _call.restype = ctypes.c_ssize_t
    _call.argtypes = [
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_ulong,
        ctypes.c_void_p,
        ctypes.c_ulong,
        ctypes.c_ulong,
    ]


def process_vm_readv(
    who: int, local: int, local_count: int, remote: int, remote_count: int, flags: int = 0
) -> int:
    """Call process_vm_readv(2); ``local`` and ``remote`` are addresses of iovec arrays.

    ``who`` is a pid, or a pidfd with PROCESS_VM_PIDFD. The GIL is released meanwhile. Answers the
    bytes read, or a negative errno.
    """
    count: int = _process_vm_readv(who, local, local_count, remote, remote_count, flags)
    return count if count >= 0 else -ctypes.get_errno()


Argument = ctypes.c_ulong
"""An address or a number as a system call takes it. ctypes makes one of each number that it is
given: for the six of a call that takes as long as the call does (1.4 of 3.3 us)."""

SMALL: Final = tuple(map(Argument, range(16)))
"""Counts and flags, ready made."""

_quick_readv = libc["process_vm_readv"]  # another object than that above, without types
_quick_readv.restype = ctypes.c_ssize_t

try_process_vm_readv: Callable[[int, Argument, Argument, Argument, Argument, Argument], int]
try_process_vm_readv = _quick_readv
"""The same in a third of the time, for those who do not ask why: -1 in place of what went wrong."""


def process_vm_writev(
    who: int, local: int, local_count: int, remote: int, remote_count: int, flags: int = 0
) -> int:
    """Call process_vm_writev(2), as ``process_vm_readv``; answers the bytes written."""
    count: int = _process_vm_writev(who, local, local_count, remote, remote_count, flags)
    return count if count >= 0 else -ctypes.get_errno()


WRITEV_NUMBER: Final = {
    "x86_64": 311,
    "aarch64": 271,
    "riscv64": 271,
    "loongarch64": 271,
    "ppc64le": 352,
    "s390x": 341,
}.get(machine.NAME or "")
"""The number of process_vm_writev, as proc_pid_syscall(5) shows it; None where it is not known."""


# A one-byte iovec at address 0 and somewhere to put it. Nobody looks at the byte, so that all
# threads may share the place.
_probe_byte = bytearray(1)
_probe_iovecs = array("Q", [address_of(_probe_byte), 1, 0, 1])
_PROBE_LOCAL = _probe_iovecs.buffer_info()[0]
_PROBE_REMOTE = _PROBE_LOCAL + 16


def probe_memory(who: int, flags: int = 0) -> int:
    """Read one byte at address 0: -ESRCH where the address space is gone, about 1 us.

    -EFAULT is what a living process gives; 1 where it has mapped address 0.
    """
    return process_vm_readv(who, _PROBE_LOCAL, 1, _PROBE_REMOTE, 1, flags)


def read_memory(pid: int, address: int, size: int) -> bytes | None:
    """Read some bytes of a process by its number; None where they are not all to be had."""
    content = (ctypes.c_char * size)()
    place = ctypes.addressof(content)
    iovecs = array("Q", (place, size, address, size))
    local = iovecs.buffer_info()[0]
    got = process_vm_readv(pid, local, 1, local + 16, 1)
    return content.raw if got == size else None


def knows_flag(pid: int, flag: int) -> bool:
    """Whether the kernel knows a process_vm_readv flag: EFAULT where it does, EINVAL where not.

    NULL iovecs make the call fail after the flags were looked at, whatever else happens.
    """
    return process_vm_readv(pid, 0, 1, 0, 1, flag) == -errno.EFAULT
