from __future__ import annotations

from array import array
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farpeek import columns

numbers = st.one_of(st.integers(0, 40), st.integers(0, 2**40))


@given(st.lists(numbers, min_size=1, max_size=20), st.booleans())
def test_offsets_are_those_of_numbers_one_behind_the_other(
    values: list[int],
    equal: bool,  # noqa: FBT001 - drawn
) -> None:
    if equal:
        values = [values[0]] * len(values)
    found = columns.offsets(array("Q", values))
    assert list(found) == list(accumulate(values, initial=0))


@given(st.lists(st.one_of(numbers, st.integers(2**63 - 2**26, 2**64 - 1)), min_size=1))
def test_questions_about_all_numbers_are_answered_as_one_by_one(values: list[int]) -> None:
    asked = array("Q", values)
    assert columns.total(asked) == sum(values)
    assert columns.largest(asked) == max(values)
    assert columns.are_equal(asked) == (len(set(values)) == 1)
    assert columns.are_below_2_to_56(asked) == (max(values) < 2**56)
    assert max(values) - min(values) <= columns.spread(asked) <= max(values) - min(values) + 2**25


@pytest.mark.parametrize("number", [-1, 2**64])
def test_what_is_no_number_of_64_bits_is_refused(number: int) -> None:
    with pytest.raises(OverflowError):
        columns.column([number])
