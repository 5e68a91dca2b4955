"""Which pages are in a page table, told by move_pages(2): for a service with CAP_SYS_PTRACE alone.

/proc/PID/pagemap of another user's process takes CAP_DAC_READ_SEARCH too. This call tells less: not
what is swapped out from what was never there, so that counts as swapped unless the process has
nothing swapped out at all.
"""

from __future__ import annotations

import errno
from array import array
from itertools import groupby
from typing import TYPE_CHECKING, Final

from farpeek.kernel import status, uapi
from farpeek.kernel.uapi import PAGE_IS_PRESENT, PAGE_IS_SWAPPED, PageRun
from farpeek.mappings.residency import NoPagemap, refuse_many_pages
from farpeek.model import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from farpeek.mappings.residency import Residency
    from farpeek.regions import Runs

_MOST_PAGES: Final = 4096
"""Of one call; each page takes 0.45 us."""


class NodeResidency:
    """move_pages: a call for each 4,096 pages. What is not mapped looks as what has no page."""

    technique = "move_pages"

    def look(
        self, proc: str, spans: Sequence[tuple[int, int]], most: int | None = None
    ) -> list[PageRun]:
        """See ``Residency.look``."""
        refuse_many_pages(spans, most)
        may_be_swapped = _swapped(proc)
        pid = int(proc.rsplit("/", maxsplit=1)[-1])
        found = [
            page
            for start, end in spans
            for first in range(start, end, _MOST_PAGES * PAGE_SIZE)
            for page in _runs(pid, first, min(end, first + _MOST_PAGES * PAGE_SIZE))
        ]
        if may_be_swapped or _swapped(proc):
            return found
        return [page if page.categories & PAGE_IS_PRESENT else _no_page(page) for page in found]

    def look_on(self, proc: str, start: int, end: int, most: int = 0) -> tuple[list[PageRun], int]:
        """See ``Residency.look_on``."""
        del most
        upto = min(end, start + _MOST_PAGES * PAGE_SIZE)
        return self.look(proc, [(start, upto)]), upto

    def are_all_untouched(self, proc: str, runs: Runs) -> bool:
        """See ``Residency.are_all_untouched``; not to be had at once."""
        del proc, runs
        return False

    def have_no_page(self, proc: str, runs: Runs) -> bool:
        """See ``Residency.have_no_page``; not to be had at once."""
        del proc, runs
        return False


def _no_page(page: PageRun) -> PageRun:
    return PageRun(page.start, page.end, 0)


def _runs(pid: int, start: int, end: int) -> Iterator[PageRun]:
    """Runs of pages that are present, may be swapped out, or are not mapped (0)."""
    try:
        statuses = uapi.page_nodes(pid, array("Q", range(start, end, PAGE_SIZE)))
    except PermissionError as error:
        raise NoPagemap from error
    at = start
    for categories, group in groupby(statuses, _categories):
        upto = at + sum(1 for _ in group) * PAGE_SIZE
        yield PageRun(at, upto, categories)
        at = upto


def _categories(status: int) -> int:
    if status >= 0:
        return PAGE_IS_PRESENT
    # -EFAULT is the zero page, or nothing: to read it waits for nothing.
    return 0 if status == -errno.EFAULT else PAGE_IS_SWAPPED


def _swapped(proc: str) -> bool:
    """Whether anything private of a process is swapped out (VmSwap of proc_pid_status(5))."""
    return status.size(proc, b"VmSwap") != 0


class ResidencyOr:
    """One way to see page tables, and another for processes whose pagemap may not be opened."""

    def __init__(self, first: Residency, otherwise: Residency) -> None:
        self._first = first
        self._otherwise = otherwise
        self.technique = f"{first.technique}, else {otherwise.technique}"

    def look(
        self, proc: str, spans: Sequence[tuple[int, int]], most: int | None = None
    ) -> list[PageRun]:
        """See ``Residency.look``."""
        try:
            return self._first.look(proc, spans, most)
        except NoPagemap:
            return self._otherwise.look(proc, spans, most)

    def look_on(self, proc: str, start: int, end: int, most: int = 0) -> tuple[list[PageRun], int]:
        """See ``Residency.look_on``."""
        try:
            return self._first.look_on(proc, start, end, most)
        except NoPagemap:
            return self._otherwise.look_on(proc, start, end, most)

    def are_all_untouched(self, proc: str, runs: Runs) -> bool:
        """See ``Residency.are_all_untouched``."""
        try:
            return self._first.are_all_untouched(proc, runs)
        except NoPagemap:
            return self._otherwise.are_all_untouched(proc, runs)

    def have_no_page(self, proc: str, runs: Runs) -> bool:
        """See ``Residency.have_no_page``."""
        try:
            return self._first.have_no_page(proc, runs)
        except NoPagemap:
            return self._otherwise.have_no_page(proc, runs)
