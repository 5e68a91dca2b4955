"""Pages that are not in the page table: which of them may be read without waiting for anything.

What a page fault would do depends on the mapping:

- anonymous memory that was never touched needs no I/O, unless a userfaultfd handler has to provide
  it. Large stretches of it are zeros without a read, which would make page tables;
- huge pages that were never touched are zeros, since a read would take one from the pool;
- a page of a file on a local filesystem, or of shared memory, needs none if it is in the page
  cache;
- anything else (FUSE, NFS) could wait for a server without bound: it counts as not resident, and
  its file is not even looked at.
"""

from __future__ import annotations

import errno
import os
from bisect import bisect_right
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from farpeek import regions
from farpeek.access import tables
from farpeek.kernel import gates
from farpeek.kernel.uapi import PAGE_IS_GUARD, PAGE_IS_SWAPPED, PageRun
from farpeek.mappings.cache import CachedFile
from farpeek.mappings.files import MappedFiles
from farpeek.mappings.flags import vm_flags
from farpeek.mappings.gaps import DEV_ZERO, Refusals
from farpeek.mappings.maps import cut
from farpeek.mappings.markers import Entry, entries
from farpeek.model import PAGE_SIZE, GapReason
from farpeek.regions import Runs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from farpeek.access.fault_handlers import FaultHandlers
    from farpeek.access.process_ref import ProcessRef
    from farpeek.mappings.mapping import Mapping
    from farpeek.mappings.maps import AddressMap
    from farpeek.mappings.residency import Residency

_START: Final = attrgetter("start")
_END: Final = itemgetter(1)
_PLAIN_NAMES = (b"[heap]", b"[stack", b"[anon")  # named, and anonymous all the same


class Unread(NamedTuple):
    """Addresses ``start .. end`` that the system call is not asked for.

    ``reason`` is None where they are zeros without that.
    """

    start: int
    end: int
    reason: GapReason | None


class AbsentPages:
    """Sorts places that have no present page. One object for one read of one process."""

    def __init__(
        self,
        ref: ProcessRef,
        open_map: Callable[[str], AbstractContextManager[AddressMap]],
        residency: Residency,
        handlers: FaultHandlers,
        *,
        most_tables: int,
    ) -> None:
        """``handlers``: what is known of them already.

        ``most_tables``: pages of page table that the read may make.
        """
        self._proc = ref.proc
        self._pid = ref.process.pid
        self._open_map = open_map
        self._residency = residency
        self._handlers = handlers
        self._most_tables = most_tables
        self._behind = MappedFiles(ref.proc)
        self._refusals = Refusals(ref.proc, self._behind)
        self._files: dict[tuple[tuple[int, int], int], CachedFile | None] = {}
        self._unread: list[Unread] = []
        self._touched: list[Unread] = []  # pages, to ask about a handler
        self._blank: list[tuple[int, int]] = []  # anonymous, and nobody has touched it

    def sort(self, places: Sequence[PageRun]) -> list[Unread]:
        """Find out which of ``places`` are not to be read: disjoint and sorted, as those are.

        Raises AccessDenied; OSError once the process is gone.
        """
        self._sort(places)
        if tables.count(self._blank) > self._most_tables:
            for start, end in tables.zeros_without(self._blank, self._look):
                self._leave(start, end, None)
            self._unread.sort(key=_START)
        return self._unread

    def sort_all(self, places: Sequence[PageRun]) -> tuple[list[Unread], list[tuple[int, int]]]:
        """Do the same, but whatever nobody has touched is zeros, down to a page.

        Have them looked at again behind the read: ``are_zeros``. Answers, too, what would be among
        them if the question about a handler had not touched it: that has to read as zeros.
        """
        self._sort(places)
        touched = self._take_touched()
        self._unread += [Unread(start, end, None) for start, end in self._blank]
        self._unread.sort(key=_START)
        return self._unread, touched

    def _take_touched(self) -> list[tuple[int, int]]:
        """Take pages that were touched out of what is blank."""
        taken: list[tuple[int, int]] = []
        for page in self._touched:
            number = bisect_right(self._blank, page.start, key=_END)
            around = self._blank[number : number + 1]
            for _, start, end, other in regions.parts(Runs.of(around), [page]):
                if other is not None:
                    taken.append((start, end))
                    self._blank[number : number + 1] = regions.without(around, [page])
        return taken

    def are_zeros(self, runs: Runs) -> bool:
        """Whether all of ``runs``, which have no page, are zeros, as far as can be seen.

        Raises what `sort` does.
        """
        if self._is_one_plain_mapping(runs):
            return True
        self._sort([PageRun(start, end, 0) for start, end in runs.places()])
        zeros = [(each.start, each.end) for each in self._unread if each.reason is None]
        found = sum(end - start for start, end in (*self._blank, *zeros))
        return found == sum(runs.lengths)

    def _is_one_plain_mapping(self, runs: Runs) -> bool:
        """Whether one mapping that no handler has to be asked about has all of them."""
        start, end = runs.starts[0], runs.starts[-1] + runs.lengths[-1]
        with self._open_map(self._proc) as address_map:
            mapping = address_map.at_or_above(start)
        if mapping is None or not _is_plain(mapping) or start < mapping.start:
            return False
        return end <= min(mapping.end, self._handlers.none_up_to(mapping))

    def _sort(self, places: Sequence[PageRun]) -> None:
        try:
            with self._open_map(self._proc) as address_map:
                plain: Mapping | None = None
                settled = 0  # up to where what is missing in `plain` is zeros
                for place in places:
                    if place.end <= settled and not place.categories:
                        self._blank.append((place.start, place.end))
                        continue
                    if plain is not None and _is_missing_in(plain, place):
                        self._sort_anonymous(plain, place.start, place.end)
                    else:
                        for start, end, mapping in cut(address_map, [(place.start, place.end)]):
                            self._sort_one(mapping, PageRun(start, end, place.categories))
                            plain = mapping if mapping is not None and _is_plain(mapping) else None
                    settled = 0 if plain is None else self._handlers.none_up_to(plain)
        finally:
            for file in self._files.values():
                if file is not None:
                    file.close()

    def _sort_one(self, mapping: Mapping | None, place: PageRun) -> None:
        for start, end, reason in self._refusals.of(mapping, place.start, place.end):
            if reason is not None or mapping is None:
                self._leave(start, end, reason or GapReason.UNMAPPED)
            elif place.categories & PAGE_IS_GUARD:
                self._leave(start, end, GapReason.NO_ACCESS)
            elif place.categories & PAGE_IS_SWAPPED:
                self._sort_swapped(mapping, start, end)
            else:
                self._sort_missing(mapping, start, end)

    def _sort_missing(self, mapping: Mapping, start: int, end: int) -> None:
        if mapping.inode:
            self._sort_file(mapping, start, end)
        elif _is_plain(mapping):
            self._sort_anonymous(mapping, start, end)
        # else it is [vdso] or its like, and read

    def _sort_swapped(self, mapping: Mapping, start: int, end: int) -> None:
        """Tell what is swapped out from entries that only look like it."""
        first, last = start - start % PAGE_SIZE, -(-end // PAGE_SIZE) * PAGE_SIZE
        try:
            found = list(entries(self._proc, first, last))
        except PermissionError:
            self._leave(start, end, GapReason.NOT_RESIDENT)
            return
        for page, upto, entry in found:
            at, until = max(start, page), min(end, upto)
            if entry is Entry.REFUSED:
                self._leave(at, until, GapReason.NO_ACCESS)
            elif entry is Entry.UNTOUCHED:
                self._sort_missing(mapping, at, until)
            elif entry is Entry.MOVING and not self._may_wait(mapping):
                self._sort_moving(at, until)
            elif entry is not Entry.PRESENT:
                self._leave(at, until, GapReason.NOT_RESIDENT)

    def _may_wait(self, mapping: Mapping) -> bool:
        """Whether reading a page could ask somebody: a file's server, or a handler."""
        return bool(mapping.inode) and not self._behind.is_local(mapping.device)

    def _sort_moving(self, start: int, end: int) -> None:
        """Tell poison, at which a read fails at once, from pages that are being moved."""
        for page in range(start - start % PAGE_SIZE, end, PAGE_SIZE):
            if self._fails_with_eio(page):
                self._leave(max(start, page), min(end, page + PAGE_SIZE), GapReason.NO_ACCESS)

    def _sort_anonymous(self, mapping: Mapping, start: int, end: int) -> None:
        if self._is_handled(mapping, start):
            self._leave(start, end, GapReason.NOT_RESIDENT)
        else:
            self._blank.append((start, end))

    def _is_handled(self, mapping: Mapping, address: int) -> bool:
        """Whether missing pages of this mapping wait for a userfaultfd handler.

        /proc/PID/mem does not wait for it, but fails with EIO at once. Only ever asked of memory
        that no server stands behind: on FUSE the same read hangs, and no signal ends it.
        """
        return self._handlers.have(mapping, address, self._fails_with_eio)

    def _fails_with_eio(self, address: int) -> bool:
        try:
            memory = os.open(f"{self._proc}/mem", os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError:  # it takes the owner, or CAP_DAC_READ_SEARCH
            return self._is_registered(address)
        page = address - address % PAGE_SIZE
        self._touched.append(Unread(page, page + PAGE_SIZE, None))
        try:
            os.pread(memory, 1, address)
        except OSError as error:
            if error.errno == errno.EIO:
                return True
            raise
        finally:
            os.close(memory)
        return False

    def _sort_file(self, mapping: Mapping, start: int, end: int) -> None:
        """Sort pages within a file, or of a device that read(2) of memory can get at."""
        file = self._file(mapping)
        if file is not None:
            self._sort_content(file, mapping, start, end)
            return
        status = self._behind.look_at(mapping)
        if status is not None and status.rdev == DEV_ZERO and not mapping.shared:
            self._sort_anonymous(mapping, start, end)
        else:  # it may not be touched
            self._leave(start, end, GapReason.NOT_RESIDENT)

    def _sort_content(self, file: CachedFile, mapping: Mapping, start: int, end: int) -> None:
        """Leave out what is not in the page cache of a file, or needs no page there."""
        if file.in_huge_pages:
            self._sort_huge(file, mapping, start, end)
            return
        to_address = mapping.start - mapping.offset
        missing = [
            Unread(
                each.start + to_address,
                each.end + to_address,
                None if each.hole else GapReason.NOT_RESIDENT,
            )
            for each in file.missing(start - to_address, end - to_address)
        ]
        if file.in_memory and self._waits_for_handler(mapping, start, end, missing):
            missing = [Unread(start, end, GapReason.NOT_RESIDENT)]
        self._unread += missing

    def _waits_for_handler(
        self, mapping: Mapping, start: int, end: int, missing: Sequence[Unread]
    ) -> bool:
        """Whether a handler has shared memory; not asked of what would have to be read in."""
        at = start
        for each in missing:
            if each.start > at or each.reason is None:
                break
            at = each.end
        return at < end and self._is_handled(mapping, at)

    def _sort_huge(self, file: CachedFile, mapping: Mapping, start: int, end: int) -> None:
        """Leave out huge pages that nobody has written to: read(2) of the file takes none.

        The question that other memory is asked about its handlers would take one, too.
        """
        if self._handlers.have(mapping, start, self._is_registered):
            self._leave(start, end, GapReason.NOT_RESIDENT)
            return
        to_address = mapping.start - mapping.offset
        for hole in file.zeros(start - to_address, end - to_address):
            self._leave(hole.start + to_address, hole.end + to_address, None)

    def _is_registered(self, address: int) -> bool:
        """Whether a userfaultfd handler has the mapping (um: missing, ui: minor)."""
        try:
            return not vm_flags(self._proc, address).isdisjoint((b"um", b"ui"))
        except PermissionError as error:
            raise gates.find(self._pid) from error

    def _file(self, mapping: Mapping) -> CachedFile | None:
        key = mapping.device, mapping.inode
        if key not in self._files:
            descriptor = self._behind.open(mapping)
            kind = self._behind.filesystem(mapping.device)
            self._files[key] = None if descriptor is None else CachedFile(descriptor, kind)
        return self._files[key]

    def _look(self, places: Sequence[tuple[int, int]], most_runs: int) -> Sequence[PageRun]:
        return self._residency.look(self._proc, places, most_runs)

    def _leave(self, start: int, end: int, reason: GapReason | None) -> None:
        self._unread.append(Unread(start, end, reason))


def _is_plain(mapping: Mapping) -> bool:
    """Whether it is anonymous memory that may be read."""
    if mapping.inode or not mapping.readable:
        return False
    return not mapping.path.startswith(b"[") or mapping.path.startswith(_PLAIN_NAMES)


def _is_missing_in(mapping: Mapping, place: PageRun) -> bool:
    """Whether ``place`` has never been touched, and lies in ``mapping``."""
    return not place.categories and mapping.start <= place.start and place.end <= mapping.end
