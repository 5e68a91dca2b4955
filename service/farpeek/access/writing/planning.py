"""Before a write: what of it may be written, found out from the target's map and page table."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from farpeek import regions
from farpeek.access.absent import AbsentPages
from farpeek.access.fault_handlers import FaultHandlers
from farpeek.errors import Unsupported
from farpeek.kernel import gates
from farpeek.kernel.uapi import PAGE_IS_PRESENT, PageRun
from farpeek.mappings.files import MappedFiles
from farpeek.mappings.maps import cut
from farpeek.mappings.residency import NoPagemap, look_at, split
from farpeek.model import GapReason
from farpeek.regions import Hole, Runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek.access.checks import OpenMap
    from farpeek.access.process_ref import ProcessRef
    from farpeek.mappings.mapping import Mapping
    from farpeek.mappings.residency import Residency
    from farpeek.model import WriteSpec


@dataclass(slots=True)
class Plan:
    """Where may be written, where not and why, and the mappings that were met; all in order."""

    places: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    holes: list[Hole] = field(default_factory=list[Hole])
    mappings: list[Mapping] = field(default_factory=list["Mapping"])

    def leave_out(self, unread: list[Hole]) -> None:
        """Leave out what could not be read before: nobody could say what was overwritten there.

        Memory that can be written and never read is written all the same.
        """
        closed = [
            Hole(mapping.start, mapping.end, GapReason.NO_ACCESS)
            for mapping in self.mappings
            if not mapping.readable
        ]
        lost = _clip(regions.without(self.places, closed), unread)
        if lost:
            self.places = regions.without(self.places, lost)
            self.holes = sorted([*self.holes, *lost], key=lambda hole: hole.start)


class Planner(Protocol):
    """Makes plans for one mode."""

    def plan(self, ref: ProcessRef, spec: WriteSpec) -> Plan:
        """Plan a write. Raises AccessDenied, Unsupported; OSError once the process is gone."""
        ...


class PlanByMap:
    """By the permissions of the mappings alone, for writes that may wait."""

    def __init__(self, open_map: OpenMap) -> None:
        self._open_map = open_map

    def plan(self, ref: ProcessRef, spec: WriteSpec) -> Plan:
        """See ``Planner.plan``."""
        plan = Plan()
        runs = regions.union(spec.regions)
        try:
            with self._open_map(ref.proc) as address_map:
                for start, end, mapping in cut(address_map, runs.places()):
                    _sort(plan, start, end, mapping, allow_shared=spec.allow_shared)
        except PermissionError as error:
            raise gates.find(ref.process.pid) from error
        return plan


def _sort(plan: Plan, start: int, end: int, mapping: Mapping | None, *, allow_shared: bool) -> None:
    if mapping is not None and (not plan.mappings or plan.mappings[-1] is not mapping):
        plan.mappings.append(mapping)
    if mapping is None:
        plan.holes.append(Hole(start, end, GapReason.UNMAPPED))
    elif not mapping.writable:
        plan.holes.append(Hole(start, end, GapReason.NO_ACCESS))
    elif mapping.shared and not allow_shared:
        plan.holes.append(Hole(start, end, GapReason.SHARED))
    else:
        plan.places.append((start, end))


class PlanByPages:
    """By the page table too, so that nothing is waited for.

    Pages that would have to be read in, or that a userfaultfd handler has to provide or to release,
    are holes; so are shared pages of files on a disk, whose filesystem may want to do I/O first.
    """

    def __init__(
        self,
        open_map: OpenMap,
        residency: Residency,
        protected: Callable[[str, Runs], list[tuple[int, int]]],
    ) -> None:
        """``protected`` finds what userfaultfd handlers protect, at least, around some runs."""
        self._protected = protected
        self._by_map = PlanByMap(open_map)
        self._open_map = open_map
        self._residency = residency

    def plan(self, ref: ProcessRef, spec: WriteSpec) -> Plan:
        """See ``Planner.plan``."""
        plan = self._by_map.plan(ref, spec)
        try:
            waiting = self._waiting(ref, plan)
        except NoPagemap:
            raise Unsupported(
                "nowait needs to see the target's page table (/proc/PID/pagemap), which belongs to "
                "another user: run the service with the target's uid and gid, or give it "
                "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"
            ) from None
        plan.places = regions.without(plan.places, waiting)
        plan.holes = sorted([*plan.holes, *waiting], key=lambda hole: hole.start)
        return plan

    def _waiting(self, ref: ProcessRef, plan: Plan) -> list[Hole]:
        """Where a write would have to wait, within ``plan.places``."""
        on_disk = _places_on_disk(ref.proc, plan)
        places = regions.without(plan.places, on_disk)
        runs = Runs.of(places)
        _, pages = look_at(self._residency, ref.proc, runs)
        absent = [page for page in split(runs, pages) if not page.categories & PAGE_IS_PRESENT]
        missing = self._missing(ref, absent) if absent else []
        protected = [
            Hole(start, end, GapReason.NOT_RESIDENT)
            for start, end in self._protected(ref.proc, runs)
        ]
        # Of what is protected, only what was asked for; and what is missing is missing already.
        clipped = _clip(regions.without(places, missing), protected)
        return sorted([*on_disk, *missing, *clipped], key=lambda hole: hole.start)

    def _missing(self, ref: ProcessRef, absent: list[PageRun]) -> list[Hole]:
        sorting = AbsentPages(
            ref, self._open_map, self._residency, FaultHandlers(), most_tables=sys.maxsize
        )
        return [
            Hole(each.start, each.end, each.reason)
            for each in sorting.sort(absent)
            if each.reason is not None
        ]


def _places_on_disk(proc: str, plan: Plan) -> list[Hole]:
    """The places that are in shared mappings of files, but for those that are kept in memory."""
    files = MappedFiles(proc)
    in_memory: dict[tuple[int, int], bool] = {}
    found: list[tuple[int, int]] = []
    for mapping in plan.mappings:
        if not (mapping.shared and mapping.inode):
            continue
        if mapping.device not in in_memory:
            in_memory[mapping.device] = files.filesystem(mapping.device) == "tmpfs"
        if not in_memory[mapping.device]:
            found.append((mapping.start, mapping.end))
    whole = [Hole(start, end, GapReason.NOT_RESIDENT) for start, end in found]
    return _clip(plan.places, whole)


def _clip(places: list[tuple[int, int]], holes: list[Hole]) -> list[Hole]:
    """The parts of ``holes`` that lie within ``places``; both in order and disjoint."""
    clipped: list[Hole] = []
    at = 0
    for start, end in places:
        while at < len(holes) and holes[at].end <= start:
            at += 1
        number = at
        while number < len(holes) and holes[number].start < end:
            hole = holes[number]
            clipped.append(Hole(max(start, hole.start), min(end, hole.end), hole.reason))
            number += 1
    return clipped
