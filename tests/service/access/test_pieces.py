"""Long ranges in pieces, read straight from the reader: bytes, zeros and gaps of real processes."""

from __future__ import annotations

import mmap
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from farpeek.access import choose
from farpeek.access.absent import Unread
from farpeek.access.checks import Looked, are_still_zeros
from farpeek.access.probe import probe
from farpeek.access.process_ref import ByNumber
from farpeek.errors import DeadlineExceeded
from farpeek.identity import Process
from farpeek.kernel import uapi
from farpeek.model import Mode, PieceKind
from farpeek.regions import Runs
from support.oracle import Oracle
from support.targets import start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from farpeek.access.pieces import Batch, PieceReader
    from farpeek.access.process_ref import ProcessRef

PAGE = os.sysconf("SC_PAGE_SIZE")
MIB = 1 << 20
MODES = pytest.mark.parametrize("mode", list(Mode))


@contextmanager
def held(pid: int) -> Iterator[Process]:
    """Hold a process by its pidfd."""
    pidfd = os.pidfd_open(pid)
    try:
        yield Process(pid, pidfd)
    finally:
        os.close(pidfd)


def reader_of(mode: Mode) -> PieceReader:
    """Return the best reader in pieces that is to be had here."""
    reader = choose(probe()).ranges.pieces(mode)
    assert reader is not None
    return reader


def batches(process: Process, mode: Mode, start: int, end: int, most: int) -> Iterator[Batch]:
    """Read a range to its end; each batch begins where the last one ended, and ends further on."""
    reader, at = reader_of(mode), start
    while at < end:
        batch = reader.read(process, at, end, most, float("inf"))
        assert at < batch.reached <= end
        for piece in batch.pieces:
            assert piece.address == at
            assert piece.length > 0
            assert (piece.data is not None) is (piece.kind is PieceKind.DATA)
            at += piece.length
        assert at == batch.reached
        yield batch


def add_gap(gaps: list[tuple[int, int, object]], gap: tuple[int, int, object]) -> None:
    """Append a gap, which may go on with the last one of the batch before."""
    if gaps and gaps[-1][0] + gaps[-1][1] == gap[0] and gaps[-1][2] == gap[2]:
        gap = (gaps[-1][0], gaps[-1][1] + gap[1], gap[2])
        gaps.pop()
    gaps.append(gap)


@MODES
@pytest.mark.parametrize("most", [1, PAGE, 5 * PAGE + 7, MIB])
def test_a_batch_has_no_more_bytes_than_it_may_and_all_have_the_targets_memory(
    tmp_path: Path, mode: Mode, most: int
) -> None:
    with start("pages", tmp_path, 24) as target, held(target.pid) as process:
        oracle = Oracle(target, 24)
        first = target["block"] + 3 * PAGE - 9
        last = min(target["block_end"], first + max(40 * most, 2 * PAGE)) - 5
        expected, gaps = oracle.read([(first, last - first)])
        laid = bytearray()
        found: list[tuple[int, int, object]] = []
        for batch in batches(process, mode, first, last, most):
            taken = sum(piece.length for piece in batch.pieces if piece.data is not None)
            assert taken <= most
            for piece in batch.pieces:
                laid += bytes(piece.length) if piece.data is None else piece.data
                if piece.kind is PieceKind.GAP:
                    add_gap(found, (piece.address, piece.length, piece.reason))
        assert bytes(laid) == expected
        assert found == [(gap.address, gap.length, gap.reason) for gap in gaps]


@MODES
def test_memory_that_nobody_has_touched_takes_no_bytes_and_stays_so(mode: Mode) -> None:
    with start("untouched", 2) as target, held(target.pid) as process:
        first, size = target["sparse"], 2 << 30
        there = [0, 5 * PAGE, 300 * MIB, size - PAGE]
        for offset in there:
            assert target.command(f"touch {offset}") == "ok"
        pieces = [
            piece
            for batch in batches(process, mode, first, first + size, MIB)
            for piece in batch.pieces
        ]
        written = [piece.address for piece in pieces if piece.data is not None and any(piece.data)]
        assert written == [first + offset for offset in there]
        assert sum(piece.length for piece in pieces if piece.data is not None) < 64 * PAGE
        assert {piece.kind for piece in pieces} == {PieceKind.DATA, PieceKind.ZEROS}


def test_a_time_that_is_over_is_told() -> None:
    with start("plain") as target, held(target.pid) as process:
        marker, reader = target["marker"], reader_of(Mode.WAIT)
        with pytest.raises(DeadlineExceeded):
            reader.read(process, marker, marker + PAGE, PAGE, 0.0)


class Deceived:
    """Looks at memory that is moved away at each look, and back when it is read."""

    def __init__(self, touched: tuple[int, int] | None = None, *, after: int | None = None) -> None:
        """``after`` so many looks the memory is seen."""
        self._touched = touched
        self._after = after
        self._looks = 0
        self.asked_again = 0

    def check_on(self, ref: ProcessRef, start: int, end: int, most: int) -> Looked:
        """Take everything for zeros but what was touched."""
        del ref, most
        touched = [] if self._touched is None else [self._touched]
        self._touched = None  # it is asked about once
        edges = [start, *(edge for place in touched for edge in place), end]
        zeros = [Unread(*edges[at : at + 2], None) for at in range(0, len(edges), 2)]
        return Looked([each for each in zeros if each.start < each.end], end, touched)

    def ask_again(self) -> None:
        """Be asked for another page."""
        self.asked_again += 1

    def are_zeros(self, ref: ProcessRef, runs: Runs) -> bool:
        """Be deceived, for so many looks."""
        del ref, runs
        self._looks += 1
        return self._after is None or self._looks <= self._after

    stay_zeros = are_zeros


@pytest.mark.parametrize("page", [0, 3, 7])
def test_memory_where_a_touched_page_is_no_zeros_is_not_zeros(page: int) -> None:
    with mmap.mmap(-1, 8 * PAGE) as memory, held(os.getpid()) as process:
        memory[:] = written = b"\xab" * len(memory)
        first = uapi.address_of(memory)
        looker = Deceived((first + page * PAGE, first + (page + 1) * PAGE))
        reader = choose(probe()).wait.in_pieces([looker], Mode.WAIT, bytearray)
        (piece,) = reader.read(process, first, first + len(written), MIB, float("inf")).pieces
        assert piece.data == written
        assert looker.asked_again


@pytest.mark.parametrize("size", [MIB, 1 << 30])
@pytest.mark.parametrize("after", range(5))
def test_what_is_seen_at_any_look_is_not_zeros(size: int, after: int) -> None:
    with held(os.getpid()) as process:
        ref = ByNumber(process)
        assert not are_still_zeros(Deceived(after=after), ref, Runs([PAGE], [size]))
        assert are_still_zeros(Deceived(), ref, Runs([PAGE], [size]))
