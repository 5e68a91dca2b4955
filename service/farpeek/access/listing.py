"""The mappings of a process as a list, with what is resident of them and their build ids."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Final, TypeVar

from farpeek.access.build_ids import BuildIds
from farpeek.access.process_ref import ByNumber
from farpeek.access.verified import no_memory, refusals, verified
from farpeek.addressing import kernel_half, untagged
from farpeek.errors import DeadlineExceeded, Unsupported
from farpeek.kernel import gates, names, uapi
from farpeek.mappings import auxv, maps
from farpeek.mappings.files import MappedFiles
from farpeek.mappings.flags import each_vm_flags
from farpeek.mappings.residency import NoPagemap, all_present
from farpeek.model import MappingView, MapsPage, Mode, Stage
from farpeek.regions import Runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from farpeek.access.checks import OpenMap
    from farpeek.access.process_ref import ProcessRef
    from farpeek.access.seam import Access
    from farpeek.identity import Process
    from farpeek.mappings.mapping import Mapping
    from farpeek.mappings.residency import Residency
    from farpeek.model import MapsSpec

T = TypeVar("T")

PAGE_COST: Final = 4 << 20
"""Bytes that a page of a list may take: its views, and what is written of them."""

_MOST_VIEWS: Final = 1024
_MOST_NAME_BYTES: Final = 512 << 10
"""Of one page: a path may have PATH_MAX bytes, and more."""

_PROGRAMS: Final = 4
"""That a process may execute while a page of its list is made."""


class _Files:
    """Files of /proc that tell of mappings, read as far as they have come."""

    def __init__(
        self,
        proc: str,
        mappings: Iterator[Mapping],
        flags: Iterator[tuple[int, int, Sequence[bytes]]],
    ) -> None:
        """``flags``: start, end and VmFlags of mappings, from whatever one on that is before."""
        self.mappings = mappings
        self._flags = flags
        self._last: tuple[int, int, Sequence[bytes]] | None = (0, 0, ())
        self._witness = os.open(f"{proc}/maps", os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        with suppress(AttributeError):  # it could not be opened
            os.close(self._witness)

    def are_true(self) -> bool:
        """Whether their memory is in use still: execve(2) ends them, and some is read ahead."""
        return bool(os.pread(self._witness, 1, 0))

    def flags_of(self, mapping: Mapping, deadline: float) -> Sequence[bytes]:
        """The VmFlags of the mapping that was given last; none if there are none any more."""
        while self._last is not None and self._last[1] <= mapping.start:
            _check_time(deadline)
            self._last = next(self._flags, None)
        return self._last[2] if self._last is not None and self._last[0] <= mapping.start else ()


class Course:
    """How far a list has come: its next page goes on in the files that are open.

    smaps and maps are read from their beginning. The files close with the last one who has this:
    that may be a thread which hangs.
    """

    def __init__(self) -> None:
        self._place: tuple[str, int] | None = None
        self._files: _Files | None = None

    def take(self, proc: str, start: int) -> _Files | None:
        """The files, if they are those of ``proc`` and have come to ``start``; once."""
        files, self._files = self._files, None
        goes_on = files is not None and self._place == (proc, start) and files.are_true()
        return files if goes_on else None

    def leave(self, proc: str, start: int, files: _Files) -> int | None:
        """Keep the files at ``start``; answers that, or None if there are no more mappings."""
        behind = next(files.mappings, None)
        if behind is None:
            return None
        files.mappings = chain([behind], files.mappings)
        self._place, self._files = (proc, start), files
        return start


class Lister:
    """Lists mappings; in a thread, for the map is read under a lock that a stuck fault can hold."""

    def __init__(
        self, open_map: OpenMap, residency: Residency | None, nowait: Access | None, wait: Access
    ) -> None:
        self._open_map = open_map
        self._residency = residency
        self._ways = {Mode.NOWAIT: nowait if residency else None, Mode.WAIT: wait}

    def page(self, process: Process, spec: MapsSpec, course: Course, deadline: float) -> MapsPage:
        """Some mappings from ``spec.start`` on: as many as fit into `PAGE_COST`, and the time.

        ``course`` is the same for all pages of one list. Raises ProcessGone, AccessDenied,
        Unsupported (residency cannot be seen), DeadlineExceeded if the time was over before the
        first one.
        """
        page = partial(self._page, spec=spec, course=course, deadline=deadline)
        return self._verified(process, page, deadline)

    def at(
        self, process: Process, address: int, spec: MapsSpec, deadline: float
    ) -> MappingView | None:
        """The mapping that holds ``address``; None if it is unmapped. Raises what ``page`` does."""
        find = partial(self._at, address=untagged(address), spec=spec, deadline=deadline)
        found = self._verified(process, find, deadline)
        return found[0] if found else None

    def auxv(self, process: Process, deadline: float) -> dict[str, int]:
        """The auxiliary vector by names; empty in the middle of an execve. Raises as ``page``."""
        return self._verified(process, lambda ref: auxv.named(auxv.read(ref.proc)[1]), deadline)

    def _verified(self, process: Process, look: Callable[[ProcessRef], T], deadline: float) -> T:
        try:
            return verified(ByNumber(process), look, deadline)
        except PermissionError:
            with refusals(process):
                raise gates.find(process.pid) from None

    def _at(
        self, ref: ProcessRef, address: int, spec: MapsSpec, deadline: float
    ) -> list[MappingView]:
        with no_memory(), self._open_map(ref.proc) as address_map:
            mapping = address_map.at_or_above(address)
            if mapping is None or not mapping.start <= address:
                return []
            flags = each_vm_flags(ref.proc) if spec.flags else iter(())
            return [
                next(self._views(ref, _Files(ref.proc, iter([mapping]), flags), spec, deadline))
            ]

    def _page(self, ref: ProcessRef, spec: MapsSpec, course: Course, deadline: float) -> MapsPage:
        views: list[MappingView] = []
        left = _MOST_NAME_BYTES
        # Half of the time, for who has waited to the end gets nothing of it.
        half = time.monotonic() + (deadline - time.monotonic()) / 2
        start = untagged(spec.start)
        with no_memory():
            files = course.take(ref.proc, start)
            for _ in range(_PROGRAMS):
                files = files or self._open(ref.proc, replace(spec, start=start))
                try:
                    for each in self._views(ref, files, spec, half):
                        views.append(each)
                        start = each.end
                        left -= len(each.path)
                        if len(views) == _MOST_VIEWS or left < 0 or time.monotonic() > half:
                            return MapsPage(views, course.leave(ref.proc, start, files))
                except DeadlineExceeded:
                    if not views:
                        raise
                    return MapsPage(views, start)
                if files.are_true():
                    return MapsPage(views, None)
                files = None
        return MapsPage(views, start)

    def _open(self, proc: str, spec: MapsSpec) -> _Files:
        flags = each_vm_flags(proc) if spec.flags else iter(())
        return _Files(proc, self._mappings(proc, spec.start), flags)

    def _mappings(self, proc: str, start: int) -> Iterator[Mapping]:
        with self._open_map(proc) as address_map:
            yield from maps.walk(address_map, start)

    def _views(
        self, ref: ProcessRef, files: _Files, spec: MapsSpec, deadline: float
    ) -> Iterator[MappingView]:
        proc, behind = ref.proc, MappedFiles(ref.proc)
        build_ids = BuildIds(
            ref,
            partial(self._are_present, proc),
            self._ways[spec.mode],
            spec.mode,
            behind,
        )
        for mapping in files.mappings:
            yield view(
                mapping,
                behind.is_deleted(mapping),
                build_ids.of(mapping, deadline),
                self._counts(proc, mapping, deadline) if spec.residency else (None, None),
                files.flags_of(mapping, deadline) if spec.flags else None,
            )

    def _are_present(self, proc: str, start: int, end: int) -> bool:
        if self._residency is None:
            return False
        try:
            pages = self._residency.look(proc, [(start, end)])
            return all_present(Runs([start], [end - start]), pages)
        except NoPagemap:
            return False

    def _counts(self, proc: str, mapping: Mapping, deadline: float) -> tuple[int, int]:
        """Bytes that are resident, and bytes that are swapped out."""
        if self._residency is None:
            raise Unsupported("residency cannot be seen: there is no /proc/PID/pagemap here")
        resident = swapped = 0
        at, end = mapping.start, mapping.end if mapping.start < kernel_half() else 0
        while at < end:
            _check_time(deadline)
            try:
                pages, at = self._residency.look_on(proc, at, end)
            except NoPagemap:
                raise Unsupported(
                    "residency cannot be seen: the target's pagemap belongs to another user; give "
                    "the service CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"
                ) from None
            for page in pages:
                size = page.end - page.start
                resident += size if page.categories & uapi.PAGE_IS_PRESENT else 0
                swapped += size if page.categories & uapi.PAGE_IS_SWAPPED else 0
        return resident, swapped


def _check_time(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise DeadlineExceeded(
            "the time was over before the mapping was looked at: ask without `residency` and "
            "`flags`",
            Stage.MAPPINGS,
        )


def view(
    mapping: Mapping,
    deleted: bool | None = None,  # noqa: FBT001 - one of several things that were found out
    build_id: tuple[str | None, str | None] = (None, None),
    counts: tuple[int, int] | tuple[None, None] = (None, None),
    flags: Sequence[bytes] | None = None,
) -> MappingView:
    """Show a mapping with what was found out about it.

    ``deleted``: its file's name is gone; ``build_id``: it, or why there is none; ``counts``:
    resident and swapped bytes.
    """
    return MappingView(
        start=mapping.start,
        end=mapping.end,
        perms=mapping.perms,
        offset=mapping.offset,
        device=mapping.device,
        inode=mapping.inode,
        path=names.shown(mapping.path),
        deleted=deleted,
        build_id=build_id[0],
        build_id_reason=build_id[1],
        resident=counts[0],
        swapped=counts[1],
        flags=None if flags is None else tuple(flag.decode("ascii", "replace") for flag in flags),
    )
