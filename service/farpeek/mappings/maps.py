"""Mappings of a process, and why a place in them cannot be read.

EFAULT says nothing about why. The reason is looked up afterwards, so it describes the map as it is
then; where map and read disagree, the reason is ``unreadable``.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from farpeek.kernel import uapi
from farpeek.mappings import files
from farpeek.mappings.mapping import Mapping
from farpeek.model import PAGE_SIZE, GapReason
from farpeek.regions import Hole

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

KERNEL_HALF = 1 << 63


class AddressMap(Protocol):
    """The mappings of one process, asked for in rising order."""

    def at_or_above(self, address: int) -> Mapping | None:
        """The mapping that holds ``address``, else the next one above it.

        ``address`` never goes down from one call to the next.
        """
        ...


class _QueriedMap:
    """PROCMAP_QUERY: one ioctl a question, whatever the size of the map."""

    def __init__(self, proc: str) -> None:
        self._proc = proc
        self._file = os.open(f"{proc}/maps", os.O_RDONLY | os.O_CLOEXEC)
        self._last: Mapping | None = None
        self._listed: _ListedMap | None = None  # for what PROCMAP_QUERY does not know

    def close(self) -> None:
        os.close(self._file)
        if self._listed is not None:
            self._listed.close()

    def at_or_above(self, address: int) -> Mapping | None:
        if self._last is None or not self._last.start <= address < self._last.end:
            self._last = self._ask(address)
        return self._last

    def _ask(self, address: int) -> Mapping | None:
        if address >= KERNEL_HALF:
            # PROCMAP_QUERY does not know [vsyscall]; the maps file lists it. Read once for all such
            # addresses: a request may have 65,536, and a target as many mappings.
            if self._listed is None:
                self._listed = _ListedMap(self._proc)
            return self._listed.at_or_above(address)
        found = uapi.procmap_query(self._file, address)
        if found is None:
            return None
        return Mapping(
            start=found.start,
            end=found.end,
            perms=found.perms,
            offset=found.offset,
            device=found.device,
            inode=found.inode,
            path=found.name,
        )


class _ListedMap:
    """The maps file, read as far as the questions need it."""

    def __init__(self, proc: str) -> None:
        self._file = open(f"{proc}/maps", "rb")  # noqa: PTH123, SIM115 - kept, and closed by close
        self._last: Mapping | None = None

    def close(self) -> None:
        self._file.close()

    def at_or_above(self, address: int) -> Mapping | None:
        while self._last is None or self._last.end <= address:
            line = self._file.readline()
            if not line:
                return None
            self._last = parse_line(line)
        return self._last


def parse_line(line: bytes) -> Mapping:
    """Read one line of the maps file."""
    fields = line.rstrip(b"\n").split(None, 5)
    start, end = fields[0].split(b"-")
    major, minor = fields[3].split(b":")
    return Mapping(
        start=int(start, 16),
        end=int(end, 16),
        perms=fields[1].decode("ascii"),
        offset=int(fields[2], 16),
        device=(int(major, 16), int(minor, 16)),
        inode=int(fields[4]),
        path=files.unescape(fields[5]) if len(fields) > 5 else b"",  # noqa: PLR2004 - anonymous
    )


@contextmanager
def queried_map(proc: str) -> Generator[AddressMap]:
    """Open the map of the process at ``proc`` for PROCMAP_QUERY (6.11)."""
    opened = _QueriedMap(proc)
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def listed_map(proc: str) -> Generator[AddressMap]:
    """Open the map of the process at ``proc`` as a file to read from its beginning."""
    opened = _ListedMap(proc)
    try:
        yield opened
    finally:
        opened.close()


def cut(
    address_map: AddressMap, places: Iterable[tuple[int, int]]
) -> Iterator[tuple[int, int, Mapping | None]]:
    """Cut ``places`` (start, end; in order, disjoint) by the mappings that they lie in, if any."""
    for start, end in places:
        at = start
        while at < end:
            mapping = address_map.at_or_above(at)
            if mapping is None or mapping.start >= end:
                yield at, end, None
                break
            if mapping.start > at:
                yield at, mapping.start, None
                at = mapping.start
            upto = min(end, mapping.end)
            yield at, upto, mapping
            at = upto


class GapClassifier:
    """Finds out why places could not be read."""

    def __init__(
        self,
        open_map: Callable[[str], AbstractContextManager[AddressMap]],
        *,
        sees_guards: bool,
        otherwise: GapReason = GapReason.UNREADABLE,
    ) -> None:
        """``sees_guards``: PAGEMAP_SCAN is there, and knows guard pages.

        ``otherwise`` is the reason of places that the map says can be read.
        """
        self._open_map = open_map
        self._sees_guards = sees_guards
        self._otherwise = otherwise

    def classify(self, proc: str, places: Sequence[tuple[int, int]]) -> list[Hole]:
        """Split ``places`` (start, end; in order, disjoint) by the reason why they failed."""
        try:
            with self._open_map(proc) as address_map:
                return [
                    hole
                    for start, end, mapping in cut(address_map, places)
                    for hole in self._classify_one(proc, mapping, start, end)
                ]
        except OSError:
            # The process is gone, or changed its credentials meanwhile: the caller's check of the
            # pidfd, or the next read, tells which.
            return [Hole(start, end, GapReason.UNREADABLE) for start, end in places]

    def _classify_one(
        self, proc: str, mapping: Mapping | None, start: int, end: int
    ) -> Iterator[Hole]:
        if mapping is None:
            yield Hole(start, end, GapReason.UNMAPPED)
            return
        if not mapping.readable:
            yield Hole(start, end, GapReason.NO_ACCESS)
            return
        status = files.look_at(proc, mapping)
        if status is not None and not stat.S_ISREG(status.st_mode):
            yield Hole(start, end, GapReason.NO_ACCESS)  # a device's memory
            return
        file_end = mapping.end_of_file(status.st_size) if status is not None else mapping.end
        if start < file_end:
            yield from self._classify_pages(proc, start, min(end, file_end))
        if file_end < end:
            yield Hole(max(start, file_end), end, GapReason.BEYOND_FILE)

    def _classify_pages(self, proc: str, start: int, end: int) -> Iterator[Hole]:
        """Tell guard pages (MADV_GUARD_INSTALL), which the map does not show, from the rest."""
        for guard_start, guard_end in _guards(proc, start, end) if self._sees_guards else ():
            if start < guard_start:
                yield Hole(start, guard_start, self._otherwise)
            yield Hole(max(start, guard_start), min(end, guard_end), GapReason.NO_ACCESS)
            start = guard_end
        if start < end:
            yield Hole(start, end, self._otherwise)


def _guards(proc: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Runs of guard pages that touch ``start .. end``; none where pagemap may not be seen."""
    at = start - start % PAGE_SIZE
    try:
        pagemap = os.open(f"{proc}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        while at < end:
            last = -(-end // PAGE_SIZE) * PAGE_SIZE
            runs, at = uapi.pagemap_scan(pagemap, at, last, uapi.PAGE_IS_GUARD, uapi.PAGE_IS_GUARD)
            yield from ((run.start, run.end) for run in runs)
    finally:
        os.close(pagemap)
