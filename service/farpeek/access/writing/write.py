"""Writing: what was there is read first, then written over, then read again."""

from __future__ import annotations

import errno
import os
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from farpeek import regions
from farpeek.access.listing import view
from farpeek.access.process_ref import ByPidfd, NoMemory
from farpeek.access.vector import Vector
from farpeek.access.verified import refusals, resolve_again
from farpeek.access.writing import pin
from farpeek.addressing import untagged_range
from farpeek.errors import (
    AlreadyTraced,
    DeadlineExceeded,
    ExpectationFailed,
    InvalidRequest,
)
from farpeek.kernel import uapi
from farpeek.model import (
    Difference,
    ReadSpec,
    Rehearsal,
    WriteResult,
)
from farpeek.regions import Hole, Runs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from farpeek.access.process_ref import ProcessRef
    from farpeek.access.seam import Access
    from farpeek.access.writing.planning import Plan, Planner
    from farpeek.identity import Process
    from farpeek.mappings.gaps import GapClassifier
    from farpeek.model import Backend, Gap, ReadResult, WriteSpec

_CHUNK: Final = 4096
"""Bytes that are compared at once, before they are compared one by one."""


class WriteAccess:
    """Writes in one mode, by process_vm_writev(2)."""

    def __init__(
        self,
        name: Callable[[Process], ProcessRef],
        reader: Access,
        planner: Planner,
        classifier: GapClassifier,
        backend: Backend,
    ) -> None:
        """``reader`` reads in the same mode: what was there, and whether it is there afterwards."""
        self._name = name
        self._reader = reader
        self._planner = planner
        self._classifier = classifier
        self.backend = backend

    def write(self, process: Process, spec: WriteSpec, deadline: float) -> WriteResult:
        """Write the regions of ``spec``; blocks for as long as the kernel does, in `wait` mode.

        Raises ProcessGone, AlreadyTraced, ExpectationFailed (nothing is written then),
        AccessDenied, DeadlineExceeded, InvalidRequest, Unsupported, KernelFailure.
        """
        with refusals(process):
            return self._write(process, spec, deadline)

    def _write(self, process: Process, spec: WriteSpec, deadline: float) -> WriteResult:
        ref, plan, before = self._prepare(process, spec, deadline)
        failed = self._transfer(ref, plan, spec, deadline) if plan.places else []
        missing = _gaps(spec, plan, failed)
        requested = sum(map(len, spec.data))
        written = requested - sum(gap.length for gap in missing)
        verified = bool(written) and self._verify(process, spec, missing, deadline)
        return WriteResult(requested, written, verified, before.data, missing, self.backend)

    def rehearse(self, process: Process, spec: WriteSpec, deadline: float) -> Rehearsal:
        """Do all of it but the writing. Raises what ``write`` does."""
        with refusals(process):
            _, plan, before = self._prepare(process, spec, deadline)
        missing = _gaps(spec, plan, [])
        requested = sum(map(len, spec.data))
        return Rehearsal(
            WriteResult(
                requested,
                written=0,
                verified=False,
                before=before.data,
                gaps=missing,
                backend=self.backend,
            ),
            would_write=requested - sum(gap.length for gap in missing),
            mappings=[view(mapping) for mapping in plan.mappings],
        )

    def _prepare(
        self, process: Process, spec: WriteSpec, deadline: float
    ) -> tuple[ProcessRef, Plan, ReadResult]:
        if process.pid == os.getpid():
            raise InvalidRequest("the service does not write into its own memory", ("target",))
        ref, plan = self._plan(process, spec, deadline)
        tracer = pin.foreign_tracer(ref.proc)
        if tracer is not None:
            ref.verify()
            raise AlreadyTraced(tracer)
        before = self._reader.read(process, ReadSpec(spec.regions, spec.mode), deadline)
        if spec.expect is not None:
            _compare(spec, spec.expect, before)
        plan.leave_out(_places(before.gaps))
        return ref, plan, before

    def _plan(self, process: Process, spec: WriteSpec, deadline: float) -> tuple[ProcessRef, Plan]:
        """Plan by the process's own map, or by that of a live thread."""
        ref = self._name(process)
        while True:
            try:
                plan = self._planner.plan(ref, spec)
                ref.verify()
            except NoMemory:
                pass
            except OSError as error:
                if error.errno not in (errno.ESRCH, errno.ENOENT):
                    raise
            else:
                return ref, plan
            ref = resolve_again(ref, deadline, spec.mode)

    def _transfer(
        self, ref: ProcessRef, plan: Plan, spec: WriteSpec, deadline: float
    ) -> list[Hole]:
        """Write what is planned; the places that could not be written after all."""
        runs, content = _pieces(spec, plan.holes)
        vector = Vector(ref.process, *_by(ref, deadline), runs, content)
        places: list[tuple[int, int]] = []
        while True:
            try:
                place = vector.until_hole(deadline)
                if place is None:
                    ref.verify()
                    break
                places.append(place)
            except NoMemory:
                ref = resolve_again(ref, deadline, spec.mode)
                vector.go_by(*_by(ref, deadline))
        return self._classifier.classify(ref.proc, places) if places else []

    def _verify(
        self,
        process: Process,
        spec: WriteSpec,
        missing: list[Gap],
        deadline: float,
    ) -> bool:
        """Whether all that was written is there now."""
        try:
            after = self._reader.read(process, ReadSpec(spec.regions, spec.mode), deadline)
        except DeadlineExceeded:
            return False  # it is written all the same
        unwritten = _places(missing)
        unread = [(hole.start, hole.end) for hole in _places(after.gaps)]
        if regions.without(unread, unwritten):
            return False
        wanted = bytearray(b"".join(spec.data))
        offsets = list(accumulate(map(len, spec.data), initial=0))
        for gap in missing:
            at = offsets[gap.region] + gap.offset
            wanted[at : at + gap.length] = after.data[at : at + gap.length]
        return wanted == after.data


def _by(ref: ProcessRef, deadline: float) -> tuple[Callable[[int, int, int], int], int]:
    """How to write to what ``ref`` names, and how many elements go with one call."""
    if isinstance(ref, ByPidfd):
        return ref.writev, uapi.IOV_MAX
    return pin.PinnedWriter(ref, deadline), pin.ELEMENTS


def _pieces(spec: WriteSpec, holes: Sequence[Hole]) -> tuple[Runs, bytearray]:
    """What lies in no hole, in pieces that a pin can hold, and the bytes that go there."""
    data = b"".join(spec.data)
    content = bytearray()
    pieces: list[tuple[int, int]] = []
    for offset, start, end, hole in regions.parts(regions.in_order(spec.regions), holes):
        if hole is None:
            content += data[offset : offset + end - start]
            pieces += (
                (at, min(pin.MOST_BYTES, end - at)) for at in range(start, end, pin.MOST_BYTES)
            )
    return Runs([start for start, _ in pieces], [length for _, length in pieces]), content


def _gaps(spec: WriteSpec, plan: Plan, failed: list[Hole]) -> list[Gap]:
    holes = sorted([*plan.holes, *failed], key=lambda hole: hole.start)
    return regions.lacking(spec.regions, holes)


def _places(gaps: Sequence[Gap]) -> list[Hole]:
    """Where gaps are in memory, in the order of the addresses."""
    holes = (
        Hole(*untagged_range(gap.address, gap.address + gap.length), gap.reason) for gap in gaps
    )
    return sorted(holes, key=lambda hole: hole.start)


def _compare(spec: WriteSpec, expect: Sequence[bytes], before: ReadResult) -> None:
    """Raise ExpectationFailed at the first byte that is not as expected, or cannot be read."""
    first_gaps = {gap.region: gap for gap in reversed(before.gaps)}
    at = 0
    for number, (address, wanted) in enumerate(zip(spec.addresses, expect, strict=True)):
        found = before.data[at : at + len(wanted)]
        at += len(wanted)
        offset = _first_difference(wanted, found)
        gap = first_gaps.get(number)
        if gap is not None and (offset is None or gap.offset <= offset):
            offset, value = gap.offset, None
        elif offset is not None:
            value = found[offset]
        else:
            continue
        raise ExpectationFailed(Difference(number, offset, address + offset, wanted[offset], value))


def _first_difference(wanted: bytes, found: bytes | bytearray) -> int | None:
    for start in range(0, len(wanted), _CHUNK):
        ours, theirs = wanted[start : start + _CHUNK], found[start : start + _CHUNK]
        if ours != theirs:
            pairs = enumerate(zip(ours, theirs, strict=True), start)
            return next(offset for offset, (mine, its) in pairs if mine != its)
    return None
