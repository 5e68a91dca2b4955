"""Which bytes of files are in the page cache, found out without reading anything in."""

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

_SCRATCH = 256 << 10
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

    def __init__(self, descriptor: int, filesystem: str | None) -> None:
        """``filesystem`` is its kind: on tmpfs holes are known without I/O."""
        self._descriptor = descriptor
        self.in_memory = filesystem == "tmpfs"
        self.in_huge_pages = filesystem == "hugetlbfs"
        # On hugetlbfs to map a page takes one from the pool, and nothing here is asked about it.
        self._mincore_tells = not self.in_huge_pages and uapi.may_ask_the_cache(descriptor)
        status = os.fstat(descriptor)
        self.size = status.st_size
        self._block = status.st_blksize  # on hugetlbfs: of a page
        self._last_page = max(0, self.size - 1) // PAGE_SIZE * PAGE_SIZE

    @property
    def can_be_told(self) -> bool:
        """Whether `missing` brings nothing in: without mincore(2) a miss starts readahead."""
        return self._mincore_tells

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def missing(self, start: int, wanted_end: int) -> Iterator[Missing]:
        """Tell what of the file is not cached, without reading it in.

        ``wanted_end`` may lie behind the end of the file, in its last page.
        """
        for missing in self._missing(start, min(wanted_end, self.size)):
            if missing.end == self.size:
                yield Missing(missing.start, wanted_end, missing.hole)
            else:
                yield missing

    def _missing(self, start: int, end: int) -> Iterator[Missing]:
        at = start
        while at < end:
            data, hole = self._written(at, end)
            if at < data:
                yield Missing(at, data, hole=True)
            for first, last, cached in self._cached(data, hole):
                if not cached:
                    yield from self._but_for_the_end(first, last)
                elif not self._mincore_tells:
                    yield from self._not_cached(first, last)
            at = hole

    def _but_for_the_end(self, start: int, end: int) -> Iterator[Missing]:
        """What is missing of bytes that mincore(2) calls so: not the end of the file, perhaps.

        A last page whose blocks are all there, but for those behind the end, is not complete to
        mincore, and read without any I/O all the same. Pages are larger than blocks on arm64.
        """
        if end > self._last_page and self._block < PAGE_SIZE and self._has_its_end():
            end = self._last_page
        if start < end:
            yield Missing(start, end, hole=False)

    def _has_its_end(self) -> bool:
        length = self.size - self._last_page
        if not uapi.cached_count(self._descriptor, self._last_page, length):
            return False  # to try a read then would begin to read it in
        return self._read_cached(memoryview(bytearray(length)), self._last_page) == length

    def zeros(self, start: int, end: int) -> Iterator[Missing]:
        """Pages of a file in huge pages that hold nothing but zeros.

        A read of the file makes no pages where none are (fs/hugetlbfs/inode.c).
        """
        at = start
        while at < end:
            upto = min(end, at - at % self._block + self._block)
            if not any(os.pread(self._descriptor, upto - at, at)):
                yield Missing(at, upto, hole=True)
            at = upto

    def _written(self, start: int, end: int) -> tuple[int, int]:
        """The first stretch of data in ``start .. end``, in bites; both at ``end`` if none is.

        On a disk, asking where data is may read the file's extents in: all of it counts as data.
        """
        data, hole = start, min(end, start + _MOST_MAPPED)
        if not self.in_memory:
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

        All of it counts as cached where mincore does not tell this caller the truth.
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

    def _not_cached(self, start: int, end: int) -> Iterator[Missing]:
        """Try to read without waiting; a miss starts readahead, as with PROCESS_VM_NOWAIT."""
        scratch = memoryview(bytearray(min(end - start, _SCRATCH)))
        at = start
        while at < end:
            got = self._read_cached(scratch[: end - at], at)
            if not got:
                miss = min(end, at + PAGE_SIZE - at % PAGE_SIZE)
                yield Missing(at, miss, hole=False)
                at = miss
            at += got

    def _read_cached(self, into: memoryview, offset: int) -> int:
        """Bytes read; 0 where the first page would need I/O."""
        try:
            return os.preadv(self._descriptor, [into], offset, os.RWF_NOWAIT)
        except OSError:  # EAGAIN; EOPNOTSUPP of tmpfs and overlay
            return 0
