"""What the processor ignores of an address is taken off in one place, and nothing else is."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from farpeek import addressing, regions
from farpeek.addressing import TopByteIgnored, Whole
from farpeek.kernel import uapi
from farpeek.mappings.residency import PagemapResidency, ScanResidency
from farpeek.model import PAGE_SIZE, Regions

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

IGNORING = TopByteIgnored()
users = st.integers(0, IGNORING.kernel_half - 1)
tags = st.integers(0, 255)


@given(users, tags)
def test_a_users_address_is_the_same_with_any_tag(address: int, tag: int) -> None:
    assert IGNORING.untagged(address | tag << 56) == address


@given(users, tags)
def test_an_address_of_the_kernels_half_stays_as_it_is(address: int, tag: int) -> None:
    high = address | IGNORING.kernel_half | tag << 56
    assert IGNORING.untagged(high) == high


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_a_column_is_its_addresses_one_by_one(addresses: list[int]) -> None:
    found = IGNORING.all_untagged(addresses)
    assert list(found) == list(map(IGNORING.untagged, addresses))
    assert Whole().all_untagged(addresses) is addresses


@given(st.lists(users))
def test_a_column_without_tags_is_not_copied(addresses: list[int]) -> None:
    column = array("Q", addresses)
    assert IGNORING.all_untagged(column) is column


@given(users, tags, st.integers(1, 1 << 40))
def test_a_range_keeps_its_length(address: int, tag: int, length: int) -> None:
    before, addressing.HERE = addressing.HERE, IGNORING
    try:
        start = address | tag << 56
        assert addressing.untagged_range(start, start + length) == (address, address + length)
    finally:
        addressing.HERE = before


def test_runs_are_places_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two names of what touches are one run; two names of the same are an overlap."""
    monkeypatch.setattr(addressing, "HERE", IGNORING)
    asked = Regions([0x5A << 56 | 0x1000, 0x01 << 56 | 0x1010], [16, 16])
    assert list(regions.in_order(asked).places()) == [(0x1000, 0x1020)]


def test_a_walk_that_does_not_rise_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel's did where it took an address for another one than it was asked about."""

    def elsewhere(*_: object) -> tuple[Sequence[uapi.PageRun], int]:
        return [], 0x1000

    monkeypatch.setattr(uapi, "pagemap_scan", elsewhere)
    scan = ScanResidency(sees_guards=True)
    start = 0x5A00_0000_0000_0000
    assert scan.look("/proc/self", [(start, start + PAGE_SIZE)]) == []
    assert scan.look_on("/proc/self", start, start + PAGE_SIZE) == ([], start + PAGE_SIZE)


def test_nobody_looks_for_pages_in_the_kernels_half() -> None:
    end = 2**64 - PAGE_SIZE
    found = PagemapResidency().look_on("/proc/self", addressing.kernel_half(), end)
    assert found == ([], end)
