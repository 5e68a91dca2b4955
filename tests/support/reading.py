"""Reading memory without the service: what its answers are compared with."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_readv = _libc.process_vm_readv
_readv.restype = ctypes.c_ssize_t
_readv.argtypes = [
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_ulong,
    ctypes.c_void_p,
    ctypes.c_ulong,
    ctypes.c_ulong,
]


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_uint64), ("length", ctypes.c_uint64))


class NaiveReader:
    """process_vm_readv(2) by number, believed without any check: the control of the reuse tests."""

    def __init__(self, pid: int, address: int, length: int) -> None:
        self._pid = pid
        self._buffer = ctypes.create_string_buffer(length)
        self._local = _Iovec(ctypes.addressof(self._buffer), length)
        self._remote = _Iovec(address, length)

    def __call__(self) -> bytes | None:
        """Read; None where nothing was."""
        read = _readv(
            self._pid, ctypes.addressof(self._local), 1, ctypes.addressof(self._remote), 1, 0
        )
        return self._buffer.raw[:read] if read > 0 else None


def one_system_call(pid: int, addresses: list[int], lengths: list[int]) -> bytes:
    """Return what a single process_vm_readv(2) of these regions gives (at most 1024)."""
    buffer = ctypes.create_string_buffer(max(sum(lengths), 1))
    local = _Iovec(ctypes.addressof(buffer), sum(lengths))
    remote = (_Iovec * len(addresses))(*map(_Iovec, addresses, lengths))
    read = _readv(pid, ctypes.addressof(local), 1, ctypes.addressof(remote), len(addresses), 0)
    if read < 0:
        code = ctypes.get_errno()
        if code != errno.EFAULT:
            raise OSError(code, os.strerror(code))
        return b""
    return buffer.raw[:read]


def proc_mem(pid: int, address: int, length: int) -> bytes | None:
    """Return ``length`` bytes of /proc/PID/mem; None where it cannot give them all."""
    try:
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
            memory.seek(address)
            data = memory.read(length)
    except (OSError, OverflowError, ValueError):
        return None
    return data if len(data) == length else None


def memory_of(pid: int) -> int:
    """Return the bytes of a process that are in memory now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
