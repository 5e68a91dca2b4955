"""Bytes of files that are in the page cache, taken from there without reading anything in."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from farpeek.kernel import uapi
from farpeek.model import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_MAPPED = 64 << 20
"""Of a file, to see what is cached: costs 128 KiB of page tables of our own."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Bytes ``start .. end`` of a file that are not in the page cache.

    ``hole``: nothing was ever written there (told of shared memory only), so they are zeros.
    """

    start: int
    end: int
    hole: bool


class CachedFile:
    """A regular file on a local filesystem; owns the descriptor."""

    def __init__(self, descriptor: int, *, in_memory: bool) -> None:
        """``in_memory``: it is on tmpfs, where holes are known without I/O."""
        self._descriptor = descriptor
        self._in_memory = in_memory
        self._mincore_tells = uapi.may_ask_the_cache(descriptor)
        self.size = os.fstat(descriptor).st_size

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def fill(self, into: memoryview, offset: int) -> Iterator[Missing]:
        """Copy what is cached of the file from ``offset`` on, and tell what is not.

        What lies behind the end of the file stays as it is: the last page is padded with zeros.
        """
        end = min(offset + len(into), self.size)
        at = offset
        while at < end:
            data, hole = self._written(at, end)
            if at < data:
                yield Missing(at, data, hole=True)
            for start, stop, cached in self._cached(data, hole):
                if cached:
                    yield from self._copy(into[start - offset : stop - offset], start)
                else:
                    yield Missing(start, stop, hole=False)
            at = hole

    def _written(self, start: int, end: int) -> tuple[int, int]:
        """The first stretch of data in ``start .. end``, in bites; both at ``end`` if none is.

        On a disk, asking where data is may read the file's extents in: all of it counts as data.
        """
        data, hole = start, min(end, start + _MOST_MAPPED)
        if not self._in_memory:
            return data, hole
        try:
            data = min(os.lseek(self._descriptor, start, os.SEEK_DATA), end)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return end, end
        hole = os.lseek(self._descriptor, data, os.SEEK_HOLE)
        return data, min(hole, end, data + _MOST_MAPPED)

    def _cached(self, start: int, end: int) -> Iterator[tuple[int, int, bool]]:
        """Split ``start .. end`` by whether it is cached.

        All of it counts as cached where mincore does not tell this caller the truth: the copy finds
        out then, and starts readahead where it misses, as PROCESS_VM_NOWAIT does.
        """
        if not self._mincore_tells or start == end:
            yield start, end, True
            return
        at = start // PAGE_SIZE * PAGE_SIZE
        pages = uapi.cached_pages(self._descriptor, at, end - at)
        for cached, group in groupby(pages):
            upto = at + sum(1 for _ in group) * PAGE_SIZE
            yield max(at, start), min(upto, end), bool(cached)
            at = upto

    def _copy(self, into: memoryview, offset: int) -> Iterator[Missing]:
        """Read without waiting; tell what is not there after all."""
        at = 0
        while at < len(into):
            got = self._read_cached(into[at:], offset + at)
            if not got:
                miss = min(len(into), at + PAGE_SIZE - (offset + at) % PAGE_SIZE)
                yield Missing(offset + at, offset + miss, hole=False)
                at = miss
            at += got

    def _read_cached(self, into: memoryview, offset: int) -> int:
        """Bytes read; 0 where the first page would need I/O."""
        try:
            return os.preadv(self._descriptor, [into], offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP or not self._mincore_tells:
                return 0
        # tmpfs and overlay have no RWF_NOWAIT; mincore has just said that the page is there
        return os.preadv(self._descriptor, [into], offset)
