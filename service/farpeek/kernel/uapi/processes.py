"""What a pidfd tells, and what our own process may: linux/pidfd.h, prctl(2), capget(2)."""

from __future__ import annotations

import ctypes
import fcntl
import struct
from array import array
from typing import Final

from farpeek.kernel.uapi.libc import libc

_PIDFD_GET_INFO: Final = 0xC040FF0B  # 64 bytes: up to and with exit_code
_PIDFD_INFO_EXIT: Final = 1 << 3
_PIDFD_INFO_EUID: Final = 9  # which u32 it is; pid and credentials are told unasked
_PidfdInfo = ctypes.c_uint32 * 16

# It waits for nothing and takes half a microsecond. To give up the GIL for that, as fcntl.ioctl
# does, costs ten times as much: another thread takes it meanwhile. Without types, and with its
# number made once, ctypes converts nothing but the pidfd.
_short_ioctl = ctypes.PyDLL(None).ioctl
_GET_INFO: Final = ctypes.c_ulong(_PIDFD_GET_INFO)


def pidfd_euid(pidfd: int) -> int | None:
    """The effective uid of the process; None where the kernel does not tell (before 6.13, gone)."""
    info = _PidfdInfo()  # of its own: other threads may come here between the call and the look
    if _short_ioctl(pidfd, _GET_INFO, info):
        return None
    uid: int = info[_PIDFD_INFO_EUID]
    return uid


def pidfd_exit_status(pidfd: int) -> int | None:
    """Wait status of the exited process behind ``pidfd``; of a non-child after it was reaped.

    ``None`` where the kernel does not tell (before 6.15), or not yet.
    """
    info = bytearray(64)
    struct.pack_into("=Q", info, 0, _PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info)
    except OSError:
        return None
    (mask,) = struct.unpack_from("=Q", info, 0)
    (status,) = struct.unpack_from("=i", info, 60)
    return int(status) if mask & _PIDFD_INFO_EXIT else None


PR_GET_DUMPABLE: Final = 3  # linux/prctl.h, as the next ones
PR_SET_DUMPABLE: Final = 4
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4


def prctl(option: int, argument: int = 0) -> int:
    """Call prctl(2) for this thread, or its process; 0 or more, or a negative errno."""
    rest = (ctypes.c_ulong(0),) * 3
    done: int = libc.prctl(ctypes.c_int(option), ctypes.c_ulong(argument), *rest)
    return done if done >= 0 else -ctypes.get_errno()


_CAPABILITY_VERSION_3: Final = 0x20080522


def held_capabilities() -> tuple[int, int]:
    """Give this thread's effective and permitted capabilities (capget(2)), as bits."""
    head = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    words = array("I", bytes(24))
    libc.capget(ctypes.c_char_p(head), ctypes.c_void_p(words.buffer_info()[0]))
    return words[0] | words[3] << 32, words[1] | words[4] << 32


def set_capabilities(effective: int, permitted: int) -> int:
    """Have this thread have these alone, and inherit none (capset(2)); 0, or a negative errno."""
    low = 0xFFFF_FFFF
    head = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    words = (effective & low, permitted & low, 0, effective >> 32, permitted >> 32, 0)
    if libc.capset(ctypes.c_char_p(head), ctypes.c_char_p(struct.pack("=6I", *words))):
        return -ctypes.get_errno()
    return 0


_SYSINFO = struct.Struct("@l3L4L2LHHLLI")  # sysinfo(2), without its padding


def swap_bytes() -> int:
    """The size of all swap space of this host (sysinfo(2)); lxcfs does not change this one."""
    found = ctypes.create_string_buffer(2 * _SYSINFO.size)
    libc.sysinfo(found)
    fields = _SYSINFO.unpack_from(found, 0)
    return int(fields[8]) * int(fields[-1] or 1)
