"""Which pages of files are in memory: cachestat(2), mincore(2)."""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from typing import Final

from farpeek.kernel.uapi.buffers import address_of
from farpeek.kernel.uapi.libc import SYS_CACHESTAT, failure, libc, syscall

_PROT_READ: Final = 1
_MAP_SHARED: Final = 1
_MAP_FAILED: Final = ctypes.c_void_p(-1).value

_mmap = libc.mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int64,
]


def may_ask_the_cache(descriptor: int) -> bool:
    """Whether mincore(2) tells the truth about this file to this caller.

    To one who neither owns the file nor may write it, mincore says that all of it is resident.
    cachestat(2) has the same check, but says EPERM. Where that call is not to be had (before 6.5,
    or by a filter), mincore is tried on a page that nobody can have: the one behind the last.
    """
    return cached_count(descriptor, 0, 1) is not None or _tells_the_truth(descriptor)


def cached_count(descriptor: int, offset: int, length: int) -> int | None:
    """How many pages of a part of a file are in the page cache, those being read in among them.

    None where cachestat(2) does not tell. It reads nothing in.
    """
    where = struct.pack("=QQ", offset, length)
    answer = bytearray(40)
    failed: int = syscall(
        ctypes.c_long(SYS_CACHESTAT),
        ctypes.c_int(descriptor),
        ctypes.c_char_p(where),
        ctypes.c_void_p(address_of(answer)),
        ctypes.c_uint(0),
    )
    return None if failed else int(struct.unpack_from("=Q", answer, 0)[0])


def _tells_the_truth(descriptor: int) -> bool:
    behind = -(-os.fstat(descriptor).st_size // mmap.PAGESIZE) * mmap.PAGESIZE
    try:
        return not any(cached_pages(descriptor, behind, mmap.PAGESIZE))
    except OSError:
        return False


def cached_pages(descriptor: int, offset: int, length: int) -> bytes:
    """Which pages of a file are in the page cache: a byte a page, 1 or 0. Reads nothing in.

    ``offset`` is that of a page. Raises OSError where the file cannot be mapped.
    """
    where = _mmap(None, length, _PROT_READ, _MAP_SHARED, descriptor, offset)
    if where == _MAP_FAILED:
        raise failure()
    pages = bytearray(-(-length // mmap.PAGESIZE))
    try:
        failed: int = libc.mincore(
            ctypes.c_void_p(where), ctypes.c_size_t(length), ctypes.c_void_p(address_of(pages))
        )
        if failed:
            raise failure()
    finally:
        libc.munmap(ctypes.c_void_p(where), ctypes.c_size_t(length))
    return bytes(page & 1 for page in pages)
