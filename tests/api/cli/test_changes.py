"""Laws of what `farpeek watch` and `farpeek write` compare and count."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farpeek_api.cli.changes import Account, History, Part
from farpeek_api.cli.ranges import merged
from farpeek_api.cli.show.endings import counted
from farpeek_api.cli.show.moments import duration
from farpeek_api.cli.show.progress import progress_line
from farpeek_api.client import Gap, ReadResult, Tick

BASE = 0x1000
LENGTH = 20
GAPS = st.lists(st.tuples(st.integers(0, LENGTH - 1), st.integers(1, 6)), max_size=2)
READINGS = st.lists(st.tuples(st.binary(min_size=LENGTH, max_size=LENGTH), GAPS), min_size=1)


def _gaps(places: list[tuple[int, int]]) -> list[Gap]:
    return [
        Gap(0, at, BASE + at, min(size, LENGTH - at), "unmapped", retryable=False)
        for at, size in places
    ]


def _seen(data: bytes, places: list[tuple[int, int]]) -> list[int | None]:
    codes: list[int | None] = [*data]
    for at, size in places:
        codes[at : at + size] = [None] * len(codes[at : at + size])
    return codes


def _codes(parts: list[Part]) -> list[int | None]:
    pairs = [pair for part in parts for pair in zip(part.data, part.missing, strict=True)]
    return [None if missing else byte for byte, missing in pairs]


@given(READINGS, st.sampled_from([1, 3, 4, 8, 64]))
def test_a_history_has_what_is_there_and_what_was_there_before_it_changed(
    readings: list[tuple[bytes, list[tuple[int, int]]]], size: int
) -> None:
    history = History(BASE, size)
    seen: list[list[int | None]] = []
    for data, places in readings:
        changed = history.add(data, _gaps(places))
        seen.append(_seen(data, places))
        assert _codes(list(history.parts)) == seen[-1]
        for number in range(len(history.parts)):
            place = slice(number * size, number * size + size)
            values = [each[place] for each in seen]
            differs = len(values) > 1 and values[-1] != values[-2]
            assert (number in changed) == differs
            if differs:
                assert _codes([history.before[number]]) == values[-2]


@given(st.lists(st.tuples(st.integers(0, 90), st.integers(1, 30)), max_size=12))
def test_merged_ranges_have_the_same_addresses_in_order_and_none_twice(
    places: list[tuple[int, int]],
) -> None:
    ranges = [(start, start + length) for start, length in places]
    found = merged(ranges)
    addresses = [each for start, end in found for each in range(start, end)]
    assert addresses == sorted({each for start, end in ranges for each in range(start, end)})
    assert all(end < start for (_, end), (start, _) in pairwise(found))


def _tick(number: int, by: dict[str, int]) -> Tick:
    result = ReadResult("t", [], b"", 0, 0, [], {}, None, 0, 0, {})
    now = datetime.now(UTC)
    return Tick(number, now, now, sum(by.values()), by, result)


def test_an_account_has_every_tick() -> None:
    account = Account()
    account.add(_tick(1, {}))
    account.add(_tick(5, {"target": 2, "service": 1}))
    account.add(_tick(8, {"target": 2}))
    assert (account.last, account.read, account.lost) == (8, 3, 5)
    assert account.members["dropped_by"] == {"target": 4, "service": 1}
    assert counted(account.lost, account.lost_by) == "5 lost (service 1, target 4)"
    assert counted(0, {"service": 0}) == "0 lost"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.2, "0 s"), (59.4, "59 s"), (61, "1:01"), (3723, "1:02:03")]
)
def test_a_duration_is_short(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("looks", "total", "shown"),
    [
        ([(0, 0)], 1 << 30, "  0%  0B/s  0B of 1G"),
        ([(0, 0), (2, 256 << 20)], 1 << 30, " 25%  128M/s  6 s left  256M of 1G"),
        ([(0, 0), (2, 1 << 30)], 1 << 30, "100%  512M/s  0 s left  1G of 1G"),
    ],
)
def test_progress_says_rate_and_time_left(
    looks: list[tuple[float, int]], total: int, shown: str
) -> None:
    assert progress_line(deque(looks), total) == shown
