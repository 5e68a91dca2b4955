"""What is looked at before a read, so that the system call is asked for the right places only.

Between the look and the read a page can go away (16 us at the p99, 64 ms under a loop of
MADV_PAGEOUT, without bound on a server that has died), so `nowait` reads, too, run in threads with
a deadline.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from farpeek import regions
from farpeek.access.absent import AbsentPages, Unread
from farpeek.access.fault_handlers import FaultHandlers, NoHandlers
from farpeek.kernel.uapi import PAGE_IS_PRESENT, PageRun
from farpeek.mappings.files import MappedFiles
from farpeek.mappings.maps import cut
from farpeek.mappings.residency import NoPagemap, all_present, look_at, split
from farpeek.model import PAGE_SIZE, GapReason
from farpeek.regions import Runs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from farpeek.access.process_ref import ProcessRef
    from farpeek.mappings.maps import AddressMap
    from farpeek.mappings.residency import Residency

    OpenMap = Callable[[str], AbstractContextManager[AddressMap]]


_MOST_UNREAD = 512  # of one look

_LOOKS_AT_LITTLE: Final = 8
"""At zeros, once more. With one, 1 of 1,800 readings of whole page tables that were moved without a
pause, in place of memory that was closed off, had zeros that never were, and with three 1 of some
10,000, where the target had the same processor; each costs some 8 us."""

_LITTLE: Final = 64 << 20
"""Bytes: to look at 40 GiB with a page in each page table takes 0.1 s."""

_FURTHER_LOOKS: Final = 4
"""At more than that, for pages alone, which takes a quarter of the time. Of what is moved and then
closed off, a look of either kind takes one part in 100 for zeros; of what is moved and unmapped the
first look, which sees at one moment what is mapped and what has a page, takes none."""


class Looked(NamedTuple):
    """What the beginning of a range is made of, and how far that was looked at.

    ``touched`` lies between what is ``unread``. It was no page either, until it was asked whether a
    handler has it; so it reads as zeros, unless pages were moved here behind the look.
    """

    unread: Sequence[Unread]
    reached: int
    touched: Sequence[tuple[int, int]]


class LooksAgain(Protocol):
    """Looks once more at what was taken for zeros."""

    def are_zeros(self, ref: ProcessRef, runs: Runs) -> bool:
        """Whether ``runs``, found to be zeros, look so again. Raises as `Checker.check` does."""
        ...

    def stay_zeros(self, ref: ProcessRef, runs: Runs) -> bool:
        """Whether no page has come to ``runs`` since, and they may still be read.

        Where `are_zeros` sees that they are mapped at the moment at which they have no page, this
        goes by two moments. Raises the same.
        """
        ...


class Checker(Protocol):
    """Looks before the system call does."""

    def check(self, ref: ProcessRef, runs: Runs) -> Sequence[Unread]:
        """Say what of ``runs`` (disjoint, sorted) is not to be read: disjoint, sorted.

        Raises NoPagemap, AccessDenied; OSError once the process is gone.
        """
        ...

    def are_zeros(self, ref: ProcessRef, runs: Runs) -> bool:
        """Whether ``runs``, found to be zeros by `check`, look so again. Raises the same."""
        ...

    def stay_zeros(self, ref: ProcessRef, runs: Runs) -> bool:
        """See ``LooksAgain.stay_zeros``."""
        ...


class CheckAll:
    """Every page: those in the page table are read, the others go by their mapping."""

    def __init__(
        self,
        residency: Residency,
        open_map: OpenMap,
        handlers: Callable[[], FaultHandlers] = FaultHandlers,
        *,
        most_tables: int,
    ) -> None:
        """``handlers`` gives what is known of them already at the beginning of a read.

        ``most_tables``: page tables that one read may make in the target.
        """
        self._residency = residency
        self._open_map = open_map
        self._handlers = handlers
        self._most_tables = most_tables

    def check(self, ref: ProcessRef, runs: Runs) -> Sequence[Unread]:
        """See ``Checker.check``."""
        _, pages = look_at(self._residency, ref.proc, runs)
        if all_present(runs, pages):
            return ()
        absent = _absent(runs, pages)
        return self._sorting(ref).sort(absent) if absent else ()

    def check_on(self, ref: ProcessRef, start: int, end: int, most: int) -> Looked:
        """Check the beginning of ``start .. end``, until ``most`` bytes are there or further.

        Here whatever nobody has touched is zeros, and not large stretches alone. Raises as `check`.
        """
        first, last = start - start % PAGE_SIZE, -(-end // PAGE_SIZE) * PAGE_SIZE
        most_pages = -(-(start - first + most) // PAGE_SIZE)
        pages, reached = self._residency.look_on(ref.proc, first, last, most_pages)
        reached = min(reached, end)
        absent = _absent_between(start, reached, pages)
        if not absent:
            return Looked((), reached, ())
        unread, touched = self._sorting(ref).sort_all(absent)
        return Looked(unread, reached, touched)

    def ask_again(self) -> None:
        """Touch a page of each mapping anew to ask about handlers, in the next look."""
        self._handlers().ask_again()

    def _sorting(self, ref: ProcessRef) -> AbsentPages:
        return AbsentPages(
            ref, self._open_map, self._residency, self._handlers(), most_tables=self._most_tables
        )

    def are_zeros(self, ref: ProcessRef, runs: Runs) -> bool:
        """See ``Checker.are_zeros``."""
        if not self._residency.are_all_untouched(ref.proc, runs):
            _, pages = look_at(self._residency, ref.proc, runs)
            found = [page for *_, page in regions.parts(runs, pages)]
            if any(page is None or page.categories for page in found):
                return False
        return self._are_blank(ref, runs)

    def stay_zeros(self, ref: ProcessRef, runs: Runs) -> bool:
        """See ``Checker.stay_zeros``."""
        if not self._residency.have_no_page(ref.proc, runs):
            return self.are_zeros(ref, runs)
        return self._are_blank(ref, runs)

    def _are_blank(self, ref: ProcessRef, runs: Runs) -> bool:
        """Whether the map says that ``runs``, which have no page, are zeros."""
        return AbsentPages(
            ref, self._open_map, self._residency, NoHandlers(), most_tables=0
        ).are_zeros(runs)


def are_still_zeros(looker: LooksAgain, ref: ProcessRef, runs: Runs) -> bool:
    """Whether ``runs``, found to be zeros, look so again, and again. Raises as `check` does."""
    if sum(runs.lengths) <= _LITTLE:
        return all(looker.are_zeros(ref, runs) for _ in range(_LOOKS_AT_LITTLE))
    return looker.are_zeros(ref, runs) and all(
        looker.stay_zeros(ref, runs) for _ in range(_FURTHER_LOOKS)
    )


def _absent(runs: Runs, pages: Sequence[PageRun]) -> list[PageRun]:
    return [page for page in split(runs, pages) if not page.categories & PAGE_IS_PRESENT]


def _absent_between(start: int, end: int, pages: Sequence[PageRun]) -> list[PageRun]:
    """Do the same for one run, of whose ``pages`` the first and the last may reach over it."""
    absent: list[PageRun] = []
    at = start
    for first, last, categories in pages:
        if at < first:
            absent.append(PageRun(at, first, 0))
        if not categories & PAGE_IS_PRESENT:
            absent.append(PageRun(max(first, start), min(last, end), categories))
        at = last
    if at < end:
        absent.append(PageRun(at, end, 0))
    return absent


class CheckMap:
    """The mappings alone, for processes whose page table may not be seen: the rest is read."""

    def __init__(self, open_map: OpenMap) -> None:
        self._open_map = open_map

    def check_on(self, ref: ProcessRef, start: int, end: int, most: int) -> Looked:
        """See ``CheckAll.check_on``; ends nowhere for what is there. Raises as `Checker.check`."""
        del most
        unread: list[Unread] = []
        with self._open_map(ref.proc) as address_map:
            for first, last, mapping in cut(address_map, [(start, end)]):
                if mapping is None:
                    unread.append(Unread(first, last, GapReason.UNMAPPED))
                elif not mapping.readable:
                    unread.append(Unread(first, last, GapReason.NO_ACCESS))
                if len(unread) >= _MOST_UNREAD:
                    return Looked(unread, last, ())
        return Looked(unread, end, ())

    def ask_again(self) -> None:
        """See ``CheckAll.ask_again``; it never asks."""

    def are_zeros(self, ref: ProcessRef, runs: Runs) -> bool:
        """See ``Checker.are_zeros``; it finds none."""
        del ref
        return not runs.starts

    def stay_zeros(self, ref: ProcessRef, runs: Runs) -> bool:
        """See ``Checker.stay_zeros``; it finds none."""
        del ref
        return not runs.starts


class CheckRemote:
    """Only mappings of files that are not on a local filesystem; the flag is good for all others.

    On those the flag can wait for the server (MADV_RANDOM, no readahead), and stalls the target
    while it does.
    """

    def __init__(self, residency: Residency | None, open_map: OpenMap) -> None:
        self._residency = residency
        self._open_map = open_map

    def check(self, ref: ProcessRef, runs: Runs) -> Sequence[Unread]:
        """See ``Checker.check``."""
        remote: list[tuple[int, int]] = []
        files = MappedFiles(ref.proc)
        local: dict[tuple[int, int], bool] = {(0, 0): True}  # what has no file
        with self._open_map(ref.proc) as address_map:
            for start, end, mapping in cut(address_map, runs.places()):
                device = mapping.device if mapping else (0, 0)
                if device not in local:
                    local[device] = files.is_local(device)
                if not local[device]:
                    remote.append((start, end))
        return self._missing(ref, remote) if remote else ()

    def _missing(self, ref: ProcessRef, remote: Sequence[tuple[int, int]]) -> list[Unread]:
        runs = Runs([start for start, _ in remote], [end - start for start, end in remote])
        pages: list[PageRun] = []
        if self._residency is not None:
            with suppress(NoPagemap):  # what cannot be seen is not touched
                _, pages = look_at(self._residency, ref.proc, runs)
        return [
            Unread(page.start, page.end, GapReason.NOT_RESIDENT)
            for page in split(runs, pages)
            if not page.categories & PAGE_IS_PRESENT
        ]

    def are_zeros(self, ref: ProcessRef, runs: Runs) -> bool:
        """See ``Checker.are_zeros``; it finds none."""
        del ref
        return not runs.starts

    def stay_zeros(self, ref: ProcessRef, runs: Runs) -> bool:
        """See ``Checker.stay_zeros``; it finds none."""
        del ref
        return not runs.starts


class CheckOr:
    """A checker, and another one for processes whose page table or map may not be seen."""

    def __init__(self, first: Checker, otherwise: Checker | None) -> None:
        """``otherwise``: None where everything may be read then."""
        self._first = first
        self._otherwise = otherwise

    def check(self, ref: ProcessRef, runs: Runs) -> Sequence[Unread]:
        """See ``Checker.check``."""
        try:
            return self._first.check(ref, runs)
        except (NoPagemap, PermissionError):
            return () if self._otherwise is None else self._otherwise.check(ref, runs)

    def are_zeros(self, ref: ProcessRef, runs: Runs) -> bool:
        """See ``Checker.are_zeros``."""
        try:
            return self._first.are_zeros(ref, runs)
        except (NoPagemap, PermissionError):
            return False

    def stay_zeros(self, ref: ProcessRef, runs: Runs) -> bool:
        """See ``Checker.stay_zeros``."""
        try:
            return self._first.stay_zeros(ref, runs)
        except (NoPagemap, PermissionError):
            return False


class WaitForMissing:
    """What a checker calls not resident is read all the same, however long the fault takes."""

    def __init__(self, inner: Checker) -> None:
        self._inner = inner

    def check(self, ref: ProcessRef, runs: Runs) -> Sequence[Unread]:
        """See ``Checker.check``."""
        return [
            each
            for each in self._inner.check(ref, runs)
            if each.reason is not GapReason.NOT_RESIDENT
        ]

    def are_zeros(self, ref: ProcessRef, runs: Runs) -> bool:
        """See ``Checker.are_zeros``."""
        return self._inner.are_zeros(ref, runs)

    def stay_zeros(self, ref: ProcessRef, runs: Runs) -> bool:
        """See ``Checker.stay_zeros``."""
        return self._inner.stay_zeros(ref, runs)
