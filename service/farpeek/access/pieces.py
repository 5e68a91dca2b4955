"""Reading a long range as what it is made of: bytes, zeros that nobody wrote, and gaps.

A look goes over as much as some hundred runs of pages cover, which may be gigabytes of nothing; of
what has bytes there, one chunk is read.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from farpeek import regions
from farpeek.access.checks import are_still_zeros
from farpeek.access.vector import read_all
from farpeek.access.verified import denial, no_memory, refusals, verified
from farpeek.errors import DeadlineExceeded
from farpeek.mappings.residency import NoPagemap
from farpeek.model import GapReason, Mode, Piece, PieceKind
from farpeek.regions import Runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from farpeek.access.absent import Unread
    from farpeek.access.process_ref import ProcessRef
    from farpeek.identity import Process
    from farpeek.mappings.gaps import GapClassifier

_TRIES: Final = 3
_NEAR: Final = 4


class Looker(Protocol):
    """Looks at what a range is made of."""

    def check_on(self, ref: ProcessRef, start: int, end: int) -> tuple[Sequence[Unread], int]:
        """See ``CheckAll.check_on``."""
        ...

    def are_zeros(self, ref: ProcessRef, runs: Runs) -> bool:
        """See ``Checker.are_zeros``."""
        ...


@dataclass(frozen=True, slots=True)
class Batch:
    """Pieces one behind the other, and the address behind the last."""

    pieces: Sequence[Piece]
    reached: int


class PieceReader:
    """Reads pieces in one mode. One object for one transfer, in one thread at a time."""

    def __init__(
        self,
        refer: Callable[[Process], ProcessRef],
        lookers: Sequence[Looker],
        classifier: GapClassifier,
        mode: Mode,
        allocate: Callable[[int], bytearray],
    ) -> None:
        """``lookers``: the next one is asked where the target's privileges are too much for one.

        ``allocate`` gives so many bytes to read into; data of pieces lies in them.
        """
        self._allocate = allocate
        self._refer = refer
        self._lookers = lookers
        self._classifier = classifier
        self.mode = mode
        self._last_span = 0  # of the last batch: the next one mostly needs no more

    def read(self, process: Process, start: int, end: int, most: int, deadline: float) -> Batch:
        """Read on in ``start .. end``: at most ``most`` bytes, and gaps and zeros of any length.

        Raises what ``Access.read`` does.
        """
        for looker in self._lookers:
            attempt = partial(
                self._attempt, looker=looker, start=start, end=end, most=most, deadline=deadline
            )
            with suppress(NoPagemap, PermissionError):
                batch = verified(self._refer(process), attempt, deadline, self.mode)
                self._last_span = batch.reached - start
                return batch
        with refusals(process):
            raise denial(process)

    def _attempt(
        self,
        ref: ProcessRef,
        *,
        looker: Looker,
        start: int,
        end: int,
        most: int,
        deadline: float,
    ) -> Batch:
        unread: Sequence[Unread] = ()
        reached = end
        for _ in range(_TRIES):
            if time.monotonic() > deadline:
                raise DeadlineExceeded("the time was over before the next piece was read")
            with no_memory():
                unread, reached = self._look(ref, looker, start, end, most)
            batch = self._read(ref, self._apart(unread), start, reached, most, deadline)
            zeros = [piece for piece in batch.pieces if piece.kind is PieceKind.ZEROS]
            with no_memory():
                if _are_still(zeros, looker, ref):
                    return batch
        # It never rests: what the system call shows is true.
        apart = [each for each in self._apart(unread) if each.reason is not None]
        return self._read(ref, apart, start, min(reached, start + most), most, deadline)

    def _look(
        self, ref: ProcessRef, looker: Looker, start: int, end: int, most: int
    ) -> tuple[Sequence[Unread], int]:
        """Look as far as it takes to find ``most`` bytes, or at all of it where there are fewer.

        Each batch would else look at all that is left, and a large range take the square of its
        size.
        """
        near = min(end, start + max(_NEAR * most, 2 * self._last_span))
        unread, reached = looker.check_on(ref, start, near)
        bytes_there = reached - start - sum(each.end - each.start for each in self._apart(unread))
        if near == end or reached < near or bytes_there >= most:
            return unread, reached
        return looker.check_on(ref, start, end)

    def _apart(self, unread: Sequence[Unread]) -> Sequence[Unread]:
        if self.mode is Mode.NOWAIT:
            return unread
        return [each for each in unread if each.reason is not GapReason.NOT_RESIDENT]

    def _read(
        self,
        ref: ProcessRef,
        unread: Sequence[Unread],
        start: int,
        reached: int,
        most: int,
        deadline: float,
    ) -> Batch:
        parts = list(_first_parts(regions.parts(Runs([start], [reached - start]), unread), most))
        wanted = [(first, last) for first, last, other in parts if other is None]
        runs = Runs([first for first, _ in wanted], [last - first for first, last in wanted])
        content, holes = (
            read_all(ref, runs, deadline, allocate=self._allocate) if wanted else (bytearray(), [])
        )
        for offset, first, last in holes:
            content[offset : offset + last - first] = bytes(last - first)  # never what was there
        places = [(first, last) for _, first, last in holes]
        reasons = self._classifier.classify(ref.proc, places) if places else []
        view = memoryview(content)
        pieces = _Pieces()
        at = 0
        for first, last, other in parts:
            if other is not None:
                pieces.without_bytes(first, last, other.reason)
                continue
            data = view[at : at + last - first]
            at += last - first
            if not reasons:
                pieces.with_bytes(first, data)
                continue
            for offset, low, high, hole in regions.parts(Runs([first], [last - first]), reasons):
                if hole is not None:
                    pieces.without_bytes(low, high, hole.reason)
                else:
                    pieces.with_bytes(low, data[offset : offset + high - low])
        return Batch(pieces.all, parts[-1][1] if parts else reached)


class _Pieces:
    """Pieces in rising order; what touches and is alike is one."""

    def __init__(self) -> None:
        self.all: list[Piece] = []

    def with_bytes(self, address: int, data: memoryview) -> None:
        """Append bytes."""
        self.all.append(Piece(address, len(data), PieceKind.DATA, None, data))

    def without_bytes(self, start: int, end: int, reason: GapReason | None) -> None:
        """Append zeros, or a gap."""
        kind = PieceKind.ZEROS if reason is None else PieceKind.GAP
        last = self.all[-1] if self.all else None
        if last is not None and (last.kind, last.reason) == (kind, reason):
            self.all[-1] = Piece(last.address, end - last.address, kind, reason, None)
        else:
            self.all.append(Piece(start, end - start, kind, reason, None))


def _first_parts(
    parts: Iterator[tuple[int, int, int, Unread | None]], most: int
) -> Iterator[tuple[int, int, Unread | None]]:
    """The parts up to byte number ``most`` of those that are to be read."""
    left = most
    for _, start, end, other in parts:
        if other is not None:
            yield start, end, other
            continue
        yield start, min(end, start + left), None
        left -= end - start
        if left <= 0:
            return


def _are_still(zeros: Sequence[Piece], looker: Looker, ref: ProcessRef) -> bool:
    if not zeros:
        return True
    runs = Runs([piece.address for piece in zeros], [piece.length for piece in zeros])
    return are_still_zeros(looker, ref, runs)
