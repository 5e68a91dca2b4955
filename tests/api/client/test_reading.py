"""Reads by the client, of a real service: what is there, what is missing, and why."""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from typing import TYPE_CHECKING

import pytest

from farpeek_api.client import IncompleteRead, NoSuchTarget, Problem, TargetChanged, TooLarge
from support import targets

if TYPE_CHECKING:
    from farpeek_api.client import Client, Target
    from support.sample import Sample


def test_a_read_gives_the_bytes_that_are_there(seen: Target, sample: Sample) -> None:
    assert seen.read(sample.address + 1000, 5000) == sample.bytes(1000, 5000)
    assert seen.read(sample.address, 0) == b""


def test_regions_are_given_in_the_order_of_the_request_each_as_often_as_named(
    seen: Target, sample: Sample
) -> None:
    regions = [(sample.address + at, length) for at, length in [(9, 2), (0, 3), (9, 2), (5, 0)]]
    result = seen.readv(regions)
    assert [result.region(number) for number in range(4)] == [
        sample.bytes(9, 2),
        sample.bytes(0, 3),
        sample.bytes(9, 2),
        b"",
    ]
    assert result.region(-1) == b""
    with pytest.raises(IndexError):
        result.region(4)
    assert result.complete
    assert (result.requested, result.read, result.generation) == (7, 7, 1)
    assert result.backend["pidfd"] in ("native", "emulated")


def test_what_is_missing_is_a_gap_with_its_reason(seen: Target, sample: Sample) -> None:
    end = sample.address + sample.size
    result = seen.readv([(sample.address, 2), (end - 3, 8)])
    (gap,) = result.gaps
    assert (gap.region, gap.offset, gap.address, gap.length) == (1, 3, end, 5)
    assert (gap.reason, gap.retryable) == ("no_access", False)
    assert result.region(1) == sample.bytes(sample.size - 3, 3) + bytes(5)
    assert not result.complete


def test_a_read_that_stops_has_what_is_before_the_gap(seen: Target, sample: Sample) -> None:
    end = sample.address + sample.size
    result = seen.readv([(end - 3, 8), (sample.address, 4)], on_gap="stop")
    assert result.region(0) == sample.bytes(sample.size - 3, 3)
    assert result.region(1) == b""
    assert result.read == 3


def test_a_read_that_misses_bytes_says_so_and_has_the_others(seen: Target, sample: Sample) -> None:
    with pytest.raises(IncompleteRead, match="no_access") as caught:
        seen.read(sample.address + sample.size - 3, 8)
    assert caught.value.result.data[:3] == sample.bytes(sample.size - 3, 3)


def test_a_read_knows_which_program_is_meant(seen: Target, sample: Sample) -> None:
    assert seen.read(sample.address, 1, generation=1)
    with pytest.raises(TargetChanged):
        seen.read(sample.address, 1, generation=2)


def test_a_stable_read_says_whether_it_was(seen: Target, sample: Sample) -> None:
    assert seen.readv([(sample.address, 8)], stable=3).stable is True
    assert seen.readv([(sample.address, 8)]).stable is None


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        *(("u8", "<B"), ("u16", "<H"), ("u32", "<I"), ("u64", "<Q"), ("f32", "<f")),
        *(("i8", "<b"), ("i16", "<h"), ("i32", "<i"), ("i64", "<q"), ("f64", "<d")),
        ("pointer", "<Q"),
    ],
)
def test_numbers_are_read_as_the_target_has_them(
    seen: Target, sample: Sample, name: str, layout: str
) -> None:
    raw = sample.bytes(243, struct.calcsize(layout))
    assert getattr(seen, name)(sample.address + 243) == struct.unpack(layout, raw)[0]
    assert seen.unpack(layout, sample.address + 243) == struct.unpack(layout, raw)


def test_numbers_of_which_bytes_are_missing_are_none(seen: Target, sample: Sample) -> None:
    with pytest.raises(IncompleteRead):
        seen.u64(sample.address + sample.size - 7)
    with pytest.raises(struct.error):
        seen.unpack("<nonsense", sample.address)


def test_a_text_ends_before_its_nul(seen: Target, sample: Sample) -> None:
    assert seen.cstring(sample.address + 245) == bytes(range(245, 251))
    assert seen.cstring(sample.address) == b""


def test_a_text_that_does_not_end_within_its_limit_is_an_error(
    seen: Target, sample: Sample
) -> None:
    with pytest.raises(ValueError, match="no NUL in 6 bytes"):
        seen.cstring(sample.address + 245, limit=6)
    assert seen.cstring(sample.address + 245, limit=7) == bytes(range(245, 251))
    with pytest.raises(IncompleteRead):
        seen.cstring(sample.address + sample.size - 2)


def test_a_text_goes_on_behind_a_page(peek: Client) -> None:
    text = bytes(range(1, 256)) * 200
    with mmap.mmap(-1, 16 * mmap.PAGESIZE) as area:
        area[mmap.PAGESIZE - 3 :] = text.ljust(15 * mmap.PAGESIZE + 3, b"\0")
        address = ctypes.addressof(ctypes.c_char.from_buffer(area)) + mmap.PAGESIZE - 3
        this = peek.target(os.getpid())
        assert this.cstring(address, limit=1 << 40) == text
        assert this.cstring(address, limit=len(text) + 1) == text
        with pytest.raises(ValueError, match="no NUL"):
            this.cstring(address, limit=len(text))


@pytest.mark.parametrize(("address", "length"), [(-1, 1), (1 << 64, 1), (1, -1), (1, 1 << 64)])
def test_what_is_no_address_is_not_sent(seen: Target, address: int, length: int) -> None:
    with pytest.raises(ValueError, match="is no"):
        seen.readv([(address, length)])


def test_more_than_an_answer_may_carry_is_refused(seen: Target, sample: Sample) -> None:
    with pytest.raises(TooLarge):
        seen.read(sample.address, 9 << 20)


def test_many_targets_are_read_and_each_has_its_own_result(
    peek: Client, seen: Target, sample: Sample
) -> None:
    with targets.start("plain", "--marker", 77) as plain:
        other = peek.target(plain.pid)
        regions = [(sample.address + 3, 2), (sample.address + sample.size, 4)]
        results = peek.readv(
            [(seen.id, regions), ("none", [(1, 1)]), (other.id, [(plain["marker"], 8)])]
        )
        assert isinstance(results[1], NoSuchTarget)
        assert results[0].region(0) == sample.bytes(3, 2)
        assert [gap.region for gap in results[0].gaps] == [1]
        assert int.from_bytes(results[2].data, "little") == 77
        stopped = peek.readv(
            [(seen.id, regions), (other.id, [(plain["marker"], 8)])], on_gap="stop"
        )
        assert [result.read for result in stopped] == [2, 8]
        other.release()
    assert issubclass(NoSuchTarget, Problem)


def test_mappings_are_listed(seen: Target, sample: Sample) -> None:
    listed = seen.maps()
    assert [each.start for each in listed] == sorted(each.start for each in listed)
    (found,) = seen.maps(address=sample.address, residency=True)
    assert found.start <= sample.address < found.end
    assert found.resident_pages * seen.info.page_size >= sample.size
    assert found.length == found.end - found.start
    assert any(each.path and each.build_id for each in listed)
