"""Reading a long range as what it is made of: bytes, zeros that nobody wrote, and gaps.

A look goes over as much as some hundred runs of pages cover, which may be gigabytes of nothing; of
what has bytes there, one chunk is read.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Final, Protocol

from farpeek import regions
from farpeek.access.checks import Looked, are_still_zeros
from farpeek.access.vector import read_all
from farpeek.access.verified import denial, no_memory, refusals, verified
from farpeek.errors import DeadlineExceeded
from farpeek.mappings.residency import NoPagemap
from farpeek.model import GapReason, Mode, Piece, PieceKind
from farpeek.regions import Runs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from farpeek.access.absent import Unread
    from farpeek.access.process_ref import ProcessRef
    from farpeek.identity import Process
    from farpeek.mappings.gaps import GapClassifier

_ADDRESS: Final = attrgetter("address")
_TRIES: Final = 3
_NEAR: Final = 4


class Looker(Protocol):
    """Looks at what a range is made of."""

    def check_on(self, ref: ProcessRef, start: int, end: int, most: int) -> Looked:
        """See ``CheckAll.check_on``."""
        ...

    def ask_again(self) -> None:
        """See ``CheckAll.ask_again``."""
        ...

    def are_zeros(self, ref: ProcessRef, runs: Runs) -> bool:
        """See ``Checker.are_zeros``."""
        ...

    def stay_zeros(self, ref: ProcessRef, runs: Runs) -> bool:
        """See ``Checker.stay_zeros``."""
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
        self._is_moved = False  # whether the target's memory was seen to be moved

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
        looked = Looked((), end, ())
        touched: list[tuple[int, int]] = []  # also by tries before: a handler is asked about once
        for _ in range(_TRIES):
            if time.monotonic() > deadline:
                raise DeadlineExceeded("the time was over before the next piece was read")
            if self._is_moved:
                looker.ask_again()
            with no_memory():
                looked = self._look(ref, looker, start, end, most)
            touched += looked.touched
            apart = self._apart(looked.unread)
            batch = self._read(ref, apart, start, looked.reached, most, deadline)
            zeros = [piece for piece in batch.pieces if piece.kind is PieceKind.ZEROS]
            if not _have_zeros(batch, touched):
                self._is_moved = True
                continue
            with no_memory():
                if _are_still(zeros, looker, ref):
                    return batch
        # It never rests: what the system call shows is true.
        apart = [each for each in self._apart(looked.unread) if each.reason is not None]
        return self._read(ref, apart, start, min(looked.reached, start + most), most, deadline)

    def _look(self, ref: ProcessRef, looker: Looker, start: int, end: int, most: int) -> Looked:
        """Look as far as it takes to find ``most`` bytes, or at all of it where there are fewer.

        Each batch would else look at all that is left, and a large range take the square of its
        size.
        """
        near = min(end, start + max(_NEAR * most, 2 * self._last_span))
        looked = looker.check_on(ref, start, near, most)
        if near == end or looked.reached < near:
            return looked
        not_there = sum(each.end - each.start for each in self._apart(looked.unread))
        if looked.reached - start - not_there >= most:
            return looked
        all_of_it = looker.check_on(ref, start, end, most)
        return all_of_it._replace(touched=(*looked.touched, *all_of_it.touched))

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
        parts = _first_parts(start, reached, unread, most)
        runs = Runs.of([(first, last) for first, last, other in parts if other is None])
        content, holes = (
            read_all(ref, runs, deadline, allocate=self._allocate)
            if runs.starts
            else (bytearray(), [])
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
        if last is None or last.data is not None or last.reason is not reason:
            self.all.append(Piece(start, end - start, kind, reason, None))
        else:
            self.all[-1] = Piece(last.address, end - last.address, kind, reason, None)


def _first_parts(
    start: int, end: int, unread: Sequence[Unread], most: int
) -> list[tuple[int, int, Unread | None]]:
    """Cut ``start .. end`` by what of it is ``unread``, up to byte ``most`` of what is not."""
    parts: list[tuple[int, int, Unread | None]] = []
    at, left = start, most
    for other in unread:
        first, last, _ = other
        if first >= min(end, at + left):
            break
        if at < first:
            parts.append((at, first, None))
            left -= first - at
            at = first
        upto = min(last, end)
        if at < upto:
            parts.append((at, upto, other))
            at = upto
    if at < end:
        parts.append((at, min(end, at + left), None))
    return parts


def _have_zeros(batch: Batch, places: Sequence[tuple[int, int]]) -> bool:
    """Whether ``places`` were read as zeros, as far as the batch goes.

    Each was read at one moment, whereas what has no page in the page table and is anonymous in the
    map could be so at two: where whole mappings are moved, this tells for certain.
    """
    for start, place_end in places:
        end = min(place_end, batch.reached)
        number = bisect_right(batch.pieces, start, key=_ADDRESS) - 1
        if start < end and not _has_zeros(batch.pieces[number], start, end):
            return False
    return True


def _has_zeros(piece: Piece, start: int, end: int) -> bool:
    if piece.data is None:
        return False
    data = piece.data[start - piece.address : end - piece.address]
    return bytes(data) == bytes(end - start)


def _are_still(zeros: Sequence[Piece], looker: Looker, ref: ProcessRef) -> bool:
    if not zeros:
        return True
    runs = Runs([piece.address for piece in zeros], [piece.length for piece in zeros])
    return are_still_zeros(looker, ref, runs)
