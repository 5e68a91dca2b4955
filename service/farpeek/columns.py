"""Columns of numbers: a request may have 65,536 regions, and Python pays for each step with each.

They are `array('Q')`, which hands them to the kernel as they are. What is asked of all numbers is
asked of their bytes where that will do: a slice and a count take 1 us for 1,024 of them, a loop 50.
"""

from __future__ import annotations

import sys
from array import array
from itertools import accumulate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_SIZE: Final = 8
_LITTLE: Final = sys.byteorder == "little"


def column(numbers: Sequence[int]) -> array[int]:
    """Give ``numbers`` as a column; OverflowError if one is not from 0 to 2^64-1."""
    return numbers if isinstance(numbers, array) else array("Q", numbers)


def are_equal(numbers: array[int]) -> bool:
    """Whether there are any, and all are the same."""
    return bool(numbers) and numbers.tobytes() == numbers[:1].tobytes() * len(numbers)


def total(numbers: array[int]) -> int:
    """Add up a column."""
    return numbers[0] * len(numbers) if are_equal(numbers) else sum(numbers)


def largest(numbers: array[int]) -> int:
    """The largest number of a column that has any."""
    return numbers[0] if are_equal(numbers) else max(numbers)


def are_below_2_to_56(numbers: array[int]) -> bool:
    """Whether the highest byte of each is 0, as it is of a user's addresses on most machines."""
    return numbers.tobytes()[7 if _LITTLE else 0 :: _SIZE].count(0) == len(numbers)


def spread(numbers: array[int]) -> int:
    """How far they lie apart, at least; up to 2^25 more than they do."""
    data = numbers.tobytes()
    if not _LITTLE or any(
        data[place::_SIZE] != data[place : place + 1] * len(numbers) for place in range(4, _SIZE)
    ):
        return max(numbers) - min(numbers)
    fourth = data[3::_SIZE]  # of their bytes: steps of 2^24
    return (max(fourth) - min(fourth) + 1) << 24


def offsets(numbers: array[int]) -> Sequence[int]:
    """Where each of them begins if they lie one behind the other, and where the last one ends."""
    if are_equal(numbers) and numbers[0]:
        return range(0, (len(numbers) + 1) * numbers[0], numbers[0])
    return list(accumulate(numbers, initial=0))
