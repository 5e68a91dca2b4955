"""Ranges in pieces on their way out: in batches that the budget has room for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from farpeek.errors import InvalidRequest, TooBusy
from farpeek.memory import MemoryService
from farpeek.model import ADDRESS_LIMIT, Limits, Mode
from farpeek.reading.pieces import MOST_RANGES
from farpeek.threads.lanes import MOST_WAITING
from support.sample import Sample

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from farpeek.model import Piece

MIB = 1 << 20
PAGE = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
async def small() -> AsyncIterator[MemoryService]:
    """Give a service with little room."""
    service = await MemoryService.open(Limits(max_inflight_bytes=MIB, max_request_bytes=MIB))
    yield service
    await service.close(5)


def contents(pieces: Sequence[Piece]) -> list[bytes | memoryview]:
    return [bytes(piece.data) for piece in pieces if piece.data is not None]


async def test_a_batch_takes_half_of_the_budget_at_most_and_gives_it_back(
    small: MemoryService,
) -> None:
    with Sample(3 * MIB) as sample:
        target = (await small.register(sample.pid))[0].id
        ranges = [(sample.address, sample.address + 3 * MIB)]
        taken = bytearray()
        with small.pieces(target, ranges, Mode.WAIT, contents, client="one") as transfer:
            await transfer.begin()
            while (batch := await transfer.next()) is not None:
                assert sum(map(len, batch)) <= MIB // 2
                assert small.state().held_bytes <= MIB
                taken += b"".join(batch)
        assert bytes(taken) == sample.bytes(0, 3 * MIB)
    assert small.state().held_bytes == 0


async def test_as_many_as_may_wait_in_line_are_taken_and_no_more(small: MemoryService) -> None:
    with Sample(PAGE) as sample:
        target = (await small.register(sample.pid))[0].id
        ranges = [(sample.address, sample.address + PAGE)]
        begun = [
            small.pieces(target, ranges, Mode.WAIT, contents).__enter__()
            for _ in range(MOST_WAITING)
        ]
        with pytest.raises(TooBusy), small.pieces(target, ranges, Mode.WAIT, contents):
            pass
        for transfer in begun:
            transfer.__exit__(None, None, None)
        with small.pieces(target, ranges, Mode.WAIT, contents) as transfer:
            await transfer.begin()
            assert await transfer.next() == [sample.bytes(0, PAGE)]
            assert await transfer.next() is None


@pytest.mark.parametrize(
    "ranges",
    [[], [(0, 0)], [(5, 4)], [(-1, 4)], [(0, ADDRESS_LIMIT + 1)], [(0, 1)] * (MOST_RANGES + 1)],
)
async def test_ranges_that_make_no_sense_are_refused(
    small: MemoryService, ranges: list[tuple[int, int]]
) -> None:
    with Sample(PAGE) as sample:
        target = (await small.register(sample.pid))[0].id
        with pytest.raises(InvalidRequest):
            small.pieces(target, ranges, Mode.WAIT, contents)
        small.pieces(target, [(ADDRESS_LIMIT - 1, ADDRESS_LIMIT)], Mode.WAIT, contents)
        small.pieces(target, [(0, 1)] * MOST_RANGES, Mode.WAIT, contents)
