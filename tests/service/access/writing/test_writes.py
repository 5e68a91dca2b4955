"""Writes: what they change, and what they leave alone."""

from __future__ import annotations

import mmap
import os
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farpeek.errors import ExpectationFailed, InvalidRequest
from farpeek.model import Gap, GapReason, Mode, WriteSpec
from support.maps import mapping_named
from support.reading import proc_mem
from support.targets import Target, start
from support.writing import held, hurt, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from farpeek.access import WriteAccess
    from farpeek.identity import Process

PAGE = mmap.PAGESIZE


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A target for tests that leave it as they found it."""
    with start("written", tmp_path_factory.mktemp("written") / "file") as made:
        yield made


def test_what_is_written_is_there_and_what_was_there_is_told(
    writer: WriteAccess, target: Target, process: Process
) -> None:
    address = target["block"]
    was = proc_mem(target.pid, address, PAGE)
    result = write(writer, process, [address + 8, address + 100], [b"written", b"!"])
    assert (result.written, result.requested, result.complete) == (8, 8, True)
    assert result.verified
    assert not result.gaps
    assert was is not None
    assert bytes(result.before) == was[8:15] + was[100:101]
    now = proc_mem(target.pid, address, PAGE)
    assert now == was[:8] + b"written" + was[15:100] + b"!" + was[101:]
    assert hurt(target) == []


def test_regions_that_touch_are_each_written_with_their_own_bytes(
    writer: WriteAccess, target: Target, process: Process
) -> None:
    address = target["block"]
    parts = [address + 6, address, address + 3]
    result = write(writer, process, parts, [b"ghi", b"abc", b"def"])
    assert result.verified
    assert proc_mem(target.pid, address, 9) == b"abcdefghi"


def test_a_large_write_and_a_thousand_small_ones_arrive_whole(
    writer: WriteAccess, target: Target, process: Process
) -> None:
    big = target["big"]
    content = os.urandom(1024 * PAGE - 20)
    assert write(writer, process, [big + 10], [content]).verified
    assert proc_mem(target.pid, big + 10, len(content)) == content
    pieces = [os.urandom(8) for _ in range(1025)]
    places = [big + number * 4000 for number in range(1025)]
    assert write(writer, process, places[:1025], pieces).verified
    assert [proc_mem(target.pid, place, 8) for place in places] == pieces
    assert hurt(target) == []


def test_nothing_is_written_where_the_target_itself_could_not(
    writer: WriteAccess, target: Target, process: Process
) -> None:
    block = target["block"]
    vdso = mapping_named(target.pid, "[vdso]")
    readonly, closed, hole = block + PAGE, block + 3 * PAGE, block + 6 * PAGE
    places = [readonly, closed, hole, vdso]
    before = proc_mem(target.pid, vdso, 8), proc_mem(target.pid, readonly, 8)
    result = write(writer, process, places, [b"12345678"] * 4)
    assert (result.written, result.verified) == (0, False)
    assert list(result.gaps) == [
        Gap(0, 0, readonly, 8, GapReason.NO_ACCESS),
        Gap(1, 0, closed, 8, GapReason.NO_ACCESS),
        Gap(2, 0, hole, 8, GapReason.UNMAPPED),
        Gap(3, 0, vdso, 8, GapReason.NO_ACCESS),
    ]
    assert (proc_mem(target.pid, vdso, 8), proc_mem(target.pid, readonly, 8)) == before


def test_a_partial_write_says_to_the_byte_what_was_not_written(
    writer: WriteAccess, target: Target, process: Process
) -> None:
    block = target["block"]
    was = proc_mem(target.pid, block + PAGE, PAGE)
    result = write(writer, process, [block + PAGE - 3], [b"x" * (PAGE + 6)])
    assert list(result.gaps) == [Gap(0, 3, block + PAGE, PAGE, GapReason.NO_ACCESS)]
    assert result.written == 6
    assert result.verified
    now = proc_mem(target.pid, block + PAGE - 4, PAGE + 8)
    assert was is not None
    assert now is not None
    assert now[1 : PAGE + 7] == b"xxx" + was + b"xxx"


def test_a_region_of_no_length_writes_nothing_and_is_no_gap(
    writer: WriteAccess, target: Target, process: Process
) -> None:
    result = write(writer, process, [1, target["block"]], [b"", b"x"])
    assert (result.written, result.complete, list(result.gaps)) == (1, True, [])


def test_memory_that_others_see_is_written_only_if_that_is_allowed(
    writer: WriteAccess, target: Target, process: Process, tmp_path: Path
) -> None:
    places = [target["shared"], target["file_shared"], target["file_private"]]
    result = write(writer, process, places, [b"12345678"] * 3)
    assert [(gap.region, gap.reason) for gap in result.gaps] == [
        (0, GapReason.SHARED),
        (1, GapReason.SHARED),
    ]
    assert result.written == 8
    assert b"12345678" not in (tmp_path / "file").read_bytes()
    allowed = write(writer, process, places, [b"ABCDEFGH"] * 3, allow_shared=True)
    assert allowed.complete
    assert (tmp_path / "file").read_bytes().startswith(b"ABCDEFGH")


def test_with_an_expectation_nothing_is_written_unless_all_of_it_is_there(
    writer: WriteAccess, target: Target, process: Process
) -> None:
    block = target["block"]
    was = proc_mem(target.pid, block, 16)
    assert was is not None
    wrong = bytearray(was[8:])
    wrong[5] ^= 0xFF
    places, data = [block, block + 8], [b"a" * 8, b"b" * 8]
    with pytest.raises(ExpectationFailed) as failed:
        write(writer, process, places, data, expect=[was[:8], bytes(wrong)])
    difference = failed.value.difference
    assert (difference.region, difference.offset, difference.address) == (1, 5, block + 13)
    assert (difference.expected, difference.found) == (wrong[5], was[13])
    assert proc_mem(target.pid, block, 16) == was
    assert write(writer, process, places, data, expect=[was[:8], was[8:]]).verified
    assert proc_mem(target.pid, block, 16) == b"a" * 8 + b"b" * 8


def test_what_cannot_be_read_is_not_as_expected(
    writer: WriteAccess, target: Target, process: Process
) -> None:
    block = target["block"]
    edge = block + 3 * PAGE - 4
    was = proc_mem(target.pid, edge, 4)
    assert was is not None
    with pytest.raises(ExpectationFailed) as failed:
        write(writer, process, [edge], [b"x" * 8], expect=[was + bytes(4)])
    assert (failed.value.difference.offset, failed.value.difference.found) == (4, None)
    assert proc_mem(target.pid, edge, 4) == was


def test_a_rehearsal_tells_what_would_be_written_and_writes_nothing(
    writer: WriteAccess, lasting: Target
) -> None:
    block = lasting["block"]
    was = proc_mem(lasting.pid, block, PAGE)
    spec = WriteSpec([block + PAGE - 4, lasting["shared"]], [b"x" * 8, b"y"])
    with held(lasting.pid) as process:
        found = writer.rehearse(process, spec, time.monotonic() + 20)
    assert (found.result.written, found.would_write, found.result.verified) == (0, 4, False)
    reasons = [gap.reason for gap in found.result.gaps]
    assert reasons == [GapReason.NO_ACCESS, GapReason.SHARED]
    assert {mapping.perms for mapping in found.mappings} == {"rw-p", "r--p", "rw-s"}
    assert any(mapping.start <= block < mapping.end for mapping in found.mappings)
    assert proc_mem(lasting.pid, block, PAGE) == was


def test_the_service_does_not_write_into_itself(writer: WriteAccess) -> None:
    with held(os.getpid()) as process, pytest.raises(InvalidRequest):
        write(writer, process, [0x1000], [b"x"])


@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_memory_is_afterwards_as_the_answer_says(
    by_mode: dict[Mode, WriteAccess], lasting: Target, data: st.DataObject
) -> None:
    """Random pieces over pages of which some may be written, some only be read, some neither."""
    block, size = lasting["block"], 7 * PAGE
    edges = sorted(data.draw(st.sets(st.integers(0, size), min_size=2, max_size=12)))
    spans = [(a, b) for a, b in pairwise(edges) if data.draw(st.booleans())]
    mode = data.draw(st.sampled_from(list(Mode)))
    order = data.draw(st.permutations(spans or [(0, 1)]))
    pieces = [data.draw(st.integers(0, 255)).to_bytes(1, "little") * (b - a) for a, b in order]
    before = _readable(lasting, block, size)
    with held(lasting.pid) as process:
        result = write(by_mode[mode], process, [block + a for a, _ in order], pieces, mode=mode)
    model = bytearray(before)
    may_write = [True, False, True, False, True, True, False]
    for (begin, _), piece in zip(order, pieces, strict=True):
        for offset, byte in enumerate(piece, begin):
            if may_write[offset // PAGE]:
                model[offset] = byte
    assert _readable(lasting, block, size) == bytes(model)
    lost = {gap.address - block + at for gap in result.gaps for at in range(gap.length)}
    assert lost == {o for a, b in order for o in range(a, b) if not may_write[o // PAGE]}
    assert result.written == result.requested - len(lost)
    assert result.verified is (result.written > 0)


def _readable(target: Target, start: int, size: int) -> bytes:
    """The bytes there, zeros for pages that cannot be read."""
    pages = (proc_mem(target.pid, start + at, PAGE) for at in range(0, size, PAGE))
    return b"".join(page or bytes(PAGE) for page in pages)
