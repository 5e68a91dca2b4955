"""Having what was missing read in, after the answer is out, so that the next try finds it."""

from __future__ import annotations

import time
from array import array
from typing import TYPE_CHECKING

from farpeek.access.process_ref import ByNumber
from farpeek.kernel import uapi
from farpeek.mappings.files import MappedFiles
from farpeek.mappings.maps import cut
from farpeek.mappings.residency import NoPagemap, look_at, split
from farpeek.model import PAGE_SIZE, OnGap, ReadSpec, Regions
from farpeek.regions import Runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from farpeek.access.checks import OpenMap
    from farpeek.access.seam import Access
    from farpeek.identity import Process
    from farpeek.mappings.residency import Residency

MOST_BYTES = 16 << 20
"""Of one prefetch: what a profiler misses is small, and readahead is charged to the target."""
_MOST_PLACES = 256
_PLACES_A_CALL = 16
"""process_madvise(2) can wait for I/O itself once the device's queue is full: looks at the time."""


class Prefetcher:
    """Asks the kernel for pages by process_madvise(MADV_WILLNEED), through the pidfd."""

    def __init__(self, open_map: OpenMap, residency: Residency, wait: Access) -> None:
        self._open_map = open_map
        self._residency = residency
        self._wait = wait

    def read_in(self, process: Process, places: Sequence[tuple[int, int]], deadline: float) -> None:
        """Ask for ``places`` (`bounded`) that are of local files, or swapped out.

        Files on any other filesystem are not touched: their server may never answer. What was
        swapped out is read too, for the kernel leaves it marked as swapped otherwise. In a thread;
        raises what ``Access.read`` does.
        """
        of_files, anonymous = self._sort(process, places)
        for at in range(0, len(of_files), _PLACES_A_CALL):
            if time.monotonic() > deadline:
                return
            some = of_files[at : at + _PLACES_A_CALL]
            vector = array("Q", (word for start, end in some for word in (start, end - start)))
            if uapi.process_madvise_willneed(process.pidfd, vector, len(some)) < 0:
                return
        swapped = self._swapped(process, anonymous)
        if swapped:
            spec = ReadSpec(Regions(swapped, [1] * len(swapped)), on_gap=OnGap.CONTINUE)
            self._wait.read(process, spec, deadline)

    def _sort(
        self, process: Process, places: Sequence[tuple[int, int]]
    ) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Pages of local files, and pages of anonymous memory, in order and bounded."""
        proc = ByNumber(process).proc
        of_files: list[tuple[int, int]] = []
        anonymous: list[tuple[int, int]] = []
        files = MappedFiles(proc)
        local: dict[tuple[int, int], bool] = {}
        with self._open_map(proc) as address_map:
            for start, end, mapping in cut(address_map, places):
                if mapping is None:
                    continue
                if not mapping.inode:
                    anonymous.append((start, end))
                    continue
                if mapping.device not in local:
                    local[mapping.device] = files.is_local(mapping.device)
                if local[mapping.device]:
                    of_files.append((start, end))
        return of_files, anonymous

    def _swapped(self, process: Process, places: Sequence[tuple[int, int]]) -> list[int]:
        """The pages in ``places`` that are swapped out; no others may be waited for."""
        runs = Runs.of(places)
        try:
            _, pages = look_at(self._residency, ByNumber(process).proc, runs)
        except (NoPagemap, OSError):
            return []
        return [
            address
            for page in split(runs, pages)
            if page.categories & (uapi.PAGE_IS_SWAPPED | uapi.PAGE_IS_GUARD) == uapi.PAGE_IS_SWAPPED
            for address in range(page.start, page.end, PAGE_SIZE)
        ]


def bounded(places: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The pages of ``places``, in order, each once, and not too many."""
    return list(_first_pages(places))


def _first_pages(places: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    reached, left = 0, MOST_BYTES
    for start, end in sorted(places)[:_MOST_PLACES]:
        first = max(start // PAGE_SIZE * PAGE_SIZE, reached)
        last = min(-(-end // PAGE_SIZE) * PAGE_SIZE, first + left)
        if first < last:
            yield first, last
            reached = last
            left -= last - first
