"""Pages that are not in the page table: what they would read as, found out without any I/O.

What a page fault would do depends on the mapping:

- anonymous memory that was never touched reads as zeros, unless a userfaultfd handler has to
  provide it;
- a page of a file on a local filesystem, or of shared memory, may be in the page cache, and is
  taken from there without touching the target's page table;
- anything else (FUSE, NFS) could wait for a server without bound: it counts as not resident, and
  its file is not even looked at.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from farpeek.kernel import gates
from farpeek.kernel.uapi import PAGE_IS_GUARD, PAGE_IS_SWAPPED, PageRun
from farpeek.mappings import files
from farpeek.mappings.cache import CachedFile
from farpeek.mappings.maps import cut
from farpeek.model import ADDRESS_LIMIT, GapReason
from farpeek.regions import Hole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from farpeek.access.process_ref import ProcessRef
    from farpeek.mappings.mapping import Mapping
    from farpeek.mappings.maps import AddressMap

_PLAIN_NAMES = (b"[heap]", b"[stack", b"[anon")  # named, and anonymous all the same

_MOST_KNOWN = 1024  # mappings; those of one piece of a long read are a quarter of that at most


class FaultHandlers:
    """Whether missing pages wait for a userfaultfd handler; asked in the order of the addresses.

    The question costs the process up to a page of page table, and a handler has whole mappings. So
    it is put once to a mapping, and again ``every`` so many bytes further on in it: a long read may
    last until a handler comes.
    """

    def __init__(self, every: int = ADDRESS_LIMIT) -> None:
        self._every = every
        # by the bounds of a mapping: where it was asked about, and what came of it
        self._known: dict[tuple[int, int], tuple[int, bool]] = {}

    def have(self, mapping: Mapping, address: int, ask: Callable[[int], bool]) -> bool:
        """Whether they have ``mapping``; ``ask`` finds out about the missing page at an address."""
        bounds = mapping.start, mapping.end
        known = self._known.get(bounds)
        if known is None or address - known[0] >= self._every:
            known = self._known[bounds] = address, ask(address)
            if len(self._known) > _MOST_KNOWN:
                del self._known[next(iter(self._known))]
        return known[1]


@dataclass(slots=True)
class Findings:
    """What became of places that were not present, each list in the order of the addresses.

    What is in no list reads as zeros, and so does a hole that lies within content.
    """

    holes: list[Hole] = field(default_factory=list[Hole])
    # where a fault needs no I/O
    readable: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    # addresses, and the bytes there
    content: list[tuple[int, memoryview]] = field(default_factory=list[tuple[int, memoryview]])


class AbsentPages:
    """Sorts places that have no present page. One object for one read of one process."""

    def __init__(
        self,
        ref: ProcessRef,
        open_map: Callable[[str], AbstractContextManager[AddressMap]],
        handlers: FaultHandlers | None = None,
    ) -> None:
        """``handlers``: what is known of them already."""
        self._proc = ref.proc
        self._pid = ref.process.pid
        self._open_map = open_map
        self._files: dict[tuple[tuple[int, int], int], CachedFile | None] = {}
        self._handlers = handlers or FaultHandlers()
        self.findings = Findings()

    def sort(self, places: Sequence[PageRun]) -> Findings:
        """Find out about ``places``. Raises AccessDenied; OSError once the process is gone."""
        try:
            with self._open_map(self._proc) as address_map:
                for place in places:
                    span = (place.start, place.end)
                    for start, end, mapping in cut(address_map, [span]):
                        self._sort_one(mapping, PageRun(start, end, place.categories))
        finally:
            for file in self._files.values():
                if file is not None:
                    file.close()
        return self.findings

    def _sort_one(self, mapping: Mapping | None, place: PageRun) -> None:
        if mapping is None:
            self._hole(place.start, place.end, GapReason.UNMAPPED)
        elif not mapping.readable or place.categories & PAGE_IS_GUARD:
            self._hole(place.start, place.end, GapReason.NO_ACCESS)
        elif place.categories & PAGE_IS_SWAPPED:
            self._hole(place.start, place.end, GapReason.NOT_RESIDENT)
        elif mapping.inode:
            self._sort_file(mapping, place.start, place.end)
        elif mapping.path.startswith(b"[") and not mapping.path.startswith(_PLAIN_NAMES):
            self.findings.readable.append((place.start, place.end))  # [vdso] and its like
        elif self._is_handled(mapping, place.start):
            self._hole(place.start, place.end, GapReason.NOT_RESIDENT)

    def _is_handled(self, mapping: Mapping, address: int) -> bool:
        """Whether missing pages of this mapping wait for a userfaultfd handler.

        /proc/PID/mem does not wait for it, but fails with EIO at once. Only ever asked of memory
        that no server stands behind: on FUSE the same read hangs, and no signal ends it.
        """
        return self._handlers.have(mapping, address, self._fails_with_eio)

    def _fails_with_eio(self, address: int) -> bool:
        try:
            memory = os.open(f"{self._proc}/mem", os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError as error:
            raise gates.find(self._pid) from error
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
        file = self._file(mapping)
        status = None if file else files.look_at(self._proc, mapping)
        if status is not None and not stat.S_ISREG(status.st_mode):
            self._hole(start, end, GapReason.NO_ACCESS)  # a device's memory
            return
        if file is not None:
            size = file.size
        elif status is not None:
            size = status.st_size
        else:  # it may not be touched
            self._hole(start, end, GapReason.NOT_RESIDENT)
            return
        file_end = mapping.end_of_file(size)
        if start < file_end and file is None:
            self._hole(start, min(end, file_end), GapReason.NOT_RESIDENT)
        elif start < file_end and file is not None:
            self._take(file, mapping, start, min(end, file_end))
        if file_end < end:
            self._hole(max(start, file_end), end, GapReason.BEYOND_FILE)

    def _take(self, file: CachedFile, mapping: Mapping, start: int, end: int) -> None:
        """Take what is in the page cache of a file; no content is kept for what is not.

        Who waits for what is missing reads it, and zeros laid out here would lie over that.
        """
        content = memoryview(bytearray(end - start))
        to_address = mapping.start - mapping.offset
        taken = start
        for missing in file.fill(content, start - to_address):
            address, behind = missing.start + to_address, missing.end + to_address
            if missing.hole and not self._is_handled(mapping, address):
                continue
            self._hole(address, behind, GapReason.NOT_RESIDENT)
            self._keep(taken, content[taken - start : address - start])
            taken = behind
        self._keep(taken, content[taken - start :])

    def _keep(self, address: int, content: memoryview) -> None:
        if content:
            self.findings.content.append((address, content))

    def _file(self, mapping: Mapping) -> CachedFile | None:
        key = mapping.device, mapping.inode
        if key not in self._files:
            descriptor = files.open_behind(self._proc, mapping)
            in_memory = files.filesystem(self._proc, mapping.device) == "tmpfs"
            self._files[key] = (
                None if descriptor is None else CachedFile(descriptor, in_memory=in_memory)
            )
        return self._files[key]

    def _hole(self, start: int, end: int, reason: GapReason) -> None:
        self.findings.holes.append(Hole(start, end, reason))
