"""Laws of the arithmetic between what was asked for and what a page table says."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from farpeek import regions as arithmetic
from farpeek.kernel.uapi import PAGE_IS_PRESENT, PAGE_IS_SWAPPED, PageRun
from farpeek.mappings.residency import all_present, clusters, split
from farpeek.model import PAGE_SIZE, Regions
from strategies import regions

_BASE = 0x7F00_0000_0000


@st.composite
def page_runs(draw: st.DrawFn) -> list[PageRun]:
    """Runs of pages in order, some of which touch."""
    edges = sorted(draw(st.sets(st.integers(0, 14), max_size=12)))
    kinds = st.sampled_from([PAGE_IS_PRESENT, PAGE_IS_SWAPPED])
    return [
        PageRun(_BASE + first * PAGE_SIZE, _BASE + last * PAGE_SIZE, draw(kinds))
        for first, last in pairwise(edges)
        if draw(st.booleans())
    ]


@given(regions(), page_runs())
def test_a_split_covers_what_was_asked_for_once_and_in_order(
    asked: Regions, pages: list[PageRun]
) -> None:
    runs = arithmetic.union(asked)
    parts = list(split(runs, pages))
    assert all(part.start < part.end for part in parts)
    assert all(one.end <= other.start for one, other in pairwise(parts))
    joined: list[tuple[int, int]] = []
    for part in parts:
        if joined and joined[-1][1] == part.start:
            joined[-1] = (joined[-1][0], part.end)
        else:
            joined.append((part.start, part.end))
    assert joined == list(runs.places())


@given(regions(), page_runs())
def test_each_part_of_a_split_is_what_its_pages_are(asked: Regions, pages: list[PageRun]) -> None:
    for part in split(arithmetic.union(asked), pages):
        inside = [run for run in pages if run.start < part.end and part.start < run.end]
        if not part.categories:
            assert not inside
        else:
            (run,) = inside
            assert run.start <= part.start < part.end <= run.end
            assert part.categories == run.categories


@given(st.lists(st.tuples(st.integers(0, 1 << 32), st.integers(1, 1 << 14)), max_size=20))
def test_clusters_are_whole_pages_apart_and_cover_everything(pairs: list[tuple[int, int]]) -> None:
    asked = Regions([_BASE + at for at, _ in pairs], [length for _, length in pairs])
    runs = arithmetic.union(asked)
    spans = clusters(runs)
    assert all(start % PAGE_SIZE == end % PAGE_SIZE == 0 and start < end for start, end in spans)
    assert all(one[1] <= other[0] for one, other in pairwise(spans))
    for start, end in runs.places():
        assert any(first <= start and end <= last for first, last in spans)
    assert {start // PAGE_SIZE * PAGE_SIZE for start, _ in spans} <= {
        start // PAGE_SIZE * PAGE_SIZE for start, _ in runs.places()
    }


@given(regions(), page_runs())
def test_all_is_present_where_each_run_lies_in_pages_that_are(
    asked: Regions, pages: list[PageRun]
) -> None:
    runs = arithmetic.union(asked)
    assert all_present(runs, pages) == all(
        any(
            page.start <= start and end <= page.end and page.categories == PAGE_IS_PRESENT
            for page in pages
        )
        for start, end in runs.places()
    )
