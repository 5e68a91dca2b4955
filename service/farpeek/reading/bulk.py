"""Bulk: one long range on its way out, chunk by chunk, with the next one read ahead.

Deadline, slot and bytes of the budget are those of a chunk; a transfer has no total. It holds two
chunks at most: one that its client takes, and one that is being read meanwhile.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from farpeek.errors import InvalidRequest, RangeUnreadable
from farpeek.model import ADDRESS_LIMIT, PAGE_SIZE
from farpeek.reading.transfers import TargetTransfer

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek.access.ranges import RangeReader
    from farpeek.counts import Counts
    from farpeek.model import Gap, Limits, RangeSpec
    from farpeek.reading.transfers import Times
    from farpeek.targets.target import Target
    from farpeek.threads.budget import Account, Lease

T = TypeVar("T")

CHUNK: Final = 1 << 20
"""Bytes that are read at once. Of 64 K to 4 M, this size came closest to a plain loop in C."""

SPARE: Final = 4
"""One part in so many of the bytes in flight is never a transfer's, and left to small reads."""


def check(spec: RangeSpec) -> None:
    """Raise InvalidRequest if ``spec`` makes no sense."""
    if spec.start < 0 or spec.end > ADDRESS_LIMIT:
        raise InvalidRequest("it reaches over the end of the address space (2^64)", ("Range",))
    if spec.end <= spec.start:
        raise InvalidRequest("its last address is before its first", ("Range",))


class Run(Protocol):
    """Has work done by a thread in the target's lane."""

    async def __call__(
        self,
        work: Callable[[], T],
        deadline: float,
        returned: Callable[[], None],
        latest: float = 0.0,
    ) -> T:
        """See ``Lane.run``."""
        ...


@dataclass(frozen=True, slots=True)
class Extent:
    """How far a range goes; ``digest`` names its bytes, where they are no more than a chunk."""

    end: int
    digest: str | None
    generation: int | None  # the program that it is of; None where that cannot be told


@dataclass(frozen=True, slots=True)
class _Chunk:
    data: bytes | bytearray
    gap: Gap | None  # why it ends early
    lease: Lease


class Transfer(TargetTransfer):
    """One range of one target."""

    def __init__(  # noqa: PLR0913, PLR0917 - a transfer is made of this much
        self,
        target: Target,
        spec: RangeSpec,
        reader: RangeReader,
        run: Run,
        account: Account,
        limits: Limits,
        counts: Counts,
    ) -> None:
        super().__init__(target, limits)
        self._spec = spec
        self._end = spec.end
        self._generation = spec.generation
        self._reader = reader
        self._run = run
        self._account = account
        self._counts = counts
        self._chunk_size = max(1, min(CHUNK, account.most // 2))
        self._spare = max(0, min(account.most // SPARE, account.most - 2 * self._chunk_size))
        self._reached = spec.start
        self._ready: _Chunk | None = None  # read, and not given out
        self._ahead: asyncio.Task[_Chunk] | None = None
        self._out: _Chunk | None = None  # in the client's hands
        self._gap: Gap | None = None  # behind what was given out

    def _give_back(self) -> None:
        for chunk in (self._ready, self._out):
            if chunk is not None:
                chunk.lease.let_go()
        if self._ahead is not None:
            self._ahead.add_done_callback(_discard)
            self._ahead.cancel()
        # A task that was cancelled leads back here, and both would stay until a garbage collection.
        self._ready = self._out = self._ahead = None

    async def begin(self) -> Extent:
        """Find out how far the range goes, and read its first chunk, which `next` will give.

        Raises RangeUnreadable if its first byte cannot be read, and what MemoryService.read does.
        """
        most = self._piece_end(self._spec.start) - self._spec.start
        times = self._first_times()
        begin = partial(self._reader.begin, self._target.process, self._spec, most, times.latest)
        work = partial(self._target.programs.within_one, begin, self._generation)
        lease = self._account.lease(most, self._spare)
        beginning, generation = await self._in_thread(work, times, lease)
        # What follows has to be of the same program, or the transfer ends.
        self._generation = generation
        self._end = beginning.end
        self._ready = _Chunk(beginning.data, None, lease)
        return Extent(beginning.end, beginning.digest, generation)

    async def next(self) -> bytes | bytearray:
        """Give the next chunk, empty behind the last; the one before it is no longer held.

        Raises RangeUnreadable at a place that cannot be read, behind what can, and what
        MemoryService.read does.
        """
        if self._out is not None:
            self._out.lease.let_go()
            self._out = None
        if self._gap is not None:
            raise RangeUnreadable(self._gap)
        chunk = self._ready
        self._ready = None
        if chunk is None:
            if self._ahead is None:
                return b""
            chunk = await self._ahead
            self._ahead = None
        self._out = chunk
        self._gap = chunk.gap
        if not chunk.data:
            return await self.next()  # the gap is at its very beginning
        self._reached += len(chunk.data)
        self._counts.add_read(self._spec.mode, len(chunk.data))
        if self._gap is None and self._reached < self._end:
            self._ahead = asyncio.create_task(self._read(self._reached))
        return chunk.data

    async def _read(self, start: int) -> _Chunk:
        end = self._piece_end(start)
        latest = self._further_times().latest
        lease = await self._account.wait_for(end - start, self._spare, latest)
        times = self._further_times()
        process, spec = self._target.process, self._spec
        read = partial(self._reader.read, process, spec, start, end, times.latest)
        work = partial(self._target.programs.within_one, read, self._generation)
        result, _ = await self._in_thread(work, times, lease)
        ends_early = len(result.data) < end - start
        return _Chunk(result.data, result.gaps[0] if ends_early else None, lease)

    async def _in_thread(self, work: Callable[[], T], times: Times, lease: Lease) -> T:
        lease.hold()
        try:
            return await self._run(work, times.deadline, lease.let_go, times.latest)
        except BaseException:
            lease.let_go()
            raise

    def _piece_end(self, start: int) -> int:
        """The end of the piece that begins at ``start``: with a page, if it is not that of all."""
        whole = start + self._chunk_size
        if self._end <= whole or self._chunk_size < PAGE_SIZE:
            return min(self._end, whole)
        return whole - whole % PAGE_SIZE


def _discard(task: asyncio.Task[_Chunk]) -> None:
    """Give back what was read ahead for nobody."""
    if not task.cancelled() and task.exception() is None:
        task.result().lease.let_go()
