"""Reads that could make page tables in the target.

A read of memory that nobody has touched makes 4 KiB of page table for each 2 MiB that it comes
into; the target keeps them until it ends, and they are charged to the reader's cgroup: 65,536
regions of 8 bytes took 256 MiB. So where a request is spread far enough, the size of the target's
page tables is watched while it is read, and once they grow it is looked at first what is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from farpeek import columns
from farpeek.kernel import status
from farpeek.model import PAGE_SIZE

if TYPE_CHECKING:
    from farpeek.access.process_ref import ProcessRef
    from farpeek.identity import Process
    from farpeek.regions import Runs

TABLE_SPAN: Final = PAGE_SIZE * (PAGE_SIZE // 8)
"""Addresses of one page of page table, whose entries have 8 bytes."""

MOST_TABLES: Final = 16
"""Page tables that one read may make: 64 KiB, where pages have 4 KiB."""

MOST_AT_ONCE: Final = MOST_TABLES * TABLE_SPAN
"""Bytes of one region that cannot make more."""

_FEW: Final = 8
"""Regions that never make many, unless they are large."""

_ELEMENTS: Final = 128
"""Of a call that is watched. A look costs 5 us, a call of so many elements some 45."""


class PageTablesGrew(Exception):
    """More page tables were made than `MOST_TABLES`. Not for outside."""


def may_grow(runs: Runs) -> bool:
    """Whether reading ``runs`` could make more than `MOST_TABLES` page tables."""
    if len(runs.starts) <= _FEW:
        return sum(runs.lengths) > MOST_AT_ONCE
    lengths = columns.column(runs.lengths)
    return columns.spread(columns.column(runs.starts)) + columns.largest(lengths) > MOST_AT_ONCE


def must_grow(runs: Runs) -> bool:
    """Whether ``runs`` are so long that reading them makes more, if nobody has touched them."""
    return columns.total(columns.column(runs.lengths)) > MOST_AT_ONCE


class Watched:
    """A process reference whose reads raise PageTablesGrew once they have made page tables.

    Few elements go with one call, so that not many are made before that is seen. Where the size of
    the page tables cannot be seen (/proc mounted with hidepid), nothing is raised.
    """

    def __init__(self, inner: ProcessRef) -> None:
        self._inner = inner
        self._elements = MOST_TABLES
        self._before = page_table_size(inner.proc)

    @property
    def process(self) -> Process:
        """See ``ProcessRef``."""
        return self._inner.process

    @property
    def flags(self) -> int:
        """See ``ProcessRef``."""
        return self._inner.flags

    @property
    def number(self) -> int:
        """See ``ProcessRef``."""
        return self._inner.number

    @property
    def call(self) -> tuple[int, int]:
        """See ``ProcessRef``."""
        return self._inner.call

    @property
    def proc(self) -> str:
        """See ``ProcessRef``."""
        return self._inner.proc

    def verify(self) -> None:
        """See ``ProcessRef``."""
        self._inner.verify()

    def readv(self, local: int, remote: int, remote_count: int) -> int:
        """See ``ProcessRef``; reads the first few elements only."""
        got = self._inner.readv(local, remote, min(remote_count, self._elements))
        self._elements = min(2 * self._elements, _ELEMENTS)
        if page_table_size(self.proc) - self._before >= MOST_TABLES * PAGE_SIZE // 2:
            raise PageTablesGrew
        return got


def page_table_size(proc: str) -> int:
    """Bytes of the page tables of a process (VmPTE of proc_pid_status(5)); 0 if hidden or gone."""
    try:
        return status.size(proc, b"VmPTE") or 0
    except OSError:
        return 0
