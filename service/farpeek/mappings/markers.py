"""Page-table entries that look swapped and are something else; include/linux/swapops.h.

Guard pages, poison (UFFDIO_POISON, MADV_HWPOISON) and write protection of memory that was never
touched are entries without a page. /proc/PID/pagemap calls them swapped, and shows what they are
only to CAP_SYS_ADMIN; without that it is known where this host has no swap at all.
"""

from __future__ import annotations

import os
from array import array
from enum import Enum
from itertools import groupby
from typing import TYPE_CHECKING, Final

from farpeek.kernel import uapi
from farpeek.model import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

# Of an entry of /proc/PID/pagemap; Documentation/admin-guide/mm/pagemap.rst.
_PRESENT: Final = 1 << 63
_SWAPPED: Final = 1 << 62
_GUARD: Final = 1 << 58  # since 6.15
_PROTECTED: Final = 1 << 57
_FRAME: Final = (1 << 55) - 1

# Kinds of swap entries, in five bits; include/linux/swap.h.
_KIND_BITS: Final = 5
_MARKER: Final = 31
_HWPOISON: Final = 23  # with CONFIG_DEVICE_PRIVATE and CONFIG_MIGRATION, as distributions have it
_MIGRATION: Final = (24, 25, 26)
"""Pages that are being moved; swap files have the kinds below. Since 6.15 the first is poison.

They are 28 to 30 without CONFIG_DEVICE_PRIVATE, with which those are a device's memory.
"""
_MARKER_PROTECTED: Final = 1
_MARKER_POISONED: Final = 2
_MARKER_GUARD: Final = 4

_MOST_ENTRIES: Final = 1 << 15  # of one pread: 256 KiB


class Entry(Enum):
    """What a page-table entry without a present page is."""

    PRESENT = "it has come meanwhile"
    SWAPPED = "swapped out, or nobody knows"
    REFUSED = "a guard or poison: no read ever gets through"
    UNTOUCHED = "nothing by now, or protected before it was touched"
    MOVING = "it may be about to come: there is no swap here"


def entries(proc: str, start: int, end: int) -> Iterator[tuple[int, int, Entry]]:
    """Split the pages of ``start .. end`` (at page edges) by what their entries are.

    Raises OSError as opening pagemap does.
    """
    swapless = uapi.swap_bytes() == 0
    pagemap = os.open(f"{proc}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for first in range(start, end, _MOST_ENTRIES * PAGE_SIZE):
            count = min(_MOST_ENTRIES, (end - first) // PAGE_SIZE)
            found = array("Q", os.pread(pagemap, 8 * count, first // PAGE_SIZE * 8))
            at = first
            for kind, group in groupby(found, lambda entry: _kind(entry, swapless=swapless)):
                upto = at + sum(1 for _ in group) * PAGE_SIZE
                yield at, upto, kind
                at = upto
    finally:
        os.close(pagemap)


def _kind(entry: int, *, swapless: bool) -> Entry:
    if entry & _PRESENT:
        return Entry.PRESENT
    if not entry & _SWAPPED:
        return Entry.UNTOUCHED
    if entry & _GUARD:
        return Entry.REFUSED
    frame = entry & _FRAME
    if frame:
        return _by_frame(frame, swapless=swapless)
    if not swapless:
        return Entry.SWAPPED
    return Entry.UNTOUCHED if entry & _PROTECTED else Entry.MOVING


def _by_frame(frame: int, *, swapless: bool) -> Entry:
    kind, offset = frame & ((1 << _KIND_BITS) - 1), frame >> _KIND_BITS
    if kind == _HWPOISON:
        return Entry.REFUSED
    if kind != _MARKER:
        return Entry.MOVING if swapless or kind in _MIGRATION else Entry.SWAPPED
    if offset & (_MARKER_POISONED | _MARKER_GUARD):
        return Entry.REFUSED
    return Entry.UNTOUCHED if offset & _MARKER_PROTECTED else Entry.SWAPPED
