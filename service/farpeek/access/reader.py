"""Reading: what may be read is read by the system call, and by nothing else.

No bytes are made up here, nor taken from elsewhere. A checker says beforehand which addresses the
system call is not asked for: those that would have to be waited for, and large stretches that
nobody has touched, which are zeros. That is looked at again after the rest was read, since between
two looks at a page table and a map mremap(2) can move anything anywhere.
"""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from farpeek import addressing, columns, regions
from farpeek.access import joint, quick
from farpeek.access.checks import are_still_zeros
from farpeek.access.joint import JointRead
from farpeek.access.pieces import PieceReader
from farpeek.access.sparse import MOST_AT_ONCE, PageTablesGrew, Watched, may_grow, must_grow
from farpeek.access.stable import stable
from farpeek.access.vector import read_all, read_whole
from farpeek.access.verified import denial, no_memory, refusals, verified
from farpeek.mappings import hugepages
from farpeek.mappings.residency import NoPagemap
from farpeek.model import Gap, GapReason, Mode, OnGap, ReadResult
from farpeek.regions import Missing, Runs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from farpeek.access.absent import Unread
    from farpeek.access.checks import Checker
    from farpeek.access.joint import Prepared
    from farpeek.access.pieces import Looker
    from farpeek.access.process_ref import ProcessRef
    from farpeek.access.witness import Witness
    from farpeek.identity import Process
    from farpeek.mappings.gaps import GapClassifier
    from farpeek.model import Backend, ReadSpec

_TRIES: Final = 3
"""Readings of memory that is moved meanwhile, before nothing of it is taken for zeros any more."""


class Reader:
    """Reads in one mode, by process_vm_readv(2)."""

    def __init__(
        self,
        refer: Callable[[Process], ProcessRef],
        checker: Checker | None,
        classifier: GapClassifier,
        backend: Backend,
        sparing: Checker | None = None,
    ) -> None:
        """``checker`` looks before each read; None: the system call is asked for everything.

        ``sparing`` looks in its place before a read that could make many page tables in the target
        (see ``access.sparse``), or take huge pages from others.
        """
        self._refer = refer
        self.checker = checker
        self._classifier = classifier
        self._sparing = sparing
        self.backend = backend

    def checked_by(self, checker: Checker) -> Reader:
        """Give a reader like this one, with another checker."""
        return Reader(self._refer, checker, self._classifier, self.backend)

    def in_pieces(
        self, lookers: Sequence[Looker], mode: Mode, allocate: Callable[[int], bytearray]
    ) -> PieceReader:
        """Give one that reads long ranges in pieces, in the same way."""
        return PieceReader(self._refer, lookers, self._classifier, mode, allocate)

    def read(self, process: Process, spec: ReadSpec, deadline: float) -> ReadResult:
        """See ``Access.read``. Blocks in page faults for as long as they take, in `wait` mode."""
        once = partial(self._once, process, spec, deadline)
        return stable(once, spec.stable) if spec.stable else once()

    def read_quickly(self, process: Process, spec: ReadSpec, witness: Witness) -> ReadResult | None:
        """See ``Access.read_quickly``."""
        count, must_be_there = len(spec.regions.addresses), spec.mode is Mode.NOWAIT
        if spec.stable or count > (quick.MOST_THERE if must_be_there else quick.MOST_REGIONS):
            return None
        if must_be_there and (
            count > quick.MOST_REGIONS or sum(spec.regions.lengths) > quick.MOST_BYTES
        ):
            return quick.read_there(self._refer(process), spec, witness, self.backend)
        must_be_there = must_be_there or hugepages.are_kept()
        if must_be_there and not quick.are_present(spec, witness):
            return None
        return quick.read(self._refer(process), spec, witness, self.backend)

    def prepare(self, process: Process, spec: ReadSpec, witness: Witness) -> Prepared | None:
        """See ``Access.prepare``."""
        if spec.stable or len(spec.regions.addresses) > quick.MOST_REGIONS:
            return None
        return joint.prepare(self._refer(process), spec, witness)

    def jointly(self, reads: Sequence[Prepared | None], mode: Mode) -> JointRead:
        """See ``Access.jointly``."""
        must_be_there = mode is Mode.NOWAIT or hugepages.are_kept()
        return JointRead(reads, self.backend, must_be_there=must_be_there)

    def _once(self, process: Process, spec: ReadSpec, deadline: float) -> ReadResult:
        attempt = partial(self._attempt, spec=spec, deadline=deadline)
        try:
            return verified(self._refer(process), attempt, deadline, spec.mode)
        except (NoPagemap, PermissionError):
            with refusals(process):
                raise denial(process) from None

    def _attempt(self, ref: ProcessRef, spec: ReadSpec, deadline: float) -> ReadResult:
        if self.checker is None and len(spec.regions.addresses) == 1 and not hugepages.are_kept():
            address = addressing.untagged(spec.regions.addresses[0])
            whole = self._whole(ref, address, spec.regions.lengths[0])
            if whole is not None:
                return whole
        runs = regions.in_order(spec.regions)
        if self._sparing is None or not (may_grow(runs) or hugepages.are_kept()):
            return self._read(ref, runs, spec, deadline, self.checker)
        if not (must_grow(runs) or hugepages.are_kept()):
            with suppress(PageTablesGrew):
                return self._read(Watched(ref), runs, spec, deadline, self.checker)
        return self._read(ref, runs, spec, deadline, self._sparing)

    def _whole(self, ref: ProcessRef, address: int, length: int) -> ReadResult | None:
        """Read one region by one call: the most frequent read, in half the time.

        None where that does not give all of it, for whatever reason.
        """
        if length > MOST_AT_ONCE:
            return None
        began_ns = time.monotonic_ns()
        content = read_whole(ref, address, length)
        if content is None:
            return None
        return ReadResult(content, length, length, (), self.backend, began_ns=began_ns)

    def _read(
        self,
        ref: ProcessRef,
        runs: Runs,
        spec: ReadSpec,
        deadline: float,
        checker: Checker | None,
    ) -> ReadResult:
        """Read, and look again at what was not read because it is zeros."""
        began_ns = time.monotonic_ns()
        stop = spec.on_gap is OnGap.STOP
        unread: Sequence[Unread] = ()
        for _ in range(_TRIES):
            unread = _check(checker, ref, runs) if checker is not None else ()
            reading = _Reading(runs, unread, stop=stop)
            reading.read(ref, deadline)
            if checker is None or _are_still(reading.zeros, checker, ref):
                return self._result(ref, spec, reading, began_ns)
        # It never rests: what the system call shows is true, whatever it makes in the target.
        reading = _Reading(runs, [each for each in unread if each.reason is not None], stop=stop)
        reading.read(ref, deadline)
        return self._result(ref, spec, reading, began_ns)

    def _result(
        self, ref: ProcessRef, spec: ReadSpec, reading: _Reading, began_ns: int
    ) -> ReadResult:
        missing = reading.missing(partial(self._classifier.classify, ref.proc))
        gaps = regions.gaps(spec.regions, missing)
        data, requested = reading.data, len(reading.data)
        if spec.on_gap is OnGap.STOP and gaps:
            gaps = [_to_the_end_of_its_region(gaps[0], spec)]
            data = data[: sum(spec.regions.lengths[: gaps[0].region]) + gaps[0].offset]
            read = len(data)
        else:
            read = requested - sum(gap.length for gap in gaps)
        return ReadResult(data, requested, read, gaps, self.backend, began_ns=began_ns)


class _Reading:
    """One try to read ``runs`` but for what is ``unread``; with ``stop``, to the first hole."""

    def __init__(self, runs: Runs, unread: Sequence[Unread], *, stop: bool) -> None:
        self._stop = stop
        self._known: list[Missing] = []  # before anything is read
        self._holes: list[tuple[int, int, int]] = []  # offset, start and end of each
        self._offsets: list[int] | None = None  # of the pieces that are read; None: of all, as is
        self._size = columns.total(columns.column(runs.lengths))
        self.zeros: list[tuple[int, int]] = []
        self.data = bytearray()
        self._pieces = self._cut(runs, unread) if unread else runs

    def _cut(self, runs: Runs, unread: Sequence[Unread]) -> Runs:
        """Keep what is to be read of ``runs``, and remember the rest."""
        starts: list[int] = []
        lengths: list[int] = []
        self._offsets = []
        for offset, start, end, other in regions.parts(runs, unread):
            if other is None:
                starts.append(start)
                lengths.append(end - start)
                self._offsets.append(offset)
            elif other.reason is None:
                self.zeros.append((start, end))
            else:
                self._known.append(Missing(offset, start, end, other.reason))
                if self._stop:
                    break
        return Runs(starts, lengths)

    def read(self, ref: ProcessRef, deadline: float) -> None:
        """Read in order. Raises as ``Vector.until_hole`` does."""
        most_holes = 1 if self._stop else None
        content, holes = read_all(ref, self._pieces, deadline, most_holes)
        if self._offsets is None:
            self.data, self._holes = content, holes
            return
        self.data = bytearray(self._size)
        view = memoryview(content)
        at = 0
        for offset, length in zip(self._offsets, self._pieces.lengths, strict=True):
            self.data[offset : offset + length] = view[at : at + length]
            at += length
        self._holes = list(_moved(holes, self._offsets, self._pieces.lengths))

    def missing(
        self, classify: Callable[[Sequence[tuple[int, int]]], list[regions.Hole]]
    ) -> list[Missing]:
        """What was not read, and why, by rising offset."""
        if not self._holes:
            return self._known
        places = regions.union(_runs([(start, end) for _, start, end in self._holes])).places()
        reasons = classify(list(places))
        found = list(self._known)
        for hole_offset, start, end in self._holes:
            hole = Runs([start], [end - start])
            for offset, first, last, reason in regions.parts(hole, reasons):
                why = reason.reason if reason else GapReason.UNREADABLE
                found.append(Missing(hole_offset + offset, first, last, why))
        found.sort(key=lambda missing: missing.offset)
        return found


def _moved(
    holes: Sequence[tuple[int, int, int]], offsets: Sequence[int], lengths: Sequence[int]
) -> list[tuple[int, int, int]]:
    """Give holes with their offsets in the answer, in place of those in the pieces read."""
    moved: list[tuple[int, int, int]] = []
    number = at = 0
    for offset, start, end in holes:  # none reaches over the end of its piece
        while offset >= at + lengths[number]:
            at += lengths[number]
            number += 1
        moved.append((offsets[number] + offset - at, start, end))
    return moved


def _runs(places: Sequence[tuple[int, int]]) -> Runs:
    return Runs.of(places)


def _are_still(zeros: Sequence[tuple[int, int]], checker: Checker, ref: ProcessRef) -> bool:
    """Whether ``zeros`` look so again, and again."""
    if not zeros:
        return True
    runs = regions.union(_runs(zeros))
    with no_memory():
        return are_still_zeros(checker, ref, runs)


def _check(checker: Checker, ref: ProcessRef, runs: Runs) -> Sequence[Unread]:
    with no_memory():
        return checker.check(ref, regions.union(runs))


def _to_the_end_of_its_region(gap: Gap, spec: ReadSpec) -> Gap:
    left = spec.regions.lengths[gap.region] - gap.offset
    return Gap(gap.region, gap.offset, gap.address, left, gap.reason)
