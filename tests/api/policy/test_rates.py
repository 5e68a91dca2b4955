"""How much a client may have, by a clock that tests turn."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farpeek.errors import TooBusy
from farpeek_api.policy.rates import Bucket

if TYPE_CHECKING:
    from collections.abc import Sequence


def served(rate: float, burst: float, waits: Sequence[float]) -> int:
    """Ask for one after each wait; how many are answered."""
    now = 0.0
    count = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: now)
        bucket = Bucket(rate, burst, "requests")
        for wait in waits:
            now += wait
            with suppress(TooBusy):
                bucket.take(1)
                count += 1
    return count


@given(
    st.floats(0.1, 100),
    st.integers(1, 20),
    st.lists(st.floats(0, 3), max_size=60),
)
def test_nobody_has_more_than_the_rate_and_one_burst(
    rate: float, burst: int, waits: list[float]
) -> None:
    assert served(rate, burst, waits) <= burst + rate * sum(waits) + 1e-6


def test_who_waits_as_long_as_told_is_answered() -> None:
    assert served(0.5, 1, [0, 2.0, 2.0]) == 3
    assert served(0.5, 1, [0, 1.9, 0.2]) == 2
