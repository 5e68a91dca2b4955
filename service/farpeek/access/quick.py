"""The most frequent read: a few bytes that are there, of a program that is known.

It is done by two system calls, one for the bytes and one for a *witness* behind them: bytes that
only this program has. Those are its memory's as long as it has any, so they say the same as the
one-byte read of ``ProcessRef.verify``. Anything that is not as it mostly is ends it without a
result; the long way finds out then what it was.
"""

from __future__ import annotations

import os
import sys
import time
from array import array
from typing import TYPE_CHECKING, Final

from farpeek.addressing import all_untagged
from farpeek.kernel import uapi
from farpeek.kernel.pidfd import has_exited
from farpeek.model import PAGE_SIZE, ReadResult

if TYPE_CHECKING:
    from farpeek.access.process_ref import ProcessRef
    from farpeek.access.seam import Witness
    from farpeek.model import Backend, ReadSpec

_MOST_REGIONS: Final = 8
_MOST_BYTES: Final = 16 << 10

_ENTRY: Final = 8  # bytes of pagemap for each page
_HIGHEST: Final = 7 if sys.byteorder == "little" else 0  # byte of an entry
_PRESENT: Final = 0x80  # in that byte; Documentation/admin-guide/mm/pagemap.rst


def read(ref: ProcessRef, spec: ReadSpec, witness: Witness, backend: Backend) -> ReadResult | None:
    """Read what `is_simple`; None where that did not give all of it."""
    addresses, lengths = all_untagged(spec.regions.addresses), spec.regions.lengths
    pagemap, random = witness.pagemap, witness.random
    size = sum(lengths)
    if pagemap is None or random is None or not 0 < size <= _MOST_BYTES:
        return None
    began_ns = time.monotonic_ns()
    address, expected = random
    content = bytearray(size + len(expected))
    place = uapi.address_of(content)
    iovecs = array("Q", (place, size, place + size, len(expected), address, len(expected)))
    for pair in zip(addresses, lengths, strict=True):
        iovecs.extend(pair)
    local = iovecs.buffer_info()[0]
    if (
        ref.readv(local, local + 48, len(addresses)) == size
        # Whoever does not wait for pages does not wait for the witness's.
        and _is_present(pagemap, address, len(expected))
        and ref.readv(local + 16, local + 32, 1) == len(expected)
        and content.endswith(expected)
        and not has_exited(ref.process.pidfd)
    ):
        del content[size:]
        return ReadResult(content, size, size, (), backend, began_ns=began_ns)
    return None


def is_simple(spec: ReadSpec) -> bool:
    """Whether it is worth a try."""
    return not spec.stable and len(spec.regions.addresses) <= _MOST_REGIONS


def are_present(spec: ReadSpec, witness: Witness) -> bool:
    """Whether all pages of it are in the page table; False if the program has gone."""
    pagemap = witness.pagemap
    if pagemap is None:
        return False
    addresses = all_untagged(spec.regions.addresses)
    for address, length in zip(addresses, spec.regions.lengths, strict=True):
        if length > _MOST_BYTES or (length and not _is_present(pagemap, address, length)):
            return False
    return True


def _is_present(pagemap: int, address: int, length: int) -> bool:
    first = address // PAGE_SIZE
    size = ((address + length - 1) // PAGE_SIZE - first + 1) * _ENTRY
    entries = os.pread(pagemap, size, first * _ENTRY)
    if len(entries) == _ENTRY:
        return size == _ENTRY and entries[_HIGHEST] >= _PRESENT
    return len(entries) == size and min(entries[_HIGHEST::_ENTRY]) >= _PRESENT
