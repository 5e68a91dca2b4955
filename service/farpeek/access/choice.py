"""The one place that asks what the kernel can do, once, at start."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from farpeek.access.checks import CheckAll, CheckOr, CheckRemote, WaitForMissing
from farpeek.access.core_segments import Surveyor
from farpeek.access.listing import Lister
from farpeek.access.mapped_file import FileOpener
from farpeek.access.prefetch import Prefetcher
from farpeek.access.process_ref import ByNumber, ByPidfd
from farpeek.access.ranges import RangeWays
from farpeek.access.reader import Reader
from farpeek.access.sparse import MOST_TABLES
from farpeek.access.writing.planning import PlanByMap, PlanByPages
from farpeek.access.writing.write import WriteAccess
from farpeek.kernel import uapi
from farpeek.mappings import maps
from farpeek.mappings.flags import handled_mappings
from farpeek.mappings.gaps import GapClassifier
from farpeek.mappings.nodes import NodeResidency, ResidencyOr
from farpeek.mappings.residency import PagemapResidency, ScanResidency, write_protected
from farpeek.model import Backend, GapReason, NowaitCheck

if TYPE_CHECKING:
    from farpeek.access.capabilities import Capabilities
    from farpeek.access.checks import Checker, OpenMap
    from farpeek.access.seam import Access
    from farpeek.mappings.residency import Residency


@dataclass(frozen=True, slots=True)
class Ways:
    """What this kernel and these privileges allow; None where they do not."""

    wait: Access
    nowait: Access | None
    open_map: OpenMap
    lister: Lister
    opener: FileOpener
    surveyor: Surveyor
    prefetcher: Prefetcher | None
    ranges: RangeWays
    write: WriteAccess | None
    write_nowait: WriteAccess | None


def choose(capabilities: Capabilities, check: NowaitCheck = NowaitCheck.AUTO) -> Ways:
    """The best ways that are to be had here."""
    open_map = maps.queried_map if capabilities.procmap_query else maps.listed_map
    residency = _residency(capabilities)
    classifier = GapClassifier(open_map)
    name = ByPidfd if capabilities.flag_pidfd else ByNumber
    pidfd = Backend(_named(capabilities), capabilities.as_mapping()["pidfd"].technique)
    wait = Reader(name, None, classifier, pidfd, _sparing(residency, open_map))
    nowait = _nowait(capabilities, check, open_map, residency)
    can_prefetch = capabilities.prefetch and residency is not None
    can_write = capabilities.flag_pidfd or capabilities.ptrace
    return Ways(
        wait=wait,
        nowait=nowait,
        open_map=open_map,
        lister=Lister(open_map, residency, nowait, wait),
        opener=FileOpener(open_map, wait),
        surveyor=Surveyor(open_map, residency),
        prefetcher=Prefetcher(open_map, residency, wait) if can_prefetch and residency else None,
        ranges=RangeWays(name, open_map, residency, wait, nowait),
        write=_write(capabilities, open_map, wait) if can_write else None,
        write_nowait=(
            _write_nowait(capabilities, open_map, residency, nowait)
            if can_write and nowait is not None
            else None
        ),
    )


def _residency(capabilities: Capabilities) -> Residency | None:
    own: Residency | None = PagemapResidency() if capabilities.pagemap else None
    if capabilities.pagemap_scan:
        own = ScanResidency(sees_guards=capabilities.guards)
    if not capabilities.nodes:
        return own
    return NodeResidency() if own is None else ResidencyOr(own, NodeResidency())


def _named(capabilities: Capabilities) -> Literal["native", "emulated"]:
    return "native" if capabilities.flag_pidfd else "emulated"


def _nowait(
    capabilities: Capabilities,
    check: NowaitCheck,
    open_map: OpenMap,
    residency: Residency | None,
) -> Reader | None:
    name = ByPidfd if capabilities.flag_pidfd else ByNumber
    named = _named(capabilities)
    if not capabilities.flag_nowait:
        if residency is None:
            return None
        classifier = GapClassifier(open_map)
        checker = CheckAll(residency, open_map, most_tables=MOST_TABLES)
        backend = Backend(named, capabilities.nowait_rung(), "emulated")
        return Reader(name, checker, classifier, backend)
    # With the flag, EFAULT at a place that could be read means that it would have had to wait.
    classifier = GapClassifier(open_map, otherwise=GapReason.NOT_RESIDENT)
    return Reader(
        partial(name, flags=uapi.PROCESS_VM_NOWAIT),
        _checker(check, residency, open_map),
        classifier,
        Backend(named, f"PROCESS_VM_NOWAIT, residency checked: {check}", "native"),
        None if residency is None else CheckAll(residency, open_map, most_tables=MOST_TABLES),
    )


def _write(capabilities: Capabilities, open_map: OpenMap, reader: Access) -> WriteAccess:
    name = ByPidfd if capabilities.flag_pidfd else ByNumber
    classifier = GapClassifier(open_map)
    backend = _write_backend(capabilities)
    return WriteAccess(name, reader, PlanByMap(open_map), classifier, backend)


def _write_nowait(
    capabilities: Capabilities, open_map: OpenMap, residency: Residency | None, reader: Access
) -> WriteAccess:
    """Residency is always looked at: a write is rare, and the flag can wait."""
    name = ByPidfd if capabilities.flag_pidfd else ByNumber
    protected = write_protected if capabilities.sees_protection else handled_mappings
    planner = (
        PlanByMap(open_map) if residency is None else PlanByPages(open_map, residency, protected)
    )
    if not capabilities.flag_nowait:
        classifier = GapClassifier(open_map)
        backend = replace(_write_backend(capabilities), nowait="emulated")
        return WriteAccess(name, reader, planner, classifier, backend)
    classifier = GapClassifier(open_map, otherwise=GapReason.NOT_RESIDENT)
    backend = replace(_write_backend(capabilities), nowait="native")
    by_flag = partial(name, flags=uapi.PROCESS_VM_NOWAIT)
    return WriteAccess(by_flag, reader, planner, classifier, backend)


def _write_backend(capabilities: Capabilities) -> Backend:
    technique = capabilities.as_mapping()["write"].technique
    return Backend("native" if capabilities.flag_pidfd else "pinned", technique)


def _checker(check: NowaitCheck, residency: Residency | None, open_map: OpenMap) -> Checker | None:
    if check is NowaitCheck.NEVER:
        return None
    if check is NowaitCheck.ALWAYS and residency is not None:
        return CheckAll(residency, open_map, most_tables=MOST_TABLES)
    return CheckRemote(residency, open_map)


def _sparing(residency: Residency | None, open_map: OpenMap) -> Checker | None:
    """What looks before a read that the kernel would do all by itself; see ``access.sparse``."""
    if residency is None:
        return None
    look = CheckAll(residency, open_map, most_tables=MOST_TABLES)
    return CheckOr(WaitForMissing(look), None)
