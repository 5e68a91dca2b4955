"""Pid namespaces, and who is at the other end of a unix socket."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

from farpeek.identity import Caller

if TYPE_CHECKING:
    from asyncio.trsock import TransportSocket

_SO_PEERPIDFD: Final = 77  # asm-generic/socket.h; Linux 6.5
_OWN: Final = Path("/proc/self/ns/pid")
_FIRST: Final = 0xEFFF_FFFC  # linux/proc_ns.h, the same on every host
_NS_GET_PARENT: Final = 0xB702  # linux/nsfs.h
_UCRED: Final = struct.Struct("3i")  # pid, uid, gid; unix(7)


def caller_at(sock: socket.socket | TransportSocket) -> Caller:
    """Who has connected to us by a unix socket; whoever gets it closes its pidfd."""
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid = _UCRED.unpack(credentials)[0]
    try:
        return Caller(pid, sock.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD), has_ended=False)
    except OSError as error:
        return Caller(pid, None, has_ended=error.errno != errno.ENOPROTOOPT)


def is_in(pid: int, level: int, levels: int, inode: int) -> bool:
    """Whether a process is in a pid namespace, or in one below it.

    ``inode`` is that of the namespace, which is ``level`` below ours, the process's own ``levels``
    below. Raises PermissionError where the kernel lets nobody look (ptrace(2), PTRACE_MODE_READ).
    """
    descriptor = os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for _ in range(levels - level):
            parent: int = fcntl.ioctl(descriptor, _NS_GET_PARENT)
            os.close(descriptor)
            descriptor = parent
        return os.fstat(descriptor).st_ino == inode
    finally:
        os.close(descriptor)


def is_the_first() -> bool | None:
    """Whether the service is in the first pid namespace; None if that cannot be seen."""
    try:
        return _OWN.stat().st_ino == _FIRST
    except OSError:
        return None
