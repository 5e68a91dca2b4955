"""Long ranges in pieces, read straight from the reader: bytes, zeros and gaps of real processes."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from farpeek.access import choose
from farpeek.access.probe import probe
from farpeek.errors import DeadlineExceeded
from farpeek.identity import Process
from farpeek.model import Mode, PieceKind
from support.oracle import Oracle
from support.targets import start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from farpeek.access.pieces import Batch, PieceReader

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
