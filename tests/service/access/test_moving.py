"""Memory that is moved while it is read: no answer has a byte that was never there."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from farpeek.access import choose
from farpeek.access.probe import probe
from farpeek.errors import RangeUnreadable
from farpeek.identity import Process
from farpeek.model import Gap, Mode, RangeSpec, ReadSpec, Regions
from support.targets import Target, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MIB = 1 << 20
FILL = 0xAB
KINDS = [(kind, pages) for kind in ("hole", "closed", "file") for pages in (64, 512)]
"""What is left where the pages were, and how many they are: 512 are a whole page table."""

FOUND = probe()
WAYS = choose(FOUND)


def by_readv(
    process: Process, start_at: int, size: int, mode: Mode
) -> tuple[bytes | bytearray, list[Gap]]:
    access = WAYS.wait if mode is Mode.WAIT else WAYS.nowait
    assert access is not None
    spec = ReadSpec(Regions([start_at], [size]), mode)
    result = access.read(process, spec, time.monotonic() + 20)
    return result.data, list(result.gaps)


def by_range(
    process: Process, start_at: int, size: int, mode: Mode
) -> tuple[bytes | bytearray, list[Gap]]:
    reader = WAYS.ranges.reader(mode)
    assert reader is not None
    spec = RangeSpec(start_at, start_at + size, mode)
    try:
        return reader.begin(process, spec, MIB, time.monotonic() + 20).data, []
    except RangeUnreadable:
        return b"", []


def by_pieces(
    process: Process, start_at: int, size: int, mode: Mode
) -> tuple[bytes | bytearray, list[Gap]]:
    reader = WAYS.ranges.pieces(mode)
    assert reader is not None
    data, at, gaps = bytearray(), start_at, []
    while at < start_at + size:
        batch = reader.read(process, at, start_at + size, MIB, time.monotonic() + 20)
        at = batch.reached
        for piece in batch.pieces:
            data += bytes(piece.length) if piece.data is None else piece.data
            if piece.reason is not None:
                gaps.append(Gap(0, 0, piece.address, piece.length, piece.reason))
    return data, gaps


@contextmanager
def moving(kind: str, pages: int, folder: Path) -> Iterator[tuple[Target, Process]]:
    with start("moving", kind, pages, folder / "file") as target:
        pidfd = os.pidfd_open(target.pid)
        try:
            yield target, Process(target.pid, pidfd)
        finally:
            os.close(pidfd)


def _never_were(data: bytes | bytearray, gaps: list[Gap]) -> int:
    """How many bytes are neither missing nor what the pages have always held."""
    wrong = len(data) - data.count(FILL)
    return wrong - sum(gap.length for gap in gaps)


@pytest.mark.parametrize("rounds", [100, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("route", [by_readv, by_range, by_pieces])
@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(("kind", "pages"), KINDS)
def test_pages_that_are_moved_without_a_pause_are_read_as_they_were_or_not_at_all(
    kind: str,
    pages: int,
    mode: Mode,
    route: Callable[..., tuple[bytes, list[Gap]]],
    rounds: int,
    tmp_path: Path,
) -> None:
    if mode is Mode.NOWAIT and WAYS.nowait is None:
        pytest.skip("no nowait here")
    if not FOUND.pagemap_scan and route is not by_readv:
        pytest.skip("without PAGEMAP_SCAN zeros of long ranges may be wrong (docs/nowait.md)")
    read = wrong = 0
    with moving(kind, pages, tmp_path) as (target, process):
        for number in range(rounds):
            place = target["second" if number % 2 else "first"]
            data, gaps = route(process, place, target["size"], mode)
            wrong += bool(_never_were(data, gaps))
            read += bool(len(data) - sum(gap.length for gap in gaps))
    assert wrong == 0
    assert read > 0
