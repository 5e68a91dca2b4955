from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, overload

import pytest
from hypothesis import given

from farpeek import regions as arithmetic
from farpeek.errors import InvalidRequest
from farpeek.model import ADDRESS_LIMIT, GapReason, Regions, WriteSpec
from farpeek.regions import Hole, Runs
from strategies import holes, regions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def covered(asked: Regions) -> set[int]:
    return {
        byte
        for address, length in zip(asked.addresses, asked.lengths, strict=True)
        for byte in range(address, address + length)
    }


@given(regions())
def test_merged_runs_cover_exactly_what_was_asked_for(asked: Regions) -> None:
    runs = arithmetic.union(asked)
    assert covered(Regions(runs.starts, runs.lengths)) == covered(asked)


@given(regions(most=5, span=200))
def test_regions_to_write_that_share_a_byte_are_named(asked: Regions) -> None:
    pairs = zip(asked.addresses, asked.lengths, strict=True)
    each = [set(range(address, address + length)) for address, length in pairs]
    spec = WriteSpec(asked.addresses, [bytes(length) for length in asked.lengths])
    if not any(one & other for one, other in combinations(each, 2)):
        assert arithmetic.check_write(spec) == sum(asked.lengths)
        return
    with pytest.raises(InvalidRequest) as refused:
        arithmetic.check_write(spec)
    first, second = (int(word) for word in str(refused.value).split() if word.isdigit())
    assert each[first] & each[second]
    assert refused.value.place == ("addresses", second)


@given(regions())
def test_merged_runs_are_in_order_and_never_touch(asked: Regions) -> None:
    runs = arithmetic.union(asked)
    ends = [start + length for start, length in zip(runs.starts, runs.lengths, strict=True)]
    assert all(runs.lengths)
    assert all(end < start for end, start in zip(ends, runs.starts[1:], strict=False))


@given(regions())
def test_regions_are_read_in_the_order_of_the_request_each_as_often_as_named(
    asked: Regions,
) -> None:
    runs = arithmetic.in_order(asked)
    read = [byte for start, end in runs.places() for byte in range(start, end)]
    pairs = zip(asked.addresses, asked.lengths, strict=True)
    assert read == [byte for start, length in pairs for byte in range(start, start + length)]


def test_neighbours_in_a_request_that_touch_are_read_as_one() -> None:
    runs = arithmetic.in_order(Regions([40, 50, 70, 70, 80], [10, 20, 10, 10, 1]))
    assert list(runs.places()) == [(40, 80), (70, 81)]


@given(regions(), holes())
def test_parts_cover_everything_in_order_and_lie_in_the_hole_that_they_name(
    asked: Regions, missing: list[Hole]
) -> None:
    runs = arithmetic.in_order(asked)
    parts = list(arithmetic.parts(runs, missing))
    read = [byte for start, end in runs.places() for byte in range(start, end)]
    assert [byte for _, start, end, _ in parts for byte in range(start, end)] == read
    lost = {byte: hole for hole in missing for byte in range(hole.start, hole.end)}
    at = 0
    for offset, start, end, hole in parts:
        assert offset == at
        assert {lost.get(byte) for byte in range(start, end)} == {hole}
        at += end - start


@given(regions(), holes())
def test_gaps_are_the_bytes_that_lie_in_holes(asked: Regions, missing: list[Hole]) -> None:
    found = arithmetic.lacking(asked, missing)
    lost = {byte for hole in missing for byte in range(hole.start, hole.end)}
    for number, (address, length) in enumerate(zip(asked.addresses, asked.lengths, strict=True)):
        own = [gap for gap in found if gap.region == number]
        assert {
            byte for gap in own for byte in range(gap.address, gap.address + gap.length)
        } == lost & set(range(address, address + length))
        assert all(gap.address == address + gap.offset and gap.length for gap in own)


@given(regions(), holes())
def test_gaps_of_one_region_are_merged_where_the_reason_is_the_same(
    asked: Regions, missing: list[Hole]
) -> None:
    found = arithmetic.lacking(asked, missing)
    for left, right in pairwise(found):
        if left.region == right.region and left.address + left.length == right.address:
            assert left.reason is not right.reason


@pytest.mark.parametrize(
    ("asked", "place"),
    [
        (Regions([], []), ("addresses",)),
        (Regions([1, 2], [3]), ("lengths",)),
        (Regions([0, ADDRESS_LIMIT - 1], [1, 2]), ("lengths", 1)),
        (Regions([-1], [1]), ("addresses",)),
    ],
)
def test_regions_that_make_no_sense_are_refused_by_name(
    asked: Regions, place: tuple[str | int, ...]
) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        arithmetic.check(asked)
    assert refusal.value.place == place


def test_the_last_byte_of_the_address_space_can_be_asked_for() -> None:
    assert arithmetic.check(Regions([ADDRESS_LIMIT - 1], [1])) == 1


class Counted(Sequence[Hole]):
    """A sequence that counts how often it is looked into."""

    def __init__(self, items: list[Hole]) -> None:
        self._items = items
        self.looks = 0

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> Hole: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Hole]: ...
    def __getitem__(self, index: int | slice) -> Hole | Sequence[Hole]:
        assert isinstance(index, int)
        self.looks += 1
        return self._items[index]


@pytest.mark.parametrize("cut", [arithmetic.parts, arithmetic.without])
def test_cutting_many_places_by_many_holes_does_not_look_at_all_of_them_each_time(
    cut: Callable[..., Iterable[object]],
) -> None:
    count = 4096
    places = [(2 * number, 2 * number + 1) for number in range(count)]
    holes = Counted([Hole(start, end, GapReason.UNMAPPED) for start, end in places])
    what: object = places
    if cut is arithmetic.parts:
        what = Runs([start for start, _ in places], [1] * count)
    found = list(cut(what, holes))
    assert len(found) == (count if cut is arithmetic.parts else 0)
    assert holes.looks <= count * (count.bit_length() + 4)
