"""Going through memory chunk by chunk, in threads.

Chunks overlap by as much as a match and its context take, so that nothing has to be put together:
of each chunk, those matches count that begin before the overlap. Nothing goes over a hole, nor over
what is left alone.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from farpeek.model import Mode, PieceKind
from farpeek.search.model import Found, Progress, Stopped

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from farpeek.access.pieces import Batch, PieceReader
    from farpeek.counts import Counts
    from farpeek.model import Piece
    from farpeek.search.matchers import Matcher
    from farpeek.search.model import SearchSpec
    from farpeek.search.places import Places
    from farpeek.targets.target import Target

CHUNK: Final = 2 << 20
TURN_S: Final = 0.01
"""That a thread goes on at most, unless memory is waited for: in 50 ms it would count as stuck."""
MOST_FOUND: Final = 1024
"""Matches of one turn."""
MOST_CONTEXT_BYTES: Final = 256 << 10
"""Of one turn, but for the last."""


class ReusedBuffer:
    """Gives the same bytes for each chunk: fresh ones cost as much as to read them.

    By then what was found in the last chunk is told, and a thread that hangs is the search's last.
    """

    def __init__(self) -> None:
        self._chunk: bytearray | None = None

    def __call__(self, size: int) -> bytearray:
        """Give ``size`` bytes; of those that are a chunk, nobody knows what they are."""
        if size != CHUNK:
            return bytearray(size)
        if self._chunk is None:  # by now its bytes of the budget are held
            self._chunk = bytearray(CHUNK)
        return self._chunk


class _Stretch(NamedTuple):
    """Bytes without a hole; the first is at ``address``."""

    address: int
    data: bytearray | memoryview
    goes_on: bool  # more follows, in the next chunk

    @property
    def end(self) -> int:
        return self.address + len(self.data)


class Scan:
    """One search of one target, turn by turn; in one thread at a time."""

    def __init__(  # noqa: PLR0913, PLR0917 - a scan is made of this much
        self,
        target: Target,
        spec: SearchSpec,
        matcher: Matcher,
        places: Places,
        reader: PieceReader,
        counts: Counts,
        chunk: int = CHUNK,
    ) -> None:
        """``chunk``: bytes that are read at once, more than a match and its context take twice."""
        self._chunk = chunk
        self.progress = Progress()
        self.generation = spec.generation
        self._target = target
        self._spec = spec
        self._matcher = matcher
        self._places = places
        self._reader = reader
        self._counts = counts
        self._spans = places.spans(spec, matcher.longest)
        self._within = None if spec.within is None else sorted(set(spec.within))
        self._edge = matcher.longest + spec.context
        # Then all of a stretch of zeros has to be gone through, and else its edges.
        self._is_blank = spec.mode is Mode.WAIT and _matches_zeros(matcher)
        self.progress.of = sum(end - start for start, end in self._spans)
        self._counted = 0  # addresses up to here are in the progress
        self._deadline = 0.0
        self._found = self._go()

    def turn(self, deadline: float, end: float) -> list[Found]:
        """Go on for a while; ``end`` is that of the whole search, by time.monotonic.

        ``progress`` says how far that came. Raises what ``Access.read`` does, and TargetChanged.
        """
        self._deadline = deadline
        give_up = min(end, time.monotonic() + TURN_S)
        found: list[Found] = []
        size, progress = 0, self.progress
        for match in self._found:
            if match is not None:
                found.append(match)
                size += len(match.context)
                progress.matches += 1
                if progress.matches == self._spec.limit:
                    self._end(Stopped.LIMIT)
                    break
            if len(found) == MOST_FOUND or size >= MOST_CONTEXT_BYTES:
                break
            if time.monotonic() > give_up:
                break
        else:
            self._end(None)
        if not progress.is_done and time.monotonic() > end:
            self._end(Stopped.DEADLINE)
        return found

    def _end(self, stopped: Stopped | None) -> None:
        self.progress.is_done, self.progress.stopped = True, stopped

    def _go(self) -> Iterator[Found | None]:
        """Give all matches; None says that it took a while."""
        for start, end in self._spans:
            at = floor = self._counted = start
            while at < end:
                batch = self._read(at, min(end, at + self._chunk) if self._is_blank else end)
                self._count(batch)
                behind = batch.reached
                for stretch in self._stretches(batch.pieces, behind if behind < end else None):
                    ceiling = stretch.end
                    if stretch.goes_on:
                        ceiling -= self._edge - 1
                        # With what is in front of the next match, which may be a word's edge.
                        again = max(stretch.address, ceiling - max(1, self._spec.context))
                        behind = again if again > at else behind
                    floor = max(floor, stretch.address)
                    floor = yield from self._in(stretch, floor, ceiling)
                at = behind
                yield None

    def _in(
        self, stretch: _Stretch, floor: int, ceiling: int
    ) -> Generator[Found | None, None, int]:
        """Give the matches that begin in ``floor .. ceiling``; answers what is decided by then."""
        base, last = stretch.address, 0
        for match in self._offsets(stretch, floor - base, ceiling - base):
            if match is not None:
                last = match[1]
                yield self._shown(stretch, *match)
            else:
                yield None
        return max(floor, ceiling, 0 if self._matcher.overlaps else base + last)

    def _offsets(
        self, stretch: _Stretch, first: int, ceiling: int
    ) -> Iterator[tuple[int, int] | None]:
        base, data = stretch.address, stretch.data
        if self._within is None:
            yield from self._matcher.find(data, base, first, ceiling)
            return
        number = bisect_left(self._within, base + first)
        while number < len(self._within) and (start := self._within[number] - base) < ceiling:
            end = self._matcher.at(data, base, start)
            yield None if end is None else (start, end)
            number += 1

    def _shown(self, stretch: _Stretch, start: int, end: int) -> Found:
        first = max(0, start - self._spec.context)
        context = bytes(stretch.data[first : end + self._spec.context])
        address = stretch.address + start
        return Found(address, end - start, self._places.at(address), context, start - first)

    def _read(self, start: int, end: int) -> Batch:
        process, deadline = self._target.process, self._deadline
        read = partial(self._reader.read, process, start, end, self._chunk, deadline)
        batch: Batch
        # What follows has to be of the same program.
        batch, self.generation = self._target.programs.within_one(read, self.generation)
        return batch

    def _count(self, batch: Batch) -> None:
        """Add to the progress what was not looked at before."""
        read = 0
        for piece in batch.pieces:
            size = max(0, piece.address + piece.length - max(piece.address, self._counted))
            if piece.kind is PieceKind.DATA:
                read += piece.length
            if piece.kind is PieceKind.DATA or self._is_searched(piece):
                self.progress.bytes += size
            else:
                self.progress.skipped += size
        self._counted = max(self._counted, batch.reached)
        self._counts.add_read(self._spec.mode, read)

    def _is_searched(self, piece: Piece) -> bool:
        """Whether it is zeros that count: in `nowait`, what nobody has touched is left alone."""
        return piece.kind is PieceKind.ZEROS and self._spec.mode is Mode.WAIT

    def _stretches(self, pieces: Sequence[Piece], reached: int | None) -> Iterator[_Stretch]:
        """Put together what touches; ``reached``: where the next chunk goes on, if one does."""
        parts: list[bytearray | memoryview] = []
        start = at = 0
        for piece in pieces:
            if piece.data is None and not self._is_searched(piece):
                if parts:
                    yield _Stretch(start, _whole(parts), goes_on=False)
                parts = []
                continue
            if not parts:
                start = piece.address
            if piece.data is not None:
                parts.append(piece.data)
            elif self._is_blank or piece.length <= 2 * self._edge:
                parts.append(bytearray(piece.length))
            else:
                if parts:
                    yield _Stretch(start, _whole([*parts, bytearray(self._edge)]), goes_on=False)
                parts = [bytearray(self._edge)]
                start = piece.address + piece.length - self._edge
            at = piece.address + piece.length
        if parts:
            yield _Stretch(start, _whole(parts), goes_on=at == reached)


def _whole(parts: Sequence[bytearray | memoryview]) -> bytearray | memoryview:
    return parts[0] if len(parts) == 1 else bytearray().join(parts)


def _matches_zeros(matcher: Matcher) -> bool:
    zeros = bytearray(2 * matcher.longest)
    return any(matcher.find(zeros, 0, 0, len(zeros)))
