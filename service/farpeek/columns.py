"""Columns of numbers: a request may have 65,536 regions, and Python pays for each step with each.

They are `array('Q')`, which hands them to the kernel as they are.
"""

from __future__ import annotations

from array import array
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def column(numbers: Sequence[int]) -> array[int]:
    """Give ``numbers`` as a column; OverflowError if one is not from 0 to 2^64-1."""
    return numbers if isinstance(numbers, array) else array("Q", numbers)


def total(numbers: Sequence[int]) -> int:
    """Add up a column."""
    return sum(numbers)


def offsets(numbers: array[int]) -> Sequence[int]:
    """Where each of them begins if they lie one behind the other, and where the last one ends."""
    if _are_equal(numbers) and numbers[0]:
        return range(0, (len(numbers) + 1) * numbers[0], numbers[0])
    return list(accumulate(numbers, initial=0))


def _are_equal(numbers: array[int]) -> bool:
    return bool(numbers) and numbers.tobytes() == numbers[:1].tobytes() * len(numbers)
