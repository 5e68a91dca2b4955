"""Long ranges in pieces on their way out: one batch after the other, the next one read ahead.

As with `reading.bulk`, deadline, slot and bytes of the budget are those of a batch.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from farpeek.addressing import untagged_range
from farpeek.errors import InvalidRequest
from farpeek.model import ADDRESS_LIMIT, Piece
from farpeek.reading.bulk import CHUNK, SPARE
from farpeek.reading.transfers import TargetTransfer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from farpeek.access.pieces import Batch, PieceReader
    from farpeek.counts import Counts
    from farpeek.model import Limits
    from farpeek.reading.bulk import Run
    from farpeek.reading.transfers import Times
    from farpeek.targets.target import Target
    from farpeek.threads.budget import Account, Lease

MOST_RANGES: Final = 4096
"""Of one request."""

_DESCRIPTIONS: Final = 256 << 10
"""Bytes that the pieces of a batch take besides what they hold."""


def check(ranges: Sequence[tuple[int, int]]) -> None:
    """Raise InvalidRequest if ``ranges`` (start, end) make no sense."""
    if not ranges:
        raise InvalidRequest("name at least one range", ("ranges",))
    if len(ranges) > MOST_RANGES:
        raise InvalidRequest(f"one request may have {MOST_RANGES} ranges: split it", ("ranges",))
    for number, (start, end) in enumerate(ranges):
        if not 0 <= start < end <= ADDRESS_LIMIT:
            raise InvalidRequest(
                "a range is its first address and the one behind its last, within 2^64",
                ("ranges", number),
            )


@dataclass(frozen=True, slots=True)
class _Read:
    encoded: Sequence[bytes | memoryview]
    reached: int
    lease: Lease


class PieceTransfer(TargetTransfer):
    """Ranges of one target in pieces."""

    def __init__(  # noqa: PLR0913, PLR0917 - a transfer is made of this much
        self,
        target: Target,
        ranges: Sequence[tuple[int, int]],
        reader: PieceReader,
        run: Run,
        account: Account,
        limits: Limits,
        encode: Callable[[Sequence[Piece]], Sequence[bytes | memoryview]],
        counts: Counts,
        generation: int | None = None,
    ) -> None:
        """``encode`` turns pieces into what goes out, in the thread that has read them.

        All is of the program number ``generation``, or of that of the first batch.
        """
        super().__init__(target, limits)
        self.generation = generation
        self._ranges = [untagged_range(start, end) for start, end in ranges]
        self._tags = [
            asked - start for (asked, _), (start, _) in zip(ranges, self._ranges, strict=True)
        ]
        self._reader = reader
        self._run = run
        self._account = account
        self._encode = encode
        self._counts = counts
        self._most = max(1, min(CHUNK, account.most // 2))
        self._spare = max(0, min(account.most // SPARE, account.most - 2 * self._most))
        self._number = 0  # of the range that is read
        self._ahead: asyncio.Task[_Read] | None = None
        self._out: Lease | None = None

    def _give_back(self) -> None:
        if self._out is not None:
            self._out.let_go()
        if self._ahead is not None:
            self._ahead.add_done_callback(_discard)
            self._ahead.cancel()
        self._out = self._ahead = None

    async def begin(self) -> None:
        """Read the first batch, which `next` will give; raises what MemoryService.read does.

        Bytes that are not there now are refused here, and waited for from then on.
        """
        start, end = self._ranges[0]
        lease = self._account.lease(self._most + _DESCRIPTIONS, self._spare)
        self._ahead = asyncio.create_task(self._read(start, end, self._first_times(), lease))
        await asyncio.wait([self._ahead])
        if self._ahead.exception() is not None:
            task, self._ahead = self._ahead, None
            task.result()

    async def next(self) -> Sequence[bytes | memoryview] | None:
        """Give the next batch, encoded; None behind the last. The one before is no longer held."""
        self._let_go_of_last()
        if self._ahead is None:
            return None
        read = await self._ahead
        self._ahead = None
        self._out = read.lease
        self._read_on(read.reached)
        return read.encoded

    def _read_on(self, reached: int) -> None:
        """Begin with what comes behind ``reached``, if anything does."""
        if reached >= self._ranges[self._number][1]:
            self._number += 1
            if self._number == len(self._ranges):
                return
            reached = self._ranges[self._number][0]
        end = self._ranges[self._number][1]
        self._ahead = asyncio.create_task(self._read_further(reached, end))

    def _let_go_of_last(self) -> None:
        if self._out is not None:
            self._out.let_go()
            self._out = None

    async def _read_further(self, start: int, end: int) -> _Read:
        size = self._most + _DESCRIPTIONS
        latest = self._further_times().latest
        lease = await self._account.wait_for(size, self._spare, latest)
        return await self._read(start, end, self._further_times(), lease)

    async def _read(self, start: int, end: int, times: Times, lease: Lease) -> _Read:
        lease.hold()
        work = partial(self._work, start, end, self._tags[self._number], times.latest)
        try:
            # What follows has to be of the same program, or the transfer ends.
            encoded, reached, self.generation = await self._run(
                work, times.deadline, lease.let_go, times.latest
            )
        except BaseException:
            lease.let_go()
            raise
        return _Read(encoded, reached, lease)

    def _work(
        self, start: int, end: int, tag: int, deadline: float
    ) -> tuple[Sequence[bytes | memoryview], int, int | None]:
        """In a thread."""
        read = partial(self._reader.read, self._target.process, start, end, self._most, deadline)
        batch: Batch
        batch, generation = self._target.programs.within_one(read, self.generation)
        size = sum(piece.length for piece in batch.pieces if piece.data is not None)
        self._counts.add_read(self._reader.mode, size)
        return self._encode(_tagged(batch.pieces, tag)), batch.reached, generation


def _tagged(pieces: Sequence[Piece], tag: int) -> Sequence[Piece]:
    """Give pieces by the addresses of the request."""
    if not tag:
        return pieces
    return [piece._replace(address=piece.address + tag) for piece in pieces]


def _discard(task: asyncio.Task[_Read]) -> None:
    """Give back what was read ahead for nobody."""
    if not task.cancelled() and task.exception() is None:
        task.result().lease.let_go()
