"""Pages of other processes, where they are and how they come: linux/fs.h, move_pages(2)."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import struct
from array import array
from typing import Final, NamedTuple

from farpeek import machine
from farpeek.kernel.uapi.libc import SYS_PROCESS_MADVISE, failure, syscall

_PAGEMAP_SCAN: Final = 0xC0606610
PAGE_IS_WPALLOWED: Final = 1 << 0
PAGE_IS_FILE: Final = 1 << 2
PAGE_IS_PRESENT: Final = 1 << 3
PAGE_IS_SWAPPED: Final = 1 << 4
PAGE_IS_PFNZERO: Final = 1 << 5
PAGE_IS_HUGE: Final = 1 << 6
PAGE_IS_GUARD: Final = 1 << 8


class PageRun(NamedTuple):
    """Pages ``start .. end`` that have the same ``categories`` (PAGE_IS_* bits)."""

    start: int
    end: int
    categories: int


def pagemap_scan(  # noqa: PLR0913, PLR0917 - as many as the call has
    pagemap: int,
    start: int,
    end: int,
    any_of: int,
    returned: int,
    most: int = 512,
    most_pages: int = 0,
) -> tuple[list[PageRun], int]:
    """Ask an open /proc/PID/pagemap which pages of ``start .. end`` have a category of ``any_of``.

    With ``any_of`` 0 all pages do that are mapped; those that are not are in no run.
    Answers at most ``most`` runs with their ``returned`` categories, which are at most
    ``most_pages`` pages unless that is 0, and the address where the walk ended (``end`` if it got
    through). Raises OSError: ENOTTY before 6.7, EINVAL for a category that the kernel does not
    know.
    """
    masks = 0, 0, any_of, returned
    found, walk_end = _pagemap_scan(pagemap, (start, end), masks, most, most_pages)
    numbers = iter(found)
    # Half of the time that calls of the class would take.
    return list(map(PageRun._make, zip(numbers, numbers, numbers, strict=True))), walk_end


def pagemap_scan_without(
    pagemap: int, start: int, end: int, categories: int, most: int
) -> tuple[array[int], array[int], int]:
    """Do the same for pages that are mapped, and have none of ``categories``.

    Answers where runs of them begin, where they end, and where the walk did.
    """
    none_of = categories, categories, 0, categories
    found, walk_end = _pagemap_scan(pagemap, (start, end), none_of, most)
    return found[0::3], found[1::3], walk_end


def pagemap_scan_with(
    pagemap: int, start: int, end: int, categories: int, most: int
) -> tuple[array[int], array[int], int]:
    """Do the same for pages that have any of ``categories``."""
    found, walk_end = _pagemap_scan(pagemap, (start, end), (0, 0, categories, 0), most)
    return found[0::3], found[1::3], walk_end


def _pagemap_scan(
    pagemap: int,
    span: tuple[int, int],
    masks: tuple[int, int, int, int],
    most: int,
    most_pages: int = 0,
) -> tuple[array[int], int]:
    """``masks``: inverted, all of, any of, returned."""
    vector = array("Q", bytes(24 * most))
    place = vector.buffer_info()[0]
    argument = bytearray(struct.pack("=12Q", 96, 0, *span, 0, place, most, most_pages, *masks))
    found = fcntl.ioctl(pagemap, _PAGEMAP_SCAN, argument)
    (walk_end,) = struct.unpack_from("=Q", argument, 32)
    return vector[: 3 * found], walk_end


_MADV_WILLNEED: Final = 3
MADV_GUARD_INSTALL: Final = 102


def process_madvise_willneed(pidfd: int, iovecs: array[int], count: int) -> int:
    """Ask for ``count`` ranges of a process to be read in; bytes advised, or a negative errno.

    ``iovecs`` holds address and length of each, interleaved. EPERM without CAP_SYS_NICE
    (process_madvise(2)); it may wait for I/O itself where ranges are many.
    """
    advised: int = syscall(
        ctypes.c_long(SYS_PROCESS_MADVISE),
        ctypes.c_int(pidfd),
        ctypes.c_void_p(iovecs.buffer_info()[0]),
        ctypes.c_size_t(count),
        ctypes.c_int(_MADV_WILLNEED),
        ctypes.c_uint(0),
    )
    return advised if advised >= 0 else -ctypes.get_errno()


MOVE_PAGES_NUMBER: Final = {
    "x86_64": 279,
    "aarch64": 239,
    "riscv64": 239,
    "loongarch64": 239,
    "ppc64le": 301,
    "s390x": 310,
}.get(machine.NAME or "")
"""The number of move_pages, which libc has no function for; None where it is not known."""


def page_nodes(pid: int, addresses: array[int]) -> array[int]:
    """Ask on which NUMA node each page of a process is; moves nothing (move_pages(2), no nodes).

    A negative number is an errno: -ENOENT where no page is in the page table, -EFAULT for the zero
    page and where nothing is mapped. Raises OSError: EPERM, ESRCH, ENOSYS (no CONFIG_NUMA).
    """
    statuses = array("i", bytes(4 * len(addresses)))
    if MOVE_PAGES_NUMBER is None:
        raise OSError(errno.ENOSYS, "the number of move_pages is not known here")
    failed: int = syscall(
        ctypes.c_long(MOVE_PAGES_NUMBER),
        ctypes.c_int(pid),
        ctypes.c_ulong(len(addresses)),
        ctypes.c_void_p(addresses.buffer_info()[0]),
        ctypes.c_void_p(None),
        ctypes.c_void_p(statuses.buffer_info()[0]),
        ctypes.c_int(0),
    )
    if failed < 0:
        raise failure()
    return statuses
