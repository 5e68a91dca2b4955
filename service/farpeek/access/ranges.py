"""Reading a long range piece by piece: what is not there already is not brought in by it.

Through the system call alone, a read of never-touched memory makes page tables (2 MiB a GiB) or,
where it is shared, whole pages, all charged to the target. So pages are looked up first, in `wait`
mode too; what has no page reads as zeros, and only what does need a fault is waited for.
"""

from __future__ import annotations

import errno
import hashlib
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from farpeek.access.checks import CheckAll, CheckMap, CheckOr, WaitForMissing
from farpeek.access.fault_handlers import FaultHandlers
from farpeek.access.process_ref import NoMemory
from farpeek.access.verified import verified
from farpeek.addressing import untagged_range
from farpeek.errors import DeadlineExceeded, RangeUnreadable
from farpeek.mappings.maps import cut
from farpeek.model import Gap, GapReason, Mode, OnGap, ReadSpec, Regions
from farpeek.regions import Hole

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek.access.checks import Checker, OpenMap
    from farpeek.access.pieces import Looker, PieceReader
    from farpeek.access.process_ref import ProcessRef
    from farpeek.access.reader import Reader
    from farpeek.access.seam import Access
    from farpeek.identity import Process
    from farpeek.mappings.residency import Residency
    from farpeek.model import RangeSpec, ReadResult

ASK_HANDLERS_EVERY = 64 << 20
"""Of one mapping without pages; the question makes 4 KiB of page table at most."""
_DIGEST_SIZE = 16


@dataclass(frozen=True, slots=True)
class Beginning:
    """How a range begins, and how far it goes.

    ``end``: what lies behind it is not readable, as far as the map tells. ``data`` is the first
    piece; ``digest`` that of the whole range, where it is no longer than that piece.
    """

    end: int
    data: bytes | bytearray
    digest: str | None


class RangeReader:
    """Reads one range, in rising order. One object for one transfer, in one thread at a time."""

    def __init__(
        self, access: Access, refer: Callable[[Process], ProcessRef], open_map: OpenMap
    ) -> None:
        self._access = access
        self._refer = refer
        self._open_map = open_map

    def begin(self, process: Process, spec: RangeSpec, most: int, deadline: float) -> Beginning:
        """Find out where the range ends, and read its first piece, of at most ``most`` bytes.

        Raises RangeUnreadable if its first byte cannot be read, and what ``Access.read`` does.
        """
        edge = None
        if spec.on_gap is OnGap.STOP:
            look = partial(self._edge, spec, deadline)
            edge = verified(self._refer(process), look, deadline, spec.mode)
        end = edge.start if edge else spec.end
        if edge and end == spec.start:
            raise RangeUnreadable(Gap(0, 0, end, edge.end - edge.start, edge.reason))
        piece_end = min(end, spec.start + most)
        data = self.read(process, spec, spec.start, piece_end, deadline).data
        if not data:
            raise RangeUnreadable(self._first_gap(process, spec, piece_end, deadline))
        reached = spec.start + len(data)
        if reached < piece_end:
            end = reached
        return Beginning(end, data, _digest(data) if reached == end else None)

    def read(
        self, process: Process, spec: RangeSpec, start: int, end: int, deadline: float
    ) -> ReadResult:
        """Read ``start .. end`` of the range; raises what ``Access.read`` does."""
        wanted = ReadSpec(Regions([start], [end - start]), spec.mode, spec.on_gap)
        return _without_inventions(self._access.read(process, wanted, deadline))

    def _edge(self, spec: RangeSpec, deadline: float, ref: ProcessRef) -> Hole | None:
        """Where the map says that the range cannot be read any more; None if it all can."""
        place = untagged_range(spec.start, spec.end)
        tag = spec.start - place[0]
        try:
            with self._open_map(ref.proc) as address_map:
                for start, end, mapping in cut(address_map, [place]):
                    if mapping is None:
                        return Hole(start + tag, end + tag, GapReason.UNMAPPED)
                    if not mapping.readable:
                        return Hole(start + tag, end + tag, GapReason.NO_ACCESS)
                    if time.monotonic() > deadline:
                        raise DeadlineExceeded("the time was over before the map was looked at")
        except PermissionError:
            return None  # the memory may not be read either, as the first piece will tell
        except OSError as error:
            if error.errno in (errno.ESRCH, errno.ENOENT):
                raise NoMemory from error
            raise
        return None

    def _first_gap(self, process: Process, spec: RangeSpec, end: int, deadline: float) -> Gap:
        """How far it is that nothing can be read at the start of ``spec``; not beyond ``end``."""
        whole = ReadSpec(Regions([spec.start], [end - spec.start]), spec.mode, OnGap.CONTINUE)
        gaps = self._access.read(process, whole, deadline).gaps
        if gaps and gaps[0].address == spec.start:
            return gaps[0]
        # It has come meanwhile.
        return Gap(0, 0, spec.start, 1, GapReason.UNREADABLE)


def _without_inventions(result: ReadResult) -> ReadResult:
    """End ``result`` before bytes that are there and were not read: zeros would be no filler."""
    gap = next((gap for gap in result.gaps if gap.reason.retryable), None)
    if gap is None or len(result.data) <= gap.offset:
        return result
    left = result.requested - gap.offset
    cut = Gap(0, gap.offset, gap.address, left, gap.reason)
    return replace(result, data=result.data[: gap.offset], read=gap.offset, gaps=(cut,))


def _digest(data: bytes | bytearray) -> str:
    """Name the bytes; in the thread, for it takes a millisecond a MiB."""
    return hashlib.blake2b(data, digest_size=_DIGEST_SIZE).hexdigest()


class RangeWays:
    """Makes the readers of ranges; on the loop."""

    def __init__(
        self,
        refer: Callable[[Process], ProcessRef],
        open_map: OpenMap,
        residency: Residency | None,
        wait: Reader,
        nowait: Reader | None,
    ) -> None:
        """``residency`` is None where it cannot be seen, ``nowait`` where that cannot be done."""
        self._refer = refer
        self._open_map = open_map
        self._residency = residency
        self._wait = wait
        self._nowait = nowait

    def reader(self, mode: Mode) -> RangeReader | None:
        """Give a reader for one transfer; None if the mode is not to be had here."""
        access = self._wait if mode is Mode.WAIT else self._nowait
        if access is not None and self._residency is not None:
            handlers = FaultHandlers(ASK_HANDLERS_EVERY)
            # No page tables at all: those of all its pieces would add up.
            look: Checker = CheckAll(
                self._residency, self._open_map, lambda: handlers, most_tables=0
            )
            if mode is Mode.WAIT:
                look = WaitForMissing(look)
            access = access.checked_by(CheckOr(look, access.checker))
        return None if access is None else RangeReader(access, self._refer, self._open_map)

    def pieces(
        self, mode: Mode, allocate: Callable[[int], bytearray] = bytearray
    ) -> PieceReader | None:
        """Give a reader in pieces for one transfer; None if the mode is not to be had here.

        See ``PieceReader`` for ``allocate``.
        """
        access = self._wait if mode is Mode.WAIT else self._nowait
        if access is None:
            return None
        lookers: list[Looker] = []
        if self._residency is not None:
            handlers = FaultHandlers(ASK_HANDLERS_EVERY)
            lookers.append(
                CheckAll(self._residency, self._open_map, lambda: handlers, most_tables=0)
            )
        if mode is Mode.WAIT or access.backend.nowait == "native":
            lookers.append(CheckMap(self._open_map))
        return access.in_pieces(lookers, mode, allocate)
