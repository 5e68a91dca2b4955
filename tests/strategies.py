"""Hypothesis strategies for what has laws."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import strategies as st

from farpeek.model import ADDRESS_LIMIT, PAGE_SIZE, GapReason, Regions
from farpeek.regions import Hole

_BASE = 0x7F00_0000_0000


@st.composite
def regions(draw: st.DrawFn, most: int = 24, span: int = 6 * PAGE_SIZE) -> Regions:
    """Regions within a few pages: they touch, overlap, repeat, and some are empty."""
    pairs = draw(
        st.lists(
            st.tuples(st.integers(0, span), st.one_of(st.integers(0, 40), st.integers(0, span))),
            min_size=1,
            max_size=most,
        )
    )
    return Regions([_BASE + offset for offset, _ in pairs], [length for _, length in pairs])


@st.composite
def holes(draw: st.DrawFn, span: int = 12 * PAGE_SIZE) -> list[Hole]:
    """Disjoint holes in order, some of which touch, anywhere around `regions`."""
    edges = sorted(draw(st.sets(st.integers(0, span), max_size=12)))
    reasons = st.sampled_from([GapReason.UNMAPPED, GapReason.NO_ACCESS])
    return [
        Hole(_BASE + start, _BASE + end, draw(reasons))
        for start, end in pairwise(edges)
        if draw(st.booleans())
    ]


addresses = st.integers(0, ADDRESS_LIMIT - 1)
