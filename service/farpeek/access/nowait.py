"""Reading that never waits for I/O: what is not there now is a gap, ``not_resident``.

A checker decides what may be read by the system call, and what becomes of the rest. Between its
look and the read a page can go away (16 us at the p99, 64 ms under a loop of MADV_PAGEOUT, without
bound on a server that has died), so these reads, too, run in threads with a deadline.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Protocol

from farpeek import columns, regions
from farpeek.access.absent import AbsentPages, FaultHandlers, Findings
from farpeek.access.process_ref import NoMemory
from farpeek.access.reading import cut_at_first_gap, read_verified
from farpeek.access.seam import ProcessGone
from farpeek.access.vector import read_all
from farpeek.errors import Unsupported
from farpeek.kernel import gates, uapi
from farpeek.kernel.pidfd import has_exited
from farpeek.kernel.uapi import PAGE_IS_PRESENT
from farpeek.mappings import files
from farpeek.mappings.maps import cut
from farpeek.mappings.residency import NoPagemap, all_present, clusters, split
from farpeek.model import GapReason, OnGap, ReadResult
from farpeek.regions import Hole, Runs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from farpeek.access.process_ref import ProcessRef
    from farpeek.errors import FarpeekError
    from farpeek.kernel.uapi import PageRun
    from farpeek.mappings.maps import AddressMap, GapClassifier
    from farpeek.mappings.residency import Residency
    from farpeek.model import Backend, Process, ReadSpec

    OpenMap = Callable[[str], AbstractContextManager[AddressMap]]


@dataclass(frozen=True, slots=True)
class Checked:
    """What may be read by the system call, and what was found out about the rest."""

    readable: Runs
    findings: Findings


class Checker(Protocol):
    """Looks before the system call does."""

    def check(self, ref: ProcessRef, runs: Runs) -> Checked:
        """Sort out ``runs``. Raises NoPagemap, AccessDenied; OSError once the process is gone."""
        ...


class CheckAll:
    """Every page: reads those in the page table, decides about the others by their mapping."""

    def __init__(
        self,
        residency: Residency,
        open_map: OpenMap,
        handlers: Callable[[], FaultHandlers] = FaultHandlers,
    ) -> None:
        """``handlers`` gives what is known of them already at the beginning of a read."""
        self._residency = residency
        self._open_map = open_map
        self._handlers = handlers

    def check(self, ref: ProcessRef, runs: Runs) -> Checked:
        """See ``Checker.check``."""
        spans = clusters(runs)
        pages = self._residency.look(ref.proc, spans)
        if all_present(spans, pages):
            return Checked(runs, Findings())
        present: list[tuple[int, int]] = []
        absent: list[PageRun] = []
        for place in split(runs, pages):
            if place.categories & PAGE_IS_PRESENT:
                present.append((place.start, place.end))
            else:
                absent.append(place)
        findings = Findings()
        if absent:
            findings = AbsentPages(ref, self._open_map, self._handlers()).sort(absent)
        return Checked(as_runs([*present, *findings.readable]), findings)


class CheckRemote:
    """Only mappings of files that are not on a local filesystem; the flag is good for all others.

    On those the flag can wait for the server (MADV_RANDOM, no readahead), and stalls the target
    while it does.
    """

    def __init__(self, residency: Residency | None, open_map: OpenMap) -> None:
        self._residency = residency
        self._open_map = open_map

    def check(self, ref: ProcessRef, runs: Runs) -> Checked:
        """See ``Checker.check``."""
        readable: list[tuple[int, int]] = []
        remote: list[tuple[int, int]] = []
        local: dict[tuple[int, int], bool] = {(0, 0): True}  # what has no file
        with self._open_map(ref.proc) as address_map:
            for start, end, mapping in cut(address_map, runs.places()):
                device = mapping.device if mapping else (0, 0)
                if device not in local:
                    local[device] = files.is_local(ref.proc, device)
                (readable if local[device] else remote).append((start, end))
        findings = Findings()
        if remote:
            self._look_at_remote(ref, remote, readable, findings)
        return Checked(as_runs(readable), findings)

    def _look_at_remote(
        self,
        ref: ProcessRef,
        remote: list[tuple[int, int]],
        readable: list[tuple[int, int]],
        findings: Findings,
    ) -> None:
        runs = as_runs(remote)
        pages: list[PageRun] = []
        if self._residency is not None:
            with suppress(NoPagemap):  # what cannot be seen is not touched
                pages = self._residency.look(ref.proc, clusters(runs))
        for place in split(runs, pages):
            if place.categories & PAGE_IS_PRESENT:
                readable.append((place.start, place.end))
            else:
                findings.holes.append(Hole(place.start, place.end, GapReason.NOT_RESIDENT))


class CheckNothing:
    """Leaves it all to PROCESS_VM_NOWAIT."""

    def check(self, ref: ProcessRef, runs: Runs) -> Checked:
        """See ``Checker.check``."""
        del ref
        return Checked(runs, Findings())


class CheckedAccess:
    """Reads what a checker lets through, by process_vm_readv(2); in a range, in `wait` too."""

    def __init__(
        self,
        name: Callable[[Process], ProcessRef],
        checker: Checker,
        classifier: GapClassifier,
        backend: Backend,
    ) -> None:
        self._name = name
        self._checker = checker
        self._classifier = classifier
        self.backend = backend

    def checked_by(self, checker: Callable[[Checker], Checker]) -> CheckedAccess:
        """Give the same way with another checker, made of its own."""
        return CheckedAccess(self._name, checker(self._checker), self._classifier, self.backend)

    def read(self, process: Process, spec: ReadSpec, deadline: float) -> ReadResult:
        """See ``Access.read``."""
        try:
            result = read_verified(self._name(process), self._attempt, spec, deadline)
        except (NoPagemap, PermissionError):
            denied = _denied(process)
            if has_exited(process.pidfd):  # else it may have been somebody else's page table
                raise ProcessGone from None
            raise denied from None
        return cut_at_first_gap(spec, result) if spec.on_gap is OnGap.STOP else result

    def _attempt(self, ref: ProcessRef, spec: ReadSpec, deadline: float) -> ReadResult:
        runs = regions.merge(spec.regions)
        checked = self._check(ref, runs)
        content, places = read_all(ref, checked.readable, deadline)
        holes = checked.findings.holes
        if places:
            explained = self._classifier.classify(ref.proc, places)
            holes = sorted([*holes, *explained], key=lambda hole: hole.start)
        missing = regions.gaps(spec.regions, regions.join(holes))
        requested = columns.total(columns.column(spec.regions.lengths))
        return ReadResult(
            data=regions.lay_out(spec.regions, runs, _assemble(runs, checked, content)),
            requested=requested,
            read=requested - sum(gap.length for gap in missing),
            gaps=missing,
            backend=self.backend,
        )

    def _check(self, ref: ProcessRef, runs: Runs) -> Checked:
        try:
            return self._checker.check(ref, runs)
        except OSError as error:
            if error.errno in (errno.ESRCH, errno.ENOENT):
                raise NoMemory from error
            raise


def _denied(process: Process) -> FarpeekError:
    """Why page table or map may not be seen: mostly as the memory itself may not be read."""
    if uapi.probe_memory(process.pid) == -errno.EPERM:
        return gates.find(process.pid)
    return Unsupported(
        "nowait needs to see the target's page table (/proc/PID/pagemap), which belongs "
        "to another user: run the service with the target's uid and gid, or give it "
        "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"
    )


def as_runs(places: Sequence[tuple[int, int]]) -> Runs:
    """Put disjoint ``places`` (start, end) in order."""
    ordered = sorted(places)
    return Runs(
        [start for start, _ in ordered],
        [end - start for start, end in ordered],
        in_order=False,
    )


def _assemble(runs: Runs, checked: Checked, content: bytearray) -> bytearray:
    """Put what was read, and what was taken from elsewhere, where it belongs in ``runs``."""
    if checked.readable is runs:
        return content
    whole = bytearray(columns.total(columns.column(runs.lengths)))
    view = memoryview(content)
    offsets = accumulate(checked.readable.lengths, initial=0)
    read = (
        (start, view[at : at + length])
        for start, length, at in zip(
            checked.readable.starts, checked.readable.lengths, offsets, strict=False
        )
    )
    regions.place(runs, whole, chain(read, checked.findings.content))
    return whole
