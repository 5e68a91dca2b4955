"""Reading a long range piece by piece: what is not there already is not brought in by it.

Through the system call alone, a read of never-touched memory makes page tables (2 MiB a GiB) or,
where it is shared, whole pages, all charged to the target. So pages are looked up first, in `wait`
mode too; what has no page reads as zeros, and only what does need a fault is waited for.
"""

from __future__ import annotations

import errno
import hashlib
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from farpeek.access.absent import FaultHandlers, Findings
from farpeek.access.nowait import CheckAll, Checked, as_runs
from farpeek.access.process_ref import NoMemory
from farpeek.access.reading import verified
from farpeek.errors import DeadlineExceeded, RangeUnreadable
from farpeek.mappings.maps import cut
from farpeek.mappings.residency import NoPagemap, clusters, split
from farpeek.model import Gap, GapReason, Mode, OnGap, ReadSpec, Regions
from farpeek.regions import Hole, Runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek.access.nowait import CheckedAccess, Checker, OpenMap
    from farpeek.access.process_ref import ProcessRef
    from farpeek.access.seam import Access
    from farpeek.mappings.residency import Residency
    from farpeek.model import Process, RangeSpec, ReadResult

ASK_HANDLERS_EVERY = 64 << 20
"""Of one mapping without pages; the question makes 4 KiB of page table at most."""
_MORE_LOOKS = 2
_DIGEST_SIZE = 16


class CheckOr:
    """A checker, and another one for processes whose page table or map may not be seen."""

    def __init__(self, first: Checker, otherwise: Checker) -> None:
        self._first = first
        self._otherwise = otherwise

    def check(self, ref: ProcessRef, runs: Runs) -> Checked:
        """See ``Checker.check``."""
        try:
            return self._first.check(ref, runs)
        except (NoPagemap, PermissionError):
            return self._otherwise.check(ref, runs)


class CheckTwice:
    """Looks again whether what was found to have no page has none still.

    The page table is seen before the map. Between the two, mremap(2) can move pages in, as realloc
    does with large blocks: without a page at the first look, and anonymous at the second, they
    would be answered as zeros, which they never were.
    """

    def __init__(self, inner: Checker, residency: Residency) -> None:
        self._inner = inner
        self._residency = residency

    def check(self, ref: ProcessRef, runs: Runs) -> Checked:
        """See ``Checker.check``. What does not come to rest counts as not resident."""
        checked = self._inner.check(ref, runs)
        for _ in range(_MORE_LOOKS):
            if self._has_settled(ref, runs, checked):
                return checked
            checked = self._inner.check(ref, runs)
        decided = _neither_read_nor_missing(runs, checked).places()
        moving = [Hole(start, end, GapReason.NOT_RESIDENT) for start, end in decided]
        holes = sorted([*checked.findings.holes, *moving], key=lambda hole: hole.start)
        return Checked(checked.readable, Findings(holes))

    def _has_settled(self, ref: ProcessRef, runs: Runs, checked: Checked) -> bool:
        decided = _neither_read_nor_missing(runs, checked)
        if not decided.starts:
            return True
        pages = self._residency.look(ref.proc, clusters(decided))
        return not any(place.categories for place in split(decided, pages))


def _neither_read_nor_missing(runs: Runs, checked: Checked) -> Runs:
    """What a checker has found the bytes of by itself."""
    if checked.readable is runs:
        return Runs((), (), in_order=True)
    holes = ((hole.start, hole.end) for hole in checked.findings.holes)
    others = sorted([*checked.readable.places(), *holes])
    left: list[tuple[int, int]] = []
    for start, end in runs.places():
        at = start
        for other_start, other_end in others:
            if at < other_start < end:
                left.append((at, other_start))
            at = max(at, min(other_end, end))
        if at < end:
            left.append((at, end))
    return as_runs(left)


class WaitForMissing:
    """What a checker calls not resident is read all the same, however long the fault takes."""

    def __init__(self, inner: Checker) -> None:
        self._inner = inner

    def check(self, ref: ProcessRef, runs: Runs) -> Checked:
        """See ``Checker.check``."""
        checked = self._inner.check(ref, runs)
        findings = checked.findings
        missing = [
            (hole.start, hole.end)
            for hole in findings.holes
            if hole.reason is GapReason.NOT_RESIDENT
        ]
        if not missing:
            return checked
        findings.holes = [
            hole for hole in findings.holes if hole.reason is not GapReason.NOT_RESIDENT
        ]
        return Checked(as_runs([*checked.readable.places(), *missing]), findings)


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
        self, access: Access, name: Callable[[Process], ProcessRef], open_map: OpenMap
    ) -> None:
        self._access = access
        self._name = name
        self._open_map = open_map

    def begin(self, process: Process, spec: RangeSpec, most: int, deadline: float) -> Beginning:
        """Find out where the range ends, and read its first piece, of at most ``most`` bytes.

        Raises RangeUnreadable if its first byte cannot be read, and what ``Access.read`` does.
        """
        edge = None
        if spec.on_gap is OnGap.STOP:
            look = partial(self._edge, spec, deadline)
            edge = verified(self._name(process), look, deadline)
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
        return self._access.read(process, wanted, deadline)

    def _edge(self, spec: RangeSpec, deadline: float, ref: ProcessRef) -> Hole | None:
        """Where the map says that the range cannot be read any more; None if it all can."""
        try:
            with self._open_map(ref.proc) as address_map:
                for start, end, mapping in cut(address_map, [(spec.start, spec.end)]):
                    if mapping is None:
                        return Hole(start, end, GapReason.UNMAPPED)
                    if not mapping.readable:
                        return Hole(start, end, GapReason.NO_ACCESS)
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


def _digest(data: bytes | bytearray) -> str:
    """Name the bytes; in the thread, for it takes a millisecond a MiB."""
    return hashlib.blake2b(data, digest_size=_DIGEST_SIZE).hexdigest()


class RangeWays:
    """Makes the readers of ranges; on the loop."""

    def __init__(
        self,
        name: Callable[[Process], ProcessRef],
        open_map: OpenMap,
        residency: Residency | None,
        wait: CheckedAccess,
        nowait: CheckedAccess | None,
    ) -> None:
        """``residency`` is None where it cannot be seen, ``nowait`` where that cannot be done."""
        self._name = name
        self._open_map = open_map
        self._residency = residency
        self._wait = wait
        self._nowait = nowait

    def reader(self, mode: Mode) -> RangeReader | None:
        """Give a reader for one transfer; None if the mode is not to be had here."""
        access = self._wait if mode is Mode.WAIT else self._nowait
        if access is not None and self._residency is not None:
            handlers = FaultHandlers(ASK_HANDLERS_EVERY)
            look_once = CheckAll(self._residency, self._open_map, lambda: handlers)
            look: Checker = CheckTwice(look_once, self._residency)
            if mode is Mode.WAIT:
                look = WaitForMissing(look)
            access = access.checked_by(partial(CheckOr, look))
        return None if access is None else RangeReader(access, self._name, self._open_map)
