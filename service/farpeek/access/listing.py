"""The mappings of a process as a list, with what is resident of them and their build ids."""

from __future__ import annotations

import time
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from farpeek.access.build_ids import BuildIds
from farpeek.access.process_ref import ByNumber, NoMemory
from farpeek.access.verified import refusals, verified
from farpeek.errors import DeadlineExceeded, Unsupported
from farpeek.kernel import gates, names, uapi
from farpeek.mappings import files, maps
from farpeek.mappings.residency import NoPagemap
from farpeek.model import MappingView, Mode, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farpeek.access.process_ref import ProcessRef
    from farpeek.access.seam import Access
    from farpeek.mappings.mapping import Mapping
    from farpeek.mappings.residency import Residency
    from farpeek.model import Process

MOST_MAPPINGS = 1 << 18
"""Of one target: four times what the kernel allows by default (vm.max_map_count)."""


class Lister:
    """Lists mappings; in a thread, for the map is read under a lock that a stuck fault can hold."""

    def __init__(self, residency: Residency | None, nowait: Access | None, wait: Access) -> None:
        self._residency = residency
        self._ways = {Mode.NOWAIT: nowait, Mode.WAIT: wait}

    def mappings(
        self, process: Process, address: int | None, *, residency: bool, deadline: float
    ) -> list[MappingView]:
        """All mappings, or the one that holds ``address`` (none if it is unmapped).

        Raises ProcessGone, AccessDenied, Unsupported (residency cannot be seen), DeadlineExceeded.
        """
        listing = partial(self._list, address=address, residency=residency, deadline=deadline)
        try:
            return verified(ByNumber(process), listing, deadline)
        except PermissionError:
            with refusals(process):
                raise gates.find(process.pid) from None

    def _list(
        self, ref: ProcessRef, address: int | None, *, residency: bool, deadline: float
    ) -> list[MappingView]:
        proc = ref.proc
        build_ids = BuildIds(
            ref.process, self._ways[Mode.NOWAIT], Mode.NOWAIT, files.MappedFiles(proc)
        )
        views: list[MappingView] = []
        try:
            for mapping in _chosen(proc, address):
                if time.monotonic() > deadline:
                    raise DeadlineExceeded(
                        "the time was over before all mappings were listed", Stage.MAPPINGS
                    )
                counts = self._counts(proc, mapping) if residency else (None, None)
                views.append(view(mapping, build_ids.of(mapping, deadline)[0], counts))
        except (FileNotFoundError, ProcessLookupError) as error:
            raise NoMemory from error
        return views

    def _counts(self, proc: str, mapping: Mapping) -> tuple[int, int]:
        """Bytes that are resident, and bytes that are swapped out."""
        if self._residency is None:
            raise Unsupported("residency cannot be seen: there is no /proc/PID/pagemap here")
        if mapping.start >= maps.KERNEL_HALF:
            return 0, 0
        try:
            pages = self._residency.look(proc, [(mapping.start, mapping.end)])
        except NoPagemap:
            raise Unsupported(
                "residency cannot be seen: the target's pagemap belongs to another user; give the "
                "service CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"
            ) from None
        sizes = [
            sum(page.end - page.start for page in pages if page.categories & bit)
            for bit in (uapi.PAGE_IS_PRESENT, uapi.PAGE_IS_SWAPPED)
        ]
        return sizes[0], sizes[1]


def _chosen(proc: str, address: int | None) -> Iterator[Mapping]:
    """The mappings in order, or the one at ``address``."""
    with open(f"{proc}/maps", "rb") as file:  # noqa: PTH123 - pathlib is slow
        for line in islice(file, MOST_MAPPINGS):
            mapping = maps.parse_line(line)
            if address is None or mapping.start <= address < mapping.end:
                yield mapping


def view(
    mapping: Mapping,
    build_id: str | None = None,
    counts: tuple[int, int] | tuple[None, None] = (None, None),
) -> MappingView:
    """Show a mapping with what was found out about it; ``counts``: resident and swapped bytes."""
    return MappingView(
        start=mapping.start,
        end=mapping.end,
        perms=mapping.perms,
        offset=mapping.offset,
        device=mapping.device,
        inode=mapping.inode,
        path=names.shown(mapping.path),
        build_id=build_id,
        resident=counts[0],
        swapped=counts[1],
    )
