from __future__ import annotations

import tracemalloc
from array import array
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farpeek import columns

HIGH = 1 << 63
numbers = st.one_of(
    st.integers(0, 40), st.integers(HIGH - 40, HIGH + 40), st.integers(0, 2**64 - 1)
)


@st.composite
def two_columns(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Anything at all, or regions nearly one behind the other."""
    count = draw(st.integers(1, 20))
    lengths = draw(st.lists(numbers, min_size=count, max_size=count))
    if draw(st.booleans()):
        return draw(st.lists(numbers, min_size=count, max_size=count)), lengths
    lengths = [length % 5000 for length in lengths]
    steps = draw(st.lists(st.integers(-1, 3), min_size=count, max_size=count))
    first = draw(st.sampled_from([0, 1, HIGH - 30_000, HIGH - 1]))
    starts = [first]
    for length, step in zip(lengths[:-1], steps[1:], strict=True):
        starts.append(max(0, starts[-1] + length + step))
    return starts, lengths


@given(two_columns())
def test_regions_lie_apart_if_each_begins_behind_the_end_of_the_one_before(
    pair: tuple[list[int], list[int]],
) -> None:
    starts, lengths = pair
    ends = [start + length for start, length in zip(starts, lengths, strict=True)]
    expected = (
        all(lengths)
        and all(end < HIGH for end in ends)
        and all(end < start for end, start in zip(ends, starts[1:], strict=False))
    )
    assert columns.lie_apart(array("Q", starts), array("Q", lengths)) is expected


def test_columns_of_many_lengths_leave_little_in_memory() -> None:
    ones = array("Q", [1]) * 65_536
    tracemalloc.start()
    try:
        for count in [*range(4000, 4100), *range(65_436, 65_536)]:
            assert columns.are_low(ones[:count], ones[:count])
        kept, _most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 8 << 20


@given(two_columns())
def test_numbers_are_low_if_none_has_the_highest_bit(pair: tuple[list[int], list[int]]) -> None:
    starts, lengths = pair
    expected = max(starts + lengths) < HIGH
    assert columns.are_low(array("Q", starts), array("Q", lengths)) is expected


@given(st.lists(numbers, max_size=20), st.booleans())
def test_a_total_is_the_sum(values: list[int], equal: bool) -> None:  # noqa: FBT001 - drawn
    if equal and values:
        values = [values[0]] * len(values)
    assert columns.total(array("Q", values)) == sum(values)


@given(st.lists(numbers, min_size=1, max_size=20), st.booleans())
def test_offsets_are_those_of_numbers_one_behind_the_other(
    values: list[int],
    equal: bool,  # noqa: FBT001 - drawn
) -> None:
    if equal:
        values = [values[0]] * len(values)
    found = columns.offsets(array("Q", values))
    if found is not None:
        assert list(found) == list(accumulate(values, initial=0))
    else:
        assert any(a != b for a, b in pairwise(values)) or not values[0]


@pytest.mark.parametrize("number", [-1, 2**64])
def test_what_is_no_number_of_64_bits_is_refused(number: int) -> None:
    with pytest.raises(OverflowError):
        columns.column([number])
