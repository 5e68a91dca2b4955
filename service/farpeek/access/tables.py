"""Memory that nobody has touched, and where there are page tables for it already."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from farpeek import regions
from farpeek.access.sparse import TABLE_SPAN
from farpeek.kernel.uapi import PageRun
from farpeek.mappings.residency import TooFragmented
from farpeek.model import ADDRESS_LIMIT
from farpeek.regions import Runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Place = tuple[int, int]
    Look = Callable[[Sequence[Place], int], Sequence[PageRun]]

_MOST_RUNS: Final = 1 << 15
"""Of pages, that are held of one look."""
_FEW_RUNS: Final = 64
"""Of a page table, which has 512 pages."""


def count(places: Sequence[Place]) -> int:
    """How many page tables ``places`` (sorted) come into."""
    return sum(end - start for start, end in _aligned(places)) // TABLE_SPAN


def zeros_without(blank: Sequence[Place], look: Look) -> Iterator[Place]:
    """What is ``blank`` where there are no page tables yet either: zeros.

    Where there are some, reading makes no more of them, and shows what is there at that moment.
    ``look`` says what is in the page table, of places and in at most so many runs.
    """
    try:
        pages = look(_aligned(blank), _MOST_RUNS)
    except TooFragmented:
        for places in _by_table(blank):
            with suppress(TooFragmented):  # so there is a table
                yield from _zeros(places, look(_aligned(places), _FEW_RUNS))
    else:
        yield from _zeros(blank, pages)


def _zeros(places: Sequence[Place], pages: Sequence[PageRun]) -> Iterator[Place]:
    taken = [_aligned([(page.start, page.end)])[0] for page in pages if page.categories]
    tables = [PageRun(start, end, 0) for start, end in regions.union(Runs.of(taken)).places()]
    mapped = [page for page in pages if not page.categories]
    for _, start, end, table in regions.parts(Runs.of(places), tables):
        if table is None:
            for _, first, last, page in regions.parts(Runs.of([(start, end)]), mapped):
                if page is not None:
                    yield first, last


def _aligned(places: Sequence[Place]) -> list[Place]:
    """The spans of whole page tables that ``places`` (sorted) come into, each once."""
    spans: list[Place] = []
    for place_start, place_end in places:
        start = place_start - place_start % TABLE_SPAN
        end = min(-(-place_end // TABLE_SPAN) * TABLE_SPAN, ADDRESS_LIMIT)
        if spans and start <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(end, spans[-1][1])
        else:
            spans.append((start, end))
    return spans


def _by_table(places: Sequence[Place]) -> Iterator[list[Place]]:
    """Cut ``places`` (sorted) where a page table ends; those of one table at a time."""
    part: list[Place] = []
    for place_start, end in places:
        start = place_start
        while start < end:
            table = start // TABLE_SPAN
            if part and table != part[0][0] // TABLE_SPAN:
                yield part
                part = []
            upto = min(end, (table + 1) * TABLE_SPAN)
            part.append((start, upto))
            start = upto
    if part:
        yield part
