"""Why a place in a process's memory cannot be read: one answer for reads of both modes.

EFAULT says nothing about why. The reason is looked up afterwards, so it describes the map as it is
then; where map and read disagree, the reason is ``unreadable``.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from farpeek.errors import refuse_if_out_of_files
from farpeek.kernel import uapi
from farpeek.mappings.files import MappedFiles
from farpeek.mappings.maps import cut
from farpeek.mappings.markers import Entry, entries
from farpeek.model import PAGE_SIZE, GapReason
from farpeek.regions import Hole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from farpeek.kernel.uapi import FileStatus
    from farpeek.mappings.mapping import Mapping
    from farpeek.mappings.maps import AddressMap

DEV_ZERO: Final = (1, 5)  # Documentation/admin-guide/devices.txt
_DRIVERS: Final = (b"anon_inode:", b"socket:", b"/dmabuf:")
"""How names of files begin that are nothing but a driver's memory."""


class Refusals:
    """What no read of one process ever gets, however long it waits. One object for one look."""

    def __init__(self, proc: str, files: MappedFiles) -> None:
        self._proc = proc
        self._files = files

    def of(
        self, mapping: Mapping | None, start: int, end: int
    ) -> Iterator[tuple[int, int, GapReason | None]]:
        """Split ``start .. end``, all in ``mapping`` or in none, by why it is refused; else None.

        Guards and poison are entries of single pages, and told by ``entries``.
        """
        if mapping is None:
            yield start, end, GapReason.UNMAPPED
            return
        if not mapping.readable:
            yield start, end, GapReason.NO_ACCESS
            return
        if not mapping.inode:
            yield start, end, None
            return
        status = self._files.look_at(mapping)
        if status is None or not stat.S_ISREG(status.mode):
            refused = self._is_refused(mapping, status, start)
            yield start, end, GapReason.NO_ACCESS if refused else None
            return
        file_end = mapping.end_of_file(status.size)
        if start < file_end:
            yield start, min(end, file_end), None
        if file_end < end:
            yield max(start, file_end), end, GapReason.BEYOND_FILE

    def _is_refused(self, mapping: Mapping, status: FileStatus | None, address: int) -> bool:
        """Whether a mapping is a device's memory, of which get_user_pages gives none (VM_PFNMAP).

        PAGEMAP_SCAN leaves those out as if they were not mapped, in Linux 6.7 and later.
        """
        if status is not None and status.rdev == DEV_ZERO and not mapping.shared:
            return False
        page = address - address % PAGE_SIZE
        try:
            pagemap = os.open(f"{self._proc}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            refuse_if_out_of_files(error)
            return is_drivers(mapping, status)
        try:
            runs, _ = uapi.pagemap_scan(pagemap, page, page + PAGE_SIZE, 0, uapi.PAGE_IS_PRESENT, 1)
        except OSError:
            return is_drivers(mapping, status)
        finally:
            os.close(pagemap)
        return not runs


def is_drivers(mapping: Mapping, status: FileStatus | None) -> bool:
    """Whether a driver, and no filesystem, provides the pages of ``mapping``."""
    return mapping.path.startswith(_DRIVERS) or (
        status is not None and not stat.S_ISREG(status.mode)
    )


class GapClassifier:
    """Finds out why places could not be read."""

    def __init__(
        self,
        open_map: Callable[[str], AbstractContextManager[AddressMap]],
        *,
        otherwise: GapReason = GapReason.UNREADABLE,
    ) -> None:
        """``otherwise`` is the reason of places that the map says can be read."""
        self._open_map = open_map
        self._otherwise = otherwise

    def classify(self, proc: str, places: Sequence[tuple[int, int]]) -> list[Hole]:
        """Split ``places`` (start, end; in order, disjoint) by the reason why they failed."""
        files = MappedFiles(proc)
        refusals = Refusals(proc, files)
        try:
            with self._open_map(proc) as address_map:
                return [
                    hole
                    for start, end, mapping in cut(address_map, places)
                    for hole in self._classify_one(proc, files, refusals, mapping, start, end)
                ]
        except OSError as error:
            refuse_if_out_of_files(error)
            # The process is gone, or changed its credentials meanwhile: the caller's check of the
            # pidfd, or the next read, tells which.
            return [Hole(start, end, GapReason.UNREADABLE) for start, end in places]

    def _classify_one(
        self,
        proc: str,
        files: MappedFiles,
        refusals: Refusals,
        mapping: Mapping | None,
        start: int,
        end: int,
    ) -> Iterator[Hole]:
        for first, last, reason in refusals.of(mapping, start, end):
            if reason is not None or mapping is None:
                yield Hole(first, last, reason or GapReason.UNMAPPED)
            elif mapping.inode and is_drivers(mapping, files.look_at(mapping)):
                yield Hole(first, last, GapReason.NO_ACCESS)  # and a page fault did not help
            else:
                yield from self._by_entries(proc, first, last)

    def _by_entries(self, proc: str, start: int, end: int) -> Iterator[Hole]:
        """Tell guard pages and poison, which the map does not show, from the rest."""
        at = start
        with suppress(OSError):  # pagemap may not be seen
            first = start - start % PAGE_SIZE
            for page, upto, entry in entries(proc, first, -(-end // PAGE_SIZE) * PAGE_SIZE):
                # Where there is no swap, what looks swapped and was refused is poison.
                if entry in (Entry.REFUSED, Entry.MOVING):
                    if at < page:
                        yield Hole(at, page, self._otherwise)
                    at = min(end, upto)
                    yield Hole(max(start, page), at, GapReason.NO_ACCESS)
        if at < end:
            yield Hole(at, end, self._otherwise)
