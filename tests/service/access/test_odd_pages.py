"""Pages that are no usual memory: one reason by every way and in both modes, and no false hope."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from farpeek.access import choose
from farpeek.access.probe import probe
from farpeek.errors import RangeUnreadable
from farpeek.identity import Process
from farpeek.model import GapReason, Mode, OnGap, PieceKind, RangeSpec, ReadSpec, Regions, WriteSpec
from support.reading import proc_mem
from support.targets import Target, start

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = os.sysconf("SC_PAGE_SIZE")
WAYS = choose(probe())
ODD = {
    "protected": None,  # a read waits for no handler: zeros
    "zero": None,
    "poisoned": GapReason.NO_ACCESS,
    "guarded": GapReason.NO_ACCESS,
    "btf": GapReason.NO_ACCESS,
    "ring": GapReason.NO_ACCESS,
}
"""What each comes to; None: zeros."""


@pytest.fixture(scope="module")
def odd() -> Iterator[Target]:
    with start("odd") as target:
        yield target


@pytest.fixture(scope="module")
def process(odd: Target) -> Iterator[Process]:
    pidfd = os.pidfd_open(odd.pid)
    yield Process(odd.pid, pidfd)
    os.close(pidfd)


def place(odd: Target, name: str) -> int:
    if name not in odd.addresses:
        pytest.skip(f"there is no page that is {name} here")
    return odd[name]


def soon() -> float:
    return time.monotonic() + 20


def kind_of(odd: Target, name: str) -> GapReason | None:
    if name == "btf" and proc_mem(odd.pid, odd[name], PAGE) is not None:
        pytest.skip("this kernel lets it be read")
    return ODD[name]


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("name", ODD)
def test_a_read_gives_the_same_in_both_modes(
    odd: Target, process: Process, name: str, mode: Mode
) -> None:
    at, reason = place(odd, name), kind_of(odd, name)
    access = WAYS.wait if mode is Mode.WAIT else WAYS.nowait
    assert access is not None
    result = access.read(process, ReadSpec(Regions([at], [PAGE]), mode, OnGap.CONTINUE), soon())
    assert bytes(result.data) == bytes(PAGE)
    assert [gap.reason for gap in result.gaps] == ([] if reason is None else [reason])


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("name", ODD)
def test_a_long_range_and_pieces_give_what_a_read_does(
    odd: Target, process: Process, name: str, mode: Mode
) -> None:
    at, reason = place(odd, name), kind_of(odd, name)
    reader, pieces = WAYS.ranges.reader(mode), WAYS.ranges.pieces(mode)
    assert reader is not None
    assert pieces is not None
    spec = RangeSpec(at, at + PAGE, mode)
    if reason is None:
        assert reader.begin(process, spec, PAGE, soon()).data == bytes(PAGE)
    else:
        with pytest.raises(RangeUnreadable) as caught:
            reader.begin(process, spec, PAGE, soon())
        assert caught.value.gap.reason is reason
    for piece in pieces.read(process, at, at + PAGE, PAGE, soon()).pieces:
        assert piece.reason is reason
        assert (piece.kind is PieceKind.GAP) is (reason is not None)
        assert piece.data is None or not any(piece.data)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("name", ["zero", "poisoned", "guarded", "btf"])
def test_a_rehearsal_says_what_the_write_then_does(
    odd: Target, process: Process, name: str, mode: Mode
) -> None:
    at = place(odd, name)
    kind_of(odd, name)
    write = WAYS.write if mode is Mode.WAIT else WAYS.write_nowait
    assert write is not None
    spec = WriteSpec([at + 8], [bytes(4)], mode=mode, allow_shared=True)
    rehearsed = write.rehearse(process, spec, soon())
    written = write.write(process, spec, soon())
    assert rehearsed.would_write == written.written
    assert [gap.reason for gap in rehearsed.result.gaps] == [gap.reason for gap in written.gaps]
