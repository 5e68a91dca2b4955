"""Which pages of a process are in its page table, asked without touching them."""

from __future__ import annotations

import errno
import os
from array import array
from bisect import bisect_right
from itertools import groupby, islice, pairwise
from operator import add, sub
from typing import TYPE_CHECKING, Protocol

from farpeek.addressing import kernel_half
from farpeek.kernel import uapi
from farpeek.kernel.uapi import PAGE_IS_GUARD, PAGE_IS_PRESENT, PAGE_IS_SWAPPED, PageRun
from farpeek.model import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from farpeek.regions import Runs

    _Scan = Callable[[int, int, int, int, int], tuple[array[int], array[int], int]]

_CLUSTER_GAP = 2 << 20
"""Spans that are closer than this are asked about together: to walk one more page of page table
costs less than one more system call from here."""
_MOST_RUNS = 512
"""Of one answer; for a page or two less is made ready, which takes a fifth off the call."""
_PRESENT_BIT = 63  # of an entry of /proc/PID/pagemap
_SWAPPED_BIT = 62
_PROTECTED_BIT = 57  # by userfaultfd; Documentation/admin-guide/mm/pagemap.rst
_ENTRY_GAP = 128 << 10
"""Of entries that are read one by one: 32 of them cost less than another call."""
_MOST_ENTRIES = 1 << 15  # of one pread: 256 KiB
_MOST_AT_ONCE = 1 << 15
"""Runs of pages that are held for a look at spans that are wider than what is wanted."""
_ENTRIES_A_RUN = 8  # that may be read for one


class NoPagemap(Exception):
    """The pagemap of this process may not be opened with the service's privileges."""


class TooFragmented(Exception):
    """There is more in the spans than was to be held: look at less. Not for outside."""


class Residency(Protocol):
    """One way to see page tables."""

    technique: str

    def look(
        self, proc: str, spans: Sequence[tuple[int, int]], most: int | None = None
    ) -> list[PageRun]:
        """Pages within ``spans`` that are present, swapped, guards, or none (0), in order.

        What is in no run is not mapped, where that can be seen at the same moment. ``spans`` are
        disjoint, in order, and begin and end with pages. Raises NoPagemap; OSError once the process
        is gone; TooFragmented where these are over some ``most`` runs.
        """
        ...

    def look_on(self, proc: str, start: int, end: int, most: int = 0) -> tuple[list[PageRun], int]:
        """Look for pages at the beginning of one span, however long; answers how far, too.

        That is some hundred runs, or pages, of the one or the other, and maybe just ``most`` pages
        that are present, swapped or guards. What is in no run is not in the page table, mapped or
        not. Raises as `look` does.
        """
        ...

    def are_all_untouched(self, proc: str, runs: Runs) -> bool:
        """Whether from the first of ``runs`` to the last, they alone are mapped without a page.

        ``runs`` are disjoint, in order, and not next to one another. False says nothing: `look`
        then. Raises as that does.
        """
        ...

    def have_no_page(self, proc: str, runs: Runs) -> bool:
        """Whether nothing of ``runs`` is in the page table, mapped or not.

        ``runs``, False and what is raised are as with `are_all_untouched`.
        """
        ...


class ScanResidency:
    """PAGEMAP_SCAN (6.7): one call for a span, however large."""

    technique = "PAGEMAP_SCAN"

    def __init__(self, *, sees_guards: bool) -> None:
        """``sees_guards``: the kernel knows PAGE_IS_GUARD (6.15); before it guards look swapped."""
        self._wanted = PAGE_IS_PRESENT | PAGE_IS_SWAPPED | (PAGE_IS_GUARD if sees_guards else 0)

    def look(
        self, proc: str, spans: Sequence[tuple[int, int]], most: int | None = None
    ) -> list[PageRun]:
        """See ``Residency.look``."""
        found: list[PageRun] = []
        at_once = _MOST_RUNS if most is None else min(_MOST_RUNS, most + 1)
        with _Pagemap(proc) as pagemap:
            for start, end in spans:
                for runs in self._scan(pagemap, start, min(end, kernel_half()), at_once):
                    found += runs
                    if most is not None and len(found) > most:
                        raise TooFragmented
        return found

    def look_on(self, proc: str, start: int, end: int, most: int = 0) -> tuple[list[PageRun], int]:
        """See ``Residency.look_on``.

        Pages that are not there are what takes the time: where there is one in each page table, the
        kernel needs 1.3 us for a table if it leaves out the others, and 5 us if it tells them.
        """
        wanted, runs = self._wanted, min(_MOST_RUNS, most or _MOST_RUNS)
        with _Pagemap(proc) as pagemap:
            upto = min(end, kernel_half())  # the last address of all would not fit in 64 bits
            while start < upto:
                try:
                    found = uapi.pagemap_scan(pagemap, start, upto, wanted, wanted, runs, most)
                    return found if found[1] > start else (found[0], end)
                except OSError as error:
                    if error.errno != errno.EFAULT:
                        raise
                    if upto - start <= PAGE_SIZE:
                        break
                    # It reaches over the end of the user's addresses, wherever that is here.
                    upto = start + (upto - start) // PAGE_SIZE // 2 * PAGE_SIZE
        return [], end

    def are_all_untouched(self, proc: str, runs: Runs) -> bool:
        """See ``Residency``. The kernel picks the runs, and all are compared by two calls."""
        starts, ends = _columns(runs)
        scan, most = uapi.pagemap_scan_without, len(starts) + 1
        found = self._columns_by(scan, proc, starts, ends, most)
        return found is not None and found == (starts, ends, ends[-1])

    def have_no_page(self, proc: str, runs: Runs) -> bool:
        """See ``Residency``; that takes a quarter of the time (see `look_on`)."""
        starts, ends = _columns(runs)
        scan, most = uapi.pagemap_scan_with, len(starts) + _MOST_RUNS
        found = self._columns_by(scan, proc, starts, ends, most)
        if found is None or found[2] < ends[-1]:
            return False
        if found[:2] == (ends[:-1], starts[1:]):  # mostly: between them all is there
            return True
        following = [bisect_right(ends, start) for start in found[0]]
        return all(
            number == len(starts) or end <= starts[number]
            for number, end in zip(following, found[1], strict=True)
        )

    def _columns_by(
        self, scan: _Scan, proc: str, starts: array[int], ends: array[int], most: int
    ) -> tuple[array[int], array[int], int] | None:
        if not starts or starts[0] % PAGE_SIZE or ends[-1] > kernel_half():
            return None
        with _Pagemap(proc) as pagemap:
            try:
                return scan(pagemap, starts[0], ends[-1], self._wanted, most)
            except OSError as error:
                if error.errno not in (errno.EFAULT, errno.EINVAL):
                    raise
                return None

    def _scan(self, pagemap: int, start: int, end: int, at_once: int) -> Iterator[list[PageRun]]:
        at = start
        while at < end:
            try:
                most = min(at_once, (end - at) // PAGE_SIZE)
                runs, reached = uapi.pagemap_scan(pagemap, at, end, 0, self._wanted, most)
            except OSError as error:
                if error.errno != errno.EFAULT:
                    raise
                # It reaches over the end of the user's addresses, wherever that is here.
                yield from self._scan_below_the_end(pagemap, at, end, at_once)
                return
            yield runs
            if reached <= at:  # then the kernel takes the address for another one
                return
            at = reached

    def _scan_below_the_end(
        self, pagemap: int, start: int, end: int, at_once: int
    ) -> Iterator[list[PageRun]]:
        if end - start > PAGE_SIZE:
            middle = start + (end - start) // PAGE_SIZE // 2 * PAGE_SIZE
            yield from self._scan(pagemap, start, middle, at_once)
            yield from self._scan(pagemap, middle, end, at_once)


class PagemapResidency:
    """Reading /proc/PID/pagemap: 8 bytes a page. What is not mapped looks as what has no page."""

    technique = "pagemap"

    def look(
        self, proc: str, spans: Sequence[tuple[int, int]], most: int | None = None
    ) -> list[PageRun]:
        """See ``Residency.look``."""
        refuse_many_pages(spans, most)
        found: list[PageRun] = []
        with _Pagemap(proc) as pagemap:
            for start, end in spans:
                for first in range(start, end, _MOST_ENTRIES * PAGE_SIZE):
                    last = min(end, first + _MOST_ENTRIES * PAGE_SIZE)
                    found += _entries(pagemap, first, last)
        return found

    def look_on(self, proc: str, start: int, end: int, most: int = 0) -> tuple[list[PageRun], int]:
        """See ``Residency.look_on``."""
        del most
        if start >= kernel_half():
            return [], end
        upto = min(end, start + _MOST_ENTRIES * PAGE_SIZE)
        return self.look(proc, [(start, upto)]), upto

    def are_all_untouched(self, proc: str, runs: Runs) -> bool:
        """See ``Residency``; not to be had at once."""
        del proc, runs
        return False

    def have_no_page(self, proc: str, runs: Runs) -> bool:
        """See ``Residency``; not to be had at once."""
        del proc, runs
        return False


def _columns(runs: Runs) -> tuple[array[int], array[int]]:
    """Where ``runs`` begin, and where they end."""
    return array("Q", runs.starts), array("Q", map(add, runs.starts, runs.lengths))


class _Pagemap:
    """An open /proc/PID/pagemap, as a context manager that gives the descriptor."""

    def __init__(self, proc: str) -> None:
        self._path = f"{proc}/pagemap"
        self._descriptor = -1

    def __enter__(self) -> int:
        try:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError as error:
            raise NoPagemap from error
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _entries(pagemap: int, start: int, end: int) -> Iterator[PageRun]:
    count = (end - start) // PAGE_SIZE
    entries = array("Q", os.pread(pagemap, 8 * count, start // PAGE_SIZE * 8))
    at = start
    for bits, group in groupby(entries, lambda entry: entry >> _SWAPPED_BIT):
        upto = at + sum(1 for _ in group) * PAGE_SIZE
        present = bits >> (_PRESENT_BIT - _SWAPPED_BIT)
        swapped = PAGE_IS_SWAPPED if bits else 0
        yield PageRun(at, upto, PAGE_IS_PRESENT if present else swapped)
        at = upto


def write_protected(proc: str, runs: Runs) -> list[tuple[int, int]]:
    """The pages around ``runs`` that a userfaultfd handler protects: who writes there waits for it.

    In order, one by one. Raises NoPagemap; OSError once the process is gone.
    """
    with _Pagemap(proc) as pagemap:
        return [
            (page, page + PAGE_SIZE)
            for start, end in clusters(runs, _ENTRY_GAP)
            for first in range(start, end, _MOST_ENTRIES * PAGE_SIZE)
            for page in _protected(pagemap, first, min(end, first + _MOST_ENTRIES * PAGE_SIZE))
        ]


def _protected(pagemap: int, start: int, end: int) -> Iterator[int]:
    entries = array("Q", os.pread(pagemap, (end - start) // PAGE_SIZE * 8, start // PAGE_SIZE * 8))
    for number, entry in enumerate(entries):
        if entry >> _PROTECTED_BIT & 1:
            yield start + number * PAGE_SIZE


def refuse_many_pages(spans: Sequence[tuple[int, int]], most: int | None) -> None:
    """Raise TooFragmented where there are too many pages to go through them one by one."""
    pages = sum(end - start for start, end in spans) // PAGE_SIZE
    if most is not None and pages > _ENTRIES_A_RUN * most:
        raise TooFragmented


def look_at(
    residency: Residency, proc: str, runs: Runs
) -> tuple[Sequence[tuple[int, int]], list[PageRun]]:
    """Look at the pages of ``runs`` (sorted), and maybe of what lies between; spans, pages in them.

    Raises as ``Residency.look`` does. What is held is bounded: an address space of which every
    other page is there has half a million runs in each 4 GiB.
    """
    spans = clusters(runs)
    try:
        return spans, residency.look(proc, spans, _MOST_AT_ONCE)
    except TooFragmented:
        spans = clusters(runs, PAGE_SIZE)
        return spans, residency.look(proc, spans)


def clusters(runs: Runs, gap: int = _CLUSTER_GAP) -> list[tuple[int, int]]:
    """Spans of pages that cover ``runs`` (sorted); those that are closer than ``gap`` in one."""
    starts = runs.starts
    if not starts:
        return []
    ends = list(map(add, starts, runs.lengths))
    if ends[-1] - starts[0] <= gap:
        return [_pages(starts[0], ends[-1])]
    distances = map(sub, islice(starts, 1, None), ends)
    breaks = [number for number, distance in enumerate(distances, 1) if distance > gap]
    return [
        _pages(starts[first], ends[last - 1]) for first, last in pairwise((0, *breaks, len(starts)))
    ]


def _pages(start: int, end: int) -> tuple[int, int]:
    return start // PAGE_SIZE * PAGE_SIZE, -(-end // PAGE_SIZE) * PAGE_SIZE


def split(runs: Runs, pages: Sequence[PageRun]) -> Iterator[PageRun]:
    """Cut ``runs`` (not at page edges) by what their pages are; 0 for nothing in the page table."""
    at = 0
    for run_start, end in runs.places():
        start = run_start
        while start < end:
            while at < len(pages) and pages[at].end <= start:
                at += 1
            page = pages[at] if at < len(pages) else None
            if page is None or page.start >= end:
                yield PageRun(start, end, 0)
                break
            if page.start > start:
                yield PageRun(start, page.start, 0)
                start = page.start
            upto = min(page.end, end)
            yield PageRun(start, upto, page.categories)
            start = upto


def all_present(runs: Runs, pages: Sequence[PageRun]) -> bool:
    """Whether each of ``runs`` lies in one run of present pages: nothing to sort out then.

    Of 27 pages among others, that takes an eighth of what it takes to sort out what they are.
    """
    following = iter(pages)
    upto = present_from = 0
    for start, end in runs.places():
        while upto <= start:
            page = next(following, None)
            if page is None:
                return False
            present_from, upto, categories = page
            if not categories & PAGE_IS_PRESENT:
                present_from = upto
        if start < present_from or end > upto:
            return False
    return True
