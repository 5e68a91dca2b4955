"""What a read gives of a page of each kind (see `kinds`), by every way there is to read it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from farpeek.access import choose
from farpeek.model import GapReason, NowaitCheck

if TYPE_CHECKING:
    from farpeek.access import Access
    from farpeek.access.capabilities import Capabilities


class Way(StrEnum):
    """A way to read: waiting, or one of those that do not."""

    WAIT = "wait"
    EMULATED = "emulated"
    AUTO = "native, auto"
    ALWAYS = "native, always"
    NEVER = "native, never"

    def access(self, capabilities: Capabilities) -> Access | None:
        """Return the service's own code for it; None where the kernel has no such flag."""
        if self is Way.WAIT:
            return choose(capabilities).wait
        if self is Way.EMULATED:
            return choose(replace(capabilities, flag_nowait=False)).nowait
        check = {
            Way.AUTO: NowaitCheck.AUTO,
            Way.ALWAYS: NowaitCheck.ALWAYS,
            Way.NEVER: NowaitCheck.NEVER,
        }[self]
        return choose(capabilities, check).nowait if capabilities.flag_nowait else None


BYTES = "bytes"
WAITS = "waits"
_NOT = GapReason.NOT_RESIDENT.value
_NO = GapReason.NO_ACCESS.value
Outcomes = frozenset[str]
"""What may come of it; more than one where the kernel's own state decides."""


@dataclass(frozen=True, slots=True)
class Row:
    """Outcomes by the way of reading. ``checked``: every page is looked at, by us."""

    wait: Outcomes
    checked: Outcomes  # emulated, and native with `always`
    auto: Outcomes
    never: Outcomes

    def by(self, way: Way) -> Outcomes:
        """Return the outcomes of one way."""
        return {Way.WAIT: self.wait, Way.AUTO: self.auto, Way.NEVER: self.never}.get(
            way, self.checked
        )


def _row(wait: str, checked: str = "", auto: str = "", never: str = "") -> Row:
    """Outcomes are separated by bars; what is left out is as in the column before."""
    cells = [wait, checked or wait, auto or checked or wait]
    cells.append(never or cells[-1])
    return Row(*(frozenset(cell.split("|")) for cell in cells))


_EITHER = f"{BYTES}|{_NOT}"
ROWS = {
    "anon": _row(BYTES),
    "zero_page": _row(BYTES),
    "untouched": _row(BYTES),
    "dontneed": _row(BYTES),
    "swapped": _row(BYTES, _NOT, _EITHER),
    "huge": _row(BYTES),
    "hugetlb": _row(BYTES),
    "prot_none": _row(_NO),
    "exec_only": _row(_NO),
    "write_only": _row(_NO),
    "hole": _row(GapReason.UNMAPPED.value),
    "guard": _row(_NO),
    "secret": _row(_NO),
    "file_mapped": _row(BYTES),
    "file_cached": _row(BYTES),
    "file_written": _row(BYTES),
    "file_evicted": _row(BYTES, _NOT, _EITHER),
    "file_evicted_random": _row(BYTES, _NOT, _EITHER),
    "beyond_file": _row(GapReason.BEYOND_FILE.value),
    "tmpfs_hole": _row(BYTES),
    "tmpfs_cached": _row(BYTES),
    "tmpfs_mapped": _row(BYTES),
    "memfd_untouched": _row(BYTES),
    "memfd_present": _row(BYTES),
    "memfd_mapped": _row(BYTES),
    "shared_untouched": _row(BYTES),
    # In the swap cache still, where there is no memory cgroup to drive it out of there.
    "memfd_swapped": _row(BYTES, _EITHER, BYTES),
    "fuse_mapped": _row(BYTES),
    "fuse_cached": _row(BYTES, _NOT, _NOT, BYTES),
    "fuse_cold": _row(BYTES, _NOT, _NOT, _EITHER),
    "fuse_random": _row(BYTES, _NOT, _NOT, BYTES),
    "fuse_hung": _row(WAITS, _NOT),
    "fuse_hung_random": _row(WAITS, _NOT, _NOT, WAITS),
    "fuse_hung_all": _row(WAITS, _NOT),
    "uffd_missing": _row(WAITS, _NOT),
    "uffd_wp": _row(BYTES),
    "vdso": _row(BYTES),
    "vvar": _row(f"{BYTES}|{_NO}"),  # kernels differ
    "vsyscall": _row(_NO),
}

DIFFERENCES = {
    "swapped": "The emulation takes every swapped page for one that needs I/O. The kernel also "
    "looks in the swap cache, and zram is read at once; from a disk the first try is a gap, and "
    "has the page read in for a later one.",
    "file_evicted": "The kernel starts readahead before it gives up, so that a later try, or on a "
    "fast disk the same one, finds the page. The emulation leaves it where it is.",
    "file_evicted_random": "Without readahead the kernel reads the page synchronously: the flag "
    "waits for the disk. The emulation does not.",
    "memfd_swapped": "The kernel brings shared memory back from swap while the read waits. The "
    "emulation takes only what mincore finds, in memory or still in the swap cache.",
    "fuse_cached": "The page cache of a file on FUSE is not looked at: even opening the file asks "
    "the server. The kernel has the page at hand.",
    "fuse_cold": "The kernel asks the server for it, and gives up or not depending on how soon the "
    "answer comes. The emulation does not ask.",
    "fuse_random": "Without readahead the kernel waits for the server's answer, however long it "
    "takes, and holds the target's mmap lock meanwhile. The emulation does not ask.",
    "fuse_hung_random": "As before, but without an answer: with `never` the read hangs until the "
    "server ends or the deadline gives the thread up. `auto` and `always` are as good as the "
    "emulation here.",
}
"""Kinds of which PROCESS_VM_NOWAIT alone gives something else than the emulation, and why."""
