"""Which mappings a core has, and how much of each: as the kernel chooses, without stopping.

``vma_dump_size`` of fs/coredump.c, with the bits of /proc/PID/coredump_filter (core(5)). It knows
whether anything was ever written to a private mapping of a file; here that is asked of the page
table. So .dynamic is there, which is read-only once it was written to (RELRO), and without which
no debugger finds the libraries.
"""

from __future__ import annotations

import os
import time
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from farpeek.access import task_listing
from farpeek.access.process_ref import ByNumber
from farpeek.access.verified import no_memory, refusals, verified
from farpeek.errors import DeadlineExceeded
from farpeek.kernel import gates
from farpeek.mappings import auxv, maps
from farpeek.mappings.flags import each_vm_flags
from farpeek.mappings.residency import NoPagemap
from farpeek.model import PAGE_SIZE, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from farpeek.access.checks import OpenMap
    from farpeek.access.process_ref import ProcessRef
    from farpeek.identity import Process
    from farpeek.kernel.tasks import TaskView
    from farpeek.mappings.mapping import Mapping
    from farpeek.mappings.residency import Residency

ANON_PRIVATE: Final = 1 << 0
ANON_SHARED: Final = 1 << 1
FILE_PRIVATE: Final = 1 << 2
FILE_SHARED: Final = 1 << 3
ELF_HEADERS: Final = 1 << 4
HUGE_PRIVATE: Final = 1 << 5
HUGE_SHARED: Final = 1 << 6
DEFAULT_FILTER: Final = 0x33

LARGEST: Final = 64 << 30
"""Bytes of one segment: whole address spaces are reserved by some (sanitizers' shadows)."""

MOST_SEGMENTS: Final = 262_144
"""Four times as many as the kernel lets a process have (vm.max_map_count) by default."""

_MOST_NAME_BYTES: Final = 16 << 20
_TRIMMED_FROM: Final = 64 << 20
"""Mappings from this size on end in a core with the last page that anybody has touched."""

_VDSO: Final = b"[vdso]"
_KERNELS: Final = (b"[vvar", b"[vsyscall]")
_ANON_FILES: Final = (b"/dev/zero (deleted)", b"/memfd:", b"/SYSV")
_ENTRIES_AT_ONCE: Final = 1 << 16
_FILE_OR_SHARED: Final = 1 << 61  # of an entry of pagemap; Documentation/admin-guide/mm/pagemap.rst
_HAS_CONTENT: Final = 3 << 62  # present or swapped


@dataclass(frozen=True, slots=True)
class Segment:
    """A mapping, and how many bytes of it, from its start on, a core has."""

    mapping: Mapping
    size: int


@dataclass(frozen=True, slots=True)
class Survey:
    """What a core is made of: looked at in one go, threads first."""

    tasks: Sequence[TaskView]
    segments: Sequence[Segment]
    auxv: dict[int, int]
    pointer_size: int | None
    left_out: int
    """Segments that were larger than `LARGEST`."""


class Surveyor:
    """Looks at a process; in a thread, for the map is read under a lock that can be held."""

    def __init__(self, open_map: OpenMap, residency: Residency | None) -> None:
        self._open_map = open_map
        self._residency = residency

    def survey(self, process: Process, wanted: int, deadline: float) -> Survey:
        """Look at all threads, and choose from all mappings by the bits of ``wanted``.

        Raises ProcessGone, AccessDenied, Unsupported, DeadlineExceeded.
        """
        try:
            return verified(
                ByNumber(process), lambda ref: self._survey(ref, wanted, deadline), deadline
            )
        except PermissionError:
            with refusals(process):
                raise gates.find(process.pid) from None

    def _survey(self, ref: ProcessRef, wanted: int, deadline: float) -> Survey:
        found = _all_tasks(ref.process, deadline)
        size, vector = auxv.read(ref.proc)
        with no_memory():
            mappings = list(self._mappings(ref.proc, deadline))
            flags = _flags(ref.proc, deadline)
            chosen = [
                Segment(
                    each, self._size(ref.proc, each, flags.get(each.start, ()), wanted, deadline)
                )
                for each in mappings
            ]
        left_out = sum(each.size > LARGEST for each in chosen)
        segments = [
            Segment(each.mapping, each.size if each.size <= LARGEST else 0) for each in chosen
        ]
        return Survey(found, segments, vector, size, left_out)

    def _mappings(self, proc: str, deadline: float) -> Iterator[Mapping]:
        left = _MOST_NAME_BYTES
        with self._open_map(proc) as address_map:
            for count, mapping in enumerate(maps.walk(address_map, 0)):
                _check_time(deadline)
                left -= len(mapping.path)
                if count == MOST_SEGMENTS or left < 0:
                    return
                # Those of the kernel itself read as nothing (core(5) has none of them either).
                if not mapping.path.startswith(_KERNELS):
                    yield mapping

    def _size(
        self, proc: str, mapping: Mapping, flags: Sequence[bytes], wanted: int, deadline: float
    ) -> int:
        """How many bytes of a mapping there are to be in the core."""
        _check_time(deadline)
        whole = mapping.end - mapping.start
        if mapping.path == _VDSO:
            return whole
        if not mapping.readable or b"dd" in flags or b"io" in flags:
            return 0
        kind = _kind(mapping, flags)
        if kind != FILE_PRIVATE:
            if not wanted & kind:
                return 0
            return self._touched(proc, mapping, deadline) if kind == ANON_PRIVATE else whole
        if wanted & FILE_PRIVATE or (
            wanted & ANON_PRIVATE and _has_anonymous(proc, mapping, deadline)
        ):
            return whole
        is_head = wanted & ELF_HEADERS and not mapping.offset
        return min(PAGE_SIZE, whole) if is_head else 0

    def _touched(self, proc: str, mapping: Mapping, deadline: float) -> int:
        """Bytes up to the last page that is in memory or in swap; all of what is no giant."""
        whole = mapping.end - mapping.start
        if self._residency is None or whole < _TRIMMED_FROM or mapping.path == b"[stack]":
            return whole
        at, last = mapping.start, mapping.start
        while at < mapping.end:
            _check_time(deadline)
            try:
                runs, at = self._residency.look_on(proc, at, mapping.end)
            except NoPagemap:
                return whole
            last = max((run.end for run in runs if run.categories), default=last)
        return last - mapping.start


def _kind(mapping: Mapping, flags: Sequence[bytes]) -> int:
    """The bit that stands for a mapping."""
    if b"ht" in flags:
        return HUGE_SHARED if mapping.shared else HUGE_PRIVATE
    if mapping.shared:
        return ANON_SHARED if mapping.path.startswith(_ANON_FILES) else FILE_SHARED
    return FILE_PRIVATE if mapping.inode else ANON_PRIVATE


def _all_tasks(process: Process, deadline: float) -> list[TaskView]:
    found: list[TaskView] = []
    first: int | None = 0
    while first is not None:
        page = task_listing.page(process, first, deadline)
        found += page.tasks
        first = page.next
    return sorted(found, key=lambda task: task.tid != process.pid)  # the first thread leads


def _flags(proc: str, deadline: float) -> dict[int, Sequence[bytes]]:
    """The VmFlags of mappings, by where they start."""
    found: dict[int, Sequence[bytes]] = {}
    for start, _, flags in each_vm_flags(proc):
        _check_time(deadline)
        if len(found) > MOST_SEGMENTS:
            break
        found[start] = [flag for flag in flags if flag in (b"dd", b"io", b"ht")]
    return found


def _has_anonymous(proc: str, mapping: Mapping, deadline: float) -> bool:
    """Whether a page of a private mapping of a file is the process's own: it was written to."""
    try:
        pagemap = os.open(f"{proc}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        return "w" in mapping.perms  # as far as can be told
    try:
        at, end = mapping.start // PAGE_SIZE, mapping.end // PAGE_SIZE
        while at < end:
            _check_time(deadline)
            count = min(end - at, _ENTRIES_AT_ONCE)
            entries = array("Q", os.pread(pagemap, 8 * count, 8 * at))
            if any(each & _HAS_CONTENT and not each & _FILE_OR_SHARED for each in entries):
                return True
            at += count
    finally:
        os.close(pagemap)
    return False


def _check_time(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise DeadlineExceeded("the time was over before all mappings were seen", Stage.MAPPINGS)
