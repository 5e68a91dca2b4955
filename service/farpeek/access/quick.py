"""The most frequent read: a few bytes that are there, of a program that is known.

It is done by two system calls, one for the bytes and one for a *witness* behind them: bytes that
only this program has. Those are its memory's as long as it has any, so they say the same as the
one-byte read of ``ProcessRef.verify``. One call for both would not: it takes hold of the memory at
its beginning, so that it reads on where the process is killed meanwhile, and what it waited for
(of userfaultfd, say) comes as zeros. Anything that is not as it mostly is ends it without a result;
the long way finds out then what it was.

What a plan wants is more, and often all of it is there: then that is read in the same way.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from array import array
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

from farpeek import addressing
from farpeek.kernel import uapi
from farpeek.kernel.pidfd import has_exited
from farpeek.model import PAGE_SIZE, ReadResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farpeek.access.process_ref import ProcessRef
    from farpeek.access.witness import Witness
    from farpeek.model import Backend, ReadSpec

MOST_REGIONS: Final = 8
MOST_BYTES: Final = 16 << 10

MOST_THERE: Final = 128
MOST_BYTES_THERE: Final = MOST_THERE * PAGE_SIZE
"""Regions and bytes of a read of what is there; for more, pages are asked about all together."""

_MOST_WITNESS: Final = 16

_KEPT: Final = 256
"""Of the last such reads it is known how their pages are looked at."""

_NEAR: Final = 64
"""Pages so close are asked about by one call, and those between them too: 10 ns for each."""

PAIR: Final = 16  # bytes of an iovec: address and length
_ENTRY: Final = 8  # bytes of pagemap for each page
_HIGHEST: Final = 7 if sys.byteorder == "little" else 0  # byte of an entry
_PRESENT: Final = 0x80  # in that byte; Documentation/admin-guide/mm/pagemap.rst


class _Room(threading.local):
    """Where a thread has such reads put, and iovecs: made once, for that takes as long as a read.

    The iovecs are one for the bytes and one for the witness, here; one for the witness and some for
    the bytes, there.
    """

    def __init__(self) -> None:
        content = bytearray(MOST_BYTES + _MOST_WITNESS)
        iovecs = array("Q", bytes(PAIR * (3 + MOST_REGIONS)))
        local = iovecs.buffer_info()[0]
        bytes_here, witness_here, witness_there, bytes_there = (
            uapi.Argument(local + number * PAIR) for number in range(4)
        )
        place = uapi.address_of(content)
        self.memory = content, iovecs, place
        self.calls = bytes_here, bytes_there, witness_here, witness_there


_room: Final = _Room()


def read(ref: ProcessRef, spec: ReadSpec, witness: Witness, backend: Backend) -> ReadResult | None:
    """Read at most `MOST_REGIONS`; None where that did not give all of it.

    Of what this takes, calls of Python's are most: hence few, and the system calls at first hand.
    """
    regions = spec.regions
    addresses, lengths = addressing.HERE.all_untagged(regions.addresses), regions.lengths
    pagemap, random = witness.pagemap, witness.random
    size = sum(lengths)
    if pagemap is None or random is None or not 0 < size <= MOST_BYTES:
        return None
    began_ns = time.monotonic_ns()
    address, expected = random
    content, iovecs, place = _room.memory
    bytes_here, bytes_there, witness_here, witness_there = _room.calls
    iovecs[0], iovecs[1] = place, size
    iovecs[2], iovecs[3] = place + size, len(expected)
    iovecs[4], iovecs[5] = address, len(expected)
    who, flags = ref.call
    readv, few, all_flags = uapi.try_process_vm_readv, uapi.SMALL, uapi.SMALL[flags]
    iovecs[6], iovecs[7] = addresses[0], lengths[0]
    for number in range(1, len(addresses)):
        iovecs[6 + 2 * number], iovecs[7 + 2 * number] = addresses[number], lengths[number]
    if (
        readv(who, bytes_here, few[1], bytes_there, few[len(addresses)], all_flags) == size
        # Whoever does not wait for pages does not wait for the witness's.
        and _is_present(pagemap, address, len(expected))
        and readv(who, witness_here, few[1], witness_there, few[1], all_flags) == len(expected)
        and content.startswith(expected, size)
        and not has_exited(ref.process.pidfd)
    ):
        return ReadResult(content[:size], size, size, (), backend, began_ns=began_ns)
    return None


def read_there(
    ref: ProcessRef, spec: ReadSpec, witness: Witness, backend: Backend
) -> ReadResult | None:
    """Read at most `MOST_THERE` regions of which all pages are in the page table; else None.

    27 pages take 70 us, and 270 by the long way.
    """
    regions = spec.regions
    pagemap, random = witness.pagemap, witness.random
    if pagemap is None or random is None:
        return None
    addresses = addressing.HERE.all_untagged(regions.addresses)
    laid_out = _lay_out(tuple(addresses), tuple(regions.lengths))
    if laid_out is None:
        return None
    size, asked, told, shown, there = laid_out
    given = b"".join([os.pread(pagemap, *each) for each in asked])
    if len(given) != told or min(map(given.__getitem__, shown)) < _PRESENT:
        return None
    began_ns = time.monotonic_ns()
    address, expected = random
    content = bytearray(size + len(expected))
    place = uapi.address_of(content)
    iovecs = array("Q", (place, size, place + size, len(expected), address, len(expected)))
    iovecs.frombytes(there)
    local = iovecs.buffer_info()[0]
    bytes_here, witness_here, witness_there, bytes_there = (
        uapi.Argument(local + number * PAIR) for number in range(4)
    )
    who, flags = ref.call
    readv, one, all_flags = uapi.try_process_vm_readv, uapi.SMALL[1], uapi.SMALL[flags]
    count = uapi.Argument(len(addresses))
    if (
        readv(who, bytes_here, one, bytes_there, count, all_flags) == size
        and _is_present(pagemap, address, len(expected))
        and readv(who, witness_here, one, witness_there, one, all_flags) == len(expected)
        and content.endswith(expected)
        and not has_exited(ref.process.pidfd)
    ):
        del content[size:]
        return ReadResult(content, size, size, (), backend, began_ns)
    return None


class _LaidOut(NamedTuple):
    """Regions, and what is asked of the page table about them."""

    size: int
    asked: Sequence[tuple[int, int]]
    """Bytes and offset of each pread(2)."""
    told: int
    """Bytes of all those."""
    shown: Sequence[int]
    """Which of them have the flag of a page that is wanted."""
    there: bytes
    """The iovecs."""


@lru_cache(maxsize=_KEPT)
def _lay_out(addresses: tuple[int, ...], lengths: tuple[int, ...]) -> _LaidOut | None:
    """Find out how to look at the pages of some regions; None for nothing, or too much.

    Plans that are done again and again ask for the same regions each time.
    """
    size = sum(lengths)
    if not 0 < size <= MOST_BYTES_THERE or len(addresses) > MOST_THERE:
        return None
    regions = zip(addresses, lengths, strict=True)
    pages = {
        page
        for address, length in regions
        if length
        for page in range(address // PAGE_SIZE, (address + length - 1) // PAGE_SIZE + 1)
    }
    asked: list[tuple[int, int]] = []
    shown: list[int] = []
    first = last = at = 0  # pages that are asked about by one call, and where that one's bytes are
    for page in sorted(pages):
        if shown and page - last <= _NEAR:
            asked[-1] = (page - first + 1) * _ENTRY, first * _ENTRY
        else:
            at = sum(length for length, _ in asked)
            first = page
            asked.append((_ENTRY, first * _ENTRY))
        last = page
        shown.append(at + (page - first) * _ENTRY + _HIGHEST)
    there = array("Q", chain.from_iterable(zip(addresses, lengths, strict=True))).tobytes()
    return _LaidOut(size, asked, sum(length for length, _ in asked), shown, there)


def are_present(spec: ReadSpec, witness: Witness) -> bool:
    """Whether all pages of it are in the page table; False if the program has gone."""
    pagemap = witness.pagemap
    if pagemap is None:
        return False
    addresses = addressing.HERE.all_untagged(spec.regions.addresses)
    for address, length in zip(addresses, spec.regions.lengths, strict=True):
        if length > MOST_BYTES or (length and not _is_present(pagemap, address, length)):
            return False
    return True


def entries(pagemap: int, address: int, length: int) -> tuple[int, int, int]:
    """Give the arguments of pread(2) for what the page table has of some bytes."""
    first = address // PAGE_SIZE
    return pagemap, ((address + length - 1) // PAGE_SIZE - first + 1) * _ENTRY, first * _ENTRY


def are_all_present(entries: bytes, size: int) -> bool:
    """Whether ``entries`` are as many bytes as were asked for, and all say that a page is there."""
    if len(entries) == _ENTRY:
        return size == _ENTRY and entries[_HIGHEST] >= _PRESENT
    return len(entries) == size and min(entries[_HIGHEST::_ENTRY], default=_PRESENT) >= _PRESENT


def _is_present(pagemap: int, address: int, length: int) -> bool:
    asked = entries(pagemap, address, length)
    return are_all_present(os.pread(*asked), asked[1])
