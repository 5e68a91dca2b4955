"""The mappings of a process, one by one, as the kernel tells them."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from farpeek.addressing import kernel_half
from farpeek.kernel import uapi
from farpeek.mappings.mapping import Mapping
from farpeek.model import ADDRESS_LIMIT

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator


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
        if address >= kernel_half():
            # PROCMAP_QUERY does not know [vsyscall]; the maps file lists it. Read once for all such
            # addresses: a request may have 65,536, and a target as many mappings.
            return self._listing().at_or_above(address)
        found = uapi.procmap_query(self._file, address)
        if found is None:
            return None
        if found.inode and not found.name:  # it is over PATH_MAX
            return self._listing().at_or_above(address)
        return Mapping(
            start=found.start,
            end=found.end,
            perms=found.perms,
            offset=found.offset,
            device=found.device,
            inode=found.inode,
            path=found.name,
        )

    def _listing(self) -> _ListedMap:
        if self._listed is None:
            self._listed = _ListedMap(self._proc)
        return self._listed


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
            if _end(line) > address:
                self._last = parse_line(line)
        return self._last


def _end(line: bytes) -> int:
    return int(line.partition(b" ")[0].partition(b"-")[2], 16)


def unescape(path: bytes) -> bytes:
    r"""Undo the one escape of the maps file: ``\012`` for a newline, and a backslash is itself.

    So a path that has that very text in it reads as another one; PROCMAP_QUERY tells them apart.
    """
    return path.replace(b"\\012", b"\n")


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
        path=unescape(fields[5]) if len(fields) > 5 else b"",  # noqa: PLR2004 - anonymous
    )


def walk(address_map: AddressMap, start: int) -> Iterator[Mapping]:
    """All mappings from the one on that holds ``start``, or from the next one above it."""
    at = start
    while at < ADDRESS_LIMIT:
        mapping = address_map.at_or_above(at)
        if mapping is not None:
            yield mapping
            at = mapping.end
        elif at < kernel_half():  # PROCMAP_QUERY knows nothing of what is there
            at = kernel_half()
        else:
            return


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
