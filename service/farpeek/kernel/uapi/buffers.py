"""Memory of our own: where it is, what it has, and what malloc keeps of it."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Final

from farpeek.kernel.uapi.libc import libc

if TYPE_CHECKING:
    import mmap


def address_of(buffer: bytearray | memoryview | mmap.mmap) -> int:
    """Where the bytes of ``buffer`` are; true for as long as it lives and is not resized."""
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer)) if buffer else 0


def bytes_at(address: int, size: int) -> bytes:
    """Copy bytes of our own memory; for iovecs."""
    return ctypes.string_at(address, size)


_memmem = libc.memmem
_memmem.restype = ctypes.c_void_p
_memmem.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]


def memmem(place: int, start: int, end: int, wanted: bytes) -> int:
    """Call memmem(3): where ``wanted`` begins in bytes ``start .. end`` at ``place``; -1: nowhere.

    The GIL is released meanwhile; time is linear in the bytes.
    """
    found: int | None = _memmem(place + start, end - start, wanted, len(wanted))
    return -1 if found is None else found - place


def lock_in_memory(buffer: mmap.mmap) -> bool:
    """Keep ``buffer`` from ever being swapped out (mlock(2)); False if that is not allowed."""
    return not libc.mlock(ctypes.c_void_p(address_of(buffer)), ctypes.c_size_t(len(buffer)))


_M_ARENA_MAX: Final = -8  # malloc.h
_mallopt = getattr(libc, "mallopt", None)
_malloc_trim = getattr(libc, "malloc_trim", None)  # glibc has it, musl has not


def share_one_heap() -> None:
    """Have all threads that come take memory from one heap; mallopt(3).

    Of the heaps of threads malloc_trim(3) leaves the end, where large blocks are.
    """
    if _mallopt is not None:
        _mallopt(_M_ARENA_MAX, 1)


def trim_heap() -> None:
    """Give what malloc keeps for later back to the kernel; malloc_trim(3)."""
    if _malloc_trim is not None:
        _malloc_trim(0)
