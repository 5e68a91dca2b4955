"""process_vm_readv(2) by ctypes, its arguments declared, as it is usually written."""

from __future__ import annotations

import ctypes
import os
from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

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


class DirectRead:
    """The same read again and again: iovecs and destination are made once."""

    def __init__(self, pid: int, addresses: Sequence[int], length: int) -> None:
        self.size = len(addresses) * length
        self.content = bytearray(self.size)
        place = ctypes.addressof(ctypes.c_char.from_buffer(self.content))
        self._local = array("Q", [place, self.size])
        self._remote = array("Q", [word for each in addresses for word in (each, length)])
        local, remote = self._local.buffer_info()[0], self._remote.buffer_info()[0]
        self._arguments = (pid, local, 1, remote, len(addresses), 0)

    def __call__(self) -> None:
        """Read."""
        if _readv(*self._arguments) != self.size:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
