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


@pytest.mark.parametrize("number", [-1, 2**64])
def test_what_is_no_number_of_64_bits_is_refused(number: int) -> None:
    with pytest.raises(OverflowError):
        columns.column([number])
